"""Choosing the model of a map through control points, and fitting it by weighted or robust least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few

from xcoreg.core import Floats
from xcoreg.core.robust import MEDIAN_RADIUS, TUKEY, biweight
from xcoreg.errors import LowSupport, OptionError, is_name, numbers_of, warn_user
from xcoreg.georef.gcp_fit import GCPFit, find_fold, residuals_of
from xcoreg.georef.surfaces import WHOLE, Homography, Polynomial, Scale, fit_patches, fit_spline, homography_terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from xcoreg.georef.gcps import GCPs
    from xcoreg.georef.surfaces import Surface

#: Names of the models.
MODELS = ("auto", "affine", "polynomial", "homography", "tps")

_HIGHEST = 5
_FARTHEST = 1e15  # of coordinates, px and CRS units: squares of larger ones overflow
_FLAT = 1e-3  # points closer to a line than this part of their extent are on it
_WILD = 1e7  # condition number beyond which points do not determine a polynomial
_SAME = 1e-6  # px: points closer than this are one
_ENOUGH = 1.5  # points per parameter
_NAMED = 6  # points named in a message
_BETTER = 0.9  # a simpler model is better if its left-out error is below this part of the other's


def fit_gcps(
    gcps: GCPs,
    model: str = "auto",
    *,
    order: int | None = None,
    robust: bool = False,
    weights: ArrayLike | None = None,
    crs: Any = None,
) -> GCPFit:
    """Fit a map between an image and the ground to control points.

    Parameters
    ----------
    gcps : GCPs
    model : {"auto", "affine", "polynomial", "homography", "tps"}
        * affine: three points at least;
        * polynomial: of `order` 1 to 5, with 3, 6, 10, 15 or 21 points at least;
        * homography: four points at least; the map of a frame camera over flat ground;
        * tps: the thin-plate spline, exact at the points; three at least. Through more than 1500 points it is blended
          of overlapping patches of up to 160: as exact, smooth, and within about a tenth of the points' own noise of
          the one spline through all, which would take minutes to solve;
        * auto: the simplest whose left-out error is within 10 % of the smallest.
    order : int, optional
        Of the polynomial; default: chosen from 1 to 3 as "auto" chooses.
    robust : bool
        Weigh down points that contradict the others (Tukey's biweight); not for tps, which meets every point.
    weights : (n,) float, optional
        Relative weights, as 1 / variance; not for tps.
    crs : CRS in any spelling, optional
        Bring the points there first; to be recommended for longitudes and latitudes near a pole.

    Returns
    -------
    GCPFit
        The map both ways, with residuals, left-out residuals and covariance. Heights are not used.

    Raises
    ------
    OptionError
        For too few points, points on one line or otherwise not determining the model, repeated points, points through
        which the map folds over itself or is singular (exchanged or misplaced ones), and options that do not fit
        together.

    Warns
    -----
    LowSupport
        When the order is too high for the points: few more points than parameters, or a lower order predicts points
        that are left out better.

    Examples
    --------
    >>> from xcoreg.georef.gcps import GCPs
    >>> col, row = np.random.default_rng(1).uniform(0, 100, (2, 20))
    >>> fit = fit_gcps(GCPs(col, row, 500 + 2 * col, 900 - 2 * row, crs=32633))
    >>> fit.model, round(fit.transform.a, 9)
    ('affine', 2.0)
    """
    points = (gcps if crs is None else gcps.to_crs(crs)).continuous()
    given = _weights(points, weights)
    _check_options(model, order, robust=robust, weighted=weights is not None)
    _check_points(points, given)
    work = _Work.of(points, given, robust=robust)
    if model == "auto":
        return _best(work, _candidates(work, spline=not robust and weights is None))
    if model == "polynomial" and order is None:
        return _best(work, [name for name in _candidates(work, spline=False) if name[1]])
    name = ("polynomial" if model == "affine" else model, 1 if model == "affine" else order)
    fit = _without_fold(work.fit(*name))
    _warn_of_order(work, fit)
    return fit


@dataclass(frozen=True, eq=False)
class _Work:
    """Points in scaled coordinates, ready to be fitted."""

    gcps: GCPs
    weights: Floats
    robust: bool
    scale: Scale
    u: Floats
    v: Floats
    ground: Floats

    @classmethod
    def of(cls, gcps: GCPs, weights: Floats, *, robust: bool) -> _Work:
        # One size for columns and rows: a spline bends alike in all directions of the image.
        scale = Scale.of(gcps.col, gcps.row, gcps.x, gcps.y, square=True)
        size = max(scale.x[1], scale.y[1])
        scale = Scale(scale.col, scale.row, (scale.x[0], size), (scale.y[0], size))
        u, v = scale.to_unit(gcps.col, gcps.row)
        return cls(gcps, weights, robust, scale, u, v, np.stack(scale.from_ground(gcps.x, gcps.y), axis=-1))

    def fit(self, model: str, order: int | None) -> GCPFit:
        need = _need(model, order)
        known = int((self.weights > 0).sum())
        if known < need:
            raise OptionError(f"{known} GCPs, but {_named(model, order)} needs at least {need}: take a simpler model")
        if model == "tps":
            return self._spline()
        if model == "polynomial" and condition(*self._used(), order or 1) > _WILD:
            raise OptionError(
                f"the {known} GCPs do not determine {_named(model, order)}: on too few lines; lower the order"
            )
        weights = self._robust(model, order, need) if self.robust else self.weights
        solution = self._solved(model, order, np.arange(len(self.gcps)), weights)
        return self._result(model, order, solution.surface, weights, solution)

    def _used(self) -> tuple[Floats, Floats]:
        used = self.weights > 0
        return self.u[used], self.v[used]

    def _solved(self, model: str, order: int | None, rows: NDArray[np.intp], weights: Floats) -> Solution:
        u, v, ground = self.u[rows], self.v[rows], self.ground[rows]
        if model == "homography":
            return fit_homography(u, v, ground, weights)
        return fit_polynomial(u, v, ground, weights, order or 1)

    def _robust(self, model: str, order: int | None, need: int) -> Floats:
        def misfit(surface: Surface, rows: NDArray[np.intp]) -> Floats:
            x, y = surface.at(self.u[rows], self.v[rows])
            lengths: Floats = np.hypot(self.ground[rows, 0] - x, self.ground[rows, 1] - y)
            return np.where(np.isnan(lengths), np.inf, lengths)

        weights = robust_weights(
            lambda rows, w: self._solved(model, order, rows, w).surface, misfit, self.weights, need
        )
        if int((weights > 0).sum()) < need:
            raise OptionError(f"the GCPs contradict each other: fewer than {need} agree on {_named(model, order)}")
        return weights

    def _spline(self) -> GCPFit:
        fitter = fit_spline if self.u.size <= WHOLE else fit_patches
        try:
            surface, left_out = fitter(self.u, self.v, self.ground)
        except np.linalg.LinAlgError as error:
            raise OptionError("the GCPs do not determine a spline: some are too close together") from error
        return self._result("tps", None, surface, self.weights, left_out)

    def _result(self, model: str, order: int | None, surface: Surface, weights: Floats, more: Any) -> GCPFit:
        spline = model == "tps"
        residuals = self.ground - np.stack(surface.at(self.u, self.v), axis=-1)
        left_out = more if spline else more.left_out(residuals)
        size = np.array([self.scale.x[1], self.scale.y[1]])
        linear = self.scale.linear(surface, self.u, self.v)
        used = weights > 0
        return GCPFit(
            "affine" if model == "polynomial" and order == 1 else model,
            order,
            self.gcps,
            surface,
            self.scale,
            weights,
            residuals_of(linear, residuals * size, used),
            residuals_of(linear, left_out * size, used),
            None if spline else more.normal,
        )


def _need(model: str, order: int | None) -> int:
    if model == "polynomial":
        return ((order or 1) + 1) * ((order or 1) + 2) // 2
    return 4 if model == "homography" else 3


def _named(model: str, order: int | None) -> str:
    if model == "polynomial":
        return "an affine map" if order == 1 else f"a polynomial of order {order}"
    return "a homography" if model == "homography" else "a thin-plate spline"


def _weights(gcps: GCPs, weights: ArrayLike | None) -> Floats:
    if weights is None:
        return np.ones(len(gcps))
    given = np.array(numbers_of(weights, len(gcps)) or [np.nan])
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise OptionError(f"weights need {len(gcps)} finite numbers that are not negative, one per GCP")
    return given


def _check_options(model: str, order: int | None, *, robust: bool, weighted: bool) -> None:
    if not is_name(model, MODELS):
        raise OptionError(f"model={model!r} is unknown: choose one of {', '.join(MODELS)}")
    if not isinstance(robust, bool | np.bool_):
        raise OptionError(f"robust={robust!r:.80}: give True or False")
    if order is not None and not (type(order) in (int, np.int64) and 1 <= order <= _HIGHEST):
        raise OptionError(f"order={order!r:.80} must be an integer from 1 to {_HIGHEST}")
    if order is not None and model != "polynomial" and not (model == "affine" and order == 1):
        raise OptionError(f"order={order} belongs to model='polynomial', not to {model!r}")
    if model == "tps" and (robust or weighted):
        raise OptionError("a thin-plate spline meets every point: drop bad ones, or take model='polynomial'")


def _check_points(gcps: GCPs, weights: Floats) -> None:
    n = int((weights > 0).sum())
    far = [gcps.id[i] for i in np.flatnonzero(np.max(np.abs([gcps.col, gcps.row, gcps.x, gcps.y]), axis=0) > _FARTHEST)]
    if far:
        raise OptionError(f"the GCP {far[0]} lies at {_FARTHEST:g} or farther away: correct or drop it")
    if n < 3:
        raise OptionError(f"{n} GCPs, but no map can be fitted to fewer than 3")
    size = max(float(np.ptp(gcps.x)), float(np.ptp(gcps.y)), 1e-300)
    planes = ("in the image", gcps.col, gcps.row, _SAME), ("on the ground", gcps.x, gcps.y, size * 1e-10)
    for what, first, second, unit in planes:
        if (twins := _twins(first, second, unit)) is not None:
            names = " and ".join(gcps.id[i] for i in twins)
            raise OptionError(f"GCPs {names} are at the same place {what}: drop one, gcps.select(...)")
        used = np.stack([first[weights > 0], second[weights > 0]])
        spread = np.linalg.svd((used - used.mean(axis=1, keepdims=True)) / _extent(used), compute_uv=False)
        if not spread[1] > _FLAT * spread[0]:
            raise OptionError(f"the {n} GCPs are on one line {what}: add points away from it")


def _extent(values: Floats) -> Floats:
    """Extents by which both axes are scaled: a swath many times longer than wide is no line."""
    extent = np.ptp(values, axis=1, keepdims=True)
    return np.asarray(np.maximum(extent, 1e-6 * extent.max() + 1e-300))


def _twins(first: Floats, second: Floats, unit: float) -> tuple[int, int] | None:
    """Two rows at one place, if any."""
    pairs = scipy.spatial.cKDTree(np.stack([first, second], axis=-1)).query_pairs(unit, output_type="ndarray")
    return (int(pairs[0, 0]), int(pairs[0, 1])) if len(pairs) else None


def _candidates(work: _Work, *, spline: bool) -> list[tuple[str, int | None]]:
    """Models that the points determine with some to spare, simplest first."""
    n = int((work.weights > 0).sum())
    found: list[tuple[str, int | None]] = [("polynomial", 1)]
    for model, order in (("homography", None), ("polynomial", 2), ("polynomial", 3)):
        spare = n >= _ENOUGH * _need(model, order) and n > _need(model, order) + 1
        if spare and (order is None or condition(*work._used(), order) < _WILD):
            found.append((model, order))
    return [*found, ("tps", None)] if spline and n >= 9 else found


def _best(work: _Work, names: list[tuple[str, int | None]]) -> GCPFit:
    fits = [work.fit(*name) for name in names]
    errors = np.array([fit.left_out.rmse_px for fit in fits])
    # Below a ten-thousandth of a pixel differences are round-off.
    errors = np.where(np.isfinite(errors), np.maximum(errors, 1e-4), np.inf)
    best = int(np.argmax(errors <= errors.min() / _BETTER))
    if len(names) > 1 and find_fold(fits[best]) is not None:
        return _best(work, names[:best] + names[best + 1 :])
    return _without_fold(fits[best])


def _without_fold(fit: GCPFit) -> GCPFit:
    """Refuse a map that folds or is singular, and name points there."""
    fold = find_fold(fit)
    if fold is None:
        return fit
    names = [fit.gcps.id[i] for i in fold[1]]
    names[_NAMED:] = ["..."] * (len(names) > _NAMED)
    more = "" if fit.model == "affine" else ", or take a simpler model"
    raise OptionError(
        f"the map ({fit.model}) through the GCPs {fold[0]}, at {', '.join(names)}: they may be exchanged or misplaced; "
        f"correct them, or drop them with gcps.select(...){more}"
    )


def _warn_of_order(work: _Work, fit: GCPFit) -> None:
    if fit.model != "polynomial" or fit.order is None:
        return
    n, need = int((fit.weights > 0).sum()), _need("polynomial", fit.order)
    lower = _best(work, [("polynomial", order) for order in range(1, fit.order)])
    error, simple = fit.left_out.rmse_px, lower.left_out.rmse_px
    if n < _ENOUGH * need:
        warn_user(
            f"{n} GCPs for order {fit.order}, whose polynomial has {need} terms: take more points or a lower order",
            LowSupport,
        )
    elif simple < _BETTER * error and error > 1e-4:
        warn_user(
            f"order {fit.order} is too high: it misses points left out of the fit by {error:.3g} px, order "
            f"{lower.order} by {simple:.3g} px",
            LowSupport,
        )


_ROUNDS = 30
_SAMPLES = 500
_MOST_JUDGES = 2000  # points that rate a sample, at most


@dataclass(frozen=True, eq=False)
class Solution:
    """A fitted surface with its least-squares statistics.

    leverage : (n, 2, 2) float; Part of every point's own coordinates in what is predicted there, each point's weight
        included.
    normal : Inverse normal matrix of the parameters: of each axis for polynomials, of both together for the homography.
    """

    surface: Polynomial | Homography
    leverage: Floats
    normal: Floats

    def left_out(self, residuals: Floats) -> Floats:
        """Residuals (n, 2) of every point against the fit to the others; NaN where the others do not determine it."""
        rest: Floats = np.eye(2) - self.leverage
        lost = np.abs(np.linalg.det(rest)) < 1e-9
        rest[lost] = np.eye(2)
        out = np.asarray(np.linalg.solve(rest, residuals[..., None])[..., 0], np.float64)
        out[lost] = np.nan
        return out


def condition(u: Floats, v: Floats, order: int) -> float:
    """Condition number of a polynomial's terms at points: beyond 1e8 or so they do not determine it.

    u, v (n,) float.
    """
    terms = Polynomial(order, np.empty(0)).terms(u, v)
    if terms.shape[0] < terms.shape[1]:
        return np.inf
    singular = np.linalg.svd(terms / np.linalg.norm(terms, axis=0), compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else np.inf


def fit_polynomial(u: Floats, v: Floats, ground: Floats, weights: Floats, order: int) -> Solution:
    """Fit a polynomial by weighted least squares: u, v (n,) float; ground (n, 2) float; weights (n,) float."""
    terms = Polynomial(order, np.empty(0)).terms(u, v)
    root = np.sqrt(weights)[:, None]
    q, r = np.linalg.qr(root * terms)
    coefs = np.linalg.solve(r, q.T @ (root * ground))
    back = np.linalg.solve(r, np.eye(r.shape[0]))
    leverage: Floats = (q * q).sum(axis=1)[:, None, None] * np.eye(2)
    return Solution(Polynomial(order, coefs), leverage, np.asarray(back @ back.T))


def fit_homography(u: Floats, v: Floats, ground: Floats, weights: Floats) -> Solution:
    """Fit a homography: the direct linear solution, then Gauss and Newton's steps on the residuals on the ground."""
    x, y = ground.T
    root = np.sqrt(weights)
    rows = [terms * root[:, None] for terms in homography_terms(u, v, x, y)]
    found = np.linalg.lstsq(np.concatenate(rows), np.concatenate([root * x, root * y]), rcond=None)[0]
    for _ in range(_ROUNDS):
        slopes, residuals = _linearised(found, u, v, ground, root)
        step = np.linalg.lstsq(slopes, residuals, rcond=None)[0]
        found = found + step
        if np.abs(step).max() < 1e-14:
            break
    slopes, _ = _linearised(found, u, v, ground, root)
    normal = np.asarray(np.linalg.pinv(slopes.T @ slopes), np.float64)
    pair = np.stack(np.split(slopes, 2), axis=1)  # (n, 2 axes, 8)
    leverage = pair @ normal @ pair.transpose(0, 2, 1)
    return Solution(Homography(np.append(found, 1.0).reshape(3, 3)), leverage, normal)


def _linearised(found: Floats, u: Floats, v: Floats, ground: Floats, root: Floats) -> tuple[Floats, Floats]:
    """Weighted slopes (2 n, 8) and residuals (2 n,) at a set of parameters, x before y."""
    a, b, c, d, e, f, g, h = found
    w = g * u + h * v + 1.0
    x, y = (a * u + b * v + c) / w, (d * u + e * v + f) / w
    weight = root / w
    slopes = np.concatenate([terms * weight[:, None] for terms in homography_terms(u, v, x, y)])
    return slopes, np.concatenate([root * (ground[:, 0] - x), root * (ground[:, 1] - y)])


def robust_weights(
    fit: Callable[[NDArray[np.intp], Floats], Polynomial | Homography],
    misfit: Callable[[Polynomial | Homography, NDArray[np.intp]], Floats],
    weights: Floats,
    need: int,
) -> Floats:
    """Weigh down points that contradict the others: Tukey's biweight, started at the least median of small samples.

    weights (n,) float -> (n,) float64.
    """
    known = np.flatnonzero(weights > 0)
    rng = np.random.default_rng(0)
    judges = known if known.size <= _MOST_JUDGES else rng.choice(known, _MOST_JUDGES, replace=False)
    best, chosen = np.inf, None
    for _ in range(_SAMPLES):
        rows = rng.choice(known, min(need + 1, known.size), replace=False)
        try:
            surface = fit(rows, np.ones(rows.size))
        except np.linalg.LinAlgError:  # a sample on a line
            continue
        median = float(np.median(misfit(surface, judges)))
        if median < best:
            best, chosen = median, surface
    if chosen is None:
        return weights
    factor = np.ones_like(weights)
    everyone = np.arange(weights.size)
    lengths = misfit(chosen, everyone)
    for _ in range(_ROUNDS):
        before, factor = factor, _biweight(lengths, weights > 0, need)
        if np.abs(factor - before).max() < 1e-6:
            break
        lengths = misfit(fit(everyone, weights * factor), everyone)
    return weights * factor


def _biweight(lengths: Floats, known: NDArray[np.bool_], need: int) -> Floats:
    """Tukey's weights of residuals, whose scale comes from their median; corrected for the points the fit used up."""
    n = int(known.sum())
    spread = float(np.median(lengths[known])) / MEDIAN_RADIUS * (1.0 + 5.0 / max(n - need, 1))
    t = lengths / max(TUKEY * spread, 1e-12)
    return np.where((t < 1) & known, biweight(t), 0.0)
