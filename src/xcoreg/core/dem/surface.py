"""An elevation model that can be interpolated anywhere, and the heights that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, map_coordinates, spline_filter

from xcoreg.core import Bools, Floats
from xcoreg.core.dem.blunders import fill_rows

_RIM = 2  # px of the kernel on either side


@dataclass(frozen=True, eq=False)
class Surface:
    """Heights to compare, and the target that they are compared with.

    col, row, z : (n,) float64; places in the common lattice, px, and heights of the reference there.
    slopes : (2, n) float64; of the reference, per px to the right and down; None where it has none (points).
    origin : Added to positions in the lattice, gives those in the arrays of the target, px.
    spline, gradient, usable : Coefficients of the target (rows, cols), its slopes, and where it may be interpolated.
    """

    col: Floats
    row: Floats
    z: Floats
    slopes: Floats | None
    origin: tuple[float, float]
    spline: Floats
    gradient: tuple[Floats, Floats]
    usable: Bools

    def target_at(self, col: Floats, row: Floats) -> tuple[Floats, Floats, Bools]:
        """Heights (n,) and slopes (2, n) of the target at places of the lattice, and where these are known."""
        at = np.stack([row + self.origin[1], col + self.origin[0]])
        height = map_coordinates(self.spline, at, order=3, prefilter=False, mode="mirror")
        slopes = np.stack([map_coordinates(part, at, order=1, mode="nearest") for part in self.gradient])
        rows, cols = np.rint(at).astype(np.intp)
        inside = (rows >= _RIM) & (cols >= _RIM)
        inside &= (rows < self.usable.shape[0] - _RIM) & (cols < self.usable.shape[1] - _RIM)
        known = np.zeros(len(col), bool)
        known[inside] = self.usable[rows[inside], cols[inside]]
        return height, slopes, known


def make_target(values: Floats, valid: Bools, wrong: Bools | None) -> tuple[Floats, tuple[Floats, Floats], Bools]:
    """Spline coefficients, slopes and usable pixels of a target."""
    full = (values if valid.all() else fill_rows(values, valid)).astype(np.float64)
    down, across = np.gradient(full)
    usable = valid if valid.all() else binary_erosion(valid, iterations=_RIM, border_value=1)
    usable = usable if wrong is None else usable & ~wrong
    return np.asarray(spline_filter(full, 3, mode="mirror")), (np.asarray(across), np.asarray(down)), np.asarray(usable)
