"""Displacement models: what is added to the coordinates of the target at any place."""

from __future__ import annotations

from typing import Any

from xcoreg.core.models.base import Degenerate, Lifted, Model, Translation
from xcoreg.core.models.fit import KINDS, KINDS_AUTO, Custom, fit_model
from xcoreg.core.models.polynomial import Affine, Polynomial2, Polynomial3
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
    "Lifted",
    "Model",
    "Piecewise",
    "Polynomial2",
    "Polynomial3",
    "Spline",
    "Translation",
    "assess_model",
    "choose_heights",
    "choose_model",
    "fit_model",
    "model_from_dict",
]

_CLASSES: tuple[Any, ...] = (Translation, Affine, Polynomial2, Polynomial3, Spline, Piecewise)
_KINDS: dict[str, Any] = {**{one.kind: one for one in _CLASSES}, "lifted": Lifted}


def model_from_dict(data: dict[str, Any]) -> Model:
    """Rebuild a model from what its `to_dict` gave."""
    kind = data.get("kind")
    if kind not in _KINDS:
        raise ValueError(f"the model {kind!r} is unknown, known are {sorted(_KINDS)}")
    return _KINDS[kind].from_dict(data)  # type: ignore[no-any-return]
