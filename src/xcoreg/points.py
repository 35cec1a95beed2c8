"""Tie points: one row per window that was tried, whatever became of it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xcoreg.core.columns import MISSING, count_statuses, freeze, tell_counts
from xcoreg.core.plain import decode_column, encode_column
from xcoreg.core.status import Status
from xcoreg.errors import OptionError, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["TiePoints", "replacing", "shift_angle"]

_OPTIONAL = {"dz": 0.0, "score": np.nan, "reliability": np.nan, "ssim_before": np.nan, "ssim_after": np.nan, "size": 0}
_DTYPES: dict[str, type[np.generic]] = {"window": np.int64, "status": np.int8, "size": np.int32}
_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".shp": "ESRI Shapefile"}
# A shapefile cuts names after ten characters: cut them so that they stay distinct.
_SHORT = {"reliability": "reliab", "ssim_before": "ssim_bef", "ssim_after": "ssim_aft"}


def shift_angle(dx: ArrayLike, dy: ArrayLike) -> NDArray[np.float64]:
    """Direction in which the target lies as seen from the reference, clockwise from North.

    Parameters
    ----------
    dx, dy : float or array
        Correction along the CRS axes, any unit; x East, y North.

    Returns
    -------
    float64 array
        Degrees, 0 <= angle < 360; 180 for no shift.

    Examples
    --------
    >>> round(float(shift_angle(3.578856, 15.661627)), 6)
    192.87172
    """
    return np.asarray((np.degrees(np.arctan2(dx, dy)) + 180.0) % 360.0)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write beside a path, then put what was written in its place: all of it or nothing.

    Parameters
    ----------
    path : str or Path
        The goal. Sidecar files written beside the temporary file move along.

    Yields
    ------
    Path
        A file of the same name in a temporary folder beside the goal.

    Raises
    ------
    OptionError
        When nothing can be written there.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("done")
    ...     [file.name for file in Path(folder).iterdir()]
    ['a.txt']
    """
    goal = Path(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{goal.name}-", dir=goal.parent))
    except OSError as error:
        raise OptionError(f"cannot write {goal}: {error.strerror} (folder {goal.parent})") from error
    try:
        yield folder / goal.name
        # The goal itself comes last: where it is new, its sidecars are already there.
        for file in sorted(folder.iterdir(), key=lambda file: file.name == goal.name):
            file.replace(goal.parent / file.name)
    except OSError as error:
        raise OptionError(f"cannot write {goal}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, eq=False, repr=False)
class TiePoints:
    """Windows and their corrections, as columns of equal length `n`; never shrinks.

    Filters set `status`, :attr:`ok` selects. Corrections are target -> reference: `x_ref = x + dx`. Two-vectors and
    covariances are ordered (x, y). The arrays are read-only; two tables are equal when every column is.

    Parameters
    ----------
    window : (n,) int
        Identifier of the window.
    row, col : (n,) float
        Position in the target, px, an integer is a pixel's centre.
    x, y : (n,) float
        The same position on the map, CRS units.
    dx, dy : (n,) float
        Correction along the CRS axes, CRS units.
    dcol, drow : (n,) float
        The same correction in target pixels, columns to the right, rows down.
    cov : (n, 2, 2) float, optional
        Covariance of `(dx, dy)`, CRS units².
    dz : (n,) float, optional
        Vertical correction, in units of the values; default 0.
    score, reliability, ssim_before, ssim_after : (n,) float, optional
        Correlation once aligned, confidence in percent, similarity before and after; NaN where unknown.
    status : (n,) int8, optional
        Values of :class:`~xcoreg.core.status.Status`; default OK.
    size : (n,) int, optional
        Side of the window, target px.
    crs_wkt : str, optional
        CRS of x, y, dx, dy as WKT.

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
    """

    window: NDArray[np.int64]
    row: NDArray[np.float64]
    col: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    dcol: NDArray[np.float64]
    drow: NDArray[np.float64]
    cov: NDArray[np.float64] = MISSING
    dz: NDArray[np.float64] = MISSING
    score: NDArray[np.float64] = MISSING
    reliability: NDArray[np.float64] = MISSING
    ssim_before: NDArray[np.float64] = MISSING
    ssim_after: NDArray[np.float64] = MISSING
    status: NDArray[np.int8] = MISSING
    size: NDArray[np.int32] = MISSING
    crs_wkt: str | None = None

    def __post_init__(self) -> None:
        n = np.size(self.window)
        for name in _COLUMNS:
            shape = (n, 2, 2) if name == "cov" else (n,)
            values: Any = getattr(self, name)
            if values is None:
                values = np.full(shape, np.nan if name == "cov" else _OPTIONAL.get(name, 0))
            object.__setattr__(self, name, freeze(name, values, shape, _DTYPES.get(name, np.float64)))

    def __len__(self) -> int:
        return int(self.window.size)

    def __repr__(self) -> str:
        return f"TiePoints({len(self)} windows: {tell_counts(self.status)})"

    def _repr_html_(self) -> str:
        return str(self.to_dataframe()._repr_html_())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TiePoints):
            return NotImplemented
        same = (np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in _COLUMNS)
        return self.crs_wkt == other.crs_wkt and all(same)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: pickled arrays would come back writable.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) bool: the windows that are trusted."""
        return cast("NDArray[np.bool_]", self.status == Status.OK)

    @property
    def length(self) -> NDArray[np.float64]:
        """(n,) float64: length of the corrections, CRS units."""
        return np.hypot(self.dx, self.dy)

    @property
    def angle(self) -> NDArray[np.float64]:
        """(n,) float64: direction by :func:`shift_angle`, degrees."""
        return shift_angle(self.dx, self.dy)

    def counts(self) -> dict[str, int]:
        """Windows per status name, those that occur only.

        Examples
        --------
        >>> TiePoints([0], [0], [0], [0], [0], [1], [1], [1], [1]).counts()
        {'OK': 1}
        """
        return count_statuses(self.status)

    def with_status(self, mask: ArrayLike, status: Status) -> TiePoints:
        """Flag windows; those that are flagged already keep their first reason.

        Parameters
        ----------
        mask : (n,) bool
            The windows that are meant.
        status : Status
            What becomes of them.

        Returns
        -------
        TiePoints
            As long as this one.

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
        return self._with(status=np.where(chosen & self.ok, np.int8(status), self.status))

    def take(self, index: Any) -> TiePoints:
        """Rows by index array, slice or boolean mask.

        Examples
        --------
        >>> points = TiePoints([7, 8], [0, 0], [0, 0], [0, 0], [0, 0], [1, 2], [1, 2], [1, 2], [1, 2])
        >>> points.take([1]).window
        array([8])
        """
        rows = np.atleast_1d(np.arange(len(self))[index])
        return self._with(**{name: getattr(self, name)[rows] for name in _COLUMNS})

    def _with(self, **columns: Any) -> TiePoints:
        return TiePoints(**{f.name: columns.get(f.name, getattr(self, f.name)) for f in fields(self)})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: lists by column, NaN as None; exact.

        Examples
        --------
        >>> TiePoints([0], [0], [0], [0], [0], [1], [1], [1], [1]).to_dict()["score"]
        [None]
        """
        return {"crs_wkt": self.crs_wkt, **{name: encode_column(getattr(self, name)) for name in _COLUMNS}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TiePoints:
        """Undo :meth:`to_dict`.

        Examples
        --------
        >>> points = TiePoints([0], [0], [0], [0], [0], [1], [1], [1], [1])
        >>> TiePoints.from_dict(points.to_dict()) == points
        True
        """
        columns = {name: decode_column(data[name]) for name in _COLUMNS}
        # JSON drops the inner axes of an empty table.
        columns["cov"] = columns["cov"].reshape(-1, 2, 2)
        return cls(**columns, crs_wkt=data["crs_wkt"])  # type: ignore[arg-type]

    def to_dataframe(self) -> Any:
        """Table for people: one row per window, status by name, standard deviations in CRS units.

        Returns
        -------
        pandas.DataFrame
            Columns window, row, col, x, y, dx, dy, dz, dcol, drow, length, angle, sigma_x, sigma_y, cov_xy, score,
            reliability, ssim_before, ssim_after, status, size; `attrs["crs_wkt"]` holds the CRS.

        Examples
        --------
        >>> points = TiePoints([0], [0], [0], [0], [0], [3], [4], [3], [-4])
        >>> points.to_dataframe()[["dx", "dy", "length", "status"]].to_dict("records")
        [{'dx': 3.0, 'dy': 4.0, 'length': 5.0, 'status': 'OK'}]
        """
        import pandas as pd

        with np.errstate(invalid="ignore"):
            sigma_x, sigma_y = np.sqrt(self.cov[:, 0, 0]), np.sqrt(self.cov[:, 1, 1])
        plain = {name: getattr(self, name) for name in ("window", "row", "col", "x", "y", "dx", "dy", "dz")}
        plain |= {"dcol": self.dcol, "drow": self.drow, "length": self.length, "angle": self.angle}
        plain |= {"sigma_x": sigma_x, "sigma_y": sigma_y, "cov_xy": self.cov[:, 0, 1]}
        plain |= {name: getattr(self, name) for name in ("score", "reliability", "ssim_before", "ssim_after")}
        plain |= {"status": [Status(int(code)).name for code in self.status], "size": self.size}
        table = pd.DataFrame(plain)
        table.attrs["crs_wkt"] = self.crs_wkt
        return table

    def to_geodataframe(self) -> Any:
        """Add a point geometry at (x, y) to the table of :meth:`to_dataframe`; needs the extra `vector`.

        Returns
        -------
        geopandas.GeoDataFrame
            In the CRS of the target.

        Raises
        ------
        MissingDependency
            When geopandas is not installed.

        Examples
        --------
        >>> TiePoints([0], [0], [0], [5], [6], [3], [4], [3], [-4]).to_geodataframe().geometry.x.tolist()
        [5.0]
        """
        gpd = require("geopandas", extra="vector")
        return gpd.GeoDataFrame(self.to_dataframe(), geometry=gpd.points_from_xy(self.x, self.y), crs=self.crs_wkt)

    def plot(self, background: Any = None) -> Any:
        """Draw the windows on the map; see :func:`xcoreg.plot.plot_points`. Needs the extra `plot`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from xcoreg.plot import plot_points

        return plot_points(self, background)

    def save(self, path: str | Path) -> None:
        """Write all windows to a file, whole or not at all; the suffix tells the format.

        Parameters
        ----------
        path : str or Path
            `.gpkg`, `.geojson`, `.parquet`, `.shp` (names cut to ten characters) or `.csv`. GeoJSON geometries are
            longitude and latitude as RFC 7946 demands; the columns x and y stay in the CRS of the target.

        Raises
        ------
        OptionError
            When the suffix is none of these or the place cannot be written.
        MissingDependency
            When the extra `vector` is needed and not installed.

        Examples
        --------
        >>> points = TiePoints([0], [0], [0], [5], [6], [3], [4], [3], [-4])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     points.save(Path(folder, "points.csv"))
        ...     Path(folder, "points.csv").read_text()[:12]
        'window,row,c'
        """
        goal, suffix = Path(path), Path(path).suffix.lower()
        known = [*_DRIVERS, ".parquet", ".csv"]
        if suffix not in known:
            raise OptionError(f"tie points cannot be written as {goal.name!r}: use one of {', '.join(known)}")
        table = self.to_dataframe() if suffix == ".csv" else self.to_geodataframe()
        with replacing(goal) as temporary:
            _write_table(table, temporary, suffix)


def _write_table(table: Any, path: Path, suffix: str) -> None:
    if suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        options: dict[str, Any] = {"driver": _DRIVERS[suffix], "engine": "pyogrio", "index": False}
        if suffix == ".shp":
            table = table.rename(columns=_SHORT)
        if options["driver"] == "GeoJSON" and table.crs is not None:
            table = table.to_crs("EPSG:4326")
            options["RFC7946"] = "YES"
        # An empty layer has no first geometry to take the type from.
        table.to_file(path, geometry_type="Point", **options)


_COLUMNS = tuple(f.name for f in fields(TiePoints) if f.name != "crs_wkt")
