"""Regions of a mosaic of elevation models, each with its own correction, beside the smooth models of blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.dem import DemWindow, Terms
from xcoreg.core.dem.regions import find_mosaic
from xcoreg.core.models.fit import Choice, choose_heights, choose_model
from xcoreg.core.models.leastsq import half_planes
from xcoreg.core.models.regions import Regions
from xcoreg.georef import linear_of, vector_to_pixel
from xcoreg.matching.scene import Scene
from xcoreg.results.tiepoints import TiePoints

_CLIP, _LEAST = 9.0, 0.02  # largest squared residual over variance of a block; least sigma, as a share of a pixel


def find_regions(scene: Scene, windows: list[DemWindow], points: TiePoints, terms: Terms) -> Regions | None:
    """Find seams, and the correction of each region between them; None where there are none."""
    ok = points.ok
    middle = float(np.median(points.dx[ok])), float(np.median(points.dy[ok]))
    move = np.stack(vector_to_pixel(scene.linear, *middle)) if terms.shift else np.zeros(2)
    found = find_mosaic(windows, move, terms)
    if found is None or not np.isfinite(found.values).all():
        return None
    west, south, east, north = scene.extent.bounds
    origin, to_map = np.array([(west + east) / 2, (south + north) / 2]), np.eye(3)
    to_map[:2, :2] = np.reshape(scene.linear, (2, 2))
    # The same lines in map coordinates.
    planes = found.tree.lines.copy()
    planes[:, :2] = planes[:, :2] @ np.linalg.inv(to_map[:2, :2])
    planes[:, 2] -= planes[:, :2] @ origin
    return Regions(
        n=int(ok.sum()),
        scatter=((0.0, 0.0), (0.0, 0.0)),
        spacing=float(np.median(points.size[ok])) * float(np.hypot(*linear_of(scene.target.grid.affine)[:2])),
        hull=half_planes(points.x[ok], points.y[ok]),
        lines=planes / np.hypot(planes[:, 0], planes[:, 1])[:, None],
        sides=found.tree.sides,
        values=found.values @ to_map.T,
        covs=to_map @ found.covs @ to_map.T,
    )


def choice_of(model: Regions, points: TiePoints, first: Choice) -> Choice:
    """Make the choice of regions, beside the models that were compared before."""
    ok = points.ok
    dx, dy = model.predict(points.x[ok], points.y[ok])
    # A region without one of its n blocks, alike in size, is off from it by n / (n - 1) of what is left with it.
    region = model.regions(points.x[ok], points.y[ok])
    n = np.bincount(region)[region]
    alone = np.divide(n, n - 1, out=np.full(len(n), np.nan), where=n > 1)
    rest = alone * (points.dx[ok] - dx), alone * (points.dy[ok] - dy)
    rmse = float(np.sqrt(np.mean((rest[0] ** 2 + rest[1] ** 2)[n > 1]))) if (n > 1).any() else float("nan")
    own: dict[str, Any] = dict.fromkeys(first.table[0], np.nan)
    own |= {"kind": "regions", "rmse_r": rmse, "parameters": float(model.values.size), "chosen": True, "reason": ""}
    table = [{**row, "chosen": False} for row in first.table] + [{**own, "component": "dx, dy, dz"}]
    cov = model.predict_cov(points.x[ok], points.y[ok]) + points.cov[ok]
    return Choice(model, table, *rest, cov)


def explains_blocks(model: Regions, points: TiePoints, terms: Terms) -> bool:
    """Whether regions leave less of the blocks than a smooth model and triangles leave of blocks withheld from them."""
    ok = points.ok
    x, y, count = points.x[ok], points.y[ok], int(ok.sum())
    # Errors of interpolation are in no covariance.
    pixel = np.hypot(points.dx[ok], points.dy[ok]) / np.maximum(np.hypot(points.dcol[ok], points.drow[ok]), 1e-9)
    covs = points.cov[ok] + (_LEAST * float(np.median(pixel))) ** 2 * np.eye(2)
    var = points.cov_z[ok, 2]

    def left(dx: Floats, dy: Floats, dz: Floats) -> float:
        off = np.stack([dx, dy], -1)
        flat = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covs), off)
        part = np.minimum(np.nan_to_num(flat / 2, nan=_CLIP), _CLIP) if terms.shift else 0.0
        return float(np.mean(part + np.minimum(np.nan_to_num(dz**2 / var, nan=_CLIP), _CLIP)))

    dx, dy = model.predict(x, y)
    own = left(points.dx[ok] - dx, points.dy[ok] - dy, points.dz[ok] - model.predict_dz(x, y))
    high = choose_heights("auto", x, y, points.dz[ok], var)
    none = np.zeros(count)
    flat = choose_model(x, y, points.dx[ok], points.dy[ok], points.cov[ok]) if terms.shift else None
    across = (none, none) if flat is None else (flat.residual_dx, flat.residual_dy)
    smooth = left(across[0], across[1], high.residual_dx)
    return own * count / max(count - len(model.values), 1) < smooth
