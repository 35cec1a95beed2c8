"""`bias=`: biases that are fitted together with the shift between two elevation models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from xarray import DataArray

from xcoreg.core import Floats
from xcoreg.core.dem import DemWindow, Solution, Terms
from xcoreg.core.dem.bias import (
    BIASES,
    TERRAIN,
    BiasFit,
    BiasProblem,
    Curve,
    choose_curves,
    fit_biases,
    terrain_variable,
)
from xcoreg.core.models import Model
from xcoreg.core.models.track import Track
from xcoreg.core.sampling import sample
from xcoreg.errors import OptionError
from xcoreg.georef import Linear, vector_to_map
from xcoreg.georef.transform import map_to_grid
from xcoreg.raster.raster import make_raster
from xcoreg.results.details import BiasCurve


def parse_bias(given: Any) -> dict[str, DataArray | None]:
    """Read the option `bias`: names, images of a variable, or a list or mapping of these; -> by name."""
    if given is None:
        return {}
    items = list(given.items()) if isinstance(given, Mapping) else [
        (None, one) for one in (given if isinstance(given, list | tuple) else [given])]  # fmt: skip
    found: dict[str, DataArray | None] = {}
    for name, one in items:
        if isinstance(one, DataArray):
            called = str(name if name is not None else one.name if one.name is not None else "variable")
            if called in BIASES:
                raise OptionError(f"bias: an image is called {called!r}, which is the name of a bias: rename it")
            found[called] = one
        elif one in BIASES:
            found[one] = None
        else:
            raise OptionError(f"bias is {one!r}: choose from {', '.join(BIASES)}, or give an image of a variable")
    return found


def solve_with_bias(
    found: Solution, samples: list[Any], terms: Terms, names: dict[str, DataArray | None], how: dict[str, Any]
) -> tuple[Solution, tuple[Curve, ...]]:
    """Fit biases together with the shift that was found; those that do not help at check blocks are named."""
    windows = [one for one in samples if isinstance(one, DemWindow)]
    metres: Floats = how["metres"]
    variables = {
        name: [terrain_variable(name, one.tgt, one.tgt_valid, metres) for one in windows]
        for name in TERRAIN
        if name in names
    }
    if "elevation" in variables:
        levels = [one.height - one.level for one in windows]
        variables["elevation"] = [part + level for part, level in zip(variables["elevation"], levels, strict=True)]
    for name, image in names.items():
        if image is not None:
            variables[name] = [_sampled(image, one, how) for one in windows]
    problem = BiasProblem(windows, variables, terms, metres)
    curves, report = choose_curves(problem, found.move, list(names))
    if not curves:
        text = f"no bias by {', '.join(names)} is left out of check blocks: the shift alone is used"
        return replace(found, warnings=(*found.warnings, text)), ()
    fit, _, _ = fit_biases(problem, found.move, curves)
    unused = [name for name, before, after in report if not after < before]
    notes = [f"bias by {name} does not improve check blocks and is left out" for name in unused]
    return _with_fit(found, fit, terms, notes), fit.curves


def _with_fit(found: Solution, fit: BiasFit, terms: Terms, notes: list[str]) -> Solution:
    cov, first = found.cov.copy(), 0 if terms.shift else 2
    cov[first:3, first:3] = fit.cov
    # Notes on what the shift alone left are answered.
    same: dict[str, Any] = {"nmad_after": fit.nmad, "median_after": fit.median, "warnings": tuple(notes)}
    mean = np.zeros(len(fit.height))
    mean[0] = 1.0
    return replace(found, move=fit.move, height=fit.height, cov=cov, mean=mean, **same)


def _sampled(image: DataArray, one: DemWindow, how: dict[str, Any]) -> Floats:
    """Variable on the pixels of the target's window, bilinear; the mean where it is unknown."""
    raster = make_raster(image, name="bias")
    rows, cols = one.shape
    col, row = one.positions(np.arange(rows * cols))
    x, y = vector_to_map(how["linear"], col - one.base[0], row - one.base[1])
    at_col, at_row = map_to_grid(how["crs"], raster.grid, x + how["origin"][0], y + how["origin"][1])
    values, valid = raster.read(0, raster.shape[0], 0, raster.shape[1])
    found, good = sample(values, valid, at_row, at_col, "bilinear")
    return np.where(good, found, found[good].mean() if good.any() else 0.0).reshape(rows, cols)


def with_track(model: Model, curves: tuple[Curve, ...], linear: Linear, origin: tuple[float, float]) -> Model:
    """Add the curves along tracks to a model in map coordinates."""
    to_map = np.array([[linear[0], linear[1]], [linear[2], linear[3]]])
    for curve in curves:
        if curve.direction is None:
            continue
        way = np.asarray(curve.direction) @ np.linalg.inv(to_map)
        coef = np.zeros((len(curve.coef), 3))
        coef[:, 2] = curve.coef[:, -1]
        if curve.coef.shape[1] == 3:
            coef[:, :2] = curve.coef[:, :2] @ to_map.T
        model = Track(model, np.array([*way, -way @ np.asarray(origin)]), curve.start, curve.step, coef)
    return model


def recorded(curves: tuple[Curve, ...]) -> tuple[BiasCurve, ...]:
    """Curves of the terrain and of users' variables, which `apply` adds to heights."""
    return tuple(
        BiasCurve(one.name, one.start, one.step, tuple(one.coef[:, 0].tolist()), one.middle, one.spread)
        for one in curves
        if one.direction is None
    )
