"""Tie points: the table of windows, its files, and tie points made elsewhere."""

from __future__ import annotations

from xcoreg.points.atomic import replacing
from xcoreg.results.external import as_points
from xcoreg.results.shift import shift_angle
from xcoreg.results.tiepoints import TiePoints, gcps_of

__all__ = ["TiePoints", "as_points", "gcps_of", "replacing", "shift_angle"]
