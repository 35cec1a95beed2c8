"""Displacement models: what is added to the coordinates of the target at any place."""

from __future__ import annotations

from xcoreg.core.models.base import Degenerate, Model, Translation
from xcoreg.core.models.fit import (
    KINDS,
    KINDS_AUTO,
    Choice,
    Custom,
    HorizontalVertical,
    assess_model,
    choose_heights,
    choose_model,
    fit_model,
    model_from_dict,
)
from xcoreg.core.models.homography import PARAMETERS, Homography, adjust
from xcoreg.core.models.polynomial import Affine, Polynomial2, Polynomial3, Polynomial4
from xcoreg.core.models.rigid import Rigid
from xcoreg.core.models.spline import Spline
from xcoreg.core.models.triangulation import Piecewise

__all__ = [
    "KINDS", "KINDS_AUTO", "PARAMETERS", "Affine", "Choice", "Custom", "Degenerate", "Homography",
    "HorizontalVertical", "Model", "Piecewise", "Polynomial2", "Polynomial3", "Polynomial4", "Rigid", "Spline",
    "Translation", "adjust", "assess_model", "choose_heights", "choose_model", "fit_model", "model_from_dict",
]  # fmt: skip
