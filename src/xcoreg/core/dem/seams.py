"""Seams between elevation models: straight lines across which their difference jumps.

A line is sought along which squares on either side differ, in height or in how heights go with slopes, by more than
squares side by side do elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.dem.equations import spread_of
from xcoreg.core.dem.observations import DemWindow

CELL, _WIDTHS = 4, (12, 32)  # px: cells that lines are sought on, sides of the squares on either side of a line
_ANGLES = np.arange(0.0, 180.0, 7.5)  # degrees of the normal of a line, from the columns
_FULL, _CLIP, _CLEAR = 0.35, 5.0, 6.0  # share of a square that is needed; largest step over the usual; score of a seam
# Factors of the scores of lines that do not follow the pixels, as seams mostly do, and of seams found elsewhere.
_OBLIQUE, _KNOWN, _BESIDE = 0.7, 1.6, 6.0  # px beside a known line
NARROWING = ((4.0, 0.5), (0.8, 0.1), (0.16, 0.02))  # angles tried about a line, and between them, degrees
_RUNS, _SEGMENTS, _LEAST_SQUARES = (4, 8, 16, 32), 3, 10  # lengths of a seam, least number of segments, of squares
_SPREADS = 1.0, 0.6  # least standard deviations of the scores where there is no seam
_FINE, _NEAR_AXIS, _TIE = 0.25, 1.5, 50.0  # px between lines tried; degrees, and cost, of a line taken for parallel
_SAMPLE, _MANY = 400_000, 150  # samples that seams are sought on; offsets of which every second one is tried
_STRAIGHT = 0.9  # share of what the best place of each piece of a seam gains that a straight seam must gain
_WIDE = 2.0  # residuals are clipped so many times their usual range beyond it


@dataclass(frozen=True, eq=False)
class Pixels:
    """Samples (n,): positions in the target, px; differences of height; slopes per px."""

    col: Floats
    row: Floats
    rest: Floats
    slopes: tuple[Floats, Floats]
    weight: float = 1.0  # pixels that each stands for

    @classmethod
    def of(cls, windows: Sequence[DemWindow], move: Floats) -> Pixels:
        """Compare windows at a shift."""
        seen = [one.observe(move) for one in windows]
        places = [one.positions(obs.at) for one, obs in zip(windows, seen, strict=True)]
        dh, across, down = (np.concatenate([getattr(one, name) for one in seen]) for name in ("dh", "col", "row"))
        col, row = (np.concatenate([place[axis] for place in places]) - move[axis] for axis in range(2))
        step = max(len(dh) // _SAMPLE, 1) | 1
        return cls(col, row, dh.astype(np.float64), (across, down), float(step)).take(np.arange(0, len(dh), step))

    def clipped(self) -> Pixels:
        """Subtract the median and clip blunders, which must not look like a seam."""
        low, middle, high = np.percentile(self.rest, (10, 50, 90))
        limit = _WIDE * max(high - low, 1e-6)
        return replace(self, rest=np.clip(self.rest - middle, low - middle - limit, high - middle + limit))

    def take(self, chosen: Bools | Ints) -> Pixels:
        """Select samples."""
        across, down = self.slopes
        own = self.col[chosen], self.row[chosen], self.rest[chosen], (across[chosen], down[chosen])
        return Pixels(*own, self.weight)

    def products(self) -> Floats:
        """Terms (9, n) of the normal matrix and of the right-hand side of shift and offset."""
        a, b = (-part.astype(np.float64) for part in self.slopes)
        return self.weight * np.stack(
            [a * a, a * b, a, b * b, b, np.ones_like(a), a * self.rest, b * self.rest, self.rest]
        )

    def noise(self) -> float:
        """Estimate the standard deviation of the residuals within squares."""
        key = (self.row // _WIDTHS[1]).astype(np.intp) * 100_003 + (self.col // _WIDTHS[1]).astype(np.intp)
        _, at = np.unique(key, return_inverse=True)
        mean = np.bincount(at, self.rest) / np.bincount(at)
        return max(spread_of([self.rest - mean[at]]).nmad, 1e-6)


class Line(NamedTuple):
    """Positions with ``cos(angle) col + sin(angle) row = offset``; degrees, px."""

    angle: float
    offset: float

    def across(self, col: Floats, row: Floats) -> Floats:
        """Distance beyond the line, px."""
        a, b, c = self.plane
        return np.asarray(a * col + b * row + c)

    def along(self, col: Floats, row: Floats) -> Floats:
        """Distance along the line, px."""
        a, b, _ = self.plane
        return np.asarray(a * row - b * col)

    @property
    def plane(self) -> tuple[float, float, float]:
        """Factors (a, b, c) of ``a col + b row + c``, positive beyond the line."""
        angle = np.radians(self.angle)
        return float(np.cos(angle)), float(np.sin(angle)), -self.offset


def _solved(sums: Floats, noise: float) -> tuple[Floats, Floats]:
    """Shift and offset (3, ...) of sums (9, ...), and their formal variances; vague ones are drawn to none."""
    a = np.moveaxis(sums[[0, 1, 2, 1, 3, 4, 2, 4, 5]], 0, -1).reshape(*sums.shape[1:], 3, 3)
    inverse = np.linalg.inv(a + noise**2 * np.diag([0.25, 0.25, 0.01 / noise**2]))
    found = np.einsum("...ij,j...->i...", inverse, sums[6:])
    return found, noise**2 * np.moveaxis(np.diagonal(inverse, axis1=-2, axis2=-1), -1, 0)


def _steps(cells: tuple[Floats, Floats, Floats], line: Line, width: int, noise: float) -> tuple[Floats, Bools, Floats]:
    """Compare both sides of all parallels of a line: steps (3, lines, segments) in sigmas, known or not, offsets."""
    col, row, sums = cells
    u, v = line.across(col, row), line.along(col, row)
    low = u.min() - CELL / 2
    at, part = ((u - low) // CELL).astype(np.intp), ((v - v.min() + CELL / 2) // width).astype(np.intp)
    n, m, reach = int(at.max()) + 1, int(part.max()) + 1, width // CELL
    table = np.stack([np.bincount(at * m + part, one, n * m).reshape(n, m) for one in sums])
    total = np.pad(table, ((0, 0), (1, 0), (0, 0))).cumsum(1)
    k = np.arange(1, n, 2 if n > _MANY else 1)
    sides = total[:, k] - total[:, np.maximum(k - reach, 0)], total[:, np.minimum(k + reach, n)] - total[:, k]
    known = np.minimum(sides[0][5], sides[1][5]) > _FULL * width**2
    found, spread = zip(*(_solved(side, noise) for side in sides), strict=True)
    return (found[1] - found[0]) / np.sqrt(spread[0] + spread[1]), known, low + CELL * k


def _along(step: Floats, known: Bools) -> tuple[Floats, Floats]:
    """Score lines by the squares of steps (3, lines, segments), and by a run of one step, since seams may end."""
    n, step = known.sum(1), np.clip(step, -_CLIP, _CLIP) * known
    every = np.where(n >= _SEGMENTS, ((step**2).sum((0, 2)) - 3 * n) / np.sqrt(6.0 * np.maximum(n, 1)), -np.inf)
    total, count = (np.pad(part, ((0, 0),) * (part.ndim - 1) + ((1, 0),)).cumsum(-1) for part in (step, known * 1.0))
    best = np.full(len(known), -np.inf)
    for length in (one for one in _RUNS if one <= known.shape[1]):
        some, found = total[..., length:] - total[..., :-length], count[:, length:] - count[:, :-length]
        own = np.where(found >= max(_SEGMENTS, length // 2), (some**2).sum(0) / np.maximum(found, 1), 0.0)
        best = np.maximum(best, np.sqrt(own.max(1)))
    return every, best


def find_line(pixels: Pixels, known: Sequence[Line] = ()) -> Line | None:
    """Find the line along which both sides differ most, of known ones or others; None where none is clear."""
    noise = pixels.noise()
    col, row = (np.floor(part / CELL).astype(np.intp) for part in (pixels.col, pixels.row))
    key, at = np.unique((row - row.min()) * 100_003 + col - col.min(), return_inverse=True)
    sums: Floats = np.stack([np.bincount(at, one, len(key)) for one in pixels.products()]).astype(np.float64)
    cells = (key % 100_003 + col.min() + 0.5) * CELL, (key // 100_003 + row.min() + 0.5) * CELL, sums
    best, clear = None, _CLEAR
    for width in _WIDTHS:
        lines, score = _scores(cells, width, noise)
        score = score * [_prior(line, known) for line in lines]
        if len(score) and score.max() > clear:
            clear, found = float(score.max()), lines[int(score.argmax())]
            best = next((one for one in known if _is_beside(found, one)), None)
            best = best or refine_line(pixels, found, width, noise)
    return best if best is None or best in known or straightness(pixels, best, noise) > _STRAIGHT else None


def straightness(pixels: Pixels, line: Line, noise: float) -> float:
    """Share of the gain of the best place of each segment that a straight line has: 1 for seams, less for change."""
    width = _WIDTHS[1]
    near = pixels.take(np.abs(line.across(pixels.col, pixels.row)) < width)
    cost = _cost_of_side(near, line, width, noise)
    u, v = line.across(near.col, near.row), line.along(near.col, near.row)
    part, at = ((v - v.min()) // width).astype(np.intp), np.floor(u + width).astype(np.intp)
    n = 2 * width + 1
    total = np.bincount(part * n + at, cost, (part.max() + 1) * n).reshape(-1, n).cumsum(1)
    total = 2 * total - total[:, -1:]
    straight = total[:, width - 1 : width + 1].min(1)
    return float(straight.sum() / min(total.min(1).sum(), -1e-9))


def _is_beside(line: Line, known: Line) -> bool:
    return line.angle % 180 == known.angle % 180 and abs(line.offset - known.offset) < _BESIDE


def _prior(line: Line, known: Sequence[Line]) -> float:
    return _KNOWN if any(_is_beside(line, one) for one in known) else 1.0 if line.angle % 90 == 0 else _OBLIQUE


def _scores(cells: tuple[Floats, Floats, Floats], width: int, noise: float) -> tuple[list[Line], Floats]:
    """Lines at all angles and offsets, and how much more their sides differ than usual, in usual deviations."""
    tried = [_steps(cells, Line(float(angle), 0.0), width, noise) for angle in _ANGLES]
    every = np.concatenate([step[:, known] for step, known, _ in tried], axis=1)
    if every.shape[1] < _LEAST_SQUARES:
        return [], np.empty(0)
    usual = np.maximum(1.4826 * np.median(np.abs(every), axis=1), 1e-9)
    lines = [Line(float(angle), float(one)) for angle, (_, _, own) in zip(_ANGLES, tried, strict=True) for one in own]
    kinds = zip(*(_along(step / usual[:, None, None], known) for step, known, _ in tried), strict=True)
    score = np.full(len(lines), -np.inf)
    for parts, least in zip(kinds, _SPREADS, strict=True):
        one = np.concatenate(parts)
        if np.isfinite(one).any():
            middle, lower = np.percentile(one[np.isfinite(one)], (50, 16))
            score = np.maximum(score, (one - middle) / max(middle - lower, least))
    return lines, score


def refine_line(pixels: Pixels, line: Line, width: int, noise: float) -> Line:
    """Move and turn a line to where the pixels beside it change sides."""
    for reach, step in NARROWING:
        near = pixels.take(np.abs(line.across(pixels.col, pixels.row)) < width)
        line = place_line(near, line, _cost_of_side(near, line, width, noise), (reach, step))
    return line


def place_line(near: Pixels, line: Line, cost: Floats, turns: tuple[float, float]) -> Line:
    """Cheapest of lines turned by up to an angle, in steps, degrees: cost (n,) of counting a pixel before the line."""
    way = line.along(near.col, near.row)
    pivot = (way.min() + way.max()) / 2
    reach, step = turns
    angles = line.angle + np.arange(-reach, reach + step / 2, step)
    axis = 90.0 * round(line.angle / 90)
    parallel = abs(line.angle - axis) < _NEAR_AXIS
    tried = [_placed(near, line, cost, float(angle), pivot) for angle in (*angles, *([axis] if parallel else []))]
    least, best = min(tried)
    # Seams mostly follow the pixels.
    return tried[-1][1] if parallel and tried[-1][0] < least + _TIE else best


def _cost_of_side(near: Pixels, line: Line, width: int, noise: float) -> Floats:
    """Cost (n,) of counting a pixel before a line, less that of counting it beyond, by the corrections along it."""
    u, v = line.across(near.col, near.row), line.along(near.col, near.row)
    part, design = ((v - v.min()) // width).astype(np.intp), np.stack([-near.slopes[0], -near.slopes[1], 0 * u + 1])
    rest, sides = [], (u < -1, u > 1)
    counts = [near.weight * np.bincount(part[side], minlength=part.max() + 1) for side in sides]
    for side in sides:
        table = [np.bincount(part[side], one[side], part.max() + 1) for one in near.products()]
        sums: Floats = np.stack(table).astype(np.float64)
        found = _solved(sums, noise)[0]
        rest.append(np.minimum(((near.rest - (found[:, part] * design).sum(0)) / noise) ** 2, 9.0))
    known = np.minimum(*counts) > _FULL * width**2 / 2
    return np.where(known[part], rest[0] - rest[1], 0.0)


def _placed(near: Pixels, line: Line, cost: Floats, angle: float, pivot: float) -> tuple[float, Line]:
    """Cheapest parallel of a line that is turned about a position along it: -> cost, line."""
    turned = Line(angle, 0.0)
    a, b, _ = line.plane
    centre = turned.across(np.array(line.offset * a - pivot * b), np.array(line.offset * b + pivot * a))
    u = turned.across(near.col, near.row) - centre
    low = float(u.min())
    total = np.concatenate([[0.0], np.bincount(((u - low) // _FINE).astype(np.intp), cost).cumsum()])
    total = 2 * total - total[-1]
    # The middle of the places that are equally cheap: between two rows of pixels.
    cheap = np.flatnonzero(total <= total.min() + 1e-9)
    return float(total.min()), Line(angle, float(centre + low + _FINE * (cheap[0] + cheap[-1]) / 2))
