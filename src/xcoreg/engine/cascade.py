"""From the whole image to small windows: what large, sparse windows tell is where small ones begin to look."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xcoreg.core.matches import Status
from xcoreg.core.robust import neighbour_residuals
from xcoreg.engine.many import Search, match_many
from xcoreg.georef import vector_to_pixel
from xcoreg.plan.choose import overlap_size
from xcoreg.plan.layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xcoreg.engine.scene import Scene
    from xcoreg.engine.trials import Trials

    Floats = NDArray[np.floating]

__all__ = ["Guess", "guess_field"]

logger = logging.getLogger("xcoreg")

# Anchors along the longer side of the overlap, level by level.
_ALONG = (6, 12, 24)
_ANCHOR, _LARGEST = 256, 1024
# A guess is good enough for windows of which its error is this part, and no level is worth less than this, px.
_GOOD_SHARE, _GOOD = 0.05, 1.5
# Search beyond the guess: this many times its typical error, and this many px at least.
_TIMES, _LEAST = 4.0, 4.0
# Fewer anchors than this say nothing together.
_FEWEST = 3
_NEAREST = 4
# An anchor that lies this far from its neighbours, matching px, and this many times their scatter, is left out.
_OFF_CASCADE, _OFF_SIGMAS = 3.0, 6.0


@dataclass(frozen=True, eq=False)
class Guess:
    """A rough field of corrections.

    Attributes
    ----------
    places : (n, 2) float64
        Anchors, CRS units of the target; none when nothing is known.
    moves : (n, 2) float64
        Their corrections, CRS units of the target.
    error : float
        Typical error between the anchors, px of the matching lattice; NaN when nothing is known.
    repeats : bool
        Whether most anchors sit on a repetitive pattern: small windows could not even tell that.
    """

    places: Floats
    moves: Floats
    error: float
    repeats: bool = False

    def at(self, places: Floats) -> Floats:
        """Corrections (n, 2) at some places: the median of the nearest anchors, weighted towards the nearer ones."""
        if not len(self.places):
            return np.zeros((len(places), 2))
        return interpolate(self.places, self.moves, places)

    def reach(self, size: int, limit: float | None) -> float:
        """How far windows of a size have to look beyond the guess, px of the matching lattice."""
        widest = 0.4 * size if limit is None else min(0.4 * size, limit)
        if not np.isfinite(self.error):
            return widest
        return float(min(max(_TIMES * self.error + 1, _LEAST), 0.4 * size))


def interpolate(known: Floats, moves: Floats, places: Floats) -> Floats:
    """Interpolate vectors by a plane through the nearest neighbours, weighted by nearness.

    Parameters
    ----------
    known : (m, 2) float
        Places of the vectors.
    moves : (m, 2) float
    places : (n, 2) float

    Returns
    -------
    (n, 2) float64

    Examples
    --------
    >>> known = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2], [4, 0]])
    >>> interpolate(known, known * 0.5, np.array([[1.0, 1.0]])).round(3).tolist()
    [[0.5, 0.5]]
    """
    from scipy.spatial import cKDTree

    count = min(2 * _NEAREST, len(known))
    distance, index = cKDTree(known).query(places, k=range(1, count + 1))
    near = np.maximum(distance[:, -1:], 1e-9 * (1 + np.abs(places).max(initial=0)))
    weight = np.clip(1 - (distance / (1.001 * near)) ** 3, 1e-3, None) ** 3
    mean = (weight[..., None] * moves[index]).sum(1) / weight.sum(1)[:, None]
    if count < 2 * _NEAREST:
        return np.asarray(mean)
    offset = (known[index] - places[:, None]) / near[..., None]
    centre = (weight[..., None] * offset).sum(1) / weight.sum(1)[:, None]
    apart = offset - centre[:, None]
    normal = np.einsum("nk,nki,nkj->nij", weight, apart, apart)
    # A little of nothing keeps neighbours in one line from being taken for a plane.
    normal += 0.02 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(2)
    right = np.einsum("nk,nki,nkj->nij", weight, apart, moves[index] - mean[:, None])
    slope = np.linalg.solve(normal, right)
    return np.asarray(mean - np.einsum("ni,nij->nj", centre, slope))


def guess_field(
    scene: Scene, spacing: float, size: int, make: Callable[[int, float | None], Search], limit: float | None
) -> Guess:
    """Find a rough field by sparse windows, level by level, until it is good enough for the small ones.

    Parameters
    ----------
    scene : Scene
    spacing : float
        Of the small windows, target px: anchors are not set denser.
    size : int
        Side of the small windows, px of the matching lattice.
    make : function (size, radius) -> Search
        Gives the way of matching windows; radius None: as far as they can hold.
    limit : float, optional
        Largest correction, px of the matching lattice.

    Returns
    -------
    Guess
    """
    guess = Guess(np.empty((0, 2)), np.empty((0, 2)), float("nan"))
    for along in _ALONG:
        places, side = _anchors(scene, along, size)
        trials = _match_anchors(scene, places, side, guess, make, limit)
        guess = _agreed(trials, scene, guess)
        logger.info("%d anchors of %d px: %s, error %.3g px", len(places), side, trials.matches, guess.error)
        good = guess.error <= max(_GOOD, _GOOD_SHARE * size)
        step = max(overlap_size(scene.overlap, scene.linear)) / along
        if good or step < 2 * spacing or len(places) <= _FEWEST:
            break
    return guess


def _anchors(scene: Scene, along: int, size: int) -> tuple[Floats, int]:
    """Places of a level and the side of its windows."""
    affine = scene.target.grid.affine
    cols, rows = overlap_size(scene.overlap, scene.linear)
    side = int(min(max(size, _ANCHOR), max(min(cols, rows), size)))
    pixels = max(overlap_size(scene.overlap, (affine.a, affine.b, affine.d, affine.e)))
    places = lay_out(scene.overlap, scene.extent, affine, scene.linear, max(pixels / along, 1.0), side)
    return places, side


def _match_anchors(
    scene: Scene,
    places: Floats,
    side: int,
    guess: Guess,
    make: Callable[[int, float | None], Search],
    limit: float | None,
) -> Trials:
    """Match the windows of a level; larger ones where next to none of them could be matched."""
    first = guess.at(places)
    reach = None if np.isnan(guess.error) else max(guess.reach(side, limit), 0.1 * side)
    trials = match_many(scene, places, first, make(side, reach))
    room = max(overlap_size(scene.overlap, scene.linear))
    while int(trials.matches.ok.sum()) < _FEWEST and 2 * side <= min(room, _LARGEST):
        side *= 2
        few = places[:: max(1, len(places) // 9)]
        again = match_many(scene, few, guess.at(few), make(side, None))
        if int(again.matches.ok.sum()) > int(trials.matches.ok.sum()):
            trials = again
    return trials


def _agreed(trials: Trials, scene: Scene, before: Guess) -> Guess:
    """Keep anchors that agree with their neighbours, and tell how well neighbours predict each other."""
    ok = trials.matches.ok
    if int((trials.matches.status == Status.AMBIGUOUS).sum()) > int(ok.sum()):
        return replace(before, repeats=np.isnan(before.error))
    if int(ok.sum()) < _FEWEST:
        return before
    places = np.stack([trials.x, trials.y], -1)[ok]
    moves = np.stack([trials.dx, trials.dy], -1)[ok]
    pixels = np.stack(vector_to_pixel(scene.linear, *moves.T), -1)
    off, scatter = neighbour_residuals(places, pixels)
    length = np.hypot(*off.T)
    keep = length <= np.maximum(_OFF_CASCADE, _OFF_SIGMAS * scatter)
    if int(keep.sum()) < _FEWEST:
        return before
    error = float(np.percentile(length[keep], 75))
    return Guess(places[keep], moves[keep], error)
