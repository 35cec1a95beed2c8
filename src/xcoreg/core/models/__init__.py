"""Displacement models: what is added to the coordinates of the target at any place."""

from __future__ import annotations

from xcoreg.core.models.base import Degenerate, Model, Translation
from xcoreg.core.models.fit import KINDS, KINDS_AUTO, Custom, HorizontalVertical, fit_model, model_from_dict
from xcoreg.core.models.polynomial import Affine, Polynomial2, Polynomial3, Polynomial4
from xcoreg.core.models.rigid import Rigid
from xcoreg.core.models.select import Choice, assess_model, choose_heights, choose_model
from xcoreg.core.models.spline import Spline
from xcoreg.core.models.triangulation import Piecewise

__all__ = [
    "KINDS",
    "KINDS_AUTO",
    "Affine",
    "Choice",
    "Custom",
    "Degenerate",
    "HorizontalVertical",
    "Model",
    "Piecewise",
    "Polynomial2",
    "Polynomial3",
    "Polynomial4",
    "Rigid",
    "Spline",
    "Translation",
    "assess_model",
    "choose_heights",
    "choose_model",
    "fit_model",
    "model_from_dict",
]
