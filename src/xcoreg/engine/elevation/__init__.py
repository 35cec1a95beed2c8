"""Elevation models: one correction, blocks of corrections, corrections by points of known height."""

from __future__ import annotations

from xcoreg.engine.elevation.blocks import block_points, lay_blocks
from xcoreg.engine.elevation.field import Comparison, choose_lifted, compare
from xcoreg.engine.elevation.points import PointStatistics, compare_points, match_points
from xcoreg.engine.elevation.samples import is_points
from xcoreg.engine.elevation.single import elevation_failure, match_elevation

__all__ = [
    "Comparison",
    "PointStatistics",
    "block_points",
    "choose_lifted",
    "compare",
    "compare_points",
    "elevation_failure",
    "is_points",
    "lay_blocks",
    "match_elevation",
    "match_points",
]
