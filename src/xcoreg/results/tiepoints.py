"""Tie points: one row per window that was matched, whatever became of it; tables of points made elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Bools, Floats, Ints
from xcoreg.core.matches import MISSING, Status, count_statuses, decode_column, describe_counts, encode_column, freeze
from xcoreg.errors import OptionError
from xcoreg.results import tables
from xcoreg.results.html import html_points
from xcoreg.results.shift import shift_angle
from xcoreg.results.tables import read_frame, save_points

_FINER = 200  # grids tried


def thin(points: TiePoints, max_points: int) -> Ints:
    """Choose well spread rows of a table: -> (k,) int."""
    n = len(points)
    if n <= max_points:
        return np.arange(n)
    error = np.nan_to_num(np.trace(points.cov, axis1=1, axis2=2), nan=np.inf)
    best_first = np.argsort(error, kind="stable")
    width = max(float(np.ptp(points.x)), float(np.ptp(points.y)), 1e-300)
    left, bottom = points.x.min(), points.y.min()
    chosen, cells = best_first[:1], math.isqrt(max_points)
    # Finer and finer, for the points may be clustered: the last grid with few enough occupied cells is used.
    for _ in range(_FINER):
        step = width * (1 + 1e-9) / cells
        place = np.floor(np.stack([points.x - left, points.y - bottom]) / step)
        _, first = np.unique(place[0, best_first] * (cells + 1) + place[1, best_first], return_index=True)
        if first.size > max_points:
            break
        chosen, cells = best_first[first], cells + max(1, cells // 16)
    return np.sort(chosen)


def gcps_of(points: TiePoints, transform: Sequence[float]) -> georef.GCPs:
    """Ground control points: where places of the target lie on the map of the reference."""
    good = points.take(points.ok & np.isfinite(points.dx) & np.isfinite(points.dy))
    if len(good) == 0:
        raise OptionError(f"no tie point is trusted, so there are no ground control points: {points!r}")
    # From the map position: row and col of tie points made elsewhere may be those of another image.
    col, row = georef.map_to_pixel(transform, good.x, good.y)
    sigma = np.sqrt(np.maximum(good.cov[:, [0, 1], [0, 1]], 0.0)).tolist()
    info = tuple("" if math.isnan(sx + sy) else f"sigma_x={sx:.6g} sigma_y={sy:.6g}" for sx, sy in sigma)
    names = tuple(str(window) for window in good.window)
    return georef.GCPs(
        col, row, good.x + good.dx, good.y + good.dy, id=names, info=info, crs=georef.parse_crs(good.crs_wkt)
    )


_OPTIONAL = {"dz": 0.0, "size": 0, "common": 0.0}
_UNKNOWN = ("cov", "cov_z", "score", "reliability", "ssim_before", "ssim_after", "count", "nmad_before", "nmad_after")
_INNER = {"cov": (2, 2), "cov_z": (3,)}
_LATER = (*_UNKNOWN, "common")
_NO_COLUMNS = ("crs_wkt", "grid", "spacing")
_DTYPES: dict[str, type[np.generic]] = {"window": np.int64, "status": np.int8, "size": np.int32}


@dataclass(frozen=True, eq=False, repr=False)
class TiePoints:
    """Windows and their corrections, as columns of equal length `n`; never shrinks.

    Filters set `status`, :attr:`ok` selects. Corrections are target -> reference: `x_ref = x + dx`. Two-vectors and
    covariances are ordered (x, y). The arrays are read-only; two tables are equal when every column is.

    Parameters
    ----------
    window : (n,) int
        Identifier of the window.
    row, col, x, y : (n,) float
        Position in the target, px, an integer is a pixel's centre; and on the map, CRS units.
    dx, dy, dcol, drow : (n,) float
        Correction along the CRS axes, CRS units; and in target pixels, columns to the right, rows down.
    cov : (n, 2, 2) float, optional
        Covariance of `(dx, dy)`, CRS units².
    dz, cov_z : (n,), (n, 3) float, optional
        Vertical correction, in units of the values, default 0; covariance of dx and of dy with it, and its variance.
    score, reliability, ssim_before, ssim_after : (n,) float, optional
        Correlation once aligned, confidence in percent, similarity before and after; NaN where unknown.
    status : (n,) int8, optional
        Values of :class:`~xcoreg.core.matches.Status`; default OK.
    size : (n,) int, optional
        Side of the window, target px.
    count, nmad_before, nmad_after : (n,) float, optional
        Of elevation models: pixels compared, NMAD of the differences before and after; NaN where unknown.
    common : (n,) float, optional
        Standard deviation of an error that all windows share, target px, which no number of them averages out;
        default 0. `cov` is that of each window's own.
    crs_wkt : str, optional
        CRS of x, y, dx, dy as WKT.
    grid : GeoBox, optional
        Grid of the target; the tie points of a fit have it.
    spacing : float, optional
        Distance between the windows that was asked for, target px.

    Raises
    ------
    ValueError
        When columns differ in length.

    Examples
    --------
    >>> points = TiePoints([0, 1], [9.5, 9.5], [9.5, 29.5], [100, 300], [900, 900], [3.5, 3.7], [15.5, 15.4],
    ...                    [0.35, 0.37], [-1.55, -1.54])
    >>> points.with_status([False, True], Status.OUTLIER)
    TiePoints(2 windows: 1 OK, 1 OUTLIER)
    >>> points.take([1]).window, points.counts(), TiePoints.from_dict(points.to_dict()) == points
    (array([1]), {'OK': 2}, True)
    """

    window: NDArray[np.int64]
    row: Floats
    col: Floats
    x: Floats
    y: Floats
    dx: Floats
    dy: Floats
    dcol: Floats
    drow: Floats
    cov: Floats = MISSING
    dz: Floats = MISSING
    score: Floats = MISSING
    reliability: Floats = MISSING
    ssim_before: Floats = MISSING
    ssim_after: Floats = MISSING
    status: NDArray[np.int8] = MISSING
    size: NDArray[np.int32] = MISSING
    cov_z: Floats = MISSING
    count: Floats = MISSING
    nmad_before: Floats = MISSING
    nmad_after: Floats = MISSING
    common: Floats = MISSING
    crs_wkt: str | None = None
    grid: GeoBox | None = None
    spacing: float | None = None

    def __post_init__(self) -> None:
        n = np.size(self.window)
        for name in _COLUMNS:
            shape = (n, *_INNER.get(name, ()))
            values: Any = getattr(self, name)
            if values is None:
                values = np.full(shape, np.nan if name in _UNKNOWN else _OPTIONAL.get(name, 0))
            object.__setattr__(self, name, freeze(name, values, shape, _DTYPES.get(name, np.float64)))

    def __len__(self) -> int:
        return int(self.window.size)

    def __repr__(self) -> str:
        return f"TiePoints({len(self)} windows: {describe_counts(self.status)})"

    def _repr_html_(self) -> str:
        return html_points(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TiePoints):
            return NotImplemented
        same = (np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in _COLUMNS)
        # One CRS may be spelled in many ways: files keep it in their own.
        one, two = self.crs_wkt, other.crs_wkt
        return all(same) and (one == two or (one is not None and two is not None and georef.same_crs(one, two)))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: pickled arrays would come back writable.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def ok(self) -> Bools:
        """(n,) bool: the windows that are trusted."""
        return cast("Bools", self.status == Status.OK)

    @property
    def length(self) -> Floats:
        """(n,) float64: length of the corrections, CRS units."""
        return np.hypot(self.dx, self.dy)

    @property
    def angle(self) -> Floats:
        """(n,) float64: direction by :func:`shift_angle`, degrees."""
        return shift_angle(self.dx, self.dy)

    def counts(self) -> dict[str, int]:
        """Windows per status name, those that occur only."""
        return count_statuses(self.status)

    def with_status(self, mask: ArrayLike, status: Status) -> TiePoints:
        """Flag the windows of a mask (n,) with a status; those that are flagged already keep their first reason.

        Raises
        ------
        ValueError
            When the mask has another length.

        Examples
        --------
        >>> points = TiePoints([0], [0], [0], [0], [0], [1], [1], [1], [1])
        >>> points.with_status([True], Status.OUTLIER).with_status([True], Status.FLAT).counts()
        {'OUTLIER': 1}
        """
        chosen = freeze("mask", mask, (len(self),), np.bool_)
        return replace(self, status=np.where(chosen & self.ok, np.int8(status), self.status))

    def take(self, index: Any) -> TiePoints:
        """Rows by index array, slice or boolean mask."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    def on_grid(self, grid: GeoBox | None, spacing: float | None = None) -> TiePoints:
        """Set the grid of the target, in the CRS of the tie points, and the spacing of the windows, target px."""
        out = copy(self)
        object.__setattr__(out, "grid", grid)
        object.__setattr__(out, "spacing", spacing)
        return out

    def thin(self, max_points: int) -> TiePoints:
        """Choose trusted windows that are spread evenly, `max_points` at most, the most precise ones first.

        Raises
        ------
        OptionError
            When the number is less than 1.

        Examples
        --------
        >>> TiePoints([7, 8], [0, 0], [0, 1], [0, 9], [0, 0], [1, 2], [1, 2], [1, 2], [1, 2]).thin(1)
        TiePoints(1 windows: 1 OK)
        """
        if max_points < 1:
            raise OptionError(f"max_points={max_points} keeps no tie point: give 1 or more")
        good = self.take(self.ok & np.isfinite(self.dx) & np.isfinite(self.dy))
        return good.take(thin(good, max_points))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: lists by column, NaN as None; exact."""
        return {"crs_wkt": self.crs_wkt, **{name: encode_column(getattr(self, name)) for name in _COLUMNS}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TiePoints:
        """Undo :meth:`to_dict`."""
        # Files of older versions lack the last columns; JSON drops the inner axes of an empty table.
        columns = {name: decode_column(data[name]) for name in _COLUMNS if name in data or name not in _LATER}
        columns |= {name: columns[name].reshape(-1, *inner) for name, inner in _INNER.items() if name in columns}
        return cls(**columns, crs_wkt=data["crs_wkt"])  # type: ignore[arg-type]

    def to_dataframe(self) -> Any:
        """Table for people: one row per window, status by name, standard deviations in CRS units.

        Returns
        -------
        pandas.DataFrame
            Columns window, row, col, x, y, dx, dy, dz, dcol, drow, length, angle, sigma_x, sigma_y, cov_xx, cov_xy,
            cov_yy, score, reliability, ssim_before, ssim_after, common, status, size; `attrs["crs_wkt"]` holds the CRS.

        Examples
        --------
        >>> points = TiePoints([0], [0], [0], [0], [0], [3], [4], [3], [-4])
        >>> points.to_dataframe()[["dx", "dy", "length", "status"]].to_dict("records")
        [{'dx': 3.0, 'dy': 4.0, 'length': 5.0, 'status': 'OK'}]
        """
        return tables.to_frame(self)

    def to_geodataframe(self) -> Any:
        """Add a point geometry at (x, y), in the CRS of the target, to :meth:`to_dataframe`; needs the extra `vector`.

        Examples
        --------
        >>> TiePoints([0], [0], [0], [5], [6], [3], [4], [3], [-4]).to_geodataframe().geometry.x.tolist()
        [5.0]
        """
        return tables.with_geometry(self.to_dataframe(), self.x, self.y, self.crs_wkt)

    @classmethod
    def from_geodataframe(cls, frame: Any, *, grid: GeoBox | None = None) -> TiePoints:
        """Take tie points from a table: what :meth:`to_geodataframe` gave, or made elsewhere.

        Parameters
        ----------
        frame : GeoDataFrame or DataFrame
            Positions as point geometries or in columns x and y, corrections in columns dx and dy (or X_SHIFT_M and
            Y_SHIFT_M as AROSICS names them), in units of the frame's CRS. A column `crs` names the CRS of x, y, dx
            and dy where the frame has none or another. All other columns may be missing. A row is trusted when its
            correction is known and a column `status` (or OUTLIER) says nothing else.
        grid : GeoBox, optional
            Of the target (`target.coreg.grid`), in the CRS of the frame: gives row, col, dcol and drow where the frame
            lacks them; without it they are NaN.

        Returns
        -------
        TiePoints
            In the CRS of the frame.

        Raises
        ------
        OptionError
            When there are no positions or no corrections, or the geometries were moved to another CRS without the
            corrections.

        Examples
        --------
        >>> points = TiePoints([0], [0], [0], [5], [6], [3], [4], [3], [-4])
        >>> TiePoints.from_geodataframe(points.to_geodataframe()) == points
        True
        """
        columns, crs = tables.from_frame(frame, None if grid is None else tuple(grid.affine)[:6])
        return cls(**columns, crs_wkt=crs, grid=grid)

    @classmethod
    def load(cls, path: str | Path, *, grid: GeoBox | None = None) -> TiePoints:
        """Read tie points from a file: what :meth:`save` wrote, or made elsewhere.

        Parameters
        ----------
        path : str or Path
            `.gpkg`, `.geojson`, `.parquet`, `.shp` or `.csv`; all but the last need the extra `vector`.
        grid : GeoBox, optional
            As in :meth:`from_geodataframe`, which describes the columns, too.

        Returns
        -------
        TiePoints
            Equal to what was saved; from a shapefile to about fifteen digits.

        Raises
        ------
        OptionError
            When there is no such file, or no tie points are in it.
        """
        return cls.from_geodataframe(read_frame(path), grid=grid)

    @property
    def gcps(self) -> georef.GCPs:
        """Ground control points of the trusted windows: pixels of the target, coordinates of the reference.

        Raises
        ------
        OptionError
            When no window is trusted, or the tie points do not know the grid of the target.

        Examples
        --------
        >>> import xcoreg
        >>> scene = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
        >>> scene.tgt.coreg.match(scene.ref).gcps
        GCPs(4 points, WGS 84 / UTM zone 33N)
        """
        if self.grid is None:
            raise OptionError(
                "the tie points do not know the grid of the target, so they are no ground control points: take those "
                "of a fit, or points.on_grid(target.coreg.grid)"
            )
        return gcps_of(self, tuple(self.grid.affine)[:6])

    def plot(self, background: Any = None, *, column: str | None = None) -> Any:
        """Draw the windows over a `background` image, coloured by a `column`; see :func:`xcoreg.plot.plot_points`."""
        from xcoreg.plot import plot_points

        return plot_points(self, background, column=column)

    def save(self, path: str | Path, *, columns: str = "xcoreg", nodata: float | None = None) -> None:
        """Write all windows to a file, whole or not at all; the suffix is the format.

        Parameters
        ----------
        path : str or Path
            `.gpkg`, `.geojson`, `.parquet`, `.shp` (names cut to ten characters) or `.csv`. GeoJSON geometries are
            longitude and latitude as RFC 7946 demands; the columns x and y stay in the CRS of the target, which is
            named in a column `crs`, as in CSV.
        columns : {"xcoreg", "arosics"}
            Names: of :meth:`to_dataframe`, or those of AROSICS. The latter need the grid of the target, which the tie
            points of a fit know; others get it by :meth:`on_grid`.
        nodata : float, optional
            Stands for missing numbers; default: none for "xcoreg" (empty, null), -9999 for "arosics".

        Raises
        ------
        OptionError
            When the suffix is none of these, something is missing or the place cannot be written.
        MissingDependency
            When the extra `vector` is needed and not installed.

        Examples
        --------
        >>> import tempfile
        >>> points = TiePoints([0], [0], [0], [5], [6], [3], [4], [3], [-4])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     points.save(f"{folder}/points.csv")
        ...     TiePoints.load(f"{folder}/points.csv") == points
        True
        """
        save_points(self, path, columns, nodata)


_COLUMNS = tuple(f.name for f in fields(TiePoints) if f.name not in _NO_COLUMNS)


_CLOSE = 1e-6  # px


def as_points(given: Any, grid: GeoBox) -> TiePoints | Floats:
    """Convert tie points, or positions where to match, to the grid of a target."""
    if isinstance(given, str | Path):
        given = read_frame(given)
    if hasattr(given, "geom_type") and not hasattr(given, "columns"):
        given = given.rename("geometry").to_frame()
    if not isinstance(given, TiePoints) and hasattr(given, "columns"):
        if tables.has_corrections(given):
            _crs_needed(given)
            # Corrections in pixels alone can only be the target's.
            in_pixels = not {"dx", "X_SHIFT_M"} & set(given.columns)
            given = TiePoints.from_geodataframe(given, grid=grid if in_pixels else None)
        else:
            source = _crs_needed(given)
            x, y = _carry(tables.positions_of(given), source, grid.crs)
            return np.stack([x, y], axis=-1)
    if isinstance(given, TiePoints):
        return _bring(given, grid)
    return _positions(given)


def _crs_needed(frame: Any) -> str | None:
    source = tables.crs_of_frame(frame)
    if source is None and hasattr(frame, "geom_type"):
        raise OptionError("the tie points have geometries without a CRS: set it with frame.set_crs('EPSG:...') first")
    return source


def _positions(given: Any) -> Floats:
    try:
        array = np.asarray(given)
        array = np.asarray(array if array.dtype.kind not in "cmM" else "complex numbers or times", np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"a {type(given).__name__} holds no tie points: give TiePoints, a GeoDataFrame, a file or an (n, 2) array"
        ) from error
    if array.shape == (2,):
        array = array.reshape(1, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise OptionError(f"positions of shape {array.shape} are not (n, 2): give one row x, y per point")
    if not np.isfinite(array).all():
        raise OptionError(f"{int((~np.isfinite(array).all(axis=1)).sum())} positions are not finite: drop them")
    return array.copy()


def _carry(place: tuple[Floats, Floats], source: Any, crs: Any) -> tuple[Floats, Floats]:
    x, y = place if source is None else georef.transform_points(source, crs, *place)
    lost = ~(np.isfinite(x) & np.isfinite(y))
    if lost.any():
        count = f"{int(lost.sum())} of {lost.size}"
        raise OptionError(f"{count} tie points have no place in the CRS of the target: drop them")
    return x, y


def _bring(points: TiePoints, grid: GeoBox) -> TiePoints:
    """Convert tie points to the CRS and the pixels of another image."""
    crs, transform = grid.crs, tuple(grid.affine)[:6]
    source, linear = points.crs_wkt, georef.linear_of(transform)
    cov: Floats = points.cov
    x, y = _carry((points.x, points.y), source, crs)
    dx, dy = points.dx, points.dy
    if source is not None and not georef.same_crs(source, crs):
        dx, dy = georef.local_displacement(x, y, dx, dy, source, crs)
        cov = turn_cov(cov, x, y, source, crs, max(georef.gsd(transform)))
    col, row = _unless_close((points.col, points.row), georef.map_to_pixel(transform, x, y))
    dcol, drow = _unless_close((points.dcol, points.drow), georef.vector_to_pixel(linear, dx, dy))
    moved: dict[str, Any] = {"x": x, "y": y, "dx": dx, "dy": dy, "cov": cov}
    moved |= {"col": col, "row": row, "dcol": dcol, "drow": drow, "grid": grid, "spacing": None}
    return replace(points, crs_wkt=georef.as_crs(crs).to_wkt(), **moved)


def _unless_close(old: tuple[Floats, Floats], new: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Keep the old numbers, digit by digit, where the new ones are equal to rounding errors."""
    return old if np.allclose(old, new, rtol=0.0, atol=_CLOSE, equal_nan=True) else new


def turn_cov(cov: Floats, x: Floats, y: Floats, source: Any, crs: Any, step: float) -> Floats:
    """Convert covariances (n, 2, 2) of displacements at x, y (n,) to another CRS, by the local Jacobian."""
    back_x, back_y = georef.transform_points(crs, source, x + step, y)
    there_x, there_y = georef.transform_points(crs, source, x, y)
    length = np.hypot(back_x - there_x, back_y - there_y)
    along_x = georef.local_displacement(x, y, length, 0.0, source, crs)
    along_y = georef.local_displacement(x, y, 0.0, length, source, crs)
    jacobian = np.stack([np.stack(along_x, -1), np.stack(along_y, -1)], axis=-1) / length[:, None, None]
    return np.asarray(jacobian @ cov @ np.swapaxes(jacobian, 1, 2))
