"""`match_stack`: which pairs of dates are matched, each window read once, and the adjustment of all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xcoreg import lazy
from xcoreg.core import Floats, Ints
from xcoreg.core.matches import Matches, Status
from xcoreg.core.network import Network, adjust, choose_pairs, spanning_pairs
from xcoreg.errors import MatchError, OptionError, is_integer, warn_user
from xcoreg.georef import linear_of
from xcoreg.io.series import Date
from xcoreg.matching.stack_dates import Stack, prepare_stack
from xcoreg.matching.stack_options import StackOptions
from xcoreg.matching.stack_pairs import Pairing, PairMatch, match_pair, rank_pairs, spread_of_dates
from xcoreg.matching.stack_seek import match_lost, seek_dates
from xcoreg.matching.stack_windows import Frame
from xcoreg.results.coregistration import current_versions
from xcoreg.results.details import corrections_of, utc_now
from xcoreg.results.stack import StackFit
from xcoreg.results.stack_parts import StackDate, StackPairs, StackQuality

logger = logging.getLogger("xcoreg")

# Partners of every date in the first round, and in the end; a date tries so many times its partners.
_FIRST_PARTNERS, _TRIES = 2, 3
_NOTHING = Matches(np.empty(0), np.empty(0))
_ROUNDS = 8
_OFF_CENTRE = 0.6  # px: windows are cut again where the correction of a date is further from where they were cut
_SEARCH = 0.4  # of the side of windows: how far they are searched


@dataclass(eq=False)
class PairTable:
    """Pairs matched so far, by their dates in canonical order; `old` are those of an earlier stack."""

    found: dict[tuple[int, int], PairMatch]
    old: dict[tuple[int, int], PairMatch]

    def columns(self) -> tuple[list[tuple[int, int]], list[PairMatch]]:
        """Pairs and their matches, in order."""
        both = self.old | self.found
        keys = sorted(both)
        return keys, [both[key] for key in keys]


def search_pairs(stack: Stack, options: StackOptions, old: dict[tuple[int, int], PairMatch]) -> tuple[Stack, PairTable]:
    """Match pairs in rounds until every date has enough partners, or the budget is spent."""
    n = len(stack.dates)
    partners = min(options.partners, n - 1)
    budget = min(options.budget(n), n * (n - 1) // 2)
    table = PairTable({}, dict(old))
    limit = _SEARCH * stack.frame.size
    limit = limit if options.max_shift is None else min(limit, options.max_shift + 1)
    pairing = Pairing(stack.frame, limit, options.contrast)
    total = budget
    with lazy.progress_bar(total, "matching", "pair", options.progress) as bar:
        for number in range(_ROUNDS):
            chosen = _next_pairs(stack, table, options, (number, partners, budget))
            if not len(chosen):
                break
            _match(stack, pairing, chosen, table, bar.update if options.progress else None)
            stack = _centre(stack, pairing, table)
            if number == 0 and options.pairs == "auto":
                stack = _seek(stack, pairing, table, options)
    if options.pairs == "auto":
        table.found |= match_lost(stack, table.found, options)
    return stack, table


def _seek(stack: Stack, pairing: Pairing, table: PairTable, options: StackOptions) -> Stack:
    """Look for dates without any match farther away, and match their pairs again where they are found."""
    keys, found = table.columns()
    matched = np.zeros(len(stack.dates), bool)
    for pair, one in zip(keys, found, strict=True):
        matched[list(pair)] |= one.status is Status.OK
    moved = seek_dates(stack, matched, options)
    far = (moved.offsets != stack.offsets).any(1)
    again = [pair for pair in table.found if far[list(pair)].any()]
    if again:
        _match(moved, pairing, again, table, None)
    return _centre(moved, pairing, table) if again else stack


def _next_pairs(
    stack: Stack, table: PairTable, options: StackOptions, plan: tuple[int, int, int]
) -> list[tuple[int, int]]:
    """Pairs to match in a round: (number of the round, partners of each date, budget)."""
    number, partners, budget = plan
    n = len(stack.dates)
    room = budget - len(table.found) - len(table.old)
    if options.pairs not in ("auto", "all") and number == 0:
        return _given_pairs(stack, options.pairs)
    if room <= 0 or options.pairs not in ("auto", "all"):
        return []
    score = rank_pairs(map(stack.cut, range(n)))
    done = np.zeros((n, n), bool)
    keys, found = table.columns()
    for i, j in keys:
        done[i, j] = done[j, i] = True
    good = np.zeros(n, np.intp)
    for (i, j), one in zip(keys, found, strict=True):
        good[[i, j]] += one.status is Status.OK
    if options.pairs == "all":
        todo = np.argwhere(np.triu(np.isfinite(score) & ~done, 1))
    elif number == 0 and not table.old:
        first = choose_pairs(score, done, np.full(n, min(_FIRST_PARTNERS, partners)), _FIRST_PARTNERS)
        todo = np.unique(np.concatenate([spanning_pairs(score), first]), axis=0)
    else:
        tries = done.sum(1)
        wanted = np.where(tries < _TRIES * partners, np.clip(partners - good, 0, None), 0)
        todo = choose_pairs(score, done, wanted, partners)
    if len(todo) > room:
        best = np.lexsort((todo[:, 1], todo[:, 0], -np.nan_to_num(score[todo[:, 0], todo[:, 1]])))
        todo = todo[np.sort(best[:room])]
    return [(int(i), int(j)) for i, j in todo]


def _given_pairs(stack: Stack, pairs: Iterable[Any]) -> list[tuple[int, int]]:
    """Pairs that the user names, by positions or names of dates."""
    number = {int(at): rank for rank, at in enumerate(stack.position)}
    names = {one.name: rank for rank, one in enumerate(stack.dates)}
    out = set()
    for pair in pairs:
        both = pair if isinstance(pair, tuple | list) else ()
        ends = [names.get(end) if isinstance(end, str) else number.get(_position(end)) for end in both]
        if len(ends) != 2 or None in ends or ends[0] == ends[1]:
            raise OptionError(f"pairs has {pair!r}: give pairs of two dates, by their positions or names")
        out.add((min(ends), max(ends)))  # type: ignore[type-var]
    return sorted(out)  # type: ignore[arg-type]


def _position(given: Any) -> int:
    """Position that a user gives, -1 for anything else."""
    return int(given) if is_integer(given) else -1


def _match(stack: Stack, pairing: Pairing, pairs: Sequence[tuple[int, int]], table: PairTable, done: Any) -> None:
    """Match pairs in parallel, the later date as the target."""
    items = [(stack.place(j), stack.place(i)) for i, j in pairs]
    found = lazy.run_tasks(match_pair, pairing, items, done)
    table.found |= dict(zip(pairs, found, strict=True))


def _centre(stack: Stack, pairing: Pairing, table: PairTable) -> Stack:
    """Move windows to where the dates are found, and match pairs again whose windows were cut off their centre."""
    for _ in range(2):
        places = _rough_places(stack, table)
        off = np.abs(places + stack.offsets).max(1) > _OFF_CENTRE
        offsets = np.where((off & np.isfinite(places).all(1))[:, None], -np.rint(np.nan_to_num(places)), stack.offsets)
        offsets = offsets.astype(np.intp)
        before, stack = stack.offsets, stack.moved(offsets)
        again = [(i, j) for i, j in table.found if ((offsets[i] - offsets[j]) != (before[i] - before[j])).any()]
        if not again:
            break
        _match(stack, pairing, sorted(again), table, None)
    return stack


def _rough_places(stack: Stack, table: PairTable) -> Floats:
    """Places (n, 2), px, of the dates as far as they are known, about their median."""
    keys, found = table.columns()
    ends = np.array(keys, np.intp).reshape(-1, 2)
    net = Network(
        len(stack.dates), ends[:, 1], ends[:, 0], np.zeros(len(ends), np.intp), np.zeros((len(stack.dates), 0))
    )
    accepted = np.array([one.status is Status.OK for one in found], bool)
    if not accepted.any():
        return np.full((len(stack.dates), 2), np.nan)
    result = adjust(net, np.stack([one.move for one in found]), np.stack([one.cov for one in found]), accepted)
    # Groups are moved each by itself: only differences within a group are known.
    places = np.full(result.places.shape, np.nan)
    for group in np.unique(result.group):
        own = (result.group == group) & np.isfinite(result.places).all(1)
        if own.sum() > 1:
            places[own] = result.places[own] - np.median(result.places[own], axis=0)
    return places


def match_stack(images: Any, reference: Any, options: StackOptions, previous: StackFit | None = None) -> StackFit:
    """Match a stack of dates and adjust them together; see :func:`xcoreg.match_stack`."""
    stack, given = prepare_stack(images, reference, options)
    if previous is not None and any(one.numbered for one in given[: len(given) - stack.has_reference]):
        raise OptionError(
            "dates of a stack are recognised by their names, and these have none: give times, assign_coords(time=...)"
        )
    if previous is not None and not {one.name for one in given} & set(previous.names):
        raise OptionError(f"none of the images is a date of the stack: its dates are {', '.join(previous.names[:3])}")
    old = {} if previous is None else _old_pairs(stack, previous)
    stack, table = search_pairs(stack, options, old)
    return build_stack(stack, given, table, options, previous)


def _old_pairs(stack: Stack, previous: StackFit) -> dict[tuple[int, int], PairMatch]:
    """Pairs of an earlier stack between dates that are there again."""
    rank = {one.name: at for at, one in enumerate(stack.dates)}
    pairs, names = previous.pairs, [one.name for one in previous.dates]
    turn = _same_pixels(stack.frame, previous)
    out: dict[tuple[int, int], PairMatch] = {}
    for at in range(len(pairs)):
        target, reference = rank.get(names[pairs.target[at]]), rank.get(names[pairs.reference[at]])
        if target is None or reference is None:
            continue
        move = (1 if target > reference else -1) * turn @ np.array([pairs.dcol[at], pairs.drow[at]])
        status, counts = Status(int(pairs.status[at])), (int(pairs.n_windows[at]), int(pairs.n_ok[at]))
        numbers = float(pairs.reliability[at]), float(pairs.scatter[at])
        one = PairMatch(move, turn @ pairs.cov[at] @ turn.T, status, *counts, *numbers, _NOTHING, np.empty(0))
        out[min(target, reference), max(target, reference)] = one
    return out


def _same_pixels(frame: Frame, previous: StackFit) -> Floats:
    """Matrix that converts px of the matching grid of an earlier stack to those of this one."""
    if previous.crs_wkt is not None and frame.grid.crs is not None and frame.grid.crs != previous.grid.crs:
        raise OptionError(
            "the dates lie on another matching grid than those of the stack: extend it by images of its CRS"
        )
    new, old = (np.reshape(linear_of(tuple(one)[:6]), (2, 2)) for one in (frame.grid.affine, previous.transform))
    return np.asarray(np.linalg.solve(new, old))


def build_stack(
    stack: Stack, given: list[Date], table: PairTable, options: StackOptions, previous: StackFit | None = None
) -> StackFit:
    """Adjust matched pairs and make the result, dates in the order they were given."""
    keys, found = table.columns()
    grid = stack.frame.grid
    roles = ["date"] * (len(given) - stack.has_reference) + ["reference"] * stack.has_reference
    dates = tuple(_stack_date(one, role) for one, role in zip(given, roles, strict=True))
    # A pair runs from the later date, in canonical order, to the earlier one, whatever the order they were given in.
    ends = stack.position[np.array(keys, np.intp).reshape(-1, 2)]
    pairs = _columns(ends, found, options.max_shift)
    wkt = None if grid.crs is None else grid.crs.to_wkt()
    empty = StackFit(
        dates, pairs, StackQuality(), "mean", (), wkt, tuple(grid.affine)[:6], grid.shape.yx,
        reference_sigma=options.reference_sigma, options=options.record(), versions=current_versions(), date=utc_now(),
    )  # fmt: skip
    if not (pairs.status == Status.OK).any():
        raise MatchError(_no_pair(pairs, dates))
    datum: Any = options.datum
    if datum is None:
        datum = "mean" if not stack.has_reference else dates[-1].name
        datum = datum if previous is None else previous.datum if previous.datum != "mean" else previous.datum_dates
    fit = empty.adjusted(dates, pairs, datum)
    fit = fit.adjusted(_with_spread(fit, stack, found, previous), fit.pairs, datum)
    _check(fit, options)
    return fit


def _with_spread(
    fit: StackFit, stack: Stack, found: list[PairMatch], previous: StackFit | None
) -> tuple[StackDate, ...]:
    """Dates with what their windows are off; those of an earlier stack had more pairs then."""
    spread = spread_of_dates(found, fit, stack.frame).tolist()
    earlier = {} if previous is None else {one.name: one.spread for one in previous.dates}
    scale = np.eye(2) if previous is None else _same_pixels(stack.frame, previous)
    known = {name: (scale**2 @ one).tolist() for name, one in earlier.items() if np.isfinite(one).all()}
    both = zip(fit.dates, spread, strict=True)
    return tuple(replace(one, spread=known.get(one.name, new)) for one, new in both)


def _stack_date(one: Date, role: str) -> StackDate:
    wkt = None if one.grid.crs is None else one.grid.crs.to_wkt()
    time = "" if np.isnat(one.time) else str(one.time)
    parts = {"crs_wkt": wkt, "transform": tuple(one.grid.affine)[:6], "shape": tuple(one.grid.shape)}
    return StackDate(one.name, time, role, corrections=corrections_of(one.image), **parts)  # type: ignore[arg-type]


def _columns(ends: Ints, found: list[PairMatch], limit: float | None) -> StackPairs:
    n = len(found)
    move = np.array([one.move for one in found]).reshape(-1, 2)
    status = np.array([one.status for one in found], np.int8)
    if limit is not None:
        far = np.abs(move).max(1, initial=0) > limit
        status = np.where(far & (status == Status.OK), np.int8(Status.TOO_FAR), status)
    nothing, cov = np.full(n, np.nan), np.array([one.cov for one in found]).reshape(-1, 2, 2)
    names = ("n_windows", "n_ok", "reliability", "scatter")
    columns: dict[str, Any] = {name: np.array([getattr(one, name) for one in found]) for name in names}
    columns |= {"target": ends[:, 1], "reference": ends[:, 0], "dcol": move[:, 0], "drow": move[:, 1], "cov": cov}
    columns |= dict.fromkeys(("res_col", "res_row", "normalised", "redundancy"), nothing)
    return StackPairs(
        **columns, status=status, kind=np.zeros(n), outlier=np.zeros(n, bool), own=np.full((n, 2, 2), np.nan)
    )


def _no_pair(pairs: StackPairs, dates: Sequence[StackDate]) -> str:
    counts = {status.name: int((pairs.status == status).sum()) for status in Status if (pairs.status == status).any()}
    text = ", ".join(f"{n} {name}" for name, n in counts.items())
    return (
        f"no pair of the {len(dates)} dates can be matched ({text}): check nodata=, where= and band=, or give larger "
        "windows, window="
    )


def _check(fit: StackFit, options: StackOptions) -> None:
    """Refuse a stack without a date in its place; warn of dates that have none."""
    if not fit.placed:
        raise MatchError("no date is placed: " + "; ".join(f"{one.name}: {one.reason}" for one in fit.refused[:5]))
    if fit.refused:
        some = "; ".join(f"{one.name}: {one.reason}" for one in fit.refused[:5])
        more = f"; and {len(fit.refused) - 5} more" if len(fit.refused) > 5 else ""
        be = "is" if len(fit.refused) == 1 else "are"
        text = f"{len(fit.refused)} of {len(fit.names)} dates {be} not placed: {some}{more}"
        if options.errors == "raise":
            raise MatchError(text)
        warn_user(text)
    for text in fit.quality.warnings:
        warn_user(text)
