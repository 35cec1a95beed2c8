"""An elevation model matched to, and compared with, points of known height (ICESat, GNSS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.core import Floats
from xcoreg.core.dem import SearchArea, Solution, Terms, solve
from xcoreg.core.dem.acceptance import check_heights
from xcoreg.core.dem.classic import slope_azimuth
from xcoreg.core.dem.observations import Observation, make_observation
from xcoreg.core.dem.surface import Surface, make_target
from xcoreg.core.matches import Status
from xcoreg.core.quality import nmad
from xcoreg.core.sampling import sample
from xcoreg.errors import MatchError, NoOverlap, OptionError
from xcoreg.georef import as_crs, linear_of, map_to_pixel, transform_points, vector_to_map, vector_to_pixel
from xcoreg.georef.crs import metres_per_pixel
from xcoreg.matching.elevation import OverlapSolution, build_elevation_fit, datum_notes, without_shift
from xcoreg.matching.masks import as_mask
from xcoreg.matching.options import Options
from xcoreg.matching.rigid import solve_rigid_overlap
from xcoreg.raster.bands import common_unit, height_scaling, height_unit
from xcoreg.raster.georeference import Unit
from xcoreg.raster.point_heights import height_column, heights_of, unit_of_points
from xcoreg.raster.raster import Raster, make_raster, target_heights
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.details import Details, Interim

# Pixels are read in tiles of this side, with a margin for corrections; of many tiles this many, evenly selected.
_TILE, _MARGIN, _MOST = 512, 40, 256
# Slopes are taken over the first of these distances, px; over the second one their noise is independent.
_NEAR, _FAR = 1, 3
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class Heights:
    """Points over a raster: x, y, z (n,), CRS units of the raster, in a unit, and the row of each in the table."""

    x: Floats
    y: Floats
    z: Floats
    row: NDArray[np.intp]
    unit: Unit


@dataclass(frozen=True, eq=False)
class PointSamples:
    """Points over a part of an elevation model, which is the target.

    values, valid : (rows, cols); heights of the model, and where it has any.
    col, row, z : (n,) float64; positions of the points in it, px, and their heights; index : their rows in the table.
    origin : Added to positions, gives those in the grid that all samples share, px.
    """

    values: Floats
    valid: NDArray[np.bool_]
    col: Floats
    row: Floats
    z: Floats
    origin: tuple[float, float]
    index: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int]:
        """One column of points in their order, so that neighbours along a track stay neighbours."""
        return len(self.z), 1

    def observe(self, move: Floats, ref_slopes_only: bool = False, *, fine: bool = False) -> Observation:
        """Sample the model, moved by (dcol, drow) px, at the points: move (2,) float."""
        del ref_slopes_only, fine
        here, slopes, at = self._sample(move, _NEAR)
        return make_observation(np.asarray(self.z[at] - here[at], np.float32), slopes, slopes, at)

    def surface(self) -> Surface:
        """Points to compare, and the model to interpolate."""
        origin = -self.origin[0], -self.origin[1]
        col, row = self.positions(np.arange(len(self.z)))
        spline, gradient, usable = make_target(self.values, self.valid, None)
        return Surface(col, row, self.z, None, origin, spline, gradient, usable)

    def relief(self, move: Floats) -> tuple[Floats, Floats, int]:
        """Products (2, 2) of slopes over two distances, which share no noise, and over one."""
        _, near, at = self._sample(move, _NEAR)
        _, far, also = self._sample(move, _FAR)
        shared = np.isin(at, also), np.isin(also, at)
        pairs = zip((near, far), shared, strict=True)
        first, second = (np.stack([part[use] for part in slopes]) for slopes, use in pairs)
        both = np.einsum("in,jn->ij", first, second, dtype=np.float64)
        return (both + both.T) / 2, np.einsum("in,jn->ij", first, first, dtype=np.float64), int(shared[0].sum())

    def _sample(self, move: Floats, reach: int) -> tuple[Floats, tuple[Floats, Floats], NDArray[np.intp]]:
        """Heights at all points, slopes over a distance where they are known, and the indices of these points."""
        col, row = self.col - move[0], self.row - move[1]
        steps = ((0, 0), (reach, 0), (-reach, 0), (0, reach), (0, -reach))
        seen = [sample(self.values, self.valid, row + down, col + right, "cubic") for right, down in steps]
        at = np.flatnonzero(np.all([good for _, good in seen], axis=0))
        right, left, below, above = (np.asarray(part[at], np.float32) for part, _ in seen[1:])
        width = np.float32(2 * reach)
        return seen[0][0], ((right - left) / width, (below - above) / width), at

    def positions(self, at: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Columns and rows of samples in the grid that all share, px."""
        return self.col[at] + self.origin[0], self.row[at] + self.origin[1]

    def coarser(self, factor: int) -> None:
        """Nothing: points cannot be averaged."""
        del factor


def heights_on(
    raster: Raster, points: Any, column: str | None, where: Any = None, start: Sequence[float] = (0.0, 0.0)
) -> Heights:
    """Read positions and heights from a GeoDataFrame, those that lie on the raster once it is moved by `start`."""
    unit, factor = common_unit(height_unit(raster.data, as_crs(raster.grid.crs)), unit_of_points(points))
    z = heights_of(points, height_column(points, column)) * factor
    crs = raster.grid.crs
    x, y = (np.asarray(part, np.float64) for part in (points.geometry.x, points.geometry.y))
    if points.crs is not None:
        x, y = transform_points(points.crs, crs, x, y)
    col, row = map_to_pixel(raster.grid.affine, x - start[0], y - start[1])
    rows, cols = raster.shape
    with np.errstate(invalid="ignore"):
        use = np.isfinite(z) & (col >= 0) & (row >= 0) & (col <= cols - 1) & (row <= rows - 1)
    if not use.any():
        raise NoOverlap(f"none of the {len(z)} points with a height lies on the {raster.name}")
    mask = as_mask(where, crs, grid=raster.grid)
    if mask is not None:
        use[use] &= np.asarray(mask(x[use] - start[0], y[use] - start[1]), bool)
    index = np.flatnonzero(use)
    return Heights(x[index], y[index], z[index], index, unit)


def point_samples(
    raster: Raster, heights: Heights, start: Sequence[float] = (0.0, 0.0)
) -> tuple[list[PointSamples], tuple[float, float]]:
    """Read the raster, moved by `start`, around points; return the samples and their common origin on the map."""
    affine = raster.grid.affine
    col, row = map_to_pixel(affine, heights.x, heights.y)
    middle = float(col.mean()), float(row.mean())
    at_col, at_row = map_to_pixel(affine, heights.x - start[0], heights.y - start[1])
    tile = (at_row // _TILE).astype(int) * 100_000 + (at_col // _TILE).astype(int)
    names = np.unique(tile)
    order = np.argsort((np.arange(len(names)) * _GOLDEN) % 1, kind="stable")
    samples, (gain, offset) = [], height_scaling(raster.data)
    for name in np.sort(names[order[:_MOST]]).tolist():
        row0, col0 = name // 100_000 * _TILE - _MARGIN, name % 100_000 * _TILE - _MARGIN
        size = _TILE + 2 * _MARGIN
        values, valid = raster.read(row0, row0 + size, col0, col0 + size)
        if (gain, offset) != (1.0, 0.0):
            values = values * np.float32(gain) + np.float32(offset)
        at, origin = tile == name, (col0 - middle[0], row0 - middle[1])
        points = col[at] - col0, row[at] - row0, heights.z[at]
        samples.append(PointSamples(np.where(valid, values, 0), valid, *points, origin, heights.row[at]))
    x, y = vector_to_map(linear_of(affine), middle[0] + 0.5, middle[1] + 0.5)
    return samples, (float(affine.c + x), float(affine.f + y))


# Points needed; edges of the slope classes, degrees; aspect classes.
_FEWEST = 20
_SLOPES = (0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 90.0)
_WINDS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
_ABOVE_NOISE = 2.5  # slopes must exceed those of pure noise by this factor
_LEVEL = 2.0  # flatter terrain, degrees, has no aspect


@dataclass(frozen=True, eq=False)
class PointProblem:
    """An elevation model and points of known height, prepared for matching; `start` in CRS units, `search` in px."""

    raster: Raster
    heights: Heights
    terms: Terms
    linear: Any
    metres: Floats
    start: tuple[float, ...]
    search: SearchArea

    def solve(self, samples: Sequence[PointSamples], search: SearchArea | None = None) -> Solution:
        """Solve for a shift or an offset; the terrain below the points must have relief."""
        found = solve(samples, self.terms, search or self.search, to_metres=self.metres, fewest=_FEWEST)
        shifted = self.terms.shift and found.status in (Status.OK, Status.NOT_CONVERGED)
        if shifted and not _has_relief(samples, np.nan_to_num(found.move)):
            found = without_shift(found)
        return self.checked(found, samples)

    def checked(self, found: Solution, samples: Sequence[PointSamples]) -> Solution:
        """Refuse heights in another unit, of the other sign, or of other terrain."""
        move = found.move if np.isfinite(found.move).all() else self.search.start
        seen = [one.observe(move) for one in samples]
        reference = [one.z[obs.at] for one, obs in zip(samples, seen, strict=True)]
        if not reference or found.status is Status.NO_DATA:
            return found
        target = np.concatenate([z - obs.dh for z, obs in zip(reference, seen, strict=True)])
        steps = np.concatenate([np.hypot(obs.col, obs.row) for obs in seen])
        shifted = self.terms.shift or self.terms.rigid
        refusal = check_heights(target, np.concatenate(reference), steps, shifted=shifted)
        return found if refusal is None else replace(found, status=refusal.status, refusal=refusal)

    def details(self, options: Options) -> Details:
        """Record how a fit came about."""
        interim = Interim(linear=self.linear, points=len(self.heights.x))
        record = target_heights(self.raster, self.heights.unit)
        nodata = self.raster.certain.nodata
        return Details(options=options.record(), tgt_nodata=nodata, interim=interim, heights=record)


def prepare_points(target: DataArray | Dataset, points: Any, options: Options) -> PointProblem:
    """Read the heights of points over an elevation model."""
    if callable(options.matcher) or options.ref_where is not None or options.ref_band is not None:
        raise OptionError("points take an elevation matcher by name; ref_where and ref_band belong to images")
    if options.bias is not None:
        raise OptionError("bias= needs two elevation models: points are too few for it")
    raster = make_raster(target, band=options.band, nodata=options.nodata, name="target")
    start = options.start
    heights = heights_on(raster, points, options.z, options.where, start)
    terms = options.terms or Terms(shift=True)
    if terms.auto:
        raise OptionError("matcher='rigid:auto' needs two elevation models: name the matcher for points")
    linear = linear_of(raster.grid.affine)
    middle = float(np.median(heights.y)) if len(heights.y) else raster.grid.extent.geom.centroid.y
    metres = metres_per_pixel(raster.grid.crs, linear, middle) / (heights.unit.metres or 1.0)
    limit = np.inf if options.max_shift is None else options.max_shift
    search = SearchArea(limit, np.stack(vector_to_pixel(linear, *start)))
    return PointProblem(raster, heights, terms, linear, metres, start, search)


def match_points(target: DataArray | Dataset, points: Any, options: Options) -> Coregistration:
    """Measure the correction of an elevation model by points of known height."""
    problem = prepare_points(target, points, options)
    raster, heights, terms = problem.raster, problem.heights, problem.terms
    if len(heights.x):
        place = shapely.Point(float(np.median(heights.x)), float(np.median(heights.y)))
        samples, origin = point_samples(raster, heights, problem.start)
    else:
        place = raster.grid.extent.geom.centroid
        samples, origin = [], (place.x, place.y)
    rigid = None
    if terms.rigid:
        found, rigid = solve_rigid_overlap(list(samples), terms, problem.metres, problem.search, _FEWEST)
        found = problem.checked(found, samples)
    else:
        found = problem.solve(samples)
    if not len(heights.x) and options.where is not None:
        found = replace(found, status=Status.MASKED)
    notes = datum_notes(raster.grid.crs, points.crs, found, heights.unit.metres or 1.0)
    found = replace(found, warnings=(*found.warnings, *notes))
    solution = OverlapSolution(found, samples, problem.linear, origin, rigid)
    return build_elevation_fit(raster, solution, problem.details(options), place)


def _has_relief(samples: Sequence[PointSamples], move: Floats) -> bool:
    """Whether slopes along every axis exceed noise; points have no slopes of their own to compare."""
    both, own, count = (sum(part) for part in zip(*(one.relief(move) for one in samples), strict=True))
    size, axes = np.linalg.eigh(both)
    noise = np.abs(np.einsum("ia,ij,ja->a", axes, own - both, axes)) / np.sqrt(max(count, 1))
    return bool((size > _ABOVE_NOISE * noise).all())


@dataclass(frozen=True)
class PointStatistics:
    """An elevation model minus points of known height.

    Parameters
    ----------
    count : int
    median, nmad, mean, std, rmse, le90 : float
        Of model minus points, m; `le90` is the 90th percentile of the modulus.
    by_slope, by_aspect : list of dict
        Rows for `pandas.DataFrame`: the class (`slope` from-to in degrees, `aspect` by winds downslope, "flat" below
        2 degrees), then `count`, `median`, `nmad`, `le90`.
    difference : (n,) float64
        Model minus point for each row of the table, NaN where unknown.

    Examples
    --------
    >>> PointStatistics(2, 0.1, 0.2, 0.1, 0.2, 0.22, 0.3).le90
    0.3
    """

    count: int
    median: float
    nmad: float
    mean: float
    std: float
    rmse: float
    le90: float
    by_slope: list[dict[str, Any]] = field(default_factory=list, repr=False)
    by_aspect: list[dict[str, Any]] = field(default_factory=list, repr=False)
    difference: Floats = field(default_factory=lambda: np.empty(0), repr=False)


def compare_points(
    dem: DataArray | Dataset,
    points: Any,
    *,
    z: str | None = None,
    where: Any = None,
    fit: Coregistration | None = None,
    nodata: float | None = None,
) -> PointStatistics:
    """Compare an elevation model with points of known height.

    Parameters
    ----------
    dem : DataArray or Dataset
    points : GeoDataFrame
        Of points, in any CRS. Their heights must be in the vertical datum of the model: ellipsoidal and orthometric
        heights differ by tens of metres.
    z : str, optional
        Column of the heights; default: the third coordinate, or a column called z, height, h, elevation, elev, h_ell
        or altitude.
    where : optional
        Compare only where true; as for :func:`xcoreg.match`.
    fit : Coregistration, optional
        Correct the model by this first.
    nodata : float, optional
        Of the model.

    Returns
    -------
    PointStatistics

    Raises
    ------
    NoOverlap
        When no point lies on the model.
    OptionError
        When no heights are found.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from xcoreg.simulate import DemNoise, dem_pair
    >>> both = dem_pair((60, 60), shift=(0.0, 0.0, -2.0), noise=DemNoise(0.1, 0.0, 1.0, 0.0))
    >>> at = np.arange(5, 55)
    >>> places = gpd.points_from_xy(both.ref.x[at], both.ref.y[at], both.ref.values[at, at], crs="EPSG:32633")
    >>> found = compare_points(both.tgt, gpd.GeoDataFrame(geometry=places))
    >>> found.count, round(found.median, 1)
    (50, 2.0)
    """
    with lazy.shared_chunks():
        raster = make_raster(dem, nodata=nodata, name="elevation model")
        heights = heights_on(raster, points, z, where)
        samples, origin = point_samples(raster, heights)
    linear = linear_of(raster.grid.affine)
    middle, metre = float(np.mean(heights.y)) if len(heights.y) else 0.0, heights.unit.metres or 1.0
    metres = metres_per_pixel(raster.grid.crs, linear, middle) / metre
    off, slope, aspect = (np.full(len(points), np.nan) for _ in range(3))
    for one in samples:
        move = np.zeros(2) if fit is None else _move(fit, one, linear, origin)
        seen = one.observe(move)
        tangent, azimuth = slope_azimuth(seen.col, seen.row, metres)
        rows = one.index[seen.at]
        off[rows] = -seen.dh
        if fit is not None and fit.model is not None:
            off[rows] += fit.model.predict_dz(*_places(one.positions(seen.at), move, linear, origin))
        slope[rows], aspect[rows] = np.degrees(np.arctan(tangent)), np.degrees(azimuth) % 360
    return _statistics(off * metre, slope, aspect)


def _places(positions: tuple[Floats, Floats], move: Floats, linear: Any, origin: tuple[float, float]) -> Any:
    """Map position in the uncorrected model of corrected positions, px."""
    x, y = vector_to_map(linear, positions[0] - move[0], positions[1] - move[1])
    return x + origin[0], y + origin[1]


def _move(fit: Coregistration, one: PointSamples, linear: Any, origin: tuple[float, float]) -> Floats:
    """Correction at the mean position of some points, px."""
    if fit.model is None:
        raise MatchError(f"the fit is not trustworthy and is not applied: {fit.status.reason}", fit.points)
    cols, rows = one.positions(np.arange(len(one.z)))
    x, y = _places((cols.mean(), rows.mean()), np.zeros(2), linear, origin)
    return np.stack(vector_to_pixel(linear, *(float(part) for part in fit.model.predict(x, y))))


def _row(off: Floats) -> dict[str, Any]:
    if not len(off):
        return {"count": 0, "median": np.nan, "nmad": np.nan, "le90": np.nan}
    le90 = float(np.percentile(np.abs(off), 90))
    return {"count": len(off), "median": float(np.median(off)), "nmad": nmad(off), "le90": le90}


def _statistics(difference: Floats, slope: Floats, aspect: Floats) -> PointStatistics:
    known = np.isfinite(difference)
    off, slope, aspect = difference[known], slope[known], aspect[known]
    within = {f"{low:g}-{high:g}": (slope >= low) & (slope < high) for low, high in pairwise(_SLOPES)}
    steep = [{"slope": name, **_row(off[chosen])} for name, chosen in within.items()]
    wind = np.floor((aspect + 22.5) % 360 / 45).astype(int)
    winds = [{"aspect": "flat", **_row(off[slope < _LEVEL])}]
    winds += [{"aspect": name, **_row(off[(wind == k) & (slope >= _LEVEL)])} for k, name in enumerate(_WINDS)]
    return PointStatistics(
        **_row(off),
        mean=float(off.mean()) if len(off) else np.nan,
        std=float(off.std()) if len(off) else np.nan,
        rmse=float(np.sqrt(np.mean(off**2))) if len(off) else np.nan,
        by_slope=steep,
        by_aspect=winds,
        difference=difference,
    )
