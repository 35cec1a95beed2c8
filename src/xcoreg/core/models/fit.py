"""Fitting one model of a given kind.

A user's own model, with what it does not offer itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core.arrays import Bools, Floats
from xcoreg.core.models.base import Degenerate, Fitted, Model, Outcome, Pairs, Translation, nested
from xcoreg.core.models.leastsq import LinearFit, Ties, fit_linear, folds_of, half_planes, make_ties
from xcoreg.core.models.polynomial import Affine, Polynomial2, Polynomial3, fit_polynomial
from xcoreg.core.models.spline import Spline, fit_spline
from xcoreg.core.models.triangulation import Piecewise, fit_piecewise
from xcoreg.core.models.uncertainty import Stated, calibrate, excess, first_scatter, normalised, trust

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
    >>> from xcoreg.core.models.fit import fit_model
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
    """Fit a user's own model, and judge it by points withheld in folds."""
    off, fold_of = np.zeros_like(ties.values), folds_of(ties, folds)
    for fold in range(int(fold_of.max()) + 1 if len(ties) > 1 else 0):
        out = fold_of == fold
        off[out] = _residuals(_fit(maker, ties.subset(~out)), ties.subset(out))
    model = _fit(maker, ties)  # last: some makers return themselves
    k = off.shape[1]
    scatter: Floats = first_scatter(off, ties.covs) + 1e-14 * np.eye(k)
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


def _translation(ties: Ties) -> Outcome:
    if len(ties) == 1:
        return _single(ties)
    fit = fit_linear(np.ones((len(ties), 1)), ties.values, ties.covs)
    mean, square = fit.coef[0] * ties.unit, ties.unit**2
    cov, scatter = nested(fit.cov[0, :, 0] * square), nested(fit.scatter[:2, :2] * square)
    height = float(mean[2]) if len(mean) > 2 else 0.0
    dx, dy = float(mean[0]), float(mean[min(len(mean) - 1, 1)])
    return _outcome(Translation(dx, dy, height, _paired(cov), scatter), fit, ties, 1)


def _single(ties: Ties) -> Outcome:
    """Take one point as it is; nothing is withheld, and without a covariance nothing tells its uncertainty."""
    unknown = np.full_like(ties.covs, np.nan)
    moves = (ties.values[0] * ties.unit).tolist()
    dx, dy, dz = (*(moves * 2 if len(moves) == 1 else moves), 0.0)[:3]
    cov = nested(ties.covs[0] * ties.unit**2 if ties.measured else unknown[0])
    return Outcome(Translation(dx, dy, dz, _paired(cov)), unknown[:, 0], unknown, 1)


def _paired(cov: Pairs) -> Pairs:
    """Let the variance of one quantity alone stand for both of two equal ones."""
    return cov if len(cov) > 1 else (cov[0] * 2, cov[0] * 2)


def _polynomial(kind: Any) -> Callable[[Ties], Outcome]:
    def fit_it(ties: Ties) -> Outcome:
        model, fit = fit_polynomial(kind, ties)
        return _outcome(model, fit, ties, len(fit.coef))

    return fit_it


def _outcome(model: Any, fit: LinearFit, ties: Ties, parameters: float) -> Outcome:
    return Outcome(model, fit.off, fit.spread + ties.covs + fit.scatter, parameters)


_FITS: dict[str, Callable[[Ties], Outcome]] = {
    "translation": _translation,
    "affine": _polynomial(Affine),
    "polynomial2": _polynomial(Polynomial2),
    "polynomial3": _polynomial(Polynomial3),
    "spline": fit_spline,
    "piecewise": fit_piecewise,
}

#: The models there are, the simplest first.
KINDS = tuple(_FITS)

#: Those among which an automatic choice is made.
KINDS_AUTO = KINDS

_ALSO = {"polynomial": "polynomial2"}


def ties_of(x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, cov: ArrayLike | None = None) -> Ties:
    """Make tie points of two components ready for fitting."""
    shape = np.broadcast_shapes(*(np.shape(p) for p in (x, y, dx, dy)))
    x, y, dx, dy = (np.broadcast_to(np.asarray(p, np.float64), shape).ravel() for p in (x, y, dx, dy))
    return make_ties(x, y, np.column_stack([dx, dy]), cov)


def heights_of(x: ArrayLike, y: ArrayLike, dz: ArrayLike, var: ArrayLike) -> Ties:
    """Make tie points of one component, with its variances, ready for fitting: the model's dx (and dy) is dz."""
    values, covs = np.asarray(dz, np.float64)[:, None], np.asarray(var, np.float64)[:, None, None]
    return make_ties(x, y, values, covs)


def fit_ties(kind: Any, ties: Ties, folds: int = 10) -> Outcome:
    """Fit a model of a kind; `folds` is for those whose withheld residuals need as many fits."""
    if hasattr(kind, "fit"):
        return fit_custom(kind, ties, folds)
    name = _ALSO.get(kind, kind)
    if name not in _FITS:
        raise ValueError(f"the model {kind!r} is unknown, known are {', '.join(KINDS)}")
    try:
        return fit_piecewise(ties, folds) if name == "piecewise" else _FITS[name](ties)
    except np.linalg.LinAlgError as error:
        message = f"the {len(ties)} tie points are too few or too clustered for {name}"
        raise Degenerate(message, len(ties) + 1) from error


def fit_model(
    kind: Any, x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, cov: ArrayLike | None = None
) -> Model:
    """Fit a displacement model to tie points.

    Parameters
    ----------
    kind : str or object
        One of `KINDS` ("polynomial" means order 2), or an object with ``fit(x, y, dx, dy, cov)`` that returns a model
        with ``predict(x, y)``.
    x, y : array_like
        Map positions.
    dx, dy : array_like
        Corrections target -> reference, CRS units; rows that are not finite are left out.
    cov : (n, 2, 2) array_like, optional
        Their covariances, CRS units squared.

    Returns
    -------
    Model

    Raises
    ------
    Degenerate
        Where the tie points cannot carry it: none, too few, on a line, clustered.
    ValueError
        When the kind is unknown.

    Examples
    --------
    >>> fit_model("translation", [0, 1, 2, 3], [0, 1, 0, 1], [1.0, 1.1, 0.9, 1.0], 2.0).dy
    2.0
    """
    return fit_ties(kind, ties_of(x, y, dx, dy, cov)).model  # type: ignore[no-any-return]


@dataclass(frozen=True)
class HorizontalVertical:
    """Two models, one of places and one of heights: their errors are taken to be independent.

    horizontal : Of (dx, dy), CRS units.
    vertical : Its first component is dz, in units of the values.
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

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Where either part has left its tie points behind."""
        return self.horizontal.extrapolates(x, y) | self.vertical.extrapolates(x, y)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"kind": "lifted", "horizontal": self.horizontal.to_dict(), "vertical": self.vertical.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HorizontalVertical:
        """Undo :meth:`to_dict`."""
        return cls(model_from_dict(data["horizontal"]), model_from_dict(data["vertical"]))


_CLASSES: tuple[Any, ...] = (Translation, Affine, Polynomial2, Polynomial3, Spline, Piecewise)
_KINDS: dict[str, Any] = {**{one.kind: one for one in _CLASSES}, "lifted": HorizontalVertical}


def model_from_dict(data: dict[str, Any]) -> Model:
    """Rebuild a model from what its `to_dict` gave."""
    kind = data.get("kind")
    if kind not in _KINDS:
        raise ValueError(f"the model {kind!r} is unknown, known are {sorted(_KINDS)}")
    return _KINDS[kind].from_dict(data)  # type: ignore[no-any-return]
