"""Regions of a mosaic of elevation models, between straight seams, each with its own correction.

Regions are split by one seam after the other; neighbours that do not differ by more than their covariances allow
become one again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.dem.equations import Terms
from xcoreg.core.dem.observations import DemWindow
from xcoreg.core.dem.seams import CELL, NARROWING, Line, Pixels, find_line, place_line
from xcoreg.core.dem.search import SearchArea
from xcoreg.core.dem.solve import solve
from xcoreg.core.matches import Status

_FEWEST, _THIN, _MOST, _MARGIN = 1000, 20.0, 60, 16  # pixels and width of a region, lines, px around a region
_SEAM = 3  # px beside a seam where slopes and interpolation mix both sides
# Squared difference over variance below which neighbours are one region, since that is closer; of a mosaic at least.
_SAME, _APART = 6.0, 25.0
# Difference of shifts, and of places, px, above which lines are placed again; px beside them; most cost of a pixel.
_SHEAR, _HALF, _BESIDE, _MOST_COST = 0.5, 0.5, 12, 9.0
# Strips on either side of a line, and pieces along it, px; least step between near ones as a share of that of far ones.
_STRIPS, _LENGTH, _SHARP = ((1.0, 5.0), (9.0, 15.0)), 24.0, 0.55
_SURE = 3.0  # standard deviations beyond which shifts of regions differ


@dataclass(frozen=True, eq=False)
class Tree:
    """Lines that split regions: what lies before (0) and beyond (1) each is another line, or region ``-1 - side``."""

    lines: Floats
    sides: Ints

    def regions(self, col: Floats, row: Floats) -> Ints:
        """Regions of positions."""
        at = np.zeros(np.shape(col), np.intp)
        for k, ((a, b, c), side) in enumerate(zip(self.lines, self.sides, strict=True)):
            here = at == k
            at[here] = side[(a * col[here] + b * row[here] + c >= 0).astype(np.intp)]
        return np.asarray(-1 - at)

    def numbered(self, number: Ints) -> Tree:
        """Give regions other numbers (n,)."""
        return replace(self, sides=np.where(self.sides < 0, -1 - number[np.maximum(-1 - self.sides, 0)], self.sides))


def split(pixels: Pixels) -> Tree | None:
    """Split the scene by lines until none is clear; None where there is none."""
    lines: list[Line] = []
    sides: list[list[int]] = []
    # Samples of a region, the line that made it and its side, and the number of lines known when it was searched.
    waiting, leaves = [(np.arange(len(pixels.rest)), -1, 0, -1)], list[tuple[Ints, int, int, int]]()
    while waiting:
        chosen, parent, side, _ = waiting.pop(0)
        line = find_line(part := pixels.take(chosen).clipped(), lines)
        u = np.zeros(1) if line is None else line.across(part.col, part.row)
        beyond = u >= 0
        few = min(beyond.sum(), (~beyond).sum()) * pixels.weight < _FEWEST or min(-u.min(), u.max()) < _THIN
        if line is None or few or len(lines) >= _MOST:
            leaves.append((chosen, parent, side, len(lines)))
        else:
            if parent >= 0:
                sides[parent][side] = len(lines)
            waiting += [(part, len(lines), k, -1) for k, part in enumerate((chosen[~beyond], chosen[beyond]))]
            lines.append(line)
            sides.append([0, 0])
        if not waiting:
            # Seams found since may go on in regions that were searched before.
            waiting = [leaf for leaf in leaves if leaf[3] < len(lines)]
            leaves = [leaf for leaf in leaves if leaf[3] >= len(lines)]
    for k, (_, parent, side, _) in enumerate(leaves):
        if parent >= 0:
            sides[parent][side] = -1 - k
    return Tree(np.array([line.plane for line in lines]), np.array(sides)) if lines else None


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Regions with one correction each: values (k, 3) of (dcol, drow) in px and height, covs (k, 3, 3)."""

    tree: Tree
    values: Floats
    covs: Floats


def find_mosaic(windows: Sequence[DemWindow], move: Floats, terms: Terms, side: int | None = None) -> Mosaic | None:
    """Find regions and their corrections, near a shift (2,), px; None where there are no seams."""
    pixels = Pixels.of(windows, move)
    tree = split(pixels)
    if tree is None:
        return None
    label = tree.regions(pixels.col, pixels.row)

    def correction(tree: Tree, k: int) -> tuple[Floats, Floats]:
        return _solve_region(windows, partial(_is_region, tree, k), move, terms, side)

    found = [correction(tree, k) for k in range(label.max() + 1)]
    number, clear = _joined(found, _neighbours(pixels, label))
    if not clear > _APART:
        return None
    tree = tree.numbered(number)
    again = [
        found[int(np.flatnonzero(number == k)[0])] if (number == k).sum() == 1 else correction(tree, k)
        for k in range(number.max() + 1)
    ]
    values, covs = _with_common_shift(*(np.stack(part) for part in zip(*again, strict=True)))
    if np.ptp(values[:, :2], axis=0).max() < _SHEAR:
        return Mosaic(tree, values, covs) if _sharpness(pixels, tree) > _SHARP else None
    # One shift for all has put lines where it had the least to explain.
    tree = _placed_again(windows, tree, values, pixels.noise())
    again = [correction(tree, k) for k in range(len(values))]
    return Mosaic(tree, *_with_common_shift(*(np.stack(part) for part in zip(*again, strict=True))))


def _sharpness(pixels: Pixels, tree: Tree) -> float:
    """Divide steps of heights beside lines by those farther from them: 1 at seams, less where heights are smooth."""
    rest, total = pixels.clipped().rest, np.zeros(2)
    for a, b, c in tree.lines:
        u, v = a * pixels.col + b * pixels.row + c, a * pixels.row - b * pixels.col
        sides = [tree.regions(pixels.col - (u - way) * a, pixels.row - (u - way) * b) for way in (-1.0, 1.0)]
        near = (np.abs(u) < _STRIPS[1][1]) & (sides[0] != sides[1])
        part, own, beside = ((v[near] - v.min()) // _LENGTH).astype(np.intp), rest[near], u[near]
        steps, known = [], np.ones(part.max(initial=0) + 1, bool)
        for low, high in _STRIPS:
            inside = [(way * beside >= low) & (way * beside < high) for way in (1, -1)]
            count = [np.bincount(part[one], minlength=part.max(initial=0) + 1) for one in inside]
            mean = [
                np.bincount(part[one], own[one], len(n)) / np.maximum(n, 1)
                for one, n in zip(inside, count, strict=True)
            ]
            steps.append(mean[0] - mean[1])
            known = known & (np.minimum(*count) * pixels.weight >= _LENGTH)
        total += (steps[0] * steps[1])[known].sum(), (steps[1] ** 2)[known].sum()
    return float(total[0] / max(total[1], 1e-30)) if total.any() else 1.0


def _is_region(tree: Tree, k: int, col: Floats, row: Floats) -> Bools:
    return np.asarray(tree.regions(col, row) == k)


def _placed_again(windows: Sequence[DemWindow], tree: Tree, values: Floats, noise: float) -> Tree:
    """Move lines to where heights begin to fit the correction beyond them, each side at its own shift."""
    parts, labels = [], []
    for k, (*move, height) in enumerate(values):
        inside = partial(_is_region, tree, k)
        cut = [_cut(one, inside, np.array(move), _BESIDE) for one in windows]
        if near := [one for one in cut if one is not None]:
            parts.append(replace(seen := Pixels.of(near, np.array(move)), rest=seen.rest - height))
            labels.append(np.full(len(seen.rest), k))
    names = "col", "row", "rest"
    col, row, rest = (np.concatenate([getattr(one, name) for one in parts]) for name in names)
    label, none = np.concatenate(labels), np.zeros(len(col), np.float32)
    every, cost = Pixels(col, row, rest, (none, none)), np.minimum((rest / noise) ** 2, _MOST_COST)
    lines = tree.lines.copy()
    for at, (a, b, c) in enumerate(tree.lines):
        line = Line(float(np.degrees(np.arctan2(b, a))), -float(c))
        u = line.across(col, row)
        # The regions on either side of the line, there where a pixel lies.
        sides = [tree.regions(col - (u - way) * a, row - (u - way) * b) for way in (-1.0, 1.0)]
        use = (np.abs(u) < _BESIDE) & (sides[0] != sides[1])
        signed = np.where(sides[0] == label, cost, 0.0) - np.where(sides[1] == label, cost, 0.0)
        if use.any():
            for turns in NARROWING[1:]:
                line = place_line(every.take(use), line, signed[use], turns)
            # Between two pixels interpolation mixes both sides: those found before are as good.
            if np.abs(line.across(col[use], row[use]) - u[use]).max() > _HALF:
                lines[at] = line.plane
    return replace(tree, lines=lines)


def _with_common_shift(values: Floats, covs: Floats) -> tuple[Floats, Floats]:
    """Give all regions one shift, and heights that go with it, where their shifts do not differ."""
    known = np.isfinite(values).all(1) & np.isfinite(covs).all((1, 2)) & (covs[:, 0, 0] > 0)
    if not known.any():
        return values, covs
    inverse = np.linalg.inv(covs[known, :2, :2])
    common = np.linalg.inv(inverse.sum(0))
    mean = common @ np.einsum("kij,kj->i", inverse, values[known, :2])
    off, count = mean - values[:, :2], 2 * (known.sum() - 1)
    if np.einsum("ki,kij,kj->", off[known], inverse, off[known]) > count + _SURE * np.sqrt(2.0 * count):
        return values, covs
    tied = covs[known, 2, :2][:, None] @ inverse
    values, covs = values.copy(), covs.copy()
    values[known, 2] += np.einsum("kij,kj->ki", tied, off[known])[:, 0]
    covs[known, 2, 2] -= np.einsum("kij,klj->kil", tied, covs[known, 2, :2][:, None])[:, 0, 0]
    values[:, :2], covs[:, :2, :2] = mean, common
    covs[:, 2, :2] = covs[:, :2, 2] = 0.0
    return values, covs


def _solve_region(
    windows: Sequence[DemWindow],
    inside: Callable[[Floats, Floats], Bools],
    move: Floats,
    terms: Terms,
    side: int | None,
) -> tuple[Floats, Floats]:
    """Correction (3,) of a region and its covariance; of its heights alone where slopes do not tell the shift."""
    parts = [part for one in windows if (part := _cut(one, inside, move)) is not None]
    search = SearchArea(start=move)
    for one in (terms, replace(terms, shift=False)):
        found = solve(parts, one, search, thorough=False, side=side)
        if found.status is Status.OK:
            break
    if found.status is not Status.OK:
        return np.array([*move, np.nan]), np.diag([np.inf] * 3)
    cov = np.where(np.isnan(found.cov[:3, :3]), 0.0, found.cov[:3, :3])
    if not one.shift:
        cov[:2, :2] = np.eye(2) if terms.shift else 0.0
    return np.array([*(found.move if one.shift else move), found.height[0]]), cov


def _cut(
    one: DemWindow, inside: Callable[[Floats, Floats], Bools], move: Floats, grow: int = -_SEAM
) -> DemWindow | None:
    """Cut the part of a window in a region that is wider by some pixels; without those beside seams if narrower."""
    rows, cols = one.shape
    col, row = one.positions(np.arange(rows * cols))
    own = inside(col - move[0], row - move[1]).reshape(one.shape)
    size = np.ones((3, 3))
    own = binary_erosion(own, size, -grow, border_value=1) if grow < 0 else binary_dilation(own, size, grow)
    at = np.argwhere(own)
    if len(at) < _FEWEST // 4:
        return None
    (top, left), (bottom, right) = np.maximum(at.min(0) - _MARGIN, 0), at.max(0) + 1 + _MARGIN
    cut = slice(top, bottom), slice(left, right)
    height, width = own[cut].shape
    centre = one.centre[0] + left + (width - cols) / 2, one.centre[1] + top + (height - rows) / 2
    arrays = {name: None if (part := getattr(one, name)) is None else part[cut]
              for name in ("tgt", "ref", "tgt_valid", "tgt_wrong", "ref_wrong")}  # fmt: skip
    return replace(one, **arrays, ref_valid=one.ref_valid[cut] & own[cut], centre=centre)  # type: ignore[arg-type]


def _neighbours(pixels: Pixels, label: Ints) -> set[tuple[int, int]]:
    """Pairs of regions that touch."""
    col, row = (np.floor(part / CELL).astype(np.intp) for part in (pixels.col, pixels.row))
    grid = np.full((np.ptp(row) + 1, np.ptp(col) + 1), -1)
    grid[row - row.min(), col - col.min()] = label
    pairs = np.concatenate([np.stack([one[:-1].ravel(), one[1:].ravel()], 1) for one in (grid, grid.T)])
    pairs = np.sort(pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs.min(1) >= 0)], axis=1)
    return {(int(a), int(b)) for a, b in np.unique(pairs, axis=0)}


def _joined(found: Sequence[tuple[Floats, Floats]], touching: set[tuple[int, int]]) -> tuple[Ints, float]:
    """Join neighbours that differ least: new numbers of the regions, and the largest difference of those left."""
    number = np.arange(len(found))
    values, covs = [one[0] for one in found], [one[1] for one in found]

    def apart(a: int, b: int) -> float:
        if not (np.isfinite(values[a]).all() and np.isfinite(values[b]).all()):
            return 0.0
        off, cov = values[a] - values[b], covs[a] + covs[b]
        return float(off @ np.linalg.pinv(cov) @ off)

    while True:
        pairs = {tuple(sorted((int(number[a]), int(number[b])))) for a, b in touching}
        every = [(apart(a, b), a, b) for a, b in pairs if a != b]
        if not every or (least := min(every))[0] > _SAME:
            return np.asarray(np.unique(number, return_inverse=True)[1]), max(every, default=(0.0,))[0]
        _, a, b = least
        if not np.isfinite(values[a]).all():
            values[a], covs[a] = values[b], covs[b]
        elif np.isfinite(values[b]).all():
            one, two = (np.linalg.pinv(cov) for cov in (covs[a], covs[b]))
            covs[a] = np.linalg.pinv(one + two)
            values[a] = covs[a] @ (one @ values[a] + two @ values[b])
        number[number == b] = a
