"""A fitted model with what it says of points that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from xcoreg.core.models.base import Floats

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """A fitted model with what it says of points that it has not seen, in the units of :class:`Ties`.

    Parameters
    ----------
    model : Model
    off : (n, k) float64
        Observed minus predicted by the fit without the point.
    held_out_cov : (n, k, k) float64
        What the covariance of `off` should be.
    parameters : float
        Effective number, per component.
    """

    model: Any
    off: Floats
    held_out_cov: Floats
    parameters: float

    @property
    def squared(self) -> Floats:
        """Squared length of each withheld residual."""
        return np.asarray((self.off**2).sum(1))
