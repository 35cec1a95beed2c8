"""Elevation models: one correction, blocks of corrections, corrections by points of known height."""

from __future__ import annotations

from xcoreg.engine.elevation.blocks import block_points, lay_blocks
from xcoreg.engine.elevation.field import Comparison, choose_lifted, compare
from xcoreg.engine.elevation.single import elevation_failure, match_elevation

__all__ = [
    "Comparison",
    "block_points",
    "choose_lifted",
    "compare",
    "elevation_failure",
    "lay_blocks",
    "match_elevation",
]
