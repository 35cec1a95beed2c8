"""Matching many windows: cut both images, match, cut the reference again at the answer until it stays."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core.dem import cov3_to_map
from xcoreg.core.matcher import similarity_after
from xcoreg.core.matches import Matches, Status
from xcoreg.core.quality import likeness
from xcoreg.errors import OptionError
from xcoreg.georef import cov_to_map, linear_of, map_to_pixel, vector_to_map, vector_to_pixel
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xcoreg.engine.scene import Scene
    from xcoreg.plan.cutter import Cut

    Floats = NDArray[np.floating]

__all__ = ["Trials", "match_windows", "to_points"]

# The reference is cut again at the answer this many times at most, where the answer lies off the window by this, px.
_RECUTS, _OFF = 3, 0.6


class Trials:
    """Matches of some windows with their places.

    Attributes
    ----------
    matches : Matches
        The last match of every window, px of the matching lattice, relative to `base`.
    x, y : (n,) float64
        Centres in the target, CRS units of the target.
    dx, dy : (n,) float64
        Whole corrections, CRS units of the target.
    size : int
        Side of the windows, px of the matching lattice.
    """

    def __init__(self, x: Floats, y: Floats, size: int, n: int) -> None:
        self.x, self.y, self.size = x, y, size
        self.dx, self.dy = np.full(n, np.nan), np.full(n, np.nan)
        self.matches = Matches(np.full(n, np.nan), np.full(n, np.nan), status=np.full(n, Status.NO_DATA))

    @classmethod
    def joined(cls, parts: list[Trials], order: list[NDArray[np.intp]]) -> Trials:
        """Put groups of windows of one size together; `order` tells the place of each of them."""
        index = np.argsort(np.concatenate(order))
        names = ("x", "y", "dx", "dy")
        x, y, dx, dy = (np.concatenate([getattr(part, name) for part in parts])[index] for name in names)
        out = cls(x, y, parts[0].size, len(index))
        out.dx, out.dy = dx, dy
        out.matches = Matches.concatenate([part.matches for part in parts]).take(index)
        return out

    def take(self, index: NDArray[np.intp]) -> Trials:
        """Take some of the windows."""
        out = Trials(self.x[index], self.y[index], self.size, len(index))
        out.dx, out.dy, out.matches = self.dx[index], self.dy[index], self.matches.take(index)
        return out

    def put(self, index: NDArray[np.intp], matches: Matches, dx: Floats, dy: Floats) -> None:
        """Replace the rows of some windows."""
        keep = np.setdiff1d(np.arange(len(self.x)), index)
        both = Matches.concatenate([self.matches.take(keep), matches])
        self.matches = both.take(np.argsort(np.concatenate([keep, index])))
        self.dx[index], self.dy[index] = dx, dy

    def doubt(self, index: NDArray[np.intp], status: Status) -> None:
        """Give some windows a status."""
        statuses = self.matches.status.copy()
        statuses[index] = status
        self.matches = replace(self.matches, status=statuses)


def match_windows(
    scene: Scene,
    places: Floats,
    size: int,
    guess: Floats,
    match: Callable[..., Any],
    scout: Callable[..., Floats] | None = None,
    *,
    as_came: bool = False,
) -> Trials:
    """Match windows at some places.

    Parameters
    ----------
    scene : Scene
    places : (n, 2) float
        Centres, CRS units of the target.
    size : int
        Side, px of the matching lattice.
    guess : (n, 2) float
        Corrections to begin with, CRS units of the target.
    match : callable
        The matcher.
    scout : callable, optional
        Takes what the matcher takes, and tells whole-pixel corrections (n, 2) cheaply: where they are not zero the
        reference is cut again before the matcher sees it.
    as_came : bool
        Let `ssim_before` tell of the images as they came, not of what the guess makes of them.

    Returns
    -------
    Trials
    """
    target = scene.target_cutter.cut(places[:, 0], places[:, 1], size)
    trials = Trials(target.x, target.y, size, len(places))
    index, at = np.arange(len(places)), np.array(guess, np.float64)
    cut = scene.reference_cutter.cut(target.x + at[:, 0], target.y + at[:, 1], size)
    heights = bool(getattr(match, "heights", False))
    before = np.full(len(places), np.nan)
    if not heights:
        uncorrected = scene.reference_cutter.cut(target.x, target.y, size) if as_came and at.any() else cut
        before[:] = likeness(uncorrected.values, target.values, uncorrected.valid & target.valid)
    if scout is not None:
        cut = _scouted(scene, target, cut, scout)
    for _ in range(_RECUTS):
        answer = match(cut.values, target.values[index], cut.valid, target.valid[index])
        try:
            matches = Matches.coerce(answer, len(index))
        except ValueError as error:
            raise OptionError(f"the matcher's answer cannot be used: {error}") from error
        if heights:
            matches = replace(matches, dz=matches.dz + cut.level - target.level[index])
        else:
            matches = replace(_compared(matches, cut, target, index), ssim_before=before[index])
        step = vector_to_map(scene.linear, matches.dcol, matches.drow)
        at[index] = np.stack([cut.x - target.x[index] + step[0], cut.y - target.y[index] + step[1]], -1)
        trials.put(index, matches, at[index, 0], at[index, 1])
        off = np.maximum(np.abs(matches.dcol), np.abs(matches.drow)) > _OFF
        index = index[off & matches.ok]
        if not index.size:
            return trials
        cut = scene.reference_cutter.cut(target.x[index] + at[index, 0], target.y[index] + at[index, 1], size)
    trials.doubt(index, Status.NOT_CONVERGED)
    return trials


def _scouted(scene: Scene, target: Cut, cut: Cut, scout: Callable[..., Floats]) -> Cut:
    """Cut the windows of the reference again where a cheap look tells that they lie elsewhere."""
    whole = scout(cut.values, target.values, cut.valid, target.valid)
    index = np.flatnonzero(whole.any(1))
    if not index.size:
        return cut
    dx, dy = vector_to_map(scene.linear, whole[index, 0], whole[index, 1])
    again = scene.reference_cutter.cut(cut.x[index] + dx, cut.y[index] + dy, cut.values.shape[-1])
    columns = {f.name: getattr(cut, f.name).copy() for f in fields(cut)}
    for name, column in columns.items():
        column[index] = getattr(again, name)
    return replace(cut, **columns)


def _compared(matches: Matches, cut: Cut, target: Cut, index: NDArray[np.intp]) -> Matches:
    """Add the similarities that a user's matcher leaves out."""
    known = np.isfinite(matches.ssim_after) | ~np.isfinite(matches.dcol) | ~np.isfinite(matches.drow)
    if known.all():
        return matches
    move = np.nan_to_num(np.stack([matches.dcol, matches.drow], -1))
    after = similarity_after(cut.values, target.values[index], cut.valid, target.valid[index], move)
    return replace(matches, ssim_after=np.where(known, matches.ssim_after, after))


def to_points(trials: list[Trials], scene: Scene, *, centroids: bool = False) -> TiePoints:
    """Tie points of all windows, in map units and target pixels.

    Parameters
    ----------
    trials : list of Trials
    scene : Scene
    centroids : bool
        Place each point where its window has data, not at the centre: in a field that matters.

    Returns
    -------
    TiePoints
    """
    affine = scene.target.grid.affine
    own = linear_of(affine)
    matches = Matches.concatenate([trial.matches for trial in trials])
    x, y, dx, dy = (np.concatenate([getattr(trial, name) for trial in trials]) for name in ("x", "y", "dx", "dy"))
    if centroids:
        off = vector_to_map(scene.linear, matches.middle_col, matches.middle_row)
        x, y = x + off[0], y + off[1]
    scale = np.sqrt(abs(scene.linear[0] * scene.linear[3] - scene.linear[1] * scene.linear[2]))
    scale = scale / np.sqrt(abs(own[0] * own[3] - own[1] * own[2]))
    size = np.concatenate([np.full(len(trial.x), round(trial.size * scale)) for trial in trials])
    col, row = map_to_pixel(affine, x, y)
    dcol, drow = vector_to_pixel(own, dx, dy)
    columns = {
        name: getattr(matches, name) for name in ("score", "reliability", "ssim_before", "ssim_after", "dz", "status")
    }
    if np.isfinite(matches.count).any():
        columns |= {name: getattr(matches, name) for name in ("count", "nmad_before", "nmad_after")}
        both = np.concatenate([matches.cov, matches.cov_z[:, None, :2]], axis=1)
        whole = cov3_to_map(scene.linear, np.concatenate([both, matches.cov_z[:, :, None]], axis=2))
        cov, columns["cov_z"] = whole[:, :2, :2], whole[:, 2]
    else:
        with np.errstate(invalid="ignore"):  # infinite variances
            cov = cov_to_map(scene.linear, matches.cov)
    return TiePoints(
        np.arange(len(x)),
        row,
        col,
        x,
        y,
        dx,
        dy,
        dcol,
        drow,
        cov=cov,
        size=size,
        crs_wkt=scene.target.grid.crs.to_wkt() if scene.target.grid.crs is not None else None,
        **columns,
    )
