"""One window of a fit as its matcher saw it: cut out of both images, with the correlation surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from xcoreg.core import Array, Bools
from xcoreg.core.matches import Status
from xcoreg.core.peaks import surface
from xcoreg.errors import OptionError
from xcoreg.georef import linear_of, vector_to_pixel
from xcoreg.matching.options import LocalOptions, Options
from xcoreg.matching.scene import Scene, prepare
from xcoreg.plot.compare import plot_surface, plot_windows
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.text import is_local
from xcoreg.results.tiepoints import TiePoints

_PLAIN = ("band", "ref_band", "nodata", "ref_nodata", "contrast")


@dataclass(frozen=True)
class Seen:
    """What was compared in one window, on the matching grid.

    target, reference, corrected : Values and valid pixels, (rows, cols) each.
    surface, peak : Correlation per shift (rows, cols), no shift in the middle; dcol, drow of the answer.
    """

    target: tuple[Array, Bools]
    reference: tuple[Array, Bools]
    corrected: tuple[Array, Bools]
    surface: Array
    peak: tuple[float, float]


def see(scene: Scene, points: TiePoints, i: int, contrast: str = "same") -> Seen:
    """Cut the window of a tie point out of both images, and correlate it again."""
    linear, own = scene.linear, linear_of(scene.target.grid.affine)
    ratio = (own[0] * own[3] - own[1] * own[2]) / (linear[0] * linear[3] - linear[1] * linear[2])
    size = max(16, round(points.size[i] * np.sqrt(abs(ratio))))
    place = points.x[i : i + 1], points.y[i : i + 1]
    cuts = [cutter.cut(*place, size) for cutter in (scene.reference_cutter, scene.target_cutter)]
    (ref_values, ref_valid), (values, valid) = ((cut.values[0], cut.valid[0]) for cut in cuts)
    height = np.fft.fftshift(surface(values[None], ref_values[None], valid[None], ref_valid[None])[0])
    if contrast != "same" and -height.min() > height.max():
        height = -height
    # The two windows begin at whole pixels of their own images: the distance between these is not part of the shift.
    dx, dy = points.dx[i] + cuts[1].x[0] - cuts[0].x[0], points.dy[i] + cuts[1].y[0] - cuts[0].y[0]
    dcol, drow = (float(part) for part in vector_to_pixel(linear, dx, dy))
    if not np.isfinite([dcol, drow]).all():
        row, col = np.unravel_index(np.argmax(height), height.shape)
        dcol, drow = float(col - size // 2), float(row - size // 2)
    still = ndimage.shift(valid.astype(np.uint8), (drow, dcol), order=0) > 0
    moved = ndimage.shift(values, (drow, dcol), order=3), still
    return Seen((values, valid), (ref_values, ref_valid), moved, height, (dcol, drow))


def plot_window(fit: Coregistration, target: Any, reference: Any, window: int | None = None) -> tuple[Any, Any]:
    """Show a window of a fit as it was matched, and its correlation surface.

    Parameters
    ----------
    fit : Coregistration
        Of images, not of elevation models; one that was refused, too.
    target, reference : DataArray or Dataset
        The images it was made of.
    window : int, optional
        Number of the window, ``fit.points.window``; default the trusted one that correlates best.

    Returns
    -------
    tuple of two matplotlib.figure.Figure
        The window before and after, see :func:`xcoreg.plot.plot_windows`; the surface, see
        :func:`xcoreg.plot.plot_surface`.

    Raises
    ------
    OptionError
        When there is no such window.

    Examples
    --------
    >>> import xcoreg
    >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.5, -0.5), seed=1)
    >>> fit = scene.tgt.coreg.match(scene.ref)
    >>> cuts, surface = plot_window(fit, scene.tgt, scene.ref, window=0)
    >>> cuts.get_suptitle()
    'window 0: the answer was confirmed'
    """
    points = fit.points
    if fit.details.elevation or not (len(points) and (points.size > 0).all()):
        raise OptionError("the fit has no windows of images: its surfaces cannot be drawn")
    found = np.flatnonzero(points.window == window) if window is not None else best_windows(points)[:1]
    if not len(found):
        raise OptionError(f"there is no window {window}: choose from 0 to {int(points.window.max())}")
    given = {name: value for name, value in fit.details.options.items() if name in _PLAIN}
    scene = prepare(target, reference, (LocalOptions if is_local(fit) else Options)(**given))
    seen = see(scene, points, int(found[0]), given.get("contrast", "same"))
    return draw_window(seen, points, int(found[0]))


def draw_window(seen: Seen, points: TiePoints, i: int) -> tuple[Any, Any]:
    """Draw a window and its correlation surface."""
    title = f"window {int(points.window[i])}: {Status(int(points.status[i])).reason}"
    cuts = plot_windows(seen.target, seen.reference, seen.corrected, title=title)
    return cuts, plot_surface(seen.surface, seen.peak, title=title)


def best_windows(points: TiePoints) -> Any:
    """Order the windows, as indices: trusted ones first, then those that correlate best."""
    return np.lexsort((-np.nan_to_num(points.score, nan=-1.0), ~points.ok))
