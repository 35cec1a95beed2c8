"""A user's own model, with what it does not offer itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xcoreg.core.models.base import Fitted, nested
from xcoreg.core.models.calibrate import Stated, calibrate
from xcoreg.core.models.outcome import Outcome
from xcoreg.core.models.scatter import excess, first_scatter, normalised, trust
from xcoreg.core.models.ties import folds_of, half_planes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from xcoreg.core.models.base import Floats
    from xcoreg.core.models.ties import Ties

__all__ = ["Custom", "fit_custom"]

_ROUNDS = 5


@dataclass(frozen=True, eq=False, repr=False)
class Custom(Fitted):
    """A user's own model, made by :func:`xcoreg.core.models.fit_model` from an object with a method `fit`.

    Parameters
    ----------
    model : object
        With ``predict(x, y) -> (dx, dy)``; its own `predict_cov(x, y)` and `to_dict()` are used where it has them.

    Examples
    --------
    >>> from xcoreg.core.models import fit_model
    >>> class Mean:
    ...     def fit(self, x, y, dx, dy, cov):
    ...         self.mean = np.mean(dx), np.mean(dy)
    ...         return self
    ...     def predict(self, x, y):
    ...         return self.mean
    >>> model = fit_model(Mean(), [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [1.0, 2.0, 3.0, 2.0], 5.0)
    >>> model.predict([0.5, 0.7], 0.5)[0].tolist()
    [2.0, 2.0]
    """

    kind = "custom"
    arrays: ClassVar[dict[str, type]] = {"hull": np.float64}

    model: Any

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions, as arrays of their common shape; NaN where a position is NaN."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        lost = np.isnan(x) | np.isnan(y)
        dx, dy = (np.broadcast_to(np.asarray(part, np.float64), x.shape) for part in self.model.predict(x, y))
        return np.where(lost, np.nan, dx), np.where(lost, np.nan, dy)

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance of the correction: the model's own, or the scatter of withheld points."""
        shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        own = getattr(self.model, "predict_cov", None)
        cov = self.scatter if own is None else own(x, y)
        return np.array(np.broadcast_to(np.asarray(cov, np.float64), (*shape, 2, 2)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, by the model's own `to_dict`.

        Raises
        ------
        TypeError
            When the model has none.
        """
        own = getattr(self.model, "to_dict", None)
        if own is None:
            raise TypeError(f"{type(self.model).__name__} has no to_dict(): a fit with it cannot be saved")
        return dict(own())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and other.model == self.model

    def __hash__(self) -> int:
        return hash((self.kind, self.n, self.scatter))

    def _summary(self) -> dict[str, Any]:
        return {"model": type(self.model).__name__, **super()._summary()}


def fit_custom(maker: Any, ties: Ties, folds: int = 10) -> Outcome:
    """Fit a user's own model, and judge it by points withheld in folds.

    Parameters
    ----------
    maker : object
        With ``fit(x, y, dx, dy, cov)`` that returns a model.
    ties : Ties
    folds : int

    Returns
    -------
    Outcome
    """
    off, fold_of = np.zeros_like(ties.values), folds_of(ties, folds)
    for fold in range(int(fold_of.max()) + 1 if len(ties) > 1 else 0):
        out = fold_of == fold
        off[out] = _residuals(_fit(maker, ties.subset(~out)), ties.subset(out))
    model = _fit(maker, ties)  # last: some makers return themselves
    k = off.shape[1]
    scatter = first_scatter(off, ties.covs) + 1e-14 * np.eye(k)
    for _ in range(_ROUNDS):
        weights = trust(normalised(off, ties.covs + scatter), k)
        scatter = excess(off, ties.covs, np.ones(len(off)), weights) + 1e-14 * np.eye(k)
    _, scatter = calibrate(off, Stated(np.zeros_like(ties.covs), ties.covs, scatter), weights, 1)
    own = nested(scatter[:2, :2] * ties.unit**2)
    wrapped = Custom(len(ties), own, ties.spacing * ties.scale, half_planes(ties.x, ties.y), model)
    return Outcome(wrapped, off, ties.covs + scatter, float("nan"))


def _fit(maker: Any, ties: Ties) -> Any:
    moves, covs = ties.values * ties.unit, ties.covs * ties.unit**2
    if moves.shape[1] == 1:  # one quantity alone stands for both
        moves, covs = np.repeat(moves, 2, axis=1), covs * np.eye(2)
    return maker.fit(ties.x, ties.y, moves[:, 0], moves[:, 1], covs)


def _residuals(model: Any, ties: Ties) -> Floats:
    dx, dy = (np.broadcast_to(np.asarray(part, np.float64), ties.x.shape) for part in model.predict(ties.x, ties.y))
    return ties.values - np.column_stack([dx, dy])[:, : ties.values.shape[1]] / ties.unit
