"""Tie points: the table of windows, its files, and tie points made elsewhere."""

from __future__ import annotations

from xcoreg.points.angle import shift_angle
from xcoreg.points.atomic import replacing
from xcoreg.points.gcps import gcps_of
from xcoreg.points.given import as_points
from xcoreg.points.table import TiePoints

__all__ = ["TiePoints", "as_points", "gcps_of", "replacing", "shift_angle"]
