"""`match_stack_local`: the network of pairs solved at every tie point, and a field for each date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from xcoreg import lazy
from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.matches import Status
from xcoreg.core.models import Choice, Degenerate, Translation, assess_model, choose_model
from xcoreg.core.network import Network, adjust, to_datum
from xcoreg.errors import MatchError
from xcoreg.filters import run_filters
from xcoreg.georef import (
    cov_to_map,
    linear_of,
    local_displacement,
    map_to_pixel,
    transform_points,
    vector_to_map,
    vector_to_pixel,
)
from xcoreg.georef.crs import unit_of
from xcoreg.matching.field import acceptance
from xcoreg.matching.quality import assessment_of, field_quality
from xcoreg.matching.stack import build_stack, search_pairs
from xcoreg.matching.stack_dates import Stack, prepare_stack
from xcoreg.matching.stack_options import StackLocalOptions
from xcoreg.matching.stack_pairs import Pairing, PairMatch, match_pair
from xcoreg.matching.stack_windows import Frame, frame_of, read_series
from xcoreg.results.coregistration import Coregistration, current_versions
from xcoreg.results.details import Details, Origin
from xcoreg.results.shift import Shift
from xcoreg.results.stack import StackFit
from xcoreg.results.stack_adjust import drift_of
from xcoreg.results.stack_parts import StackDate
from xcoreg.results.tiepoints import TiePoints

_BUDGET = 1 << 29  # bytes of the windows of all dates that are in memory at a time
_SOLVED = 1 << 24  # elements of the normal matrices that are solved together
_NEAR = 4.0  # px: how far windows are searched beyond what the field of the date differs from its mean
_USUAL_SPACING = 0.5  # of the side of windows
_FEWEST = 3


def match_stack_local(images: Any, reference: Any, options: StackLocalOptions) -> StackFit:
    """Match fields of a stack of dates; see :func:`xcoreg.match_stack_local`."""
    stack, given = prepare_stack(images, reference, options)
    stack, table = search_pairs(stack, options, {})
    fit = build_stack(stack, given, table, options)
    accepted = np.flatnonzero(fit.pairs.accepted)
    rank = np.argsort(stack.position)  # of the dates as they were given, in canonical order
    ends = np.stack([rank[fit.pairs.target[accepted]], rank[fit.pairs.reference[accepted]]], -1)
    dense = _dense_frame(stack, options)
    found = _match_everywhere(stack, dense, ends, options)
    move, cov, ok = (np.stack([one[part] for one in found], 1) for part in (0, 1, 2))
    given_ends = stack.position[ends]
    net = Network(len(given), given_ends[:, 0], given_ends[:, 1], np.zeros(len(ends), np.intp), drift_of(fit.dates))
    places, covs, share = _solve_everywhere(net, (move, cov, ok), fit)
    field = np.repeat(fit_places(fit)[None], len(places), axis=0)
    fields = _fields(fit, dense, (_level(places, share, field), covs), options)
    if not np.isfinite(places[:, share > 0]).all():
        field = _predicted(fit, dense, fields)
        fields = _fields(fit, dense, (_level(places, share, field), covs), options)
    dates = tuple(_with_field(one, made) for one, made in zip(fit.dates, fields, strict=True))
    if not any(fields):
        raise MatchError("no date has a trusted field: give less spacing=, larger windows, or use match_stack")
    return replace(fit, dates=dates, fields=tuple(fields))


def _dense_frame(stack: Stack, options: StackLocalOptions) -> Frame:
    """Windows over everything."""
    spacing = options.spacing or _USUAL_SPACING * stack.frame.size
    return frame_of([one.grid for one in stack.dates], stack.frame.size, spacing)


def _blocks(frame: Frame, n: int) -> Iterator[Frame]:
    """Divide the windows of a frame into as many as memory allows for `n` dates."""
    most = max(int(_BUDGET // (n * 5 * (frame.size + 2 * frame.margin) ** 2)), 1)
    for start in range(0, len(frame.places), most):
        yield replace(frame, places=frame.places[start : start + most])


def _match_everywhere(stack: Stack, frame: Frame, ends: Ints, options: StackLocalOptions) -> list[Any]:
    """Match pairs (m, 2) at all windows: a list of (moves (w, 2), covs (w, 2, 2), ok (w,)) for each pair."""
    parts: list[list[Any]] = [[] for _ in ends]
    limit = min(0.4 * frame.size, max(_NEAR, 0.1 * frame.size))
    total = len(ends) * len(list(_blocks(frame, len(stack.dates))))
    with lazy.progress_bar(total, "tie points", "pair", options.progress) as bar:
        for block in _blocks(frame, len(stack.dates)):
            reading = replace(stack.reading, frame=block)
            windows = read_series(stack.dates, reading, range(len(stack.dates)), stack.offsets)
            offsets = [(col, row) for col, row in stack.offsets.tolist()]
            items = [((windows[t], offsets[t]), (windows[r], offsets[r])) for t, r in ends.tolist()]
            pairing = Pairing(block, limit, options.contrast)
            done = bar.update if options.progress else None
            for own, match in zip(parts, lazy.run_tasks(match_pair, pairing, items, done), strict=True):
                own.append(_columns(match))
    return [tuple(np.concatenate([one[part] for one in own]) for part in range(3)) for own in parts]


def _columns(match: PairMatch) -> tuple[Floats, Floats, Bools]:
    found = match.windows
    return np.stack([found.dcol, found.drow], -1), found.cov, found.status == Status.OK


def _solve_everywhere(
    net: Network, pairs: tuple[Floats, Floats, Bools], fit: StackFit
) -> tuple[Floats, Floats, Floats]:
    """Places (w, n, 2) and covariances, px, of all dates at all windows, and the share (n,) of each in the datum."""
    move, cov, ok = pairs
    share = np.array([one.name in fit.datum_dates for one in fit.dates], np.float64)
    share /= max(share.sum(), 1)
    step = max(int(_SOLVED // (2 * net.n) ** 2), 1)
    places, covs = [], []
    for start in range(0, len(move), step):
        part = slice(start, start + step)
        found = adjust(net, move[part], cov[part], ok[part])
        here, spread = to_datum(
            replace(found, places=np.where((found.group == 0)[..., None], found.places, np.nan)), share
        )
        places.append(here)
        covs.append(spread)
    return np.concatenate(places), np.concatenate(covs), share


def _level(places: Floats, share: Floats, field: Floats) -> Floats:
    """Bring tie points (w, n, 2) into one datum where some of the dates that define it are missing.

    There the sum over the others is not zero: it is what their fields (w, n, 2), as far as they are known, say.
    """
    known: Bools = np.asarray(np.isfinite(places).all(-1))
    weight = known * share
    # Without any date of the datum: by all dates that are there.
    weight = np.where(weight.sum(1, keepdims=True) > 0, weight, known)
    off = np.where(known[..., None], field - np.nan_to_num(places), 0.0)
    level = np.einsum("wn,wni->wi", weight, off) / np.maximum(weight.sum(1), 1e-12)[:, None]
    complete = known[:, share > 0].all(axis=1, keepdims=True)
    return np.asarray(places + np.where(complete, 0.0, level)[:, None])


def _predicted(fit: StackFit, frame: Frame, fields: list[Coregistration | None]) -> Floats:
    """Fields (w, n, 2), px of the matching grid, of all dates at all windows; one shift where there is no field."""
    x, y = frame.centres()
    out = np.repeat(fit_places(fit)[None], len(x), axis=0)
    for at, made in enumerate(fields):
        if made is None or made.model is None:
            continue
        own, common = made.grid.crs, frame.grid.crs
        place = (x, y) if own == common else transform_points(common, own, x, y)
        moves = tuple(np.asarray(part, np.float64) for part in made.model.predict(*place))
        moves = moves if own == common else local_displacement(x, y, moves[0], moves[1], own, common)
        out[:, at] = np.stack(vector_to_pixel(frame.linear, *moves), -1)
    return out


def fit_places(fit: StackFit) -> Floats:
    """Corrections (n, 2) of all dates and a reference image, px of the matching grid; 0 where refused."""
    moves = np.array([(one.dx, one.dy) for one in fit.dates], np.float64)
    return np.nan_to_num(np.stack(vector_to_pixel(linear_of(fit.transform), *moves.T), -1))


def _fields(
    fit: StackFit, frame: Frame, found: tuple[Floats, Floats], options: StackLocalOptions
) -> list[Coregistration | None]:
    """Field of every date, None of those that are refused or have none."""
    out: list[Coregistration | None] = []
    places, covs = found
    for at, one in enumerate(fit.dates):
        if one.status is not Status.OK or one.role == "reference":
            out.append(None)
            continue
        points = _tie_points(one, frame, places[:, at], covs[:, at])
        out.append(_field_of(fit, one, run_filters(points, ("neighbours", "model")), options.model))
    return out


def _tie_points(one: StackDate, frame: Frame, places: Floats, covs: Floats) -> TiePoints:
    """Tie points of one date, in the CRS of its image."""
    x, y = frame.centres()
    dx, dy = vector_to_map(frame.linear, *places.T)
    cov = cov_to_map(frame.linear, np.where(np.isfinite(covs), covs, np.nan))
    own, common = one.grid.crs, frame.grid.crs
    # A tie point lies where its content is in the image, before the correction.
    x, y = x - np.nan_to_num(dx), y - np.nan_to_num(dy)
    if own != common:
        x, y = transform_points(common, own, x, y)
        dx, dy = local_displacement(x, y, np.nan_to_num(dx), np.nan_to_num(dy), common, own)
        dx, dy = (np.where(np.isfinite(places[:, 0]), part, np.nan) for part in (dx, dy))
    col, row = map_to_pixel(one.transform, x, y)
    dcol, drow = vector_to_pixel(linear_of(one.transform), dx, dy)
    status = np.where(np.isfinite(dx) & np.isfinite(cov[:, 0, 0]), Status.OK, Status.NO_PEAK)
    size = np.full(len(x), frame.size)
    at = np.arange(len(x)), row, col, x, y
    return TiePoints(*at, dx, dy, dcol, drow, cov=cov, size=size, status=status, crs_wkt=one.crs_wkt)


def _field_of(fit: StackFit, one: StackDate, points: TiePoints, model: Any) -> Coregistration | None:
    status, _ = acceptance(points, None)
    choice: Choice | None = None
    if status is Status.OK and points.ok.sum() >= _FEWEST:
        ok = points.ok
        columns = points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok]
        try:
            choice = choose_model(*columns) if model == "auto" else assess_model(model, *columns)
        except Degenerate:
            return None
    if choice is None:
        return None
    ok, linear = points.ok, linear_of(one.transform)
    mean = Translation.fit(points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
    (xx, xy), (yx, yy) = np.asarray(mean.cov, np.float64)[:2, :2].tolist()
    origin = Origin(one.name, f"stack of {len(fit.names)} dates", fit.date, one.corrections)
    return Coregistration(
        choice.model, points, field_quality(points, choice, linear), status,
        Shift(mean.dx, mean.dy, ((xx, xy), (yx, yy)), linear, unit=unit_of(one.grid.crs)),
        one.crs_wkt, one.transform, one.shape,  # type: ignore[arg-type]
        Details(options=fit.options, ref_grid=fit.grid, assessment=assessment_of(points, choice), origin=origin),
        current_versions(),
    )  # fmt: skip


def _with_field(one: StackDate, made: Coregistration | None) -> StackDate:
    if made is not None or one.status is not Status.OK or one.role == "reference":
        return one
    nothing = ((np.nan, np.nan), (np.nan, np.nan))
    reason = "too few tie points for a field"
    return replace(one, status=Status.NO_PEAK, reason=reason, dx=np.nan, dy=np.nan, cov=nothing)
