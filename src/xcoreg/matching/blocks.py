"""Blocks of two elevation models, each with its own correction; the model fitted to them and its residual heights."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from xcoreg import lazy
from xcoreg.core import Floats
from xcoreg.core.dem import DemWindow, ElevationMatcher, Terms
from xcoreg.core.dem.acceptance import check_relief
from xcoreg.core.dem.correlated import find_trend, is_coherent
from xcoreg.core.dem.equations import Spread, spread_of
from xcoreg.core.matches import Status
from xcoreg.core.models.base import Degenerate, Model, Translation, to_tuples
from xcoreg.core.models.fit import KINDS, Choice, HorizontalVertical, assess_model, choose_heights, choose_model
from xcoreg.core.models.regions import Regions
from xcoreg.core.models.triangulation import Piecewise
from xcoreg.errors import GridError, MatchError
from xcoreg.georef import linear_of, map_to_pixel, pixel_to_map, vector_to_map, vector_to_pixel
from xcoreg.matching.elevation import overlap_patches, solve_overlap, to_metres
from xcoreg.matching.options import LocalOptions
from xcoreg.matching.regions import choice_of, explains_blocks, find_regions
from xcoreg.matching.scene import Scene
from xcoreg.matching.windows import Search, WindowMatches, flag_beyond, match_many, to_points
from xcoreg.results.tiepoints import TiePoints

# Positions per axis at which a mask is sampled within a block, and the share that counts as masked if less is left.
_SAMPLES, _UNMASKED = 9, 0.1


def block_grid(scene: Scene, spacing: float) -> Floats:
    """Place blocks side by side over the whole overlap, about `spacing` target px apart: -> (n, 2) float64."""
    affine = scene.target.grid.affine
    corners = shapely.get_coordinates(scene.extent)
    axes, half = [], []
    for at in map_to_pixel(affine, corners[:, 0], corners[:, 1]):
        low, span = at.min(), float(np.ptp(at))
        n = max(round(span / spacing), 1)
        axes.append(low + (np.arange(n) + 0.5) * span / n)
        half.append(span / n / 2)
    x, y = pixel_to_map(affine, *(part.ravel() for part in np.meshgrid(*axes)))
    signs = np.array([-1, 1, 1, -1]), np.array([-1, -1, 1, 1])
    off_x, off_y = vector_to_map(linear_of(affine), signs[0] * half[0], signs[1] * half[1])
    squares = shapely.polygons(np.stack([x[:, None] + off_x, y[:, None] + off_y], -1))
    meets = shapely.intersects(scene.overlap, squares)
    if not meets.any():
        raise GridError("no block meets the overlap of both elevation models")
    return np.stack([x[meets], y[meets]], -1)


def block_points(scene: Scene, options: LocalOptions, places: Floats, size: int) -> TiePoints:
    """Match blocks, starting at the correction that fits all of them best: places (n, 2) float."""
    terms = options.terms or Terms(shift=True)
    guess, side = np.array(scene.start), None
    refusal = None if terms.shift else check_relief(overlap_patches(scene), np.zeros(2), shifted=False)
    if terms.shift:
        whole = solve_overlap(scene, options, replace(terms, ramp=0, classic=False)).found
        if whole.status is Status.OK:
            guess, side = np.stack(vector_to_map(scene.linear, *whole.move)), whole.side
        elif whole.status in (Status.NOT_IMPROVED, Status.DISAGREES):
            refusal = whole.refusal
    limit = scene.search_limit(options.max_shift)
    search = Search(size, ElevationMatcher(terms, np.inf if limit is None else limit, to_metres(scene), side))
    with lazy.progress_bar(len(places), "matching", "window", options.progress) as bar:
        done = bar.update if options.progress else None
        found = match_many(scene, places, np.broadcast_to(guess, places.shape), search, done)
    found.set_status(_masked(scene, found), Status.MASKED)
    if refusal is not None:
        found.set_status(np.flatnonzero(found.matches.ok), refusal.status)
        if options.errors == "raise":
            text = f"no trustworthy match: {refusal.reason}; {len(places)} blocks tried; {refusal.cure}"
            raise MatchError(text, to_points([found], scene))
    return flag_beyond(to_points([found], scene).on_grid(scene.target.grid), options.max_shift, scene.start)


def _masked(scene: Scene, found: WindowMatches) -> NDArray[np.intp]:
    """Find blocks without data that a mask covers."""
    empty = np.flatnonzero(found.matches.status == Status.NO_DATA)
    mask: Callable[..., Any] | None = scene.mask
    if mask is None or not empty.size:
        return empty[:0]
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    dx, dy = vector_to_map(scene.linear, *(found.size * part.ravel() for part in np.meshgrid(steps, steps)))
    x, y = found.x[empty, None] + dx, found.y[empty, None] + dy
    unmasked = np.asarray(mask(x, y), bool).mean(1)
    return np.asarray(empty[unmasked < _UNMASKED])


# Side of the pieces over which the shift of a model counts as constant, px, and the margin read around them.
_PIECE, _MARGIN = 64, 4
# A more complex model must reduce the NMAD of heights to this share, regions once more; sharpness of triangulated ones.
_WORTH, _SEAM, _SHARP = 0.99, 0.95, (1.0, 3.0, 12.0)
# Mean of the blocks' squared deviations over their variances, clipped, that noise alone does not reach: shift, height.
_BEYOND, _CLIP = (3.0, 2.0), 25.0
_FAR = 12.0  # the same of shifts where neighbours need not deviate alike: seams between blocks
_ENOUGH = 160  # so many pieces are compared, evenly selected


@dataclass(frozen=True)
class Comparison:
    """Reference minus target at so many pixels, evenly selected, before and after a correction."""

    count: int
    before: Spread
    after: Spread
    notes: tuple[str, ...] = ()


def choose_block_model(scene: Scene, points: TiePoints, model: Any, terms: Terms) -> tuple[Choice, Comparison]:
    """Fit models of shift and height to blocks; of several, choose by the residual heights."""
    first = fit_blocks(points, model, terms)
    choices, plain = [first], None
    auto = isinstance(model, str) and model == "auto"
    if auto and any(torn := _beyond_noise(points, first.model)):
        with contextlib.suppress(Degenerate):
            choices += _torn_models(points, first, terms, torn)
    if auto and (plain := _without_noise(points, first, torn)) is not None:
        kinds: list[str] = [getattr(one.model, "vertical", one.model).kind for one in (plain, first)]
        choices = [plain] if len(choices) == 1 and kinds[0] == kinds[1] else [*choices, plain]
    windows = overlap_patches(scene)
    compared = compare_heights(scene, [choice.model for choice in choices], windows)
    best = 0
    for at, comparison in enumerate(compared):
        if comparison.after.nmad < _WORTH * compared[best].after.nmad:
            best = at
    regions = find_regions(scene, windows, points, terms) if auto and not (terms.ramp or terms.classic) else None
    if regions is not None:
        (own,) = compare_heights(scene, [regions], windows)
        # Better than any other where these were fitted, or where they were not, or than those that follow no noise.
        least = compared[0 if explains_blocks(regions, points, terms) else best].after.nmad
        least = max(least, _SEAM * compared[-1].after.nmad if plain is not None else 0.0)
        if own.after.nmad < _WORTH * least:
            return choice_of(regions, points, first), own
    if plain is None or len(choices) == 1:
        return choices[best], compared[best]
    # Heights without the noise that blocks share leave more between the models, and less errors.
    return plain, replace(compared[-1], notes=(_note(points, plain.model),))


_FEWEST, _DISTORTED = 6, ("spline", "piecewise")  # blocks that noise is told from trends by; kinds of distorted places


def _without_noise(points: TiePoints, first: Choice, torn: tuple[bool, bool]) -> Choice | None:
    """Heights that do not follow noise that blocks share; None where places are distorted, or heights along lines.

    torn : Whether shifts, and heights, differ from block to block by more than their noise.
    """
    ok, both = points.ok, first.model
    if not isinstance(both, HorizontalVertical) or ok.sum() < _FEWEST or not np.ptp(points.dz[ok]):
        return None
    x, y, dz = points.x[ok], points.y[ok], points.dz[ok]
    if torn[0] or both.horizontal.kind in _DISTORTED:
        return None
    bent = torn[1] or both.vertical.kind in _DISTORTED
    trend = find_trend(x, y, dz, both.predict_dz(x, y), directions=bent)
    if trend.lines:
        return None
    own: Any = both.vertical
    at = KINDS.index(own.kind)
    kind = KINDS[trend.order if own.kind in _DISTORTED else min(trend.order, at)]
    if kind != own.kind:
        own = choose_heights(kind, x, y, dz, points.cov_z[ok, 2]).model
    cov: Any = trend.effect * np.asarray(own.cov)
    own = replace(own, cov=to_tuples(cov) if isinstance(own, Translation) else cov)
    table = [row | {"chosen": row["kind"] == kind} if row["component"] == "dz" else row for row in first.table]
    return replace(first, model=HorizontalVertical(both.horizontal, own), table=table)


def _note(points: TiePoints, model: Any) -> str:
    ok = points.ok
    left = spread_of([points.dz[ok] - model.predict_dz(points.x[ok], points.y[ok])]).nmad
    return (
        f"heights of blocks vary by {left:.2g} (NMAD) as errors do that neighbours share: no field follows them, but "
        f"{model.vertical.kind}; give model='spline' or 'piecewise' to follow them"
    )


def _torn_models(points: TiePoints, first: Choice, terms: Terms, torn: tuple[bool, bool]) -> list[Choice]:
    """Triangulated models, of places and heights that differ from block to block by more than their noise.

    Heights are compared on pixels that the blocks were fitted to, where any model of many blocks follows the noise.
    """
    linear = fit_blocks(points, "piecewise", terms)
    plain_model: Any = first.model
    own, made = (plain_model.horizontal, plain_model.vertical), []
    for sharp in _SHARP:
        every: Any = linear.model
        parts = [
            (replace(part, sharp=sharp) if isinstance(part, Piecewise) else part) if use else plain
            for part, plain, use in zip((every.horizontal, every.vertical), own, torn, strict=True)
        ]
        made.append(replace(linear if torn[0] else first, model=HorizontalVertical(*parts)))
    return made


def _beyond_noise(points: TiePoints, model: Any) -> tuple[bool, bool]:
    """Whether shifts, and heights, of blocks leave a model by more than their covariances allow.

    Noise makes shifts of small blocks vary more than they know, but neighbours not alike.
    """
    ok = points.ok
    x, y = points.x[ok], points.y[ok]
    dx, dy = model.predict(x, y)
    off = np.stack([points.dx[ok] - dx, points.dy[ok] - dy], -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cov = np.where(np.isfinite(points.cov[ok]), points.cov[ok], np.eye(2) * 1e12)
        flat = np.array([part @ np.linalg.pinv(one) @ part / 2 for part, one in zip(off, cov, strict=True)])
        high = (points.dz[ok] - model.predict_dz(x, y)) ** 2 / points.cov_z[ok, 2]
    both = (np.clip(np.nan_to_num(part), 0, _CLIP) for part in (flat, high))
    far = [float(part.mean()) if len(part) else 0.0 for part in both]
    unit = off / np.sqrt(np.maximum(np.diagonal(cov, axis1=1, axis2=2), 1e-30))
    bent = isinstance(model, HorizontalVertical) and model.horizontal.kind in _DISTORTED
    places = far[0] > _BEYOND[0] and (bent or far[0] > _FAR or is_coherent(x, y, unit))
    return bool(places), far[1] > _BEYOND[1]


def fit_blocks(points: TiePoints, model: Any, terms: Terms) -> Choice:
    """Fit one model to the shifts of blocks, and one to their heights."""
    ok = points.ok
    x, y = points.x[ok], points.y[ok]
    columns = x, y, points.dx[ok], points.dy[ok], points.cov[ok]
    if not terms.shift:
        flat = assess_model("translation", *columns)
        flat = replace(flat, model=Translation(0.0, 0.0, cov=((0.0, 0.0), (0.0, 0.0))), warnings=())
    else:
        flat = choose_model(*columns) if isinstance(model, str) and model == "auto" else assess_model(model, *columns)
    heights = choose_heights(copy.deepcopy(model), x, y, points.dz[ok], points.cov_z[ok, 2])
    rows = [{**row, "component": "dx, dy"} for row in flat.table]
    rows += [{**row, "component": "dz"} for row in heights.table]
    return replace(flat, model=HorizontalVertical(flat.model, heights.model), table=rows)


def compare_heights(
    scene: Scene, models: Sequence[Model], windows: Sequence[DemWindow] | None = None
) -> list[Comparison]:
    """Compare the heights of two elevation models before and after the corrections of some models."""
    west, south, east, north = scene.extent.bounds
    origin = (west + east) / 2, (south + north) / 2
    before: list[Floats] = []
    after: list[list[Floats]] = [[] for _ in models]
    pieces = [piece for patch in windows or overlap_patches(scene) for piece in _pieces(patch)]
    for piece in pieces[:: -(-len(pieces) // _ENOUGH)] if pieces else []:
        before.append(piece.observe(np.zeros(2), ref_slopes_only=True).dh)
        for model, residuals in zip(models, after, strict=True):
            residuals.append(_height_residuals(piece, model, scene.linear, origin))
    first = spread_of(before)
    return [Comparison(sum(len(part) for part in residuals), first, spread_of(residuals)) for residuals in after]


def _height_residuals(piece: DemWindow, model: Model, linear: Any, origin: tuple[float, float]) -> Floats:
    """Subtract the corrected target from the reference: one shift for a piece, dz bilinear over it."""
    if isinstance(model, Regions):
        return _residuals_by_region(piece, model, linear, origin)
    rows, cols = piece.shape
    corners = np.array([0, cols - 1, (rows - 1) * cols, rows * cols - 1])
    x, y = vector_to_map(linear, *piece.positions(corners))
    x, y = x + origin[0], y + origin[1]
    dx, dy = (float(part) for part in model.predict(x.mean(), y.mean()))
    seen = piece.observe(np.stack(vector_to_pixel(linear, dx, dy)), ref_slopes_only=True)
    # The correction is evaluated at the position in the uncorrected target.
    heights = model.predict_dz(x - dx, y - dy).reshape(2, 2)
    down, across = seen.at // cols / max(rows - 1, 1), seen.at % cols / max(cols - 1, 1)
    top, bottom = (line[0] + (line[1] - line[0]) * across for line in heights)
    return np.asarray(seen.dh - (top + (bottom - top) * down), np.float32)


def _residuals_by_region(piece: DemWindow, model: Regions, linear: Any, origin: tuple[float, float]) -> Floats:
    x, y = vector_to_map(linear, *piece.positions(np.arange(piece.ref.size)))
    x, y = x + origin[0], y + origin[1]
    region = model.regions(x - model.values[:, 0].mean(), y - model.values[:, 1].mean())
    parts = []
    for k in np.unique(region):
        dx, dy, dz = model.values[k]
        seen = piece.observe(np.stack(vector_to_pixel(linear, dx, dy)), ref_slopes_only=True)
        parts.append(seen.dh[region[seen.at] == k] - np.float32(dz))
    return np.concatenate(parts)


def _pieces(patch: DemWindow) -> list[DemWindow]:
    """Cut a window into pieces that overlap by the margin that interpolation needs."""
    rows, cols = patch.shape
    out = []
    for row, col in product(range(0, rows, _PIECE), range(0, cols, _PIECE)):
        top, left = max(row - _MARGIN, 0), max(col - _MARGIN, 0)
        cut = slice(top, row + _PIECE + _MARGIN), slice(left, col + _PIECE + _MARGIN)
        height, width = patch.ref[cut].shape
        x = patch.centre[0] + left + (width - 1) / 2 - (cols - 1) / 2
        y = patch.centre[1] + top + (height - 1) / 2 - (rows - 1) / 2
        both = patch.tgt[cut], patch.ref[cut], patch.tgt_valid[cut], patch.ref_valid[cut]
        out.append(DemWindow(*both, (x, y), patch.base, patch.level))
    return out
