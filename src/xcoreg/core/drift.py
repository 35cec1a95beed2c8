"""Shifts that change with frequency: what both images owe to their pixels, not to the scene, drags fine detail along.

A fixed pattern, the blocks of a compression or an earlier interpolation pull fine detail towards the lattice of pixels
or away from it and leave coarse detail in place. Such a drift is fitted beside the shift, from the sums over rings that
the refinement has anyway, along two profiles: the share of a white pattern in the power of a ring, and the square of
frequency, as errors of interpolation grow. It counts by how much more it explains than noise would (empirical Bayes:
Efron & Morris 1973, doi:10.1080/01621459.1973.10481350), so that white noise stays at its bound.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri

from xcoreg.core import Bools, Floats
from xcoreg.core.matches import Matches, Status
from xcoreg.core.phase import Modes
from xcoreg.core.weights import SMALL_SAMPLE, Products, Steps, scene_products

# A drift counts from so many times the variance that noise gives it, and not where it leaves the shift vaguer than so
# many px or so many times as vague as it is without.
_COUNTS, _NOISE, _VAGUE, _TIMES = 2.75, 1.75, 0.1, 6.0
_HIDDEN = 4.0  # times the variance that noise gives a drift, which one that does not count may have at most
_PATTERN = 0.3  # power of the scene, in units of noise, below which it is not known
_TOP = 0.36  # unit of frequency of the square profile, cycles per pixel
_CONTRADICTS = 2.0  # standard deviations in units of a drift that cannot be corrected
_SEEN = 0.02  # drifts above this, px, are seen
TOGETHER = 0.03  # drift, px, that windows have at least which show it together
# Shift, px, of windows that would not be cut elsewhere once it is known, and their largest standard deviation.
_CENTRED, _SURE = 0.49, 0.3
# Significance level at which windows drift differently, and by how much of the mean they may do so along and across it.
_CHANCE, _VARIES = 0.1, (0.3, 0.1)
_UNEXPLAINED = 0.1  # share of a drift that is left: no pattern follows a profile exactly
_OTHER = 0.8  # share of what both profiles together would change that fields take for unknown
_FEW, _SINGULAR = 3, 1e-4  # windows that show what they share; least determinant over squared trace of their covariance


class Pattern(NamedTuple):
    """What both images owe to their pixels: stripes along columns or rows, and a drift of fine detail.

    drifts, further : Shares of the drift along one profile, and of its rest along the other one, that count, 0..1;
    0 if every window decides for itself.
    torn : Whether it tears so many windows that those which match may be on its side.
    """

    columns: bool = False
    rows: bool = False
    drifts: float = 0.0
    further: float = 0.0
    torn: bool = False

    @property
    def stripes(self) -> Bools:
        """Whether there are stripes along columns and rows, (2,)."""
        return np.array([self.columns, self.rows])


NO_PATTERN = Pattern()


class Drift(NamedTuple):
    """Step (n, 2), px, to the shift without drift, its covariance (n, 2, 2), and what of this is for contradiction.

    seen : (n,) bool; whether fine detail drifts; vague : (n,), px; standard deviation where that cannot be corrected.
    evidence : (n, 27); drifts along both profiles and their rests along the other one, (col, row), standard deviations;
    steps without drift, along one profile and along both; their covariances; 1 where nothing else changed a match.
    """

    step: Floats
    cov: Floats
    seen: Bools
    vague: Floats
    evidence: Floats


def without_drift(
    products: Products, steps: Steps, cov: Floats, support: Floats, modes: Modes, known: Pattern = NO_PATTERN
) -> Drift:
    """Shift of coarse and fine detail alike; cov (n, 2, 2), support (n,): covariance without drift, number of modes.

    known : What other windows of the images have shown.
    """
    rings = _Rings.of(products, steps, 1 + SMALL_SAMPLE / np.maximum(support, 1), modes)
    system = rings.equations()
    plain, pattern, square, both = (_solve(system, n) for n in ([0], [0, 1], [0, 2], [0, 1, 2]))
    scatter = rings.scatter(both[0])
    drifts = (pattern, 1), (square, 1), (both, 2), (both, 1)
    evidence = np.stack([_deviations(*one, k) for one, k in drifts], 1) / np.sqrt(scatter)[:, None, None]
    cov = cov * scatter[:, None, None]
    at = (evidence[:, :2] ** 2).sum(2).argmax(1), np.arange(len(cov))
    step, wide = (np.stack([one[:, :2], two[:, :2]])[at] for one, two in zip(pattern, square, strict=True))
    covs = cov, wide[:, :, :2] * scatter[:, None, None], both[1][:, :2, :2] * scatter[:, None, None]
    moves = np.nan_to_num(plain[0]), step, both[0][:, :2]
    rest = *moves, *(part.reshape(-1, 4) for part in covs), np.zeros((len(cov), 1))
    return settle(np.concatenate([evidence.reshape(-1, 8), *rest], 1), known)


def settle(evidence: Floats, known: Pattern) -> Drift:
    """Shift by the evidence (n, 27) of windows, and by what is known of the drift of all."""
    first, second = ((evidence[:, k : k + 4].reshape(-1, 2, 2) ** 2).sum(2) / 2 for k in (0, 4))
    at = np.arange(len(first)), first.argmax(1)
    short, step, both = (evidence[:, k : k + 2] for k in (8, 10, 12))
    cov, wide, widest = (evidence[:, k : k + 4].reshape(-1, 2, 2) for k in (14, 18, 22))
    share, hidden = _counting(first[at], known.drifts)
    more, unseen = (part * (share > 0) for part in _counting(second[at], known.further))
    step = step + more[:, None] * (both - step)
    wide = wide + (more + unseen)[:, None, None] * (widest - wide)
    size, before = (np.sqrt(np.maximum(np.trace(part, axis1=1, axis2=2), 0) / 2) for part in (wide, cov))
    with np.errstate(invalid="ignore"):
        clear = (size < np.minimum(_VAGUE, _TIMES * before)) | (known.drifts > 0)
        clear &= np.isfinite(step).all(1) & np.isfinite(before) & (wide[:, 0, 0] > 0)
        clear &= wide[:, 0, 0] * wide[:, 1, 1] > wide[:, 0, 1] ** 2
        gap = np.nan_to_num(share[:, None] * (step - short))
        # Where coarse detail contradicts fine detail and is too vague to replace it, the shift is as vague.
        far = np.hypot(*gap.T)
        vague = np.where(clear, 0, _CONTRADICTS * far)
        more = (share + hidden) * (size > before)  # copies have a covariance that no fit goes below
        wider = np.where(clear[:, None, None], more[:, None, None] * (wide - cov), round_covariance(vague))
        cov = np.where(np.isfinite(before)[:, None, None], cov + wider, cov)
        step = np.where(clear[:, None], short + gap, short)
    shown = np.concatenate([np.nan_to_num(evidence[:, :8]), evidence[:, 8:]], 1)
    return Drift(step, cov, far > _SEEN, vague, shown)


def settle_again(matches: Matches, known: Pattern) -> Matches | None:
    """Correct matches by what is known of their drift without a look at the pixels; None where that takes one.

    Windows cut where they were have the same sums over rings: only what is done with these differs.
    """
    drift, before = settle(matches.drift, known), settle(matches.drift, NO_PATTERN)
    far = np.hypot(*drift.step.T)
    cov = drift.cov + left_over(far)
    alike = (np.maximum(np.abs(matches.dcol), np.abs(matches.drow)) < _CENTRED) & (matches.drift[:, -1] > 0)
    if known.stripes.any() or not (alike & (far <= _SEEN) & (np.trace(cov, axis1=1, axis2=2) < _SURE**2)).all():
        return None
    dragged = np.maximum(np.maximum(drift.vague, far), TOGETHER * known.drifts)
    pattern = np.column_stack([dragged, matches.pattern[:, 1:]])
    col, row = (drift.step - before.step).T
    return replace(matches, dcol=matches.dcol + col, drow=matches.drow + row, cov=cov, pattern=pattern)


def shared_drift(evidence: Floats) -> tuple[Pattern, bool]:
    """Drift of which windows give evidence (n, 27) together, see :class:`Drift`; whether it is that of their pixels.

    Pixels drag all windows alike, what is in the scene (shadows, terrain, change) each in its own way.
    """
    n, both = max(len(evidence), 1), evidence[:, :8].reshape(-1, 2, 2, 2)
    together = both.sum(0) / np.sqrt(n)
    first, further = (together**2).sum(2) / 2
    pick = int(first.argmax())
    share, more = _counting(np.array([first[pick], further[pick]]))[0].tolist()
    return Pattern(drifts=share, further=more * (share > 0)), _alike(both[:, 0, pick])


def _alike(drifts: Floats) -> bool:
    """Whether drifts (n, 2), in standard deviations, have one direction and about one length."""
    mean = drifts.mean(0) if len(drifts) else np.zeros(2)
    size = float(np.hypot(*mean))
    axes = np.array([[mean[0], -mean[1]], [mean[1], mean[0]]]) / max(size, 1e-30)  # along and across the mean
    squares = ((drifts - mean) @ axes) ** 2 / (1 + (size * np.array(_VARIES)) ** 2)
    return len(drifts) < 2 or float(squares.sum()) <= chdtri(2 * (len(drifts) - 1), _CHANCE)


# Windows show a pattern that drags fine detail by so many px, or so many times as far as noise does (mean square), or
# stripes, in more than half of them.
DRAGGED, _BEYOND_NOISE = 0.02, 4.0
_TORN = 0.3  # drift of a window, px, that is refused and does not leave the others alone, if they are not twice as many
PEAKS = (Status.OK, Status.UNCONSTRAINED, Status.DISAGREES, Status.NOT_CONVERGED)


def pattern_of(matches: Matches, *, one_shift: bool = True) -> Pattern:
    """Find what both images owe to their pixels in most of the windows that have a peak.

    one_shift : Whether they have a common shift: one that varies within windows looks like small drifts.
    """
    index = np.flatnonzero(np.isin(matches.status, PEAKS))
    if not index.size:
        return NO_PATTERN
    dragged, columns, rows = np.median(matches.pattern[index], axis=0).tolist()
    excess = np.median((matches.drift[index, :4].reshape(-1, 2, 2) ** 2).sum(2).max(1) / 2)
    weak = one_shift and excess > _BEYOND_NOISE and shared_drift(matches.drift[index])[1]
    torn = int(((matches.status == Status.DISAGREES) & (matches.pattern[:, 0] > _TORN)).sum())
    drifts = float(dragged > DRAGGED or weak)
    return Pattern(columns > 0.5, rows > 0.5, drifts, torn=2 * torn >= max(int(matches.ok.sum()), 1))


def left_over(size: Floats, share: float = _UNEXPLAINED) -> Floats:
    """Covariance (n, 2, 2) of a share of drifts of some size (n,), px: by default of what corrections leave of them."""
    return round_covariance(share / np.sqrt(2) * size)


def common_error(evidence: Floats, overlap: float, known: Pattern) -> float:
    """Estimate the error, px, that drifts leave in all windows alike: evidence (n, 27), see :class:`Drift`.

    overlap : Factor of the covariance of their mean, because they share pixels. Fields correct each window by one
    profile, if at all: what that leaves and what the other profile would change is the same in all of them.
    """
    steps = ((8, 14), (10, 18), _UNEXPLAINED if known.drifts else 1.0), ((10, 18), (12, 22), _OTHER)
    total = 0.0
    for (first, narrow), (then, wide), left in steps:
        gap = evidence[:, then : then + 2] - evidence[:, first : first + 2]
        cov = (evidence[:, wide : wide + 4] - evidence[:, narrow : narrow + 4]).reshape(-1, 2, 2)
        trace = np.trace(cov, axis1=1, axis2=2)
        with np.errstate(invalid="ignore"):
            good = (trace > 0) & (np.linalg.det(cov) > _SINGULAR * trace**2) & np.isfinite(gap).all(1)
        if good.sum() < _FEW:
            continue
        weight = np.linalg.inv(cov[good])
        mean_cov = np.linalg.inv(weight.sum(0))
        mean = mean_cov @ np.einsum("nij,nj->i", weight, gap[good])
        (share,), (hidden,) = _counting(np.array([mean @ np.linalg.solve(mean_cov, mean) / (2 * overlap)]))
        total += left**2 * (share**2 * (mean @ mean) + hidden * overlap * np.trace(mean_cov)) / 2
    return float(np.sqrt(total))


def round_covariance(sigma: Floats) -> Floats:
    """Covariances (n, 2, 2) of standard deviations (n,) alike in all directions."""
    return np.asarray((sigma**2)[:, None, None] * np.eye(2))


def _counting(excess: Floats, known: float = 0.0) -> tuple[Floats, Floats]:
    """Share (n,) of a drift that counts, and share of its variance that may be there nevertheless."""
    excess = np.maximum(np.nan_to_num(excess), 1e-9)
    share = np.clip(1 - _COUNTS / excess, 0, 1)
    if known:
        return np.full_like(share, known), np.full_like(share, (1 - known) ** 2)
    return share, (1 - share) ** 2 * np.clip(excess - _NOISE, 0, _HIDDEN)


class _Rings(NamedTuple):
    """Equations of every ring: profiles (n, 3, n_rings), products (n, n_rings) each, and noise of the right-hand side.

    Profiles say how a drift grows: not at all, as a white pattern does, as errors of interpolation do.
    """

    profiles: Floats
    products: tuple[Floats, ...]
    weight: Floats
    noise: Floats

    @classmethod
    def of(cls, products: Products, steps: Steps, spread: Floats, modes: Modes) -> _Rings:
        """Rings of one linearisation."""
        pattern = 1 / np.maximum(steps.scene, np.maximum(_PATTERN * steps.noise, 1e-30))
        pattern /= pattern.max(1, keepdims=True)
        square = np.broadcast_to((modes.centre / _TOP) ** 2, pattern.shape)
        profiles = np.stack([np.ones_like(pattern), pattern, square], 1)
        noise = 2 * steps.noise * spread[:, None]
        return cls(profiles, scene_products(products, steps, modes), steps.weight, noise)

    def equations(self) -> tuple[Floats, Floats, Floats]:
        """Build normal matrices, covariances of right-hand sides (n, 6, 6) and these (n, 6): pairs of the profiles."""
        rx, ry, xx, xy, yy = self.products
        weighted = self.profiles * self.weight[:, None]
        right = -np.stack([(weighted * part[:, None]).sum(2) for part in (rx, ry)], -1)
        noise = self.noise * self.weight
        normal, middle = (
            _pairs(*(weighted @ (factor * part[:, None] * self.profiles).swapaxes(1, 2) for part in (xx, xy, yy)))
            for factor in (1.0, noise[:, None])
        )
        return normal, middle, right.reshape(len(right), -1)

    def scatter(self, solution: Floats) -> Floats:
        """Factor (n,), 1 at least, by which rings scatter more about a solution (n, 6) than noise makes them.

        What little they say of it is shrunk (James & Stein 1961).
        """
        rx, ry, xx, xy, yy = self.products
        dx, dy = np.einsum("nkp,nkc->cnp", self.profiles, solution.reshape(len(solution), -1, 2))
        power, noise = xx + yy, np.maximum(self.noise, 1e-300)
        with np.errstate(all="ignore"):
            square = ((rx + dx * xx + dy * xy) ** 2 + (ry + dx * xy + dy * yy) ** 2) / (noise * power)
            share = np.where((xx > 0) & (yy > 0) & np.isfinite(square), self.weight * power, 0)
            share /= np.maximum(share.max(1, keepdims=True), 1e-300)
            total, alike = share.sum(1), (share**2).sum(1)
            excess = (share * np.nan_to_num(square)).sum(1) / total - 1
            return np.asarray(1 + np.nan_to_num(np.maximum(excess - alike / total**2 / np.maximum(excess, 1e-9), 0)))


def _pairs(xx: Floats, xy: Floats, yy: Floats) -> Floats:
    """Matrices (n, 6, 6) of pairs (x, y) from those (n, 3, 3) of profiles."""
    blocks = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)  # (n, 3, 3, 2, 2)
    return blocks.swapaxes(2, 3).reshape(len(xx), 6, 6)


def _solve(system: tuple[Floats, Floats, Floats], profiles: list[int]) -> tuple[Floats, Floats]:
    """Solution (n, 2 k) with k of the profiles, and its sandwich covariance."""
    index = np.concatenate([(2 * k, 2 * k + 1) for k in profiles])
    normal, middle, right = system[0][:, index][:, :, index], system[1][:, index][:, :, index], system[2][:, index]
    scale = np.sqrt(np.abs(np.einsum("nii->ni", normal)))
    scale = 1 / np.where(scale > 0, scale, np.inf)
    both = scale[:, :, None] * scale[:, None]
    bread = both * np.linalg.inv(np.nan_to_num(normal * both) + 1e-9 * np.eye(len(index)))
    return np.einsum("nij,nj->ni", bread, right), bread @ middle @ bread


def _deviations(solution: Floats, cov: Floats, profile: int) -> Floats:
    """One drift's two components (n, 2) in standard deviations, the second one without what the first one says."""
    pair = slice(2 * profile, 2 * profile + 2)
    (x, y), own = solution[:, pair].T, cov[:, pair, pair]
    with np.errstate(all="ignore"):
        first = 1 / np.sqrt(own[:, 0, 0])
        lean = own[:, 0, 1] * first**2
        return np.stack([x * first, (y - lean * x) / np.sqrt(own[:, 1, 1] - lean * own[:, 0, 1])], -1)
