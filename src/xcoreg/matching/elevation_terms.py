"""Choice between a shift, a shift with a tilt and a rigid motion of elevation models, by check blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.dem import DemWindow, SearchArea, Terms, solve
from xcoreg.core.dem.equations import spread_of
from xcoreg.core.dem.rigid import height_residuals, solve_rigid
from xcoreg.core.matches import Status

# From the simplest to the most complex; each must reduce the NMAD at check blocks to this share.
_CHOICES = (Terms(shift=True), Terms(shift=True, ramp=1), Terms(rigid=True))
_WORTH, _BLOCK = 0.99, 48


def choose_terms(windows: Sequence[DemWindow], metres: Floats, search: SearchArea) -> tuple[Terms, dict[str, float]]:
    """Choose what is estimated: every choice is fitted to one half of the blocks and compared on the other.

    Returns the choice, and the NMAD at check blocks by name; a choice without a solution is left out.
    """
    fitted, check = ([_blocks_of(one, part) for one in windows] for part in (0, 1))
    best, report = _CHOICES[0], dict[str, float]()
    for terms in _CHOICES:
        error = _check_error(fitted, check, terms, metres, search)
        name = "rigid" if terms.rigid else "nuth_kaab, deramp" if terms.ramp else "nuth_kaab"
        if np.isfinite(error):
            if error < _WORTH * min(report.values(), default=np.inf):
                best = terms
            report[name] = error
    return best, report


def _blocks_of(one: DemWindow, part: int) -> DemWindow:
    """Use every other block of a window, as on a chessboard."""
    rows, cols = np.indices(one.shape) // _BLOCK
    return replace(one, ref_valid=one.ref_valid & ((rows + cols) % 2 == part))


def _check_error(
    fitted: Sequence[DemWindow], check: Sequence[DemWindow], terms: Terms, metres: Floats, search: SearchArea
) -> float:
    shift = Terms(shift=True) if terms.rigid else terms
    found = solve(fitted, shift, search, to_metres=metres, thorough=False, side=0)
    if terms.rigid:
        start = np.array([*np.nan_to_num(found.move), np.nan_to_num(found.height[0])])
        turned = solve_rigid(fitted, start, metres, search)
        return spread_of(height_residuals(check, turned.motion)).nmad if turned.status is Status.OK else np.nan
    if found.status is not Status.OK:
        return np.nan
    rest = []
    for one in check:
        seen = one.observe(found.move)
        columns = [np.ones_like(seen.dh), *found.basis.at(one, seen.at)]
        rest.append(seen.dh - sum(float(h) * part for h, part in zip(found.height, columns, strict=True)))
    return spread_of(rest).nmad
