"""A displacement model with a vertical part of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from xcoreg.core.models.base import Floats, Model, Pairs

__all__ = ["Lifted"]


@dataclass(frozen=True)
class Lifted:
    """Two models, one of places and one of heights: their errors are taken to be independent.

    Parameters
    ----------
    horizontal : Model
        Of (dx, dy), CRS units.
    vertical : Model
        Its first component is dz, in units of the values.

    Examples
    --------
    >>> from xcoreg.core.models import Translation, fit_model
    >>> tilt = fit_model("affine", [0, 1, 0, 1], [0, 0, 1, 1], [5.0, 6.0, 5.0, 6.0], 0.0)
    >>> model = Lifted(Translation(3.0, 15.0), tilt)
    >>> model.kind, model.predict_dz([0.0, 2.0], 0.0).round(6).tolist(), model.dz_constant
    ('translation', [5.0, 7.0], None)
    """

    horizontal: Model
    vertical: Model

    @property
    def kind(self) -> str:
        """Kind of the horizontal part: what moving a transform, or resampling, depends on."""
        return self.horizontal.kind

    @property
    def scatter(self) -> Pairs:
        """Of the horizontal part."""
        return self.horizontal.scatter

    @property
    def dz_constant(self) -> float | None:
        """The one vertical correction for every place, None where it varies."""
        return float(self.vertical.predict(0.0, 0.0)[0]) if self.vertical.kind == "translation" else None

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Horizontal correction (dx, dy) at map positions, CRS units."""
        return self.horizontal.predict(x, y)

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions, in units of the values; NaN where a position is NaN."""
        return self.vertical.predict(x, y)[0]

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of (dx, dy) at map positions."""
        return self.horizontal.predict_cov(x, y)

    def predict_var_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Variance of dz at map positions."""
        return np.asarray(self.vertical.predict_cov(x, y)[..., 0, 0])

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Tell where either part has left its tie points behind."""
        return self.horizontal.extrapolates(x, y) | self.vertical.extrapolates(x, y)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"kind": "lifted", "horizontal": self.horizontal.to_dict(), "vertical": self.vertical.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Lifted:
        """Undo :meth:`to_dict`."""
        from xcoreg.core.models import model_from_dict

        return cls(model_from_dict(data["horizontal"]), model_from_dict(data["vertical"]))
