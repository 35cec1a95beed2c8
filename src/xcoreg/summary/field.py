"""A field of shifts, line by line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.summary.heights import height_rows, tell_heights
from xcoreg.summary.numbers import decimals, map_text, short_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xcoreg.result.fit import Coregistration

__all__ = ["correction_range", "field_rows", "is_local", "model_name", "tell_field"]

_NAMES = {
    "translation": "one shift everywhere",
    "affine": "affine (shift, rotation, scale, shear)",
    "polynomial2": "polynomial of order 2",
    "polynomial3": "polynomial of order 3",
    "piecewise": "piecewise linear",
    "spline": "smoothing spline",
    "tps": "thin-plate spline",
}


def is_local(fit: Coregistration) -> bool:
    """Whether a fit comes from a grid of windows and a model of the field, be it a translation in the end.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    bool
    """
    return fit.is_field or "assessment" in fit.settings


def model_name(kind: str) -> str:
    """Name a kind of model in words.

    Examples
    --------
    >>> model_name("polynomial2")
    'polynomial of order 2'
    """
    return _NAMES.get(kind, kind)


def correction_range(fit: Coregistration) -> dict[str, NDArray[np.float64]]:
    """Correction of the model at the trusted tie points.

    Parameters
    ----------
    fit : Coregistration
        With a model.

    Returns
    -------
    dict
        dx, dy (CRS units), dcol, drow and length (target px), each (n,) float64.
    """
    good = fit.points.take(fit.points.ok)
    model: Any = fit.model
    dx, dy = (np.asarray(axis, np.float64) for axis in model.predict(good.x, good.y))
    dcol, drow = georef.vector_to_pixel(georef.linear_of(fit.transform), dx, dy)
    return {"dx": dx, "dy": dy, "dcol": dcol, "drow": drow, "length": np.hypot(dcol, drow)}


def tell_field(fit: Coregistration) -> str:
    """Tell a field in one line.

    Parameters
    ----------
    fit : Coregistration
        With a model.

    Returns
    -------
    str
        Status, model, range of the correction, residuals, tie points.
    """
    q, kind = fit.quality, "?" if fit.model is None else fit.model.kind
    span = correction_range(fit)["length"]
    told = f", correction {span.min():.2f} to {span.max():.2f} px" if span.size else ""
    if math.isfinite(q.rmse_after):
        told += f", RMSE {_px(q.rmse_before)} -> {_px(q.rmse_after)} px on {q.n_check} withheld points"
    told += tell_heights(q)
    verdict = fit.status.name if fit.ok else f"{fit.status.name}: {fit.status.reason}"
    return f"{verdict}, {kind}{told}, {q.n_ok} of {q.n_windows} windows kept"


def field_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    """Tell a field, its tie points and what it leaves: pairs of a name and a text.

    Parameters
    ----------
    fit : Coregistration

    Yields
    ------
    name, text : str
    """
    if fit.model is not None:
        yield "model", _model_text(fit)
        yield from _range_rows(fit) if fit.is_field else ()
    if fit.shift is not None:
        yield (
            "mean correction" if fit.is_field else "correction",
            str(fit.shift) if not fit.is_field else map_text(fit.shift),
        )
    yield from height_rows(fit)
    yield from _point_rows(fit)
    yield from _residual_rows(fit)
    q = fit.quality
    if math.isfinite(q.reliability):
        yield "reliability", f"{q.reliability:.1f} % (median of the windows kept)"
    if math.isfinite(q.ssim_before) and math.isfinite(q.ssim_after):
        yield "similarity (SSIM)", f"{q.ssim_before:.3f} before, {q.ssim_after:.3f} after"
    yield from (("warning", text) for text in q.warnings)


def _model_text(fit: Coregistration) -> str:
    kind = "?" if fit.model is None else fit.model.kind
    tried = [row["kind"] for row in (fit.settings.get("assessment") or {}).get("models", [])]
    why = f", the simplest within one standard error of the best of {len(tried)}" if len(tried) > 1 else ""
    return model_name(kind) + why


def _range_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    span = correction_range(fit)
    if span["length"].size == 0:
        return
    unit, step = short_unit("metre" if fit.shift is None else fit.shift.unit), max(georef.gsd(fit.transform))
    for axis, pixel in (("dx", "dcol"), ("dy", "drow")):
        low, high, digits = span[axis].min(), span[axis].max(), max(decimals(math.nan, step) - 1, 0)
        yield (
            f"correction {axis}",
            (
                f"{low:+.{digits}f} to {high:+.{digits}f}{unit} "
                f"({pixel} {span[pixel].min():+.3f} to {span[pixel].max():+.3f} px)"
            ),
        )
    length = span["length"]
    yield "length", f"{length.min():.3f} to {length.max():.3f} px, median {np.median(length):.3f} px"


def _point_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    counts = fit.points.counts()
    yield "windows kept", f"{counts.get('OK', 0)} of {len(fit.points)} tried"
    for name, n in sorted(counts.items(), key=lambda item: -item[1]):
        if name != "OK":
            yield f"  {name}", f"{n}: {Status[name].reason}"


def _residual_rows(fit: Coregistration) -> Iterator[tuple[str, str]]:
    q = fit.quality
    if q.n_check and math.isfinite(q.rmse_after):
        yield "on withheld points", f"{q.n_check} points, each predicted without itself; target px"
        for name, key in (("  median", "median"), ("  RMSE (radial)", "rmse"), ("  CE90", "ce90")):
            yield name, f"{_px(getattr(q, f'{key}_before'))} before, {_px(getattr(q, f'{key}_after'))} after"
    sigma = _scatter_px(fit)
    if sigma is not None:
        yield "scatter", f"{_px(sigma[0])} px along columns, {_px(sigma[1])} px along rows, beyond the model"


def _scatter_px(fit: Coregistration) -> tuple[float, float] | None:
    """Tell, as standard deviations, what tie points show beyond the model and their own covariances, target px."""
    scatter = np.asarray(getattr(fit.model, "scatter", np.nan), np.float64)
    if scatter.shape != (2, 2) or not np.isfinite(scatter).all():
        return None
    cov = georef.cov_to_pixel(georef.linear_of(fit.transform), scatter)
    return math.sqrt(max(cov[0, 0], 0.0)), math.sqrt(max(cov[1, 1], 0.0))


def _px(value: float) -> str:
    """Three decimals, or two digits where that is less."""
    if not math.isfinite(value):
        return "unknown"
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.2g}"
