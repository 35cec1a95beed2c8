"""Elevation: Nuth & Kääb, vertical offsets and ramps between two elevation models, on windows of both."""

from __future__ import annotations

from xcoreg.core.dem.matcher import ElevationMatcher
from xcoreg.core.dem.patches import Patch, Samples, gradients
from xcoreg.core.dem.solve import Solution, solve
from xcoreg.core.dem.terms import NAMES, Terms, parse_terms
from xcoreg.core.dem.uncertainty import cov3_to_map

__all__ = [
    "NAMES",
    "ElevationMatcher",
    "Patch",
    "Samples",
    "Solution",
    "Terms",
    "cov3_to_map",
    "gradients",
    "parse_terms",
    "solve",
]
