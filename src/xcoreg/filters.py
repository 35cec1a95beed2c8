"""Outlier filters: each takes tie points and flags outliers; none removes any.

`match_local(filters=[...])` applies them one after another to the points that are still OK. A filter is a name
("reliability", "ssim", "neighbours", "model"), one of the functions below with other thresholds, or any function from
`TiePoints` to a mask of the points to flag, or to `TiePoints`.

>>> import xcoreg
>>> chosen = [xcoreg.filters.reliability(60), xcoreg.filters.neighbours(sigmas=3.5), lambda p: p.score < 0.2]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xcoreg.core import Bools
from xcoreg.core.matches import Status
from xcoreg.core.models import Degenerate, assess_model
from xcoreg.core.robust import neighbour_residuals
from xcoreg.errors import OptionError
from xcoreg.results.tiepoints import TiePoints

__all__ = ["FILTERS", "Filter", "model", "neighbours", "reliability", "run_filters", "ssim"]

Filter = Callable[[TiePoints], Any]

_FEWEST = 12  # smallest number of tie points for a fit: with fewer, outliers determine it


def reliability(least: float = 15.0) -> Filter:
    """Flag windows whose correlation peak is hardly higher than the second one.

    Parameters
    ----------
    least : float
        Smallest reliability, percent, 0 to 100. Windows without a reliability are not flagged.

    Returns
    -------
    Filter
        Flags with `Status.AMBIGUOUS`.
    """

    def flag(points: TiePoints) -> TiePoints:
        return points.with_status(points.reliability < least, Status.AMBIGUOUS)

    return flag


def ssim(gain: float = -0.02) -> Filter:
    """Flag windows that are not more similar after the correction than before.

    Parameters
    ----------
    gain : float
        Smallest gain in structural similarity; slightly negative by default, because images that are aligned already
        gain nothing.

    Returns
    -------
    Filter
        Flags with `Status.NOT_IMPROVED`.
    """

    def flag(points: TiePoints) -> TiePoints:
        return points.with_status(points.ssim_after - points.ssim_before < gain, Status.NOT_IMPROVED)

    return flag


def neighbours(sigmas: float = 4.5, floor: float = 0.1) -> Filter:
    """Flag corrections that contradict those of the windows around them.

    A robust plane through the corrections of the nearest 12 windows predicts each correction in map space. Corrections
    that differ by more than `sigmas` standard deviations (spread of the neighbours and covariance of the window) are
    outliers.

    Parameters
    ----------
    sigmas : float
        Largest difference, standard deviations.
    floor : float
        Smaller differences are never flagged, target px.

    Returns
    -------
    Filter
        Flags with `Status.OUTLIER`.
    """

    def flag(points: TiePoints) -> TiePoints:
        # Outliers disturb the prediction of their neighbours: flag the worst first, then test again.
        for strict in (2.0, 1.0):
            off, scatter = neighbour_residuals(_stack(points.x, points.y), _stack(points.dx, points.dy), points.ok)
            spread = scatter[:, None, None] ** 2 * np.eye(2) + _known_cov(points.cov)
            points = points.with_status(_beyond(points, off, spread, strict * sigmas, strict * floor), Status.OUTLIER)
        return points

    return flag


def model(kind: str = "spline", sigmas: float = 5.0, floor: float = 0.15) -> Filter:
    """Flag corrections that contradict a robust smooth model fitted to the others.

    Parameters
    ----------
    kind : str
        One of :data:`xcoreg.core.models.KINDS`; replaced by a simpler one that the points determine if need be.
    sigmas : float
        Largest cross-validated residual, standard deviations.
    floor : float
        Smaller residuals are never flagged, target px.

    Returns
    -------
    Filter
        Flags with `Status.OUTLIER`.
    """

    def flag(points: TiePoints) -> TiePoints:
        ok = np.flatnonzero(points.ok)
        if len(ok) < _FEWEST:
            return points
        for name in (kind, "polynomial2", "affine", "translation"):
            try:
                choice = assess_model(
                    name, points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], _known_cov(points.cov)[ok]
                )
            except Degenerate:
                continue
            off, spread = np.full((len(points), 2), np.nan), np.zeros((len(points), 2, 2))
            off[ok], spread[ok] = _stack(choice.residual_dx, choice.residual_dy), choice.check_cov
            return points.with_status(_beyond(points, off, spread, sigmas, floor), Status.OUTLIER)
        return points

    return flag


FILTERS: dict[str, Callable[[], Filter]] = {
    "reliability": reliability,
    "ssim": ssim,
    "neighbours": neighbours,
    "model": model,
}


def run_filters(points: TiePoints, filters: Sequence[Any]) -> TiePoints:
    """Run filters one after another.

    Parameters
    ----------
    points : TiePoints
    filters : sequence of str or callable
        Names of :data:`FILTERS`, or functions from `TiePoints` to a bool mask of those to flag or to `TiePoints`.

    Returns
    -------
    TiePoints
        The same rows, more of them flagged; masks flag with `Status.OUTLIER`.

    Raises
    ------
    OptionError
        For an unknown name, or a function that returns neither a mask nor `TiePoints`.

    Examples
    --------
    >>> points = TiePoints([0, 1], [0, 0], [0, 9], [0, 9], [0, 0], [1, 2], [1, 2], [1, 2], [1, 2])
    >>> run_filters(points, [lambda p: p.dx > 1.5]).counts()
    {'OK': 1, 'OUTLIER': 1}
    """
    for one in filters:
        if isinstance(one, str) and one not in FILTERS:
            raise OptionError(f"unknown filter {one!r}: choose from {', '.join(FILTERS)} or pass a function")
        if not isinstance(one, str) and not callable(one):
            raise OptionError(f"a filter is a name or a function from tie points to a mask, not {one!r}")
        answer = (FILTERS[one]() if isinstance(one, str) else one)(points)
        points = _checked(answer, points, one)
    return points


def _checked(answer: Any, points: TiePoints, one: Any) -> TiePoints:
    if isinstance(answer, TiePoints):
        if len(answer) != len(points):
            raise OptionError(f"the filter {one!r} was given {len(points)} tie points and returned {len(answer)}")
        return answer
    mask = np.asarray(answer)
    if mask.shape != (len(points),) or mask.dtype != bool:
        raise OptionError(
            f"the filter {one!r} returned {type(answer).__name__} of shape {mask.shape} and type {mask.dtype}: "
            f"it has to return a bool mask of {len(points)} tie points, true where to flag, or TiePoints"
        )
    return points.with_status(mask, Status.OUTLIER)


def _stack(x: Any, y: Any) -> Any:
    return np.stack([x, y], -1)


def _known_cov(cov: Any) -> Any:
    """Covariances, zero where they are unknown."""
    return np.where(np.isfinite(cov).all((1, 2))[:, None, None], cov, 0.0)


def _beyond(points: TiePoints, off: Any, spread: Any, sigmas: float, floor: float) -> Bools:
    """Residuals longer than so many standard deviations and than a floor in target pixels."""
    known = np.isfinite(off).all(1)
    pixel = _pixel(points)
    # Mahalanobis distance: along an edge the covariance of a window allows larger residuals.
    wide = spread + (1e-9 * pixel) ** 2 * np.eye(2)
    square = np.einsum("ni,ni->n", off, np.linalg.solve(wide, np.nan_to_num(off)[..., None])[..., 0])
    return np.asarray(known & (square > sigmas**2) & (np.hypot(*off.T) > floor * pixel))


def _pixel(points: TiePoints) -> float:
    """Length of a target pixel, CRS units, from corrections in both units."""
    pixels, units = np.hypot(points.dcol, points.drow), np.hypot(points.dx, points.dy)
    known = np.isfinite(pixels) & (pixels > 0)
    return float(np.median(units[known] / pixels[known])) if known.any() else 1.0
