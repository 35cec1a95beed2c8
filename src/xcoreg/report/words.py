"""The answer of a fit in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.results.text import correction_range, is_local, model_name, short_unit

if TYPE_CHECKING:
    from xcoreg.results.coregistration import Coregistration

__all__ = ["answer", "pixel_size", "px", "unit_of"]

_WINDS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")


def px(value: float) -> str:
    """Write a length in pixels with the digits that tell something.

    Examples
    --------
    >>> px(1.9412), px(0.0371), px(float("nan"))
    ('1.94', '0.037', 'unknown')
    """
    if not math.isfinite(value):
        return "unknown"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"


def pixel_size(fit: Coregistration) -> float:
    """Tell the side of a square as large as a pixel, CRS units."""
    a, b, d, e = georef.linear_of(fit.transform)
    return math.sqrt(abs(a * e - b * d))


def unit_of(fit: Coregistration) -> str:
    """Spell the unit of the CRS as it follows a number."""
    name = "metre" if fit.crs_wkt is None else georef.as_crs(fit.crs_wkt).axis_info[0].unit_name
    return short_unit(name)


def answer(fit: Coregistration) -> list[str]:
    """Tell what was found, how sure it is, and what to do with it.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    list of str
        Sentences, the most important first.
    """
    if not fit.ok:
        return [
            f"No trustworthy answer was found: {fit.status.reason}.",
            "The target was not corrected, and this fit will not be applied. The table of windows tells what stood in "
            "the way of each of them.",
        ]
    lines = [*_offset(fit)]
    if is_local(fit):
        lines += [*_field(fit)]
    elif fit.quality.n_windows and not fit.quality.dh_count:
        q = fit.quality
        sure = f", reliability {q.reliability:.0f} %" if math.isfinite(q.reliability) else ""
        lines.append(f"{q.n_ok} of {q.n_windows} windows agree on it{sure}.")
    return lines


def _offset(fit: Coregistration) -> list[str]:
    shift = fit.shift
    if shift is None:
        return []
    pixels = math.hypot(shift.dcol, shift.drow)
    unit = unit_of(fit)
    ground = "" if unit == "°" else f" ({shift.length:.3g}{unit})"
    kind = "On average the" if fit.is_field else "The"
    sigma = max(shift.sigma_px)
    sure = f" ± {px(sigma)}" if math.isfinite(sigma) and not fit.is_field else ""
    if pixels < 0.005 or (math.isfinite(sigma) and pixels < 2 * sigma):
        return [f"{kind} target lies where the reference lies: the shift of {px(pixels)}{sure} px is not significant."]
    wind = _WINDS[int((shift.angle + 22.5) // 45) % 8]
    return [
        f"{kind} target lies {px(pixels)}{sure} px{ground} {wind} of the reference, and is moved back by that much."
    ]


def _field(fit: Coregistration) -> list[str]:
    q, kind = fit.quality, "" if fit.model is None else fit.model.kind
    lines = []
    if fit.is_field:
        span = correction_range(fit)["length"]
        lines.append(
            f"The correction is not the same everywhere: it is {px(float(span.min()))} to {px(float(span.max()))} px "
            f"long, and is described by this model: {model_name(kind)}."
        )
    else:
        lines.append("One shift describes the whole image: no model that varies from place to place predicts better.")
    if math.isfinite(q.rmse_after):
        lines.append(
            f"Tie points that were withheld from the fit were {px(q.median_before)} px off before (median) and are "
            f"{px(q.median_after)} px off after it; 90 % of them by less than {px(q.ce90_after)} px."
        )
        if q.rmse_after >= 0.95 * q.rmse_before:
            lines.append(
                "The correction makes no difference that these points can tell: the images lay on each other already, "
                "as well as could be measured."
            )
    lines += [*_sure(fit)]
    lines.append(f"{q.n_ok} of {q.n_windows} windows were trusted; every other one has a reason, told below.")
    return lines


def _sure(fit: Coregistration) -> list[str]:
    """Uncertainty of the model at its own tie points."""
    good = fit.points.take(fit.points.ok)
    model: Any = fit.model
    if model is None or len(good) == 0:
        return []
    cov = georef.cov_to_pixel(georef.linear_of(fit.transform), model.predict_cov(good.x, good.y))
    sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(np.nan_to_num(cov))[:, -1], 0.0))
    if not (np.isfinite(cov).all() and (sigma > 0).all()):
        return []
    low, high = px(float(sigma.min())), px(float(sigma.max()))
    span = low if low == high else f"{low} to {high}"
    return [f"Between its tie points the model itself is sure to {span} px (one standard deviation)."]
