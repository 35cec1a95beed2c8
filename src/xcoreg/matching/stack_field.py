"""`match_stack_local`: the network of pairs solved at every tie point, and a field for each date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import lazy
from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.matches import Status
from xcoreg.core.models import Choice, Degenerate, Translation, assess_model, choose_model
from xcoreg.core.models.base import relative_to
from xcoreg.core.network import Network, adjust, to_datum
from xcoreg.errors import MatchError
from xcoreg.filters import run_filters
from xcoreg.georef import (
    cov_to_map,
    cov_to_pixel,
    gsd,
    linear_of,
    local_displacement,
    map_to_pixel,
    transform_points,
    vector_to_map,
    vector_to_pixel,
)
from xcoreg.matching.cutter import linear_in
from xcoreg.matching.field import acceptance
from xcoreg.matching.quality import assessment_of, field_quality, mean_shift, overlap_of, with_shared_errors
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
    # Fields are fitted in one datum, whatever stays in place in the end: in another one their tie points have other
    # weights, and relative fields would depend on it.
    middle = replace(fit, reference_sigma=0.0).adjusted(fit.dates, fit.pairs, tuple(one.name for one in fit.placed))
    places, covs, share = _solve_everywhere(net, (move, cov, ok), middle)
    field = np.repeat(fit_places(middle)[None], len(places), axis=0)
    fields = _fields(middle, dense, (_level(places, share, field), covs), options)
    if not np.isfinite(places[:, share > 0]).all():
        field = _predicted(middle, dense, fields)
        fields = _fields(middle, dense, (_level(places, share, field), covs), options)
    made = _in_datum(fit, fields, options.model)
    dates = tuple(_with_field(*both) for both in zip(fit.dates, made, strict=True))
    if not any(made):
        raise MatchError("no date has a trusted field: give less spacing=, larger windows, or use match_stack")
    return replace(fit, dates=dates, fields=tuple(made))


@dataclass(frozen=True, eq=False)
class _Field:
    """Tie points of a date in the CRS of its image, and the model that was chosen for them; None where none can be."""

    date: StackDate
    points: TiePoints
    choice: Choice
    status: Status


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


def _predicted(fit: StackFit, frame: Frame, fields: list[_Field | None]) -> Floats:
    """Fields (w, n, 2), px of the matching grid, of all dates at all windows; one shift where there is no field."""
    x, y = frame.centres()
    out = np.repeat(fit_places(fit)[None], len(x), axis=0)
    for at, made in enumerate(fields):
        if made is None:
            continue
        own, common = made.date.grid.crs, frame.grid.crs
        place = (x, y) if own == common else transform_points(common, own, x, y)
        moves = tuple(np.asarray(part, np.float64) for part in made.choice.model.predict(*place))
        moves = moves if own == common else local_displacement(x, y, moves[0], moves[1], own, common)
        out[:, at] = np.stack(vector_to_pixel(frame.linear, *moves), -1)
    return out


def fit_places(fit: StackFit) -> Floats:
    """Corrections (n, 2) of all dates and a reference image, px of the matching grid; 0 where refused."""
    moves = np.array([(one.dx, one.dy) for one in fit.dates], np.float64)
    return np.nan_to_num(np.stack(vector_to_pixel(linear_of(fit.transform), *moves.T), -1))


def _fields(
    fit: StackFit, frame: Frame, found: tuple[Floats, Floats], options: StackLocalOptions
) -> list[_Field | None]:
    """Field of every date and of a reference image, None of those that are refused or have none."""
    places, covs = found
    return [
        _field_of(one, frame, (places[:, at], covs[:, at]), options) if one.status is Status.OK else None
        for at, one in enumerate(fit.dates)
    ]


def _field_of(one: StackDate, frame: Frame, found: tuple[Floats, Floats], options: StackLocalOptions) -> _Field | None:
    points = run_filters(_tie_points(one, frame, *found), ("neighbours", "model"))
    status, _ = acceptance(points, None)
    ok, linear = points.ok, linear_of(one.transform)
    if status is not Status.OK or ok.sum() < _FEWEST:
        return None
    columns = points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok]
    try:
        choice = choose_model(*columns) if options.model == "auto" else assess_model(options.model, *columns)
    except Degenerate:
        return None
    mean = cov_to_pixel(linear, np.array(Translation.fit(*columns).cov)) * overlap_of(points.take(ok))
    turn = _turns(frame.grid, one.grid, *(np.array([part.mean()]) for part in columns[:2]))[0]
    own = cov_to_map(frame.linear, options.reference_sigma**2 * np.eye(2) * (one.role == "reference"))
    # A field that is one shift is no surer than the shift of its date: errors that windows share are in both. Where
    # the field varies, the latter takes that for errors of windows.
    alone = np.array(one.cov) * (choice.model.kind == "translation")
    more, own = (cov_to_pixel(linear, turn @ part @ turn.T) for part in (alone, own))
    error = np.sqrt(np.trace(own) / 2 + max(float(np.trace(more - mean)) / 2, 0.0))
    points = replace(points, common=np.full(len(points), error))
    return _Field(one, points, with_shared_errors(choice, points, linear), status)


def _turns(grid: GeoBox, other: GeoBox, x: Floats, y: Floats) -> Floats:
    """Matrices (n, 2, 2) that bring vectors in the CRS of a grid to that of another one, at places (n,) there."""
    if grid.crs == other.crs:
        return np.broadcast_to(np.eye(2), (len(x), 2, 2))
    step, nothing = np.full(len(x), max(gsd(grid.affine))), np.zeros(len(x))
    sides = [local_displacement(x, y, a, b, grid.crs, other.crs) for a, b in ((step, nothing), (nothing, step))]
    return np.asarray(np.stack([np.stack(one, -1) for one in sides], -1) / step[0])


def _tie_points(one: StackDate, frame: Frame, places: Floats, covs: Floats) -> TiePoints:
    """Tie points of one date, in the CRS of its image."""
    x, y = frame.centres()
    known = np.isfinite(places[:, 0]) & np.isfinite(covs).all((1, 2))
    dx, dy = vector_to_map(frame.linear, *np.where(known, places.T, 0.0))
    cov = cov_to_map(frame.linear, np.where(known[:, None, None], covs, np.eye(2)))
    own, common = one.grid.crs, frame.grid.crs
    # A tie point lies where its content is in the image, before the correction.
    x, y = x - dx, y - dy
    if own != common:
        x, y = transform_points(common, own, x, y)
        dx, dy = local_displacement(x, y, dx, dy, common, own)
        turn = _turns(frame.grid, one.grid, x, y)
        cov = turn @ cov @ turn.swapaxes(1, 2)
    col, row = map_to_pixel(one.transform, x, y)
    dx, dy = (np.where(known, part, np.nan) for part in (dx, dy))
    linear = linear_of(one.transform)
    dcol, drow = vector_to_pixel(linear, dx, dy)
    cov = np.where(known[:, None, None], cov, np.nan)
    areas = [abs(np.linalg.det(np.reshape(part, (2, 2)))) for part in (linear_in(frame.grid, one.grid), linear)]
    size = np.full(len(x), round(frame.size * float(np.sqrt(areas[0] / areas[1]))))
    status = np.where(known, Status.OK, Status.NO_PEAK)
    at = np.arange(len(x)), row, col, x, y
    return TiePoints(*at, dx, dy, dcol, drow, cov=cov, size=size, status=status, crs_wkt=one.crs_wkt)


def _in_datum(fit: StackFit, fields: list[_Field | None], model: Any) -> list[Coregistration | None]:
    """Fields of all dates, in the datum of the stack: the mean of the dates, or the date or image that stays."""
    stays = None if fit.datum == "mean" else [one.name for one in fit.dates].index(fit.datum)
    fixed = None if stays is None else fields[stays]
    if stays is not None and fixed is None:
        raise MatchError(f"{fit.datum}, which is to stay in place, has no trusted field: give datum='mean'")
    out: list[Coregistration | None] = []
    models: dict[str | None, Any] = {}
    for at, made in enumerate(fields):
        if made is None or made.date.role == "reference":
            out.append(None)
            continue
        shift, wkt = mean_shift(made.points, made.choice.model, made.date.grid, ""), made.date.crs_wkt
        if fixed is None:
            out.append(_result(fit, made, shift))
        elif at == stays:
            out.append(_result(fit, *_in_place(made, shift)))
        else:
            if wkt not in models:
                models[wkt] = _model_in(fixed, made.date, model)
            out.append(_result(fit, *_moved(made, shift, models[wkt])))
    return out


def _model_in(fixed: _Field, other: StackDate, model: Any) -> Any:
    """Model of the date that stays in the CRS of another date: where these differ, its tie points are fitted there."""
    one, points, grid = fixed.date, fixed.points, other.grid
    if one.grid.crs == grid.crs:
        return fixed.choice.model
    x, y = transform_points(one.grid.crs, grid.crs, points.x, points.y)
    turn = _turns(one.grid, grid, x, y)
    dx, dy = np.einsum("nij,nj->in", turn, np.stack([points.dx, points.dy], -1))
    cov, ok = turn @ points.cov @ turn.swapaxes(1, 2), points.ok
    kind = fixed.choice.model.kind if model == "auto" else model
    choice = assess_model(kind, x[ok], y[ok], dx[ok], dy[ok], cov[ok])
    return with_shared_errors(choice, points, linear_in(one.grid, grid)).model


_NONE = ((0.0, 0.0), (0.0, 0.0))


def _in_place(made: _Field, shift: Shift) -> tuple[_Field, Shift]:
    """Leave a date where it is: nothing moves it, and without an error."""
    points, nothing = made.points, np.zeros(len(made.points))
    moves: dict[str, Any] = dict.fromkeys(("dx", "dy", "dcol", "drow", "common"), nothing)
    still = replace(made.choice, model=Translation(0.0, 0.0, cov=_NONE))
    fixed = replace(made, points=replace(points, cov=np.zeros((len(points), 2, 2)), **moves), choice=still)
    return fixed, replace(shift, dx=0.0, dy=0.0, cov=_NONE)


def _moved(made: _Field, shift: Shift, datum: Any) -> tuple[_Field, Shift]:
    """Bring the field of a date and its one shift into the datum of a model."""
    points = made.points
    back = relative_to(Translation(0.0, 0.0, cov=_NONE), datum)  # from the ground that dates share
    ground = points.x + points.dx, points.y + points.dy
    (dx, dy), cov = back.predict(*ground), back.predict_cov(*ground)
    (xx, xy), (yx, yy) = (np.array(shift.cov) + cov[points.ok].mean(0)).tolist()
    mean = shift.dx + float(dx[points.ok].mean()), shift.dy + float(dy[points.ok].mean())
    dcol, drow = vector_to_pixel(shift.linear, points.dx + dx, points.dy + dy)
    moved = replace(points, dx=points.dx + dx, dy=points.dy + dy, dcol=dcol, drow=drow, cov=points.cov + cov)
    choice = replace(made.choice, model=relative_to(made.choice.model, datum))
    return replace(made, points=moved, choice=choice), replace(shift, dx=mean[0], dy=mean[1], cov=((xx, xy), (yx, yy)))


def _result(fit: StackFit, made: _Field, shift: Shift) -> Coregistration:
    """Make the result of one date."""
    one, points, choice = made.date, made.points, made.choice
    details = Details(
        options=fit.options, ref_grid=fit.grid, assessment=assessment_of(points, choice),
        origin=Origin(one.name, f"stack of {len(fit.names)} dates", fit.date, one.corrections),
    )  # fmt: skip
    quality = field_quality(points, choice, linear_of(one.transform))
    return Coregistration(
        choice.model, points, quality, made.status, shift,
        one.crs_wkt, one.transform, one.shape, details, current_versions(),  # type: ignore[arg-type]
    )  # fmt: skip


def _with_field(one: StackDate, made: Coregistration | None) -> StackDate:
    if made is not None or one.status is not Status.OK or one.role == "reference":
        return one
    nothing = ((np.nan, np.nan), (np.nan, np.nan))
    reason = "too few tie points for a field"
    return replace(one, status=Status.NO_PEAK, reason=reason, dx=np.nan, dy=np.nan, cov=nothing)
