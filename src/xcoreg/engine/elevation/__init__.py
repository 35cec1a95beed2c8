"""Elevation models: one correction, blocks of corrections, corrections by points of known height."""

from __future__ import annotations

from xcoreg.engine.elevation.single import elevation_failure, match_elevation

__all__ = ["elevation_failure", "match_elevation"]
