"""Elevation models: shift (Nuth & Kääb), vertical offset and ramp between windows of two of them."""

from __future__ import annotations

from xcoreg.core.dem.covariance import cov3_to_map
from xcoreg.core.dem.equations import ELEVATION_MATCHERS, Terms, parse_terms
from xcoreg.core.dem.observations import DemWindow, Samples, gradients
from xcoreg.core.dem.search import SearchArea
from xcoreg.core.dem.solve import ElevationMatcher, Solution, solve

__all__ = [
    "ELEVATION_MATCHERS",
    "DemWindow",
    "ElevationMatcher",
    "Samples",
    "SearchArea",
    "Solution",
    "Terms",
    "cov3_to_map",
    "gradients",
    "parse_terms",
    "solve",
]
