"""What a matcher saw: the windows it was given and the correlation surface it searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.plot.style import contrast, new_figure, red_cyan, stretch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[Any]
    Mask = NDArray[np.bool_]

__all__ = ["plot_surface", "plot_windows"]

_CLOSE = 8  # half side of the close-up, px


def plot_windows(
    ref: tuple[Image, Mask], before: tuple[Image, Mask], after: tuple[Image, Mask], *, title: str = ""
) -> Any:
    """Show the windows that were matched, on the matching grid.

    Parameters
    ----------
    ref, before, after : (values, valid)
        Each (rows, cols): the reference, and the target as it was and as corrected. Pixels that are not valid are
        shown mid-grey.
    title : str
        For the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Above the three windows, below the red/cyan composites before and after, and their difference after.

    Examples
    --------
    >>> window = np.eye(16), np.ones((16, 16), bool)
    >>> len(plot_windows(window, window, window).axes)
    6
    """
    figure = new_figure(12.5, 8.6)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    tone = contrast([before, after])
    greys = [stretch(*ref, *contrast([ref])), stretch(*before, *tone), stretch(*after, *tone)]
    for one, grey, name in zip(axes[0], greys, ("reference", "target before", "target after"), strict=True):
        one.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        one.set_title(name)
    for one, grey, name in zip(axes[1], greys[1:], ("before", "after"), strict=False):
        one.imshow(red_cyan(greys[0], grey), interpolation="nearest")
        one.set_title(f"{name}: red reference, cyan target")
    both = ref[1] & after[1]
    difference = np.where(both, greys[2] - greys[0], np.nan)
    axes[1, 2].imshow(difference, cmap="RdBu_r", vmin=-0.6, vmax=0.6, interpolation="nearest")
    axes[1, 2].set_title("after: target minus reference")
    for one in axes[:, 0]:
        one.set_ylabel("row, matching px")
    for one in axes[1]:
        one.set_xlabel("column, matching px")
    figure.suptitle(title or "matched windows")
    return figure


def plot_surface(surface: Image, peak: tuple[float, float], *, title: str = "") -> Any:
    """Show a correlation surface with its peak.

    Parameters
    ----------
    surface : (rows, cols) float
        Correlation per shift, no shift in the middle, at `[rows // 2, cols // 2]`.
    peak : (dcol, drow)
        The answer, px of the matching grid.
    title : str
        For the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The whole surface, a close-up of the peak, and the two profiles through it.

    Examples
    --------
    >>> surface = np.zeros((32, 32))
    >>> surface[16 - 2, 16 + 3] = 1.0
    >>> plot_surface(surface, (3.2, -1.9)).axes[0].get_xlabel()
    'dcol, px (right)'
    """
    rows, cols = surface.shape
    row0, col0 = rows // 2, cols // 2
    extent = (-col0 - 0.5, cols - col0 - 0.5, rows - row0 - 0.5, -row0 - 0.5)
    figure = new_figure(14.5, 4.8)
    whole, close, profile = figure.subplots(1, 3)
    image = None
    for axes in (whole, close):
        image = axes.imshow(surface, extent=extent, cmap="viridis", interpolation="nearest")
        axes.axhline(0, color="white", lw=0.6, ls=":")
        axes.axvline(0, color="white", lw=0.6, ls=":")
        axes.set(xlabel="dcol, px (right)", ylabel="drow, px (down)")
    figure.colorbar(image, ax=close, shrink=0.8, label="correlation")
    whole.plot(*peak, "o", mfc="none", mec="red", ms=18, mew=1.8)
    whole.set_title("all shifts")
    close.plot(*peak, "+", color="red", ms=16, mew=1.8)
    close.set_xlim(round(peak[0]) - _CLOSE - 0.5, round(peak[0]) + _CLOSE + 0.5)
    close.set_ylim(round(peak[1]) + _CLOSE + 0.5, round(peak[1]) - _CLOSE - 0.5)
    close.set_title(f"peak at dcol={peak[0]:+.3f}, drow={peak[1]:+.3f} px")
    _draw_profiles(profile, surface, peak)
    figure.suptitle(title or "correlation surface")
    return figure


def _draw_profiles(axes: Any, surface: Image, peak: tuple[float, float]) -> None:
    rows, cols = surface.shape
    row = int(np.clip(round(peak[1]) + rows // 2, 0, rows - 1))
    col = int(np.clip(round(peak[0]) + cols // 2, 0, cols - 1))
    axes.plot(np.arange(cols) - cols // 2, surface[row], lw=1, label="through the peak, along columns")
    axes.plot(np.arange(rows) - rows // 2, surface[:, col], lw=1, label="through the peak, along rows")
    axes.axhline(float(np.std(surface)) * 3, color="0.6", lw=0.8, ls="--", label="3 standard deviations")
    axes.set(xlabel="shift, px", title="profiles")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
