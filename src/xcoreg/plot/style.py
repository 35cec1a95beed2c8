"""What all pictures share: figures without state, contrast, composites."""

from __future__ import annotations

import math
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.errors import OptionError, require
from xcoreg.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Image = NDArray[Any]
    Mask = NDArray[np.bool_]

__all__ = [
    "BAD",
    "GOOD",
    "Contrast",
    "checkerboard",
    "contrast",
    "new_figure",
    "plain_ticks",
    "red_cyan",
    "save_figure",
    "stretch",
]

#: Colours of trusted and distrusted, told apart by colour-blind people too.
GOOD, BAD = "#0072b2", "#d55e00"
#: Lower and upper limit, and the exponent after them.
Contrast = tuple[float, float, float]
_MISSING = 0.55  # grey of pixels without a value
_MIDDLE = 0.4  # grey of the median


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure that no pyplot knows of.

    Parameters
    ----------
    width, height : float
        Inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.

    Examples
    --------
    >>> new_figure(4, 3).axes
    []
    """
    figure = require("matplotlib.figure", extra="plot").Figure(figsize=(width, height), layout="constrained")
    figure.set_facecolor("white")
    # Notebooks show figures of pyplot; one that pyplot does not know of has to offer its picture itself.
    figure._repr_png_ = partial(_png, figure)
    return figure


def _png(figure: Any) -> bytes:
    with BytesIO() as stream:
        figure.savefig(stream, format="png", dpi=72)
        return stream.getvalue()


def save_figure(figure: Any, path: str | Path, *, dpi: int = 110) -> None:
    """Write a figure, whole or not at all; the suffix tells the format.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : str or Path
        `.png`, `.pdf`, `.svg`, ...
    dpi : int
        Dots per inch of pixel formats.

    Raises
    ------
    OptionError
        When the format is unknown or the place cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(new_figure(1, 1), f"{folder}/a.png")
    """
    with replacing(path) as temporary:
        try:
            figure.savefig(temporary, dpi=dpi)
        except ValueError as error:
            raise OptionError(f"cannot draw to {path}: {error}") from error


def contrast(images: Sequence[tuple[Image, Mask]]) -> Contrast:
    """One contrast for several images, from the 2nd to the 98th percentile of their valid values.

    Parameters
    ----------
    images : sequence of (values, valid)

    Returns
    -------
    low, high, gamma : float
        `low < high`; the exponent brings the median to a middle grey, within reason.

    Examples
    --------
    >>> values = np.arange(101.0)
    >>> contrast([(values, values >= 0)])[:2]
    (2.0, 98.0)
    """
    known = [values[valid & np.isfinite(values)].ravel() for values, valid in images]
    pool = np.concatenate(known) if known else np.empty(0)
    if pool.size == 0:
        return 0.0, 1.0, 1.0
    low, middle, high = (float(value) for value in np.percentile(pool, [2, 50, 98]))
    if high <= low:
        return low - 0.5, low + 0.5, 1.0
    median = (middle - low) / (high - low)
    gamma = math.log(_MIDDLE) / math.log(median) if 0 < median < 1 else 1.0
    return low, high, min(max(gamma, 0.4), 1.5)


def stretch(values: Image, valid: Mask, low: float, high: float, gamma: float = 1.0) -> Image:
    """Grey values 0 to 1 between two limits; mid-grey where there is no value.

    Examples
    --------
    >>> stretch(np.array([1.0, 2.0, 9.0]), np.array([True, True, False]), 1.0, 3.0)
    array([0.  , 0.5 , 0.55])
    """
    grey = np.clip((values - low) / (high - low), 0.0, 1.0) ** gamma
    return np.where(valid & np.isfinite(grey), grey, _MISSING)


def red_cyan(ref: Image, tgt: Image) -> Image:
    """Colour composite of two grey images: the reference in red, the target in green and blue.

    Where they agree it is grey; an edge that lies elsewhere in the target gets a red and a cyan fringe.

    Examples
    --------
    >>> red_cyan(np.array([[0.2]]), np.array([[0.7]]))[0, 0].tolist()
    [0.2, 0.7, 0.7]
    """
    return np.stack([ref, tgt, tgt], axis=-1)


def checkerboard(ref: Image, tgt: Image, tiles: int = 5) -> Image:
    """Tiles taken in turn from two grey images, as RGB; those of the target have a faint tint.

    Examples
    --------
    >>> checkerboard(np.zeros((2, 2)), np.ones((2, 2)), tiles=2)[..., 0].tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    rows, cols = ref.shape
    row, col = np.arange(rows) * tiles // rows, np.arange(cols) * tiles // cols
    of_tgt = (row[:, None] + col) % 2 == 1
    # The tint tells the tiles apart without hiding a line that breaks at their border; 1 keeps white white.
    tinted = np.stack([0.9 * tgt + 0.1 * tgt**2, tgt, 0.93 * tgt + 0.07 * np.sqrt(tgt)], axis=-1)
    return np.where(of_tgt[..., None], tinted, ref[..., None])


def plain_ticks(axes: Any) -> None:
    """Show map coordinates in full, few enough to be read."""
    ticker = require("matplotlib.ticker", extra="plot")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(4))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.10g}"))
    axes.tick_params(labelsize=8)
