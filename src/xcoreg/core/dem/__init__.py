"""Elevation: Nuth & Kääb, vertical offsets and ramps between two elevation models, on windows of both."""

from __future__ import annotations

from xcoreg.core.dem.patches import Patch, Samples, gradients
from xcoreg.core.dem.solve import Solution, solve
from xcoreg.core.dem.terms import NAMES, Terms, parse_terms

__all__ = ["NAMES", "Patch", "Samples", "Solution", "Terms", "gradients", "parse_terms", "solve"]
