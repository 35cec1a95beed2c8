"""Images known by control points, RPCs or corners alone: brought onto a map grid, lazily and in one interpolation."""

from __future__ import annotations

from xcoreg.rectify.image import rectify
from xcoreg.rectify.onto import on_map, rectify_by, rectify_onto
from xcoreg.rectify.placing import as_ground, gcps_of, ground_of, needs_rectifying

__all__ = ["as_ground", "gcps_of", "ground_of", "needs_rectifying", "on_map", "rectify", "rectify_by", "rectify_onto"]
