"""Networks of matched pairs: robust adjustment, datum, variance components, closure.

Nodes are dates. The correction of every date is its place ``s``; a pair that was matched observes ``move = s[target] -
s[reference]``. All moves are in px along (column, row). Leading axes are independent networks, such as one for each tie
point, over the same nodes and pairs.

Two images matched with several partners make the same error in each of these pairs: that of their own noise, clouds and
season. Such errors close, so that no residual shows them. Of the covariance of a pair that its matcher states the part
that does not close is found from the residuals; the rest belongs to the images and goes into the uncertainty of dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy  # its optimize is loaded when it is used: it is not needed by a first call

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.robust import MEDIAN_RADIUS, biweight

# Pairs beyond this many standard deviations (length of both axes together) are outliers; their weight is no smaller
# than this while it is decided, so that no date is cut off.
_LIMIT, _LEAST = 6.0, 1e-6
# Iterations of absolute residuals, of the biweight, of variance components; change (px) at which they have converged.
_ABSOLUTE, _BIWEIGHT, _COMPONENTS, _CONVERGED = 40, 60, 6, 1e-12
# Before residuals are seen, this share of a pair's variance is its own; worth so many degrees of freedom.
_OWN_SHARE, _PRIOR = 0.5, 8.0
# What images share is at least this much of what does not close; iterations of the variogram; share of the usual
# variance that every image has at least.
_LEAST_IMAGE, _VARIOGRAM, _SHARE_OF_USUAL = 1 / 3, 5, 0.05
_MOST_GROUPS = 256  # sets of pairs whose groups are in memory


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes and the pairs that connect them.

    n : Number of nodes.
    target, reference : (m,) int; nodes of each pair.
    kind : (m,) int from 0; pairs of a kind share their variance components.
    drift : (n, k) float64; errors of images may follow these coordinates (season, time), each with a variance.
    """

    n: int
    target: Ints
    reference: Ints
    kind: Ints
    drift: Floats

    def components(self, used: Bools) -> Ints:
        """Group (n,) of every node, connected by the pairs used (m,); groups are numbered from the largest."""
        mark = used.tobytes()
        if mark not in self._groups:
            if len(self._groups) >= _MOST_GROUPS:
                self._groups.clear()
            self._groups[mark] = self._connected(used)
        return self._groups[mark]

    @cached_property
    def _groups(self) -> dict[bytes, Ints]:
        # Iterations ask for the groups of the same pairs again and again.
        return {}

    def _connected(self, used: Bools) -> Ints:
        edges = scipy.sparse.coo_array(
            (np.ones(int(used.sum())), (self.target[used], self.reference[used])), (self.n, self.n)
        )
        label = scipy.sparse.csgraph.connected_components(edges, directed=False)[1]
        size = np.bincount(label)
        first = np.array([np.flatnonzero(label == one)[0] for one in range(len(size))])
        order = np.lexsort((first, -size))
        return np.asarray(np.argsort(order)[label])

    def differences(self, places: Floats) -> Floats:
        """Predict moves (..., m, 2) by places (..., n, 2)."""
        return np.asarray(places[..., self.target, :] - places[..., self.reference, :])

    @cached_property
    def spread(self) -> scipy.sparse.csr_array:
        """(m, n * n): what the weight of each pair adds to the normal matrix."""
        m, t, r = len(self.target), self.target, self.reference
        cols = np.concatenate([t * self.n + t, r * self.n + r, t * self.n + r, r * self.n + t])
        signs = np.repeat([1.0, 1.0, -1.0, -1.0], m)
        return scipy.sparse.csr_array((signs, (np.tile(np.arange(m), 4), cols)), (m, self.n * self.n))

    @cached_property
    def incidence(self) -> scipy.sparse.csr_array:
        """(m, n): +1 for the target of a pair, -1 for its reference."""
        m = len(self.target)
        signs = np.repeat([1.0, -1.0], m)
        ends = np.concatenate([self.target, self.reference]), np.tile(np.arange(m), 2)
        return scipy.sparse.csr_array((signs, ends), (self.n, m)).T


@dataclass(frozen=True, eq=False)
class Adjustment:
    """Adjusted places and what is known of their errors; leading axes (...) are independent networks.

    places : (..., n, 2) float64, in no particular datum; NaN for nodes without an accepted pair.
    network, images : (..., n, n, 2, 2), (..., n, n, 2); covariances by errors of pairs, and by those of images.
    residual, normalised : (..., m, 2), (..., m); observed minus adjusted, and its length in standard deviations.
    own : (..., m, 2, 2); covariance of the part of each pair's error that does not close.
    redundancy : (..., m); share of a pair's error that its residual shows.
    outlier, used : (..., m) bool; pairs that contradict the others; accepted pairs.
    group : (..., n) int; groups of nodes connected by accepted pairs, the largest is 0; places of two groups do not
        compare.
    factors : (kinds, 2, 2); per kind and axis the factor on the stated variance, and a variance added to it, px2.
    """

    places: Floats
    network: Floats
    images: Floats
    residual: Floats
    normalised: Floats
    own: Floats
    redundancy: Floats
    outlier: Bools
    used: Bools
    group: Ints
    factors: Floats

    def chi_square(self) -> tuple[Floats, Floats]:
        """Chi-squared (2,) along (column, row) of all accepted pairs, and degrees of freedom (2,)."""
        variance = np.diagonal(self.own, axis1=-2, axis2=-1)
        squares = self.residual[self.used] ** 2 / variance[self.used]
        return squares.sum(0), np.full(2, self.redundancy[self.used].sum())


def adjust(net: Network, move: Floats, cov: Floats, accepted: Bools) -> Adjustment:
    """Adjust networks: move (..., m, 2), cov (..., m, 2, 2), accepted (..., m).

    Weighted least squares after outliers are found: absolute residuals first, so that several outliers cannot hide each
    other, then Tukey's biweight (Huber & Ronchetti 2009, Robust Statistics, 7.8). Variance components by kind of pair
    from squared residuals over their redundancy (Foerstner 1979, doi:10.1007/BF02521636), iterated.
    """
    lead = move.shape[:-2]
    move, cov = move.reshape(-1, *move.shape[-2:]), cov.reshape(-1, *cov.shape[-3:])
    accepted = accepted.reshape(-1, accepted.shape[-1]) & np.isfinite(move).all(-1) & np.isfinite(cov).all((-2, -1))
    move = np.where(accepted[..., None], move, 0.0)
    cov = np.where(accepted[..., None, None], cov, np.eye(2))
    outlier = accepted & (_first_weights(net, move, cov, accepted) <= 0)
    factors: Floats = np.zeros((int(net.kind.max(initial=0)) + 1, 2, 2))
    factors[:, :, 0] = 1.0
    for _ in range(_COMPONENTS):
        used = accepted & ~outlier
        own = _own_covariance(net, cov, factors)
        solved = _Solved.of(net, move, own, used)
        before, factors = factors, _estimate(net, cov, solved, used)
        own = _own_covariance(net, cov, factors)
        normalised = _normalised(solved.residual, own, solved.redundancy)
        outlier = accepted & (normalised > _LIMIT)
        settled = np.abs(factors / np.maximum(before, 1e-30) - 1)[:, :, 0].max() < 1e-6
        if settled and np.array_equal(outlier, accepted & ~used):
            break
    used = accepted & ~outlier
    solved = _Solved.of(net, move, own, used)
    normalised = _normalised(solved.residual, own, solved.redundancy)
    images = np.stack([_image_errors(net, *one) for one in zip(cov, own, used, strict=True)])
    group = np.stack([net.components(one) for one in used])
    lonely = ~np.stack([np.isin(np.arange(net.n), np.r_[net.target[u], net.reference[u]]) for u in used])
    places = np.where(lonely[..., None], np.nan, solved.places)
    residual = np.where(accepted[..., None], move - net.differences(places), np.nan)
    parts: Any = (places, solved.network, images, residual, normalised, own, solved.redundancy, outlier, used, group)
    shaped: list[Any] = [*(part.reshape(lead + part.shape[1:]) for part in parts), factors]
    return Adjustment(*shaped)


def _weights(cov: Floats) -> Floats:
    return np.asarray(np.linalg.inv(cov))


def _solve(net: Network, move: Floats, weight: Floats, spread: scipy.sparse.csr_array) -> tuple[Floats, Floats]:
    """Places (w, n, 2) of least squares, minimum norm in every group, and the normal matrices (w, 2n, 2n), regular."""
    n = net.n
    normal = np.empty((len(move), 2, n, 2, n))
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        normal[:, i, :, j, :] = (weight[..., i, j] @ spread).reshape(-1, n, n)
    right = np.stack([(np.einsum("wkj,wkj->wk", weight[..., i, :], move)) @ net.incidence for i in (0, 1)], 1)
    for one, pairs in zip(normal, weight[..., 0, 0] > 0, strict=True):
        label = net.components(pairs)
        same = (label[:, None] == label).astype(np.float64)
        # Inner constraint: the sum of corrections of each group is zero; scaled as the normal matrix is.
        size = np.trace(one[0, :, 0, :]) / n + np.trace(one[1, :, 1, :]) / n + 1e-300
        for axis in (0, 1):
            one[axis, :, axis, :] += size / same.sum(1) * same
    square = normal.reshape(-1, 2 * n, 2 * n)
    places = np.linalg.solve(square, right.reshape(-1, 2 * n, 1))
    return np.asarray(places.reshape(-1, 2, n).transpose(0, 2, 1)), square


def _first_weights(net: Network, move: Floats, cov: Floats, accepted: Bools) -> Floats:
    """Robust weights (w, m): zero for outliers."""
    spread, inverse = net.spread, _weights(cov) * accepted[..., None, None]
    weight: Floats = np.ones(accepted.shape)
    places, _ = _solve(net, move, inverse, spread)
    degrees = np.maximum(accepted.sum(1) - net.n + 1, 0.0)
    scale = np.ones((len(move), 1))
    for step in range(_ABSOLUTE + _BIWEIGHT):
        off = move - net.differences(places)
        length = np.sqrt(np.maximum(np.einsum("wki,wkij,wkj->wk", off, inverse, off), 0))
        if step < _ABSOLUTE:
            weight = 1 / np.maximum(length, 0.3)
            typical = np.array([np.median(a[b]) if b.any() else 0 for a, b in zip(length, accepted, strict=True)])
            squared = (typical / MEDIAN_RADIUS) ** 2 * accepted.sum(1) / np.maximum(degrees, 1)
            scale = np.sqrt((squared * degrees + _PRIOR) / (degrees + _PRIOR))[:, None]
        else:
            weight = biweight(np.minimum(length / (_LIMIT * scale), 1.0))
        before = places
        places, _ = _solve(net, move, inverse * np.maximum(weight, _LEAST)[..., None, None], spread)
        if step >= _ABSOLUTE and np.abs(places - before).max() < _CONVERGED:
            break
    return np.asarray(np.where(accepted, weight, 1.0))


@dataclass(frozen=True, eq=False)
class _Solved:
    """A weighted solution: places, their covariance by errors of pairs, residuals, redundancy."""

    places: Floats
    network: Floats
    residual: Floats
    redundancy: Floats

    @classmethod
    def of(cls, net: Network, move: Floats, own: Floats, used: Bools) -> _Solved:
        weight = _weights(own) * used[..., None, None]
        places, normal = _solve(net, move, weight, net.spread)
        n, t, r = net.n, net.target, net.reference
        network = np.linalg.inv(normal).reshape(-1, 2, n, 2, n).transpose(0, 2, 4, 1, 3)
        network = (network + network.transpose(0, 2, 1, 4, 3)) / 2
        between = network[:, t, t] + network[:, r, r] - network[:, t, r] - network[:, r, t]
        share = 1 - np.einsum("wkij,wkji->wk", weight, between) / 2
        return cls(places, network, move - net.differences(places), np.clip(np.where(used, share, 1.0), 0.0, 1.0))


def _own_covariance(net: Network, cov: Floats, factors: Floats) -> Floats:
    """Covariance (..., m, 2, 2) of the part of each pair's error that does not close."""
    factor, added = factors[net.kind, :, 0], factors[net.kind, :, 1]
    scaled = np.sqrt(factor)
    return np.asarray(cov * scaled[:, :, None] * scaled[:, None, :] + added[:, :, None] * np.eye(2))


def _normalised(residual: Floats, own: Floats, redundancy: Floats) -> Floats:
    """Length (..., m) of residuals in their own standard deviations; 0 where a residual shows nothing."""
    squares = np.einsum("wki,wkij,wkj->wk", residual, _weights(own), residual)
    shows = redundancy > 1e-6
    return np.asarray(np.where(shows, np.sqrt(np.maximum(squares, 0) / np.where(shows, redundancy, 1.0)), 0.0))


def _estimate(net: Network, cov: Floats, solved: _Solved, used: Bools) -> Floats:
    """Variance components (kinds, 2, 2) from squared residuals over their redundancy."""
    stated = np.diagonal(cov, axis1=-2, axis2=-1)
    factors = np.zeros((int(net.kind.max(initial=0)) + 1, 2, 2))
    for kind in range(len(factors)):
        chosen = used & (net.kind == kind) & (solved.redundancy > 1e-3)
        share = np.repeat(solved.redundancy[chosen], 2)
        factors[kind] = _two_parts(stated[chosen].ravel(), (solved.residual[chosen] ** 2).ravel(), share)
    own = np.diagonal(_own_covariance(net, cov, factors), axis1=-2, axis2=-1)
    for axis in (0, 1):
        squares = (solved.residual[used][:, axis] ** 2 / own[used][:, axis]).sum()
        factors[:, axis] *= (squares + _PRIOR) / (solved.redundancy[used].sum() + _PRIOR)
    return factors


def _two_parts(stated: Floats, squares: Floats, share: Floats) -> Floats:
    """Factor on stated variances (m,) and a variance added, so that they explain squared residuals; the same twice."""
    factor, added = _OWN_SHARE, 0.0
    if not stated.size:
        return np.full((2, 2), [factor, added])
    typical = float(np.median(stated))
    for _ in range(20):
        weight = np.sqrt(share) / (factor * stated + added)
        rows = np.stack([stated, np.full(stated.shape, typical)], 1) * weight[:, None]
        prior = np.array([[np.sqrt(_PRIOR) / _OWN_SHARE, 0.0]])
        wanted = np.concatenate([squares / share * weight, [np.sqrt(_PRIOR)]])
        (first, second), _ = scipy.optimize.nnls(np.concatenate([rows, prior]), wanted)
        before, factor, added = factor, max(float(first), 1e-4), float(second) * typical
        if abs(factor - before) < 1e-9 * before:
            break
    # Both axes together define the shape; so many squares as there are degrees of freedom define the size.
    size = ((squares / (factor * stated + added)).sum() + _PRIOR) / (share.sum() + _PRIOR)
    return np.full((2, 2), [factor * size, added * size])


def _image_errors(net: Network, cov: Floats, own: Floats, used: Bools) -> Floats:
    """Covariances (n, n, 2) along each axis of errors that images have in all of their pairs.

    The stated variance of a pair less its own part is a variogram of these errors: the sum of a variance of each image
    and of the squared distances in `drift`, each with a variance. Where triangles close badly, matchers state too
    little of both parts.
    """
    out = np.zeros((net.n, net.n, 2))
    t, r = net.target[used], net.reference[used]
    if not len(t):
        return out
    apart = (net.drift[t] - net.drift[r]) ** 2
    rows = np.concatenate([abs(net.incidence[used]).toarray(), apart], 1)
    for axis in (0, 1):
        private = own[used, axis, axis]
        rest = np.maximum(cov[used, axis, axis] - private, _LEAST_IMAGE * private)
        usual = np.median(rest) / 2
        # Tikhonov: images in few pairs get the usual variance.
        weak = np.r_[np.full(net.n, _SHARE_OF_USUAL), np.zeros(apart.shape[1])]
        rule = _SHARE_OF_USUAL / usual
        # Errors of variances grow with what is true, not with what is stated: weighted by their own size, the smallest
        # pairs of an image would define its variance.
        size = np.full(len(t), rest.mean())
        for _ in range(_VARIOGRAM):
            # The triangle of the normal matrix has the same solution, and a row for each image, not for each pair.
            scaled = rows / size[:, None]
            root = np.linalg.cholesky(scaled.T @ scaled + rule**2 * np.eye(len(weak)))
            goal = np.linalg.solve(root, scaled.T @ (rest / size) + rule * weak)
            part, _ = scipy.optimize.nnls(root.T, goal)
            size = np.maximum(rows @ part, _SHARE_OF_USUAL * usual)
        alone = np.maximum(part[: net.n], _SHARE_OF_USUAL * usual)
        out[..., axis] = np.diag(alone) + (net.drift * part[net.n :]) @ net.drift.T
    return out


def to_datum(found: Adjustment, share: Floats) -> tuple[Floats, Floats]:
    """Bring places (..., n, 2) and their covariances into the datum where `share` (n,) times places is zero.

    `share` sums to one: that of one node for a fixed date, equal parts for the mean of several.
    """
    known = np.where(share[:, None] > 0, found.places, 0.0)
    places = found.places - np.einsum("n,...ni->...i", share, known)[..., None, :]
    total = found.network.copy()
    for axis in (0, 1):
        total[..., axis, axis] += found.images[..., axis]
    to_mean = np.einsum("b,...abij->...aij", share, total)
    of_mean = np.einsum("a,...aij->...ij", share, to_mean)
    own = np.einsum("...aaij->...aij", total)
    cov = own - to_mean - to_mean.swapaxes(-1, -2) + of_mean[..., None, :, :]
    return places, np.where(np.isfinite(places)[..., None], cov, np.nan)


@dataclass(frozen=True)
class Closure:
    """How well triangles of accepted pairs close: their number, median and root mean square length (px), chi-squared.

    ratio : Chi-squared per degree of freedom along (column, row), by the part of errors that need not close.
    """

    n: int
    median: float
    rms: float
    ratio: tuple[float, float]


def closure(net: Network, found: Adjustment, move: Floats, most: int = 20000) -> Closure:
    """Close all triangles (at most so many, evenly chosen) of one network: move (m, 2)."""
    triangles, signs = _triangles(net, found.used)
    if len(triangles) > most:
        chosen = np.linspace(0, len(triangles) - 1, most).astype(int)
        triangles, signs = triangles[chosen], signs[chosen]
    if not len(triangles):
        return Closure(0, float("nan"), float("nan"), (float("nan"), float("nan")))
    sums = np.einsum("kt,kti->ki", signs, move[triangles])
    variance = np.diagonal(found.own, axis1=-2, axis2=-1)[triangles].sum(1)
    ratio = (sums**2 / variance).mean(0)
    length = np.hypot(*sums.T)
    return Closure(
        len(triangles), float(np.median(length)), float(np.sqrt((length**2).mean())), (float(ratio[0]), float(ratio[1]))
    )


def _triangles(net: Network, used: Bools) -> tuple[Ints, Floats]:
    """Pairs (k, 3) of every triangle and the signs (k, 3) that lead around it."""
    number = np.full((net.n, net.n), -1)
    sign = np.zeros((net.n, net.n))
    index = np.flatnonzero(used)
    t, r = net.target[index], net.reference[index]
    number[t, r] = number[r, t] = index
    sign[t, r], sign[r, t] = 1, -1
    found = []
    for a in range(net.n):
        near = np.flatnonzero(number[a] >= 0)
        near = near[near > a]
        first, second = np.nonzero(np.triu(number[np.ix_(near, near)] >= 0, 1))
        found.append(np.stack([np.full(len(first), a), near[first], near[second]], 1))
    a, b, c = np.concatenate(found).T
    return np.stack([number[a, b], number[b, c], number[c, a]], 1), np.stack([sign[a, b], sign[b, c], sign[c, a]], 1)


def date_ratios(net: Network, found: Adjustment) -> tuple[Floats, Ints, Ints]:
    """Chi-squared per degree of freedom (n,) of the accepted pairs of every date; numbers (n,) of accepted and outlier.

    For one network.
    """
    squares = np.einsum("ki,kij,kj->k", found.residual, _weights(found.own), found.residual)
    total, degrees = np.zeros(net.n), np.zeros(net.n)
    good, bad = np.zeros(net.n, np.intp), np.zeros(net.n, np.intp)
    for side in (net.target, net.reference):
        np.add.at(total, side[found.used], squares[found.used])
        np.add.at(degrees, side[found.used], 2 * found.redundancy[found.used])
        np.add.at(good, side[found.used], 1)
        np.add.at(bad, side[found.outlier], 1)
    return np.where(degrees > 1e-3, total / np.maximum(degrees, 1e-3), np.nan), good, bad


def choose_pairs(score: Floats, done: Bools, wanted: Ints, partners: int) -> Ints:
    """Choose pairs (k, 2) to match next: score (n, n), NaN where useless; done (n, n); wanted (n,) new partners.

    Half of the partners of a date are those that match best; the others are the best ones of equal parts of the order
    of dates, so that the network has long links and errors do not add up along chains.
    """
    n = len(score)
    usable = np.where(done | np.eye(n, dtype=bool), np.nan, score)
    chosen = np.zeros((n, n), bool)
    for date in range(n):
        row, need = usable[date], int(wanted[date])
        free = np.flatnonzero(np.isfinite(row))
        if not need or not free.size:
            continue
        ranked = free[np.lexsort((free, -row[free]))]
        picked = list(ranked[: (need + 1) // 2])
        others = np.setdiff1d(free, picked)
        # parts of the order of dates, seen from this one, so that every distance occurs
        for part in np.array_split(others[np.argsort((others - date) % n, kind="stable")], max(partners // 2, 1)):
            if part.size and len(picked) < need:
                picked.append(part[np.lexsort((part, -row[part]))[0]])
        chosen[date, picked] = True
    chosen = np.triu(chosen | chosen.T)
    return np.argwhere(chosen)


def spanning_pairs(score: Floats) -> Ints:
    """Pairs (n - 1, 2) of the spanning tree of the best scores (n, n), NaN where there is no use."""
    n = len(score)
    first, second = np.triu_indices(n, 1)
    order = np.lexsort((second, first, -np.nan_to_num(score[first, second], nan=-1.0)))
    group, out = np.arange(n), []
    for at in order:
        i, j = first[at], second[at]
        if group[i] != group[j]:
            group[group == group[j]] = group[i]
            out.append((int(i), int(j)))
    return np.array(out, np.intp).reshape(-1, 2)
