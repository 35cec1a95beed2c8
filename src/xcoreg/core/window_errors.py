"""What the windows of dates say of the errors of their mean: they err alike along columns and rows of windows.

Errors that an image has in all of its pairs close: no triangle shows them. Its windows do, as far as they differ:
places of dates are solved for each window by itself, from the same pairs. Strips, terrain and clouds move windows side
by side together, so that nine of them may be worth no more than three; how much so, all dates together show.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy  # its optimize is loaded when it is used

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.network import Adjustment, Network

_PRIOR = 4.0  # degrees of freedom that the usual variance of all dates counts in that of one
_SOME = 2.0  # windows, by their weights, from which a date has a variance of its own
_ROUNDS = 20
_RIDGE = 1e-9
_BY_WINDOWS, _LEAST_SHARE = 2 / 3, 1 / 4


def places_by_window(net: Network, off: Floats, weight: Floats) -> Floats:
    """Solve the network for each window: places (n, w, 2), NaN where no pair of the date sees a window.

    off, weight : (m, w, 2), (m, w); what each window of a pair is off the adjusted places, 0 where the weight is.
    """
    n, t, r = net.n, net.target, net.reference
    out = np.full((n, off.shape[1], 2), np.nan)
    for at in range(off.shape[1]):
        some = np.flatnonzero(weight[:, at] > 0)
        part = weight[some, at]
        pull = part[:, None] * off[some, at]
        normal, right = np.zeros((n, n)), np.zeros((n, 2))
        for one, other, sign in ((t[some], r[some], 1), (r[some], t[some], -1)):
            np.add.at(normal, (one, one), part)
            np.add.at(normal, (one, other), -part)
            np.add.at(right, one, sign * pull)
        seen = np.diag(normal) > 0
        if seen.any():
            # Scaled to ones on the diagonal: the ridge keeps the mean of each group of dates at zero.
            scale = 1 / np.sqrt(np.diag(normal)[seen])
            square = normal[np.ix_(seen, seen)] * scale * scale[:, None] + _RIDGE * np.eye(int(seen.sum()))
            out[seen, at] = scale[:, None] * np.linalg.solve(square, scale[:, None] * right[seen])
    return out


class Layout(NamedTuple):
    """Where windows are, (w,) int each, and the weight (n, w) of each in the place of a date; sums are one."""

    column: Ints
    row: Ints
    share: Floats


def variance_by_windows(places: Floats, layout: Layout) -> Floats:
    """Variance (n, 2) of the mean place of every date, by what its windows (n, w, 2) are off; NaN where none is seen.

    Windows have errors of their own and such that they share along a column or a row of windows. These three variance
    components are estimated from sums of squares of unbalanced data (Henderson 1953, doi:10.2307/3001853), in units
    of the variance of each date. Windows are a sample of places even where they cover all of the ground: each of them
    is where its detail is, not its area.
    """
    known: Bools = (layout.share > 0) & np.isfinite(places).all(-1)
    dates = np.flatnonzero(known.any(1))
    out = np.full((len(places), 2), np.nan)
    parts = [_moments(places[at], layout, at, known[at]) for at in dates.tolist()]
    windows = np.array([1 / one.counts[0] for one in parts])
    several = np.flatnonzero(windows > _SOME)
    if not several.size:
        return out
    matrices = np.stack([one.matrix for one in parts])
    for axis in (0, 1):
        squares = np.stack([one.squares[:, axis] for one in parts])
        component, size, usual = np.array([1.0, 0, 0]), np.ones(len(parts)), 1.0
        for _ in range(_ROUNDS):
            own = squares[several, 0] / np.maximum(matrices[several, 0] @ component, 1e-12)
            usual = max(float(np.median(own)), 1e-12)
            free = windows[several] - 1
            size = np.full(len(parts), usual)
            size[several] = (free * own + _PRIOR * usual) / (free + _PRIOR)
            together = (squares[several] / size[several, None]).sum(0)
            before, component = component, scipy.optimize.nnls(matrices[several].sum(0), together)[0]
            if np.abs(component - before).max() < 1e-6:
                break
        out[dates, axis] = size * (np.stack([one.counts for one in parts]) @ component)
    return out


class _Moments(NamedTuple):
    """Sums of squares (3, 2) over windows, columns and rows, and how the variance components make them (3, 3).

    counts : (3,); how much of each component is in the mean.
    """

    squares: Floats
    matrix: Floats
    counts: Floats


def _moments(places: Floats, layout: Layout, date: int, known: Bools) -> _Moments:
    share = np.where(known, layout.share[date], 0)
    share /= share.sum()
    # Windows, columns and rows as groups: (g, w) each.
    groups = [np.eye(len(share)), *((at == np.unique(at)[:, None]).astype(float) for at in (layout.column, layout.row))]
    off = np.where(known[:, None], places, 0)
    off = np.where(known[:, None], off - share @ off, 0)
    weights = [one @ share for one in groups]
    inverse = [1 / np.where(one > 0, one, np.inf) for one in weights]
    squares = [
        (inv[:, None] * (one @ (share[:, None] * off)) ** 2).sum(0) for one, inv in zip(groups, inverse, strict=True)
    ]
    total = np.array([(one**2).sum() for one in weights])
    matrix = np.array([
        [(inv[:, None] * ((one * share) @ other.T) ** 2).sum() for other in groups] - total
        for one, inv in zip(groups, inverse, strict=True)
    ])  # fmt: skip
    return _Moments(np.array(squares), matrix, total)


def with_window_errors(found: Adjustment, variance: Floats) -> Adjustment:
    """Covariances of errors of images by both estimates, for one network; variance (n, 2) by windows, NaN if unknown.

    Estimates of a variance err by factors, so their logarithms are averaged; windows, which see the errors themselves,
    count twice as much as the variogram of what matchers state. That sees clouds and seasons, windows see strips and
    terrain: each is blind to something, and the result is never less than a quarter of what the other one sees.
    Windows show errors of pairs, too, which the network counts already.
    """
    if not np.isfinite(variance).any():
        return found
    stated = np.maximum(np.einsum("aaj->aj", found.images), 1e-300)
    counted = np.maximum(variance - np.einsum("aajj->aj", found.network), _LEAST_SHARE * variance)
    by_windows = np.where(np.isfinite(variance), counted, stated)
    mean = stated ** (1 - _BY_WINDOWS) * by_windows**_BY_WINDOWS
    scale = np.sqrt(np.maximum(mean, _LEAST_SHARE * np.maximum(stated, by_windows)) / stated)
    return replace(found, images=found.images * scale[:, None] * scale[None, :])
