"""Choosing a model by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xcoreg.core import Floats
from xcoreg.core.models.base import Degenerate, FitResult, Model
from xcoreg.core.models.fit import KINDS_AUTO, fit_points, prepare_shifts
from xcoreg.core.models.leastsq import FitPoints, prepare_points
from xcoreg.core.models.uncertainty import rejection_limit
from xcoreg.core.robust import biweight_loss

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
