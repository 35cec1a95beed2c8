"""Matching every window, flagging outliers, and the answer: one shift or a field of them."""

from __future__ import annotations

from xcoreg.engine.elevation.points import PointStatistics, compare_points
from xcoreg.engine.local import match_local, tie_points
from xcoreg.engine.scene import Scene, prepare
from xcoreg.engine.single import match

__all__ = ["PointStatistics", "Scene", "compare_points", "match", "match_local", "prepare", "tie_points"]
