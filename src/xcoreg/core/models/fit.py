"""Fitting a model of a given kind, or of one chosen by cross-validation; models of shift and height, and from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core import Bools, Floats
from xcoreg.core.models.base import (
    Degenerate,
    FitResult,
    FittedModel,
    Model,
    Pairs,
    Relative,
    Translation,
    broadcast,
    to_tuples,
)
from xcoreg.core.models.homography import Homography
from xcoreg.core.models.leastsq import (
    FitPoints,
    LinearFit,
    ResidualCov,
    calibrate,
    first_scatter,
    fit_linear,
    folds_of,
    half_planes,
    iterate_scatter,
    prepare_points,
    rejection_limit,
)
from xcoreg.core.models.lines import Lines
from xcoreg.core.models.parallax import Parallax
from xcoreg.core.models.polynomial import Affine, Polynomial2, Polynomial3, Polynomial4, fit_polynomial
from xcoreg.core.models.regions import Regions
from xcoreg.core.models.rigid import Rigid
from xcoreg.core.models.spline import Spline, fit_spline
from xcoreg.core.models.track import Track
from xcoreg.core.models.triangulation import Piecewise, fit_piecewise
from xcoreg.core.robust import biweight_loss


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

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
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


_CLASSES: tuple[Any, ...] = (
    Translation, Affine, Polynomial2, Polynomial3, Polynomial4, Spline, Piecewise, Homography, Rigid, Parallax, Lines,
    Regions,
)  # fmt: skip
_KINDS: dict[str, Any] = {**{one.kind: one for one in _CLASSES}, "lifted": HorizontalVertical}
_KINDS |= {"track": Track, "relative": Relative}


def model_from_dict(data: dict[str, Any]) -> Model:
    """Rebuild a model from the result of its `to_dict`."""
    kind = data.get("kind")
    if kind not in _KINDS:
        raise ValueError(f"the model {kind!r} is unknown, known are {sorted(_KINDS)}")
    if kind == "track":
        return Track.of(data, model_from_dict(data["inner"]))
    if kind == Relative.kind:
        return Relative(model_from_dict(data["own"]), model_from_dict(data["datum"]))
    return _KINDS[kind].from_dict(data)  # type: ignore[no-any-return]


_CHI2_MEDIAN = {1: 0.45493642311957283, 2: 1.3862943611198906}  # by degrees of freedom
_FOLD_OVERLAP = 1.45  # factor of standard errors because ten folds share points (Nadeau & Bengio 2003)
_WORTH = 0.01  # smallest relative gain in squared error that is worth a more flexible model
_AUTO_NEEDS = {"affine": 5, "polynomial2": 12, "polynomial3": 20, "spline": 20, "piecewise": 20}


@dataclass(frozen=True)
class Choice:
    """A model with its cross-validation.

    table : One row per kind: `kind`; `rmse_r`, root mean square length of the residuals at check points, CRS units;
        `score`, the same weighted and robust, by which the choice is made; `error`, standard error of its difference to
        the best score; `parameters`, effective number per component; `chosen`; `reason` why it was not fitted, or "".
    residual_dx, residual_dy : (n,) float64; observed minus predicted without the point, CRS units; NaN if not finite.
    check_cov : (n, 2, 2) float64; expected covariance of these residuals: model, point and scatter, CRS units squared.
    """

    model: Model
    table: list[dict[str, Any]]
    residual_dx: Floats
    residual_dy: Floats
    check_cov: Floats
    warnings: tuple[str, ...] = ()


def assess_model(
    kind: Any, x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, cov: ArrayLike | None = None, folds: int = 10
) -> Choice:
    """Fit a model of one kind, with cross-validation.

    Parameters
    ----------
    kind, x, y, dx, dy, cov
        As for :func:`xcoreg.core.models.fit_model`, and so are the errors.
    folds : int
        For models without a closed form ("piecewise", a user's own); the others leave out one point at a time.

    Returns
    -------
    Choice

    Examples
    --------
    >>> choice = assess_model("translation", [0, 1, 2], [0, 1, 0], [1.0, 1.2, 1.3], 2.0)
    >>> choice.residual_dx.round(2).tolist()
    [-0.25, 0.05, 0.2]
    """
    return _assess(kind, prepare_shifts(x, y, dx, dy, cov), folds)


def _assess(kind: Any, points: FitPoints, folds: int = 10) -> Choice:
    result = fit_points(kind, points, folds)
    return _summarise(points, {result.model.kind: result}, {}, result.model.kind, ())


def choose_heights(kind: Any, x: ArrayLike, y: ArrayLike, dz: ArrayLike, var: ArrayLike) -> Choice:
    """Fit a model to a single quantity, its first component: x, y, dz, var (n,) array_like."""
    points = prepare_points(x, y, np.asarray(dz, np.float64)[:, None], np.asarray(var, np.float64)[:, None, None])
    return _choose(points) if isinstance(kind, str) and kind == "auto" else _assess(kind, points)


def choose_model(
    x: ArrayLike,
    y: ArrayLike,
    dx: ArrayLike,
    dy: ArrayLike,
    cov: ArrayLike | None = None,
    kinds: Sequence[Any] = KINDS_AUTO,
    folds: int = 10,
) -> Choice:
    """Choose the simplest model whose cross-validated error is within one standard error of the best.

    Parameters
    ----------
    x, y, dx, dy, cov, folds
        As for :func:`assess_model`.
    kinds : sequence of str
        The candidates, the simplest first; Degenerate is raised when none of them can be fitted.

    Returns
    -------
    Choice
        The standard error is that of the differences paired by points, times 1.45, because folds share nine tenths of
        their points (Nadeau & Bengio 2003, doi:10.1023/A:1024068626366). A gain of less than 1 % in squared error does
        not justify a more flexible model either.

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(6.0), np.arange(6.0))
    >>> noise = np.random.default_rng(0).normal(0, 0.1, (2, 36))
    >>> choice = choose_model(x, y, 0.5 * x + noise[0].reshape(6, 6), 1 + noise[1].reshape(6, 6))
    >>> choice.model.kind
    'affine'
    """
    return _choose(prepare_shifts(x, y, dx, dy, cov), kinds, folds)


def _choose(points: FitPoints, kinds: Sequence[Any] = KINDS_AUTO, folds: int = 10) -> Choice:
    results: dict[str, FitResult] = {}
    reasons: dict[str, str] = {}
    warnings: list[str] = []
    needed = 1
    for kind in kinds:
        needs = _AUTO_NEEDS.get(str(kind), 0)
        if len(points) < needs and results:
            reasons[kind] = f"{len(points)} tie points are too few to choose {kind}: it needs {needs}"
            continue
        try:
            results[kind] = fit_points(kind, points, folds)
        except Degenerate as error:
            reasons[kind], needed = str(error), max(needed, error.needed)
            warnings += [reasons[kind]] if isinstance(kind, str) else []  # of a term there may be nothing to find
    if not results:
        raise Degenerate("; ".join(reasons.values()), needed)
    losses = _losses(points, results)
    best = min(losses, key=lambda kind: float(losses[kind].mean()))
    chosen = next(kind for kind in results if _close_to_best(losses[kind] - losses[best], losses[best]))
    return _summarise(points, results, reasons, chosen, tuple(warnings))


def _close_to_best(more: Floats, best: Floats) -> bool:
    """Whether a loss is within one standard error of the best one, or the gain too small."""
    return bool(more.mean() <= _standard_error(more) + _WORTH * best.mean())


def _standard_error(more: Floats) -> float:
    """Estimate the standard error of the mean of differences paired by points."""
    return float(_FOLD_OVERLAP * more.std(ddof=1) / np.sqrt(len(more))) if len(more) > 1 else 0.0


def _weights(points: FitPoints, results: dict[str, FitResult]) -> Floats:
    """Weights of points by their variance and the scatter about the closest model, the same for all models."""
    k = points.values.shape[1]
    own = np.trace(points.covs, axis1=1, axis2=2) / k
    typical = min(float(np.median(result.squared)) for result in results.values()) / _CHI2_MEDIAN[k]
    return np.asarray(1 / (own + max(typical - float(np.median(own)), 0.0)))


def _losses(points: FitPoints, results: dict[str, FitResult]) -> dict[str, Floats]:
    """Robust squared error of each check point by each model."""
    weights = _weights(points, results)
    most = rejection_limit(points.values.shape[1])
    # A single point has no cross-validated residual.
    return {kind: np.nan_to_num(biweight_loss(weights * one.squared, most)) for kind, one in results.items()}


def _summarise(
    points: FitPoints, results: dict[str, FitResult], reasons: dict[str, str], chosen: str, warnings: tuple[str, ...]
) -> Choice:
    losses, weights = _losses(points, results), _weights(points, results)
    best = min(losses.values(), key=lambda loss: float(loss.mean()))
    table = []
    for kind, result in results.items():
        scale = points.unit / np.sqrt(weights.mean())
        row = {
            "kind": str(kind),
            "rmse_r": float(np.sqrt(result.squared.mean())) * points.unit,
            "score": float(np.sqrt(losses[kind].mean()) * scale),
            "error": float(np.sqrt(best.mean() + _standard_error(losses[kind] - best)) - np.sqrt(best.mean())) * scale,
            "parameters": result.parameters,
        }
        table.append({**row, "chosen": kind == chosen, "reason": ""})
    missing = {"rmse_r": np.nan, "score": np.nan, "error": np.nan, "parameters": np.nan, "chosen": False}
    table += [{"kind": str(kind), **missing, "reason": reason} for kind, reason in reasons.items()]
    result = results[chosen]
    residual = points.in_given_order(result.residual * points.unit)
    cov = points.in_given_order(result.check_cov * points.unit**2)
    return Choice(result.model, table, residual[:, 0], residual[:, -1], cov[:, :2, :2], warnings)
