"""Fitting a triangulation to tie points."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import QhullError

from xcoreg.core.models.base import Degenerate, nested
from xcoreg.core.models.calibrate import Stated, calibrate
from xcoreg.core.models.levels import first_look
from xcoreg.core.models.mesh import Mesh, make_mesh, triangulate
from xcoreg.core.models.outcome import Outcome
from xcoreg.core.models.piecewise import Piecewise, reach_of
from xcoreg.core.models.polynomial import Affine, fit_polynomial
from xcoreg.core.models.scatter import excess, normalised, trust
from xcoreg.core.models.ties import folds_of, half_planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.core.models.base import Floats
    from xcoreg.core.models.ties import Ties

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.intp]

__all__ = ["fit_piecewise"]

_FEWEST = 6
_ROUNDS = 5


def fit_piecewise(ties: Ties, folds: int = 10) -> Outcome:
    """Fit a triangulation through the tie points that do not contradict all of their neighbours.

    Parameters
    ----------
    ties : Ties
    folds : int

    Returns
    -------
    Outcome
        What triangles miss is judged by points withheld in folds that are spread over the area.

    Raises
    ------
    Degenerate
        Where the points are too few, on a line or clustered.
    """
    plane = fit_polynomial(Affine, ties)[1].coef
    rest = replace(ties, values=ties.values - plane[0] - np.outer(ties.u, plane[1]) - np.outer(ties.v, plane[2]))
    used = np.asarray((first_look(rest)[1] > 0) & _first_of_place(ties))
    if used.sum() < _FEWEST:
        raise Degenerate(f"{int(used.sum())} places are too few for piecewise: it needs {_FEWEST}", _FEWEST)
    try:
        off, own, reach = _withheld(rest, used, folds)
        corners = rest.subset(used)
        triangles = triangulate(corners.u, corners.v)
    except QhullError as error:
        raise Degenerate(f"the {len(ties)} tie points are too clustered for piecewise", _FEWEST) from error
    rough, weights = _roughness(off, ties.covs + own, reach)
    spread = own + reach[:, None, None] * rough
    factor, scatter = calibrate(off, Stated(spread, ties.covs, np.zeros_like(rough)), weights, 3)
    model = _model(ties, corners, triangles, plane, factor * rough, nested(scatter[:2, :2] * ties.unit**2))
    return Outcome(model, off, factor * spread + ties.covs + scatter, float(used.sum()))


def _first_of_place(ties: Ties) -> Bools:
    first = np.unique(np.column_stack([ties.u, ties.v]), axis=0, return_index=True)[1]
    out = np.zeros(len(ties), bool)
    out[first] = True
    return out


def _withheld(ties: Ties, used: Bools, folds: int) -> tuple[Floats, Floats, Floats]:
    """Residuals of withheld points, the covariance that the corners give their prediction, and its reach."""
    off, own, reach = np.zeros_like(ties.values), np.zeros_like(ties.covs), np.zeros(len(ties))
    fold_of = folds_of(ties, folds)
    for fold in range(int(fold_of.max()) + 1):
        out, corners = fold_of == fold, ties.subset(used & (fold_of != fold))
        mesh = make_mesh(corners.u, corners.v, triangulate(corners.u, corners.v))
        off[out], own[out], reach[out] = _at(mesh, corners, ties.subset(out))
    return off, own, reach


def _at(mesh: Mesh, corners: Ties, points: Ties) -> tuple[Floats, Floats, Floats]:
    place = mesh.locate(points.u, points.v)
    fit = np.einsum("nik,ni->nk", corners.values[place.corners], place.shares)
    own = np.einsum("niab,ni->nab", corners.covs[place.corners], place.shares**2)
    return points.values - fit, own, reach_of(mesh, place, points.u, points.v)


def _roughness(off: Floats, covs: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Covariance per squared distance to the corners that explains the withheld residuals, and robust weights."""
    reach = np.maximum(reach, 1e-6 * np.median(reach))
    unit, wide = off / np.sqrt(reach)[:, None], covs / reach[:, None, None]
    k = off.shape[1]
    rough = np.diag(np.median(unit**2, axis=0)) + 1e-14 * np.eye(k)
    for _ in range(_ROUNDS):
        weights = trust(normalised(unit, wide + rough), k)
        rough = excess(unit, wide, np.ones(len(off)), weights) + 1e-14 * np.eye(k)
    return rough, weights


def _model(
    ties: Ties, corners: Ties, triangles: Ints, plane: Floats, rough: Floats, scatter: tuple[tuple[float, ...], ...]
) -> Piecewise:
    square, second = ties.unit**2, min(plane.shape[1] - 1, 1)  # one quantity alone stands for both
    three = [0, 0, second], [0, second, second]
    covs = corners.covs[:, *three] * square
    return Piecewise(
        n=len(ties),
        scatter=scatter,
        spacing=ties.spacing * ties.scale,
        hull=half_planes(ties.x, ties.y),
        centre=np.array(ties.centre),
        corners=np.column_stack([corners.u, corners.v]) * ties.scale,
        triangles=triangles,
        plane=plane[:, [0, second]] * ties.unit / np.array([1, ties.scale, ties.scale])[:, None],
        values=corners.values[:, [0, second]] * ties.unit,
        covs=covs,
        roughness=rough[*three] * square / ties.scale**2,
    )
