"""The result of a coregistration: frozen values that travel as one JSON file."""

from __future__ import annotations

from xcoreg.result.fit import SCHEMA, Coregistration
from xcoreg.result.load import current_versions, load_fit
from xcoreg.result.quality import Quality
from xcoreg.shift import Shift

__all__ = ["SCHEMA", "Coregistration", "Quality", "Shift", "current_versions", "load_fit"]
