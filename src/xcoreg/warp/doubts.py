"""What is to be said of a displacement field before an image is warped by it, from a few thousand places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.errors import CoregWarning, Extrapolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xcoreg.warp.mapping import Mapping

    Floats = NDArray[np.floating]

__all__ = ["doubts"]

_PLACES = 65  # along each axis of the output
_CONSIDERABLE = 0.01  # of the output on the image
_UNSOLVED = 0.01  # px
# Beyond its tie points a model that is known this well (standard deviation, px) is as good as between them: every image
# has a rim of half a window.
_KNOWN = 0.1


def doubts(mapping: Mapping) -> Iterator[tuple[str, type[CoregWarning]]]:
    """Tell where a field is used beyond its tie points, and where it has no inverse.

    Parameters
    ----------
    mapping : Mapping
        Of the warp. No pixel is looked at: all of the output that falls on the image counts.

    Yields
    ------
    message : str
        With the share of the output and the cure.
    category : type
        Of the warning.

    Examples
    --------
    >>> from xcoreg.core.models import Translation
    >>> from xcoreg.warp.displacement import Displacement, Grid
    >>> from xcoreg.warp.mapping import compose
    >>> grid = Grid((10.0, 0.0, 0.0, 0.0, -10.0, 0.0), (50, 50), "EPSG:32633")
    >>> list(doubts(compose(grid, grid, Displacement.of(Translation(25.0, 10.0), "EPSG:32633", grid))))
    []
    """
    move, source = mapping.move, mapping.source
    if move.constant is not None:
        return
    # Middles of 65 x 65 parts of equal size: each place stands for its part, none for the rim.
    parts = [(np.arange(_PLACES) + 0.5) * (size / _PLACES) - 0.5 for size in mapping.out.shape]
    out_row, out_col = np.repeat(parts[0], _PLACES), np.tile(parts[1], _PLACES)
    row, col = mapping.exact(out_row, out_col)
    with np.errstate(invalid="ignore"):
        inside = (np.abs(row - source.shape[0] / 2 + 0.5) <= source.shape[0] / 2) & (
            np.abs(col - source.shape[1] / 2 + 0.5) <= source.shape[1] / 2
        )
    if not inside.any():
        return
    x, y = georef.pixel_to_map(source.transform, col[inside], row[inside])
    at = georef.transform_points(move.crs, move.fit_crs, x, y)
    guessed = _guessed(move.model, *at, move.pixel)
    share = float(np.mean(guessed))
    if share > _CONSIDERABLE:
        yield (
            f"{share:.0%} of the output lies where the model ({move.model.kind}) extrapolates, far from its "
            "tie points, and may be off by a good part of a pixel: match with more windows there, choose a simpler "
            "model, or leave these pixels out",
            Extrapolation,
        )
    (a, b), (c, d) = move.slope(x, y)
    wanted = np.stack(georef.pixel_to_map(mapping.out.transform, out_col[inside], out_row[inside]))
    wanted = np.stack(georef.transform_points(mapping.out.crs, source.crs, wanted[0], wanted[1], near=source.centre[0]))
    missed = np.hypot(*(np.stack([x, y]) + np.stack(move.at(x, y)) - wanted))
    folded = float(np.mean(((1 + a) * (1 + d) <= b * c) | (missed > _UNSOLVED * move.pixel)))
    if folded > 0:
        yield (
            f"the correction folds over itself or is torn on about {folded:.1%} of the output: neighbours would change "
            "places or part, so these pixels cannot be trusted; remove tie points that contradict each other, or "
            "choose a smoother model",
            CoregWarning,
        )


def _guessed(model: Any, x: Floats, y: Floats, pixel: float) -> NDArray[np.bool_]:
    """Tell where a model extrapolates without knowing well."""
    tells, spread = getattr(model, "extrapolates", None), getattr(model, "predict_cov", None)
    if tells is None:
        return np.zeros(np.shape(x), bool)
    beyond = np.asarray(tells(x, y), bool)
    if spread is not None and beyond.any():
        cov = spread(np.asarray(x)[beyond], np.asarray(y)[beyond])
        beyond[beyond] = ~(np.sqrt(np.trace(cov, axis1=-2, axis2=-1) / 2) < _KNOWN * pixel)
    return beyond
