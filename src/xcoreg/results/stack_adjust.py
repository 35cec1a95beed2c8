"""From matched pairs of dates to corrections: adjustment, datum, and which dates and pairs are refused, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.matches import Status
from xcoreg.core.network import Adjustment, Network, adjust, closure, date_ratios, to_datum
from xcoreg.core.window_errors import with_window_errors
from xcoreg.errors import MatchError
from xcoreg.georef import Linear, cov_to_map, vector_to_map
from xcoreg.results.stack_parts import UNKNOWN, StackDate, StackPairs, StackQuality

_YEAR = 365.2425  # days
_SEASON = 46.0  # days apart in the year from which two dates are of different seasons
_YEARS = 400.0  # days apart from which two dates are of different years
_KINDS = ("same season", "other season", "same season, other year", "other season, other year", "reference", "any")
_ENOUGH = 20  # pairs that a kind needs to have variance components of its own
# A date with one accepted pair needs so many windows that agree in it: nothing else checks it.
_WINDOWS = 3
_BRIDGE = 1e-6  # redundancy of a pair that nothing checks
_ROUNDS = 12
_APART = 0.5  # px: dates whose pairs miss each other by more are refused
# Factor on the stated variance of a pair: by the scatter of its windows, and by how many of them do not agree.
_TRUST, _BY_SCATTER, _BY_LOST = 0.45, 0.5, 0.7
_USUAL_SCATTER, _MOST_SCATTER = 1.1, 100.0
_BADLY = 10.0  # factor on the stated variance from which the user is warned


@dataclass(frozen=True, eq=False)
class Adjusted:
    """Dates, pairs and quality after an adjustment; dates that define the datum; kinds of pairs."""

    dates: tuple[StackDate, ...]
    pairs: StackPairs
    quality: StackQuality
    datum_dates: tuple[str, ...]
    kinds: tuple[str, ...]


def adjust_stack(
    dates: tuple[StackDate, ...], pairs: StackPairs, datum: str | tuple[str, ...], linear: Linear, sigma: float = 0.0
) -> Adjusted:
    """Adjust the pairs of dates: `datum` is "mean", one name, or names whose mean stays; sigma of a reference, px."""
    kind, kinds = kinds_of(dates, pairs)
    net = Network(len(dates), pairs.target.astype(np.intp), pairs.reference.astype(np.intp), kind, drift_of(dates))
    move, matched = np.stack([pairs.dcol, pairs.drow], -1), pairs.status == Status.OK
    scatter = stated_factor(pairs)
    cov = pairs.cov * scatter[:, None, None]
    refused: dict[int, tuple[Status, str]] = {}
    dropped = np.zeros(len(pairs), bool)
    for _ in range(_ROUNDS):
        out = np.isin(net.target, list(refused)) | np.isin(net.reference, list(refused))
        found = adjust(net, move, cov, matched & ~out & ~dropped)
        bridges = _contradicted_bridges(net, found)
        new = {} if bridges.any() else _bad_dates(net, found, pairs, dates)
        new = {at: why for at, why in new.items() if at not in refused}
        if not (new or bridges.any()):
            break
        dropped |= bridges
        refused |= new
    refused |= _unplaced(net, found, pairs, dates, datum, refused)
    share = _datum_share(dates, datum, refused)
    found = with_window_errors(found, np.array([one.spread for one in dates], np.float64).reshape(-1, 2))
    places, covs = to_datum(found, share)
    if any(one.role == "reference" for one in dates) and sigma > 0:
        covs = covs + sigma**2 * np.eye(2)
    typical = float(np.mean(scatter[matched])) if matched.any() else 1.0
    quality = replace(_quality(net, found, move, kinds), scatter=typical)
    parts = (places, covs, found, refused)
    names = tuple(one.name for one, part in zip(dates, share, strict=True) if part > 0)
    outlier = (found.outlier | dropped) & matched
    return Adjusted(
        _with_places(dates, net, parts, linear),
        _with_residuals(pairs, found, kind, outlier),
        quality,
        names,
        kinds,
    )


def stated_factor(pairs: StackPairs) -> Floats:
    """Factor (m,) on the variance that the matcher states of each pair.

    The windows of a pair scatter about their mean by what they are in error, as far as that differs between windows.
    Where few of many agree, clouds or change are in all of them, and no scatter shows it.
    """
    shown = np.clip(np.nan_to_num(pairs.scatter, nan=_USUAL_SCATTER), 0.0, _MOST_SCATTER)
    lost = np.maximum(pairs.n_windows, 1) / np.clip(pairs.n_ok, 1, np.maximum(pairs.n_windows, 1))
    return np.asarray((_TRUST + _BY_SCATTER * shown) * lost**_BY_LOST)


def times_of(dates: tuple[StackDate, ...]) -> NDArray[Any]:
    """Collect the times (n,) of dates, NaT where unknown."""
    return np.array([one.time or "NaT" for one in dates], "datetime64[ns]")


def _days(times: NDArray[Any]) -> tuple[Floats, Floats]:
    """Days since the first date, and days within the year, NaN where unknown."""
    known = ~np.isnat(times)
    first = times[known].min() if known.any() else times[:1]
    total = np.where(known, (times - first) / np.timedelta64(1, "D"), np.nan)
    of_year = (times - times.astype("datetime64[Y]").astype(times.dtype)) / np.timedelta64(1, "D")
    return total, np.where(known, of_year, np.nan)


def drift_of(dates: tuple[StackDate, ...]) -> Floats:
    """Coordinates (n, k) that errors of images may follow: place in the year, years; 0 where unknown."""
    total, of_year = _days(times_of(dates))
    phase = 2 * np.pi * of_year / _YEAR
    known = np.isfinite(total)
    if known.sum() < 3:
        return np.zeros((len(dates), 0))
    years = (total - np.nanmean(total)) / _YEAR
    return np.where(known[:, None], np.stack([np.cos(phase), np.sin(phase), years], -1), 0.0)


def kinds_of(dates: tuple[StackDate, ...], pairs: StackPairs) -> tuple[Ints, tuple[str, ...]]:
    """Kind (m,) of each pair, and the names of kinds; rare kinds join the commonest."""
    total, of_year = _days(times_of(dates))
    t, r = pairs.target, pairs.reference
    apart = np.abs((of_year[t] - of_year[r] + _YEAR / 2) % _YEAR - _YEAR / 2)
    known = np.isfinite(apart)
    with np.errstate(invalid="ignore"):
        kind = (apart > _SEASON) + 2 * (np.abs(total[t] - total[r]) > _YEARS)
    kind = np.where(known, kind, _KINDS.index("any"))
    references = np.array([one.role == "reference" for one in dates])
    kind = np.where(references[t] | references[r], _KINDS.index("reference"), kind)
    counts = Counter(kind[pairs.status == Status.OK].tolist())
    common = [one for one in sorted(counts) if counts[one] >= _ENOUGH]
    if not common:
        return np.zeros(len(pairs), np.intp), ("any",)
    most = max(common, key=lambda one: (counts[one], -one))
    joined = np.where(np.isin(kind, common), kind, most)
    return np.searchsorted(common, joined).astype(np.intp), tuple(_KINDS[one] for one in common)


def _contradicted_bridges(net: Network, found: Adjustment) -> Bools:
    """Pairs (m,) that nothing checks, on the only way around an outlier: it cannot be known which of them is wrong."""
    out = np.zeros(len(net.target), bool)
    outliers = np.flatnonzero(found.outlier)
    bridges = np.flatnonzero(found.used & (found.redundancy < _BRIDGE))
    for at in bridges if len(outliers) else ():
        rest = found.used.copy()
        rest[at] = False
        group = net.components(rest)
        own = np.sort(group[[net.target[at], net.reference[at]]])
        across = np.sort(np.stack([group[net.target[outliers]], group[net.reference[outliers]]], 1), axis=1)
        out[at] = bool((across == own).all(1).any())
    return out


def _bad_dates(
    net: Network, found: Adjustment, pairs: StackPairs, dates: tuple[StackDate, ...]
) -> dict[int, tuple[Status, str]]:
    """Dates whose pairs contradict the others, or that too little supports."""
    _, good, bad = date_ratios(net, found)
    out: dict[int, tuple[Status, str]] = {}
    for at in np.flatnonzero((bad >= 2) & (bad >= good)):
        out[int(at)] = Status.OUTLIER, f"{bad[at]} of its {good[at] + bad[at]} pairs contradict the others"
    apart = _disagreement(net, found)
    if not out and np.nanmax(apart, initial=0.0) > _APART:
        # whatever their covariances say: half a pixel is no noise of a match
        farthest = np.flatnonzero(apart > max(_APART, 0.99 * float(np.nanmax(apart))))
        return {int(at): (Status.OUTLIER, f"its pairs contradict each other by {apart[at]:.2f} px") for at in farthest}
    if out:
        # the worst first: the others may owe their outliers to it
        first = max(out, key=lambda at: (bad[at] / (good[at] + bad[at]), bad[at]))
        return {first: out[first]}
    for at in np.flatnonzero((good == 1) & (net.n > 2)) if len(dates) > 2 else ():
        own = found.used & ((net.target == at) | (net.reference == at))
        if pairs.n_ok[own].max() < _WINDOWS:
            few = "1 window" if pairs.n_ok[own].max() == 1 else f"{pairs.n_ok[own].max()} windows that agree"
            out[int(at)] = Status.NO_PEAK, f"one pair alone places it, with {few}"
    return out


def _disagreement(net: Network, found: Adjustment) -> Floats:
    """Root mean square (n,) of what the pairs of every date miss each other by, px; NaN where nothing checks them."""
    checked = found.used & (found.redundancy > _BRIDGE)
    squares = (found.residual[checked] ** 2).sum(1) / (2 * found.redundancy[checked])
    total, count = np.zeros(net.n), np.zeros(net.n)
    for side in (net.target[checked], net.reference[checked]):
        np.add.at(total, side, squares)
        np.add.at(count, side, 1)
    return np.sqrt(np.where(count > 0, total, np.nan) / np.maximum(count, 1))


def _unplaced(
    net: Network,
    found: Adjustment,
    pairs: StackPairs,
    dates: tuple[StackDate, ...],
    datum: str | tuple[str, ...],
    refused: dict[int, tuple[Status, str]],
) -> dict[int, tuple[Status, str]]:
    """Dates without an accepted pair, or in another group than the datum."""
    group, names = found.group, [one.name for one in dates]
    lonely = np.bincount(group)[group] == 1
    main = 0
    if isinstance(datum, str) and datum != "mean":
        fixed = names.index(datum)
        if lonely[fixed]:
            why = refused.get(fixed, (Status.NO_PEAK, "no pair of it is accepted"))[1]
            raise MatchError(f"{datum}, which is to stay in place, cannot be matched with any date: {why}")
        main = int(group[fixed])
    out: dict[int, tuple[Status, str]] = {}
    for at in range(net.n):
        if at in refused or dates[at].role == "reference":
            continue
        if lonely[at]:
            own = (net.target == at) | (net.reference == at)
            codes = Counter(pairs.status[own & (pairs.status != Status.OK)].tolist())
            status = Status(codes.most_common(1)[0][0]) if codes else Status.DISCONNECTED
            contradict = bool((pairs.status[own] == Status.OK).any())
            status = Status.OUTLIER if contradict else status
            text = "its pairs contradict the others" if contradict else f"no pair of it is accepted: {status.reason}"
            out[at] = status, text
        elif group[at] != main:
            some = [names[one] for one in np.flatnonzero(group == group[at]) if one != at][:3]
            out[at] = Status.DISCONNECTED, f"connected with {', '.join(some)} alone (group {group[at]})"
    return out


def _datum_share(dates: tuple[StackDate, ...], datum: str | tuple[str, ...], refused: dict[int, Any]) -> Floats:
    """Share (n,) of each date in the datum."""
    placed = np.array([at not in refused and one.role == "date" for at, one in enumerate(dates)])
    if isinstance(datum, tuple):
        chosen = placed & np.array([one.name in datum for one in dates])
        placed = chosen if chosen.any() else placed
    elif datum != "mean":
        placed = np.array([one.name == datum for one in dates])
    return placed / max(int(placed.sum()), 1)


def _with_places(
    dates: tuple[StackDate, ...],
    net: Network,
    parts: tuple[Floats, Floats, Adjustment, dict[int, tuple[Status, str]]],
    linear: Linear,
) -> tuple[StackDate, ...]:
    places, covs, found, refused = parts
    ratio, good, bad = date_ratios(net, found)
    out = []
    for at, one in enumerate(dates):
        status, reason = refused.get(at, (Status.OK, ""))
        number = int(((net.target == at) | (net.reference == at)).sum())
        counts = {"n_pairs": number, "n_accepted": int(good[at]), "n_outliers": int(bad[at])}
        facts: dict[str, Any] = {"status": status, "reason": reason, "group": int(found.group[at]), **counts}
        facts["ratio"] = float(ratio[at])
        if status is not Status.OK:
            out.append(replace(one, **facts, dx=np.nan, dy=np.nan, cov=UNKNOWN))
            continue
        if good[at] == 1 and len(dates) > 2 and one.role == "date":
            facts["reason"] = "one pair alone places it: nothing checks it"
        dx, dy = vector_to_map(linear, *places[at])
        cov: Any = cov_to_map(linear, covs[at]).tolist()
        out.append(replace(one, **facts, dx=float(dx), dy=float(dy), cov=cov))
    return tuple(out)


def _with_residuals(pairs: StackPairs, found: Adjustment, kind: Ints, outlier: Bools) -> StackPairs:
    res_col, res_row = found.residual.T
    normalised = np.where(np.isfinite(res_col), found.normalised, np.nan)
    columns: dict[str, Any] = {"kind": kind, "outlier": outlier, "res_col": res_col, "res_row": res_row}
    shown = np.where(np.isfinite(res_col), found.redundancy, np.nan)
    return replace(pairs, **columns, normalised=normalised, own=found.own, redundancy=shown)


def _quality(net: Network, found: Adjustment, move: Floats, kinds: tuple[str, ...]) -> StackQuality:
    squares, degrees = found.chi_square()
    closed = closure(net, found, move)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(degrees > 1e-6, squares / degrees, np.nan)
    rows = [(name, one.ravel().tolist()) for name, one in zip(kinds, found.factors, strict=True)]
    factors = tuple((name, x, y, more_x, more_y) for name, (x, more_x, y, more_y) in rows)
    warnings = [
        f"pairs of the kind {name!r} close {np.sqrt(max(x, y)):.1f} times worse than their matches state"
        for name, x, y, _, _ in factors
        if max(x, y) > _BADLY
    ]
    if found.used.any() and not degrees[0] > 1e-6:
        warnings.append("nothing checks the corrections: no pair is redundant")
    x, y = ratio.tolist()
    lengths = {"triangle_median": closed.median, "triangle_rms": closed.rms}
    triangles = {"triangle_x": closed.ratio[0], "triangle_y": closed.ratio[1], **lengths}
    return StackQuality(x, y, float(degrees[0]), closed.n, **triangles, factors=factors, warnings=tuple(warnings))
