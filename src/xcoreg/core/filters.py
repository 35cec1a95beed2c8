"""How far shifts lie from what their neighbours say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

__all__ = ["neighbour_residuals"]

_NEAREST = 12
# A plane takes three of the neighbours; with fewer than this a median is all that can be had.
_PLANE = 7
_ROUNDS = 6
# Tukey's biweight gives up on what lies beyond this many standard deviations.
_TUKEY = 4.685
_MAD = 1.4826


def neighbour_residuals(places: Floats, moves: Floats, use: Bools | None = None) -> tuple[Floats, Floats]:
    """Compare every shift with a robust plane through those of its nearest neighbours.

    Parameters
    ----------
    places : (n, 2) float
        Positions, any unit.
    moves : (n, 2) float
        Shifts, any unit; rows that are not finite have no residual and are nobody's neighbours.
    use : (n,) bool, optional
        Who counts as a neighbour; default all.

    Returns
    -------
    residual : (n, 2) float64
        Shift minus what up to 12 neighbours predict for its place, itself not among them; NaN without neighbours.
    scatter : (n,) float64
        Standard deviation, per axis, that the neighbours let expect for it: their own spread about the plane
        (1.4826 MAD) and the uncertainty of the plane there.

    Examples
    --------
    >>> places = np.array([(x, y) for x in range(5) for y in range(5)], float)
    >>> moves = places * 0.1
    >>> moves[12] += 3
    >>> residual, scatter = neighbour_residuals(places, moves)
    >>> residual[12].round(6).tolist(), bool(np.abs(np.delete(residual, 12, 0)).max() < 1e-6)
    ([3.0, 3.0], True)
    """
    n = len(places)
    residual, scatter = np.full((n, 2), np.nan), np.full(n, np.nan)
    finite = np.isfinite(moves).all(1)
    known = np.flatnonzero(finite if use is None else finite & use)
    ask = np.flatnonzero(finite)
    if len(known) < 2 or not len(ask):
        return residual, scatter
    index, far = _neighbours(places, ask, known)
    scale = np.maximum(np.where(far > 0, far, 0).max(1, keepdims=True), 1e-300)
    offset = (places[index] - places[ask][:, None]) / scale[..., None]
    told, spread = _planes(offset, moves[index])
    residual[ask] = moves[ask] - told
    scatter[ask] = spread
    return residual, scatter


def _neighbours(places: Floats, ask: NDArray[np.intp], known: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
    """Find the nearest known places, none of them the place itself: (m, k) indices and distances."""
    from scipy.spatial import cKDTree

    count = min(_NEAREST, len(known) - 1)
    far, near = cKDTree(places[known]).query(places[ask], k=range(1, count + 2))
    index = known[near]
    # The place itself comes first where it is known at all, yet another may share its position.
    own = index == ask[:, None]
    own[~own.any(1), -1] = True
    keep = ~own
    return index[keep].reshape(len(ask), count), far[keep].reshape(len(ask), count)


def _planes(offset: Floats, moves: Floats) -> tuple[Floats, Floats]:
    """Robust value at offset zero, (m, 2), and its standard deviation together with the spread about the plane."""
    count = moves.shape[1]
    middle = np.median(moves, axis=1)
    if count < _PLANE:
        spread = _MAD * np.median(np.abs(moves - middle[:, None]), axis=1)
        return middle, np.hypot(*spread.T) / np.sqrt(2) * np.sqrt(1 + 1.5 / count)
    design = np.concatenate([np.ones((*offset.shape[:2], 1)), offset], -1)
    weight = np.ones(moves.shape[:2])
    left = moves - middle[:, None]
    for turn in range(_ROUNDS):
        length = np.hypot(left[..., 0], left[..., 1])
        # The median radius of two normal deviates is 1.1774 of their standard deviation.
        spread = np.median(length, axis=1) / 1.1774 * (count / (count - 3) if turn else 1)
        limit = _TUKEY * np.maximum(spread, 1e-12 * (1 + np.abs(middle).max(1)))[:, None]
        weight = np.clip(1 - (length / limit) ** 2, 1e-6, None) ** 2
        normal = np.einsum("nk,nki,nkj->nij", weight, design, design) + 1e-9 * np.eye(3)
        right = np.einsum("nk,nki,nkj->nij", weight, design, moves)
        plane = np.linalg.solve(normal, right)
        left = moves - design @ plane
    length = np.hypot(left[..., 0], left[..., 1])
    spread = np.median(length, axis=1) / 1.1774 * count / (count - 3)
    leverage = np.linalg.inv(normal)[:, 0, 0]
    return plane[:, 0], spread * np.sqrt(1 + leverage)
