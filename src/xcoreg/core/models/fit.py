"""Fitting a model of a given kind; a user's own model; models of shift and height; models from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core import Bools, Floats
from xcoreg.core.models.base import Degenerate, FitResult, FittedModel, Model, Pairs, Translation, broadcast, to_tuples
from xcoreg.core.models.leastsq import FitPoints, LinearFit, fit_linear, folds_of, half_planes, prepare_points
from xcoreg.core.models.lines import Lines
from xcoreg.core.models.parallax import Parallax
from xcoreg.core.models.polynomial import Affine, Polynomial2, Polynomial3, fit_polynomial
from xcoreg.core.models.spline import Spline, fit_spline
from xcoreg.core.models.triangulation import Piecewise, fit_piecewise
from xcoreg.core.models.uncertainty import ResidualCov, calibrate, first_scatter, iterate_scatter


@dataclass(frozen=True, eq=False, repr=False)
class Custom(FittedModel):
    """A user's own model, made by :func:`xcoreg.core.models.fit_model` from an object with a method `fit`.

    Parameters
    ----------
    model : object
        With ``predict(x, y) -> (dx, dy)``; its `predict_cov(x, y)` and `to_dict()` are used if it has them.

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
        """Correction at map positions, CRS units; NaN where a position is NaN."""
        x, y = broadcast(x, y)
        missing = np.isnan(x) | np.isnan(y)
        dx, dy = (np.broadcast_to(np.asarray(part, np.float64), x.shape) for part in self.model.predict(x, y))
        return np.where(missing, np.nan, dx), np.where(missing, np.nan, dy)

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction: the model's own, or the scatter of check points."""
        shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        own = getattr(self.model, "predict_cov", None)
        cov = self.scatter if own is None else own(x, y)
        return np.array(np.broadcast_to(np.asarray(cov, np.float64), (*shape, 2, 2)))

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types by the model's own `to_dict`; TypeError if it has none."""
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


def fit_custom(maker: Any, points: FitPoints, folds: int = 10) -> FitResult:
    """Fit a user's own model, with cross-validation by folds."""
    residual, fold_of = np.zeros_like(points.values), folds_of(points, folds)
    for fold in range(int(fold_of.max()) + 1 if len(points) > 1 else 0):
        out = fold_of == fold
        residual[out] = _residuals(_fit(maker, points.subset(~out)), points.subset(out))
    model = _fit(maker, points)  # last, because some return themselves from fit
    scatter, weights = iterate_scatter(residual, points.covs, first_scatter(residual, points.covs))
    _, scatter = calibrate(residual, ResidualCov(np.zeros_like(points.covs), points.covs, scatter), weights, 1)
    own = to_tuples(scatter[:2, :2] * points.unit**2)
    wrapped = Custom(len(points), own, points.spacing * points.scale, half_planes(points.x, points.y), model)
    return FitResult(wrapped, residual, points.covs + scatter, float("nan"))


def _fit(maker: Any, points: FitPoints) -> Any:
    moves, covs = points.values * points.unit, points.covs * points.unit**2
    if moves.shape[1] == 1:  # a single quantity is used for both components
        moves, covs = np.repeat(moves, 2, axis=1), covs * np.eye(2)
    return maker.fit(points.x, points.y, moves[:, 0], moves[:, 1], covs)


def _residuals(model: Any, points: FitPoints) -> Floats:
    found = model.predict(points.x, points.y)
    moves = [np.broadcast_to(np.asarray(part, np.float64), points.x.shape) for part in found]
    return points.values - np.column_stack(moves)[:, : points.values.shape[1]] / points.unit


def _translation(points: FitPoints) -> FitResult:
    if len(points) == 1:
        return _one_point(points)
    fit = fit_linear(np.ones((len(points), 1)), points.values, points.covs)
    mean, square = fit.coef[0] * points.unit, points.unit**2
    cov, scatter = to_tuples(fit.cov[0, :, 0] * square), to_tuples(fit.scatter[:2, :2] * square)
    height = float(mean[2]) if len(mean) > 2 else 0.0
    dx, dy = float(mean[0]), float(mean[min(len(mean) - 1, 1)])
    return _result(Translation(dx, dy, height, _both_components(cov), scatter), fit, points, 1)


def _one_point(points: FitPoints) -> FitResult:
    """Fit a translation to one point: its covariance is that of the point, and there is no cross-validation."""
    unknown = np.full_like(points.covs, np.nan)
    moves = (points.values[0] * points.unit).tolist()
    dx, dy, dz = (*(moves * 2 if len(moves) == 1 else moves), 0.0)[:3]
    cov = to_tuples(points.covs[0] * points.unit**2 if points.measured else unknown[0])
    return FitResult(Translation(dx, dy, dz, _both_components(cov)), unknown[:, 0], unknown, 1)


def _both_components(cov: Pairs) -> Pairs:
    """Use the variance of a single quantity for both components."""
    return cov if len(cov) > 1 else (cov[0] * 2, cov[0] * 2)


def _polynomial(kind: Any, points: FitPoints) -> FitResult:
    model, fit = fit_polynomial(kind, points)
    return _result(model, fit, points, len(fit.coef))


def _result(model: Any, fit: LinearFit, points: FitPoints, parameters: float) -> FitResult:
    return FitResult(model, fit.residual, fit.spread + points.covs + fit.scatter, parameters)


_FITS: dict[str, Callable[[FitPoints], FitResult]] = {
    "translation": _translation,
    "affine": partial(_polynomial, Affine),
    "polynomial2": partial(_polynomial, Polynomial2),
    "polynomial3": partial(_polynomial, Polynomial3),
    "spline": fit_spline,
    "piecewise": fit_piecewise,
}

#: Kinds of models, the simplest first, and those among which an automatic choice is made.
KINDS = KINDS_AUTO = tuple(_FITS)
_ALSO = {"polynomial": "polynomial2"}


def prepare_shifts(x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, cov: ArrayLike | None = None) -> FitPoints:
    """Prepare corrections (dx, dy) for fitting."""
    shape = np.broadcast_shapes(*(np.shape(p) for p in (x, y, dx, dy)))
    x, y, dx, dy = (np.broadcast_to(np.asarray(p, np.float64), shape).ravel() for p in (x, y, dx, dy))
    return prepare_points(x, y, np.column_stack([dx, dy]), cov)


def fit_points(kind: Any, points: FitPoints, folds: int = 10) -> FitResult:
    """Fit a model of a kind; `folds` is the number of fits where cross-validation has no closed form."""
    if hasattr(kind, "fit_result"):
        return kind.fit_result(points)  # type: ignore[no-any-return]
    if hasattr(kind, "fit"):
        return fit_custom(kind, points, folds)
    name = _ALSO.get(kind, kind)
    if name not in _FITS:
        raise ValueError(f"the model {kind!r} is unknown, known are {', '.join(KINDS)}")
    try:
        return fit_piecewise(points, folds) if name == "piecewise" else _FITS[name](points)
    except np.linalg.LinAlgError as error:
        message = f"the {len(points)} tie points are too few or too clustered for {name}"
        raise Degenerate(message, len(points) + 1) from error


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
        Where the tie points do not determine it: none, too few, on a line, clustered.
    ValueError
        For an unknown kind.

    Examples
    --------
    >>> fit_model("translation", [0, 1, 2, 3], [0, 1, 0, 1], [1.0, 1.1, 0.9, 1.0], 2.0).dy
    2.0
    """
    return fit_points(kind, prepare_shifts(x, y, dx, dy, cov)).model  # type: ignore[no-any-return]


@dataclass(frozen=True)
class HorizontalVertical:
    """A horizontal model of (dx, dy) and a vertical one, whose first component is dz, with independent errors."""

    horizontal: Model
    vertical: Model

    @property
    def kind(self) -> str:
        """Kind of the horizontal model."""
        return self.horizontal.kind

    @property
    def scatter(self) -> Pairs:
        """Scatter about the horizontal model."""
        return self.horizontal.scatter

    @property
    def dz_constant(self) -> float | None:
        """Vertical correction if it is the same everywhere, else None."""
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

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Positions outside the tie points of either model."""
        return self.horizontal.extrapolates(x, y) | self.vertical.extrapolates(x, y)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {"kind": "lifted", "horizontal": self.horizontal.to_dict(), "vertical": self.vertical.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HorizontalVertical:
        """Undo :meth:`to_dict`."""
        return cls(model_from_dict(data["horizontal"]), model_from_dict(data["vertical"]))


_CLASSES: tuple[Any, ...] = (Translation, Affine, Polynomial2, Polynomial3, Spline, Piecewise, Parallax, Lines)
_KINDS: dict[str, Any] = {**{one.kind: one for one in _CLASSES}, "lifted": HorizontalVertical}


def model_from_dict(data: dict[str, Any]) -> Model:
    """Rebuild a model from the result of its `to_dict`."""
    kind = data.get("kind")
    if kind not in _KINDS:
        raise ValueError(f"the model {kind!r} is unknown, known are {sorted(_KINDS)}")
    return _KINDS[kind].from_dict(data)  # type: ignore[no-any-return]
