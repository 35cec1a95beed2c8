"""Ground control points: positions in the image and on the ground, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint

from xcoreg.errors import GridError, OptionError
from xcoreg.georef.crs import as_crs, longitude_period, parse_crs, same_crs, transform_points
from xcoreg.georef.transform import map_to_pixel, pixel_to_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from pyproj import CRS


# The corner convention of GDAL is that of an affine: the half pixel is taken where all others are.
_CORNERS = Affine.identity()
_COLUMNS = ("col", "row", "x", "y", "z")


@dataclass(frozen=True, eq=False, repr=False)
class GCPs:
    """Ground control points, as columns of equal length `n`.

    **Pixels.** Here, as everywhere inside xcoreg, an integer `col` or `row` is the *centre* of a pixel. GDAL counts
    from corners (the centre of the first pixel is pixel 0.5, line 0.5): so do files, :attr:`pixel` and :attr:`line`,
    :meth:`from_gdal` and :meth:`to_rasterio`.

    Parameters
    ----------
    col, row : (n,) float
        Position in the image, px.
    x, y : (n,) float
        Position on the ground, units of `crs`, x before y, longitude before latitude.
    z : (n,) float, optional
        Height; not used by the fits. Default 0.
    id, info : (n,) str, optional
        Name and remark; default "1", "2", ... and "".
    crs : CRS in any spelling, optional
        Of x and y; None when unknown.

    Raises
    ------
    OptionError
        When columns differ in length or have values that are not finite.

    Examples
    --------
    >>> gcps = GCPs.from_gdal([0.5, 100.5], [0.5, 50.5], [600005, 601005], [4999995, 4999495], crs="EPSG:32633")
    >>> gcps.col, gcps
    (array([  0., 100.]), GCPs(2 points, WGS 84 / UTM zone 33N))
    """

    col: NDArray[np.float64]
    row: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64] = None  # type: ignore[assignment]
    id: tuple[str, ...] = ()
    info: tuple[str, ...] = ()
    crs: CRS | None = field(default=None)

    def __post_init__(self) -> None:
        """Check and freeze the columns."""
        n = np.size(self.col)
        given = {
            "z": np.zeros(n),
            **{name: getattr(self, name) for name in _COLUMNS if getattr(self, name) is not None},
        }
        for name, values in given.items():
            try:
                if np.asarray(values).dtype.kind in "cmM":  # complex numbers would lose a part, and times their unit
                    raise TypeError(f"it holds {np.asarray(values).dtype}")
                column = np.array(values, np.float64).reshape(-1)
            except (TypeError, ValueError, OverflowError) as error:
                raise OptionError(f"{name} of the GCPs is no column of numbers: {error}") from error
            if column.size != n:
                raise OptionError(f"GCPs need columns of one length: col has {n} values, {name} has {column.size}")
            if not np.isfinite(column).all():
                raise OptionError(f"{int((~np.isfinite(column)).sum())} of {n} GCPs have no finite {name}: drop them")
            column.setflags(write=False)
            object.__setattr__(self, name, column)
        numbers = tuple(str(i + 1) for i in range(n))
        for name, default in (("id", numbers), ("info", ("",) * n)):
            try:
                texts = tuple(map(str, getattr(self, name))) or default
            except (TypeError, ValueError) as error:
                raise OptionError(f"{name} of the GCPs is no column of texts: {error}") from error
            if len(texts) != n:
                raise OptionError(f"GCPs need columns of one length: col has {n} values, {name} has {len(texts)}")
            object.__setattr__(self, name, texts)
        object.__setattr__(self, "crs", parse_crs(self.crs))

    def __len__(self) -> int:
        return int(self.col.size)

    def __repr__(self) -> str:
        return (
            f"GCPs({len(self)} point{'s' * (len(self) != 1)}, {'CRS unknown' if self.crs is None else self.crs.name})"
        )

    @classmethod
    def from_gdal(cls, pixel: ArrayLike, line: ArrayLike, x: ArrayLike, y: ArrayLike, **columns: Any) -> GCPs:
        """Take points as GDAL counts: pixel and line from the corner of the image.

        Parameters
        ----------
        pixel, line : (n,) float
            0.5 is the centre of the first pixel.
        x, y : (n,) float
            On the ground.
        **columns
            `z`, `id`, `info` and `crs`.

        Returns
        -------
        GCPs

        Examples
        --------
        >>> GCPs.from_gdal([0.0], [10.5], [1.0], [2.0]).row
        array([10.])
        """
        col, row = map_to_pixel(_CORNERS, pixel, line)
        return cls(col, row, x, y, **columns)  # type: ignore[arg-type]

    @property
    def pixel(self) -> NDArray[np.float64]:
        """Columns counted from the corner, as GDAL does: `col` + half a pixel."""
        return pixel_to_map(_CORNERS, self.col, self.row)[0]

    @property
    def line(self) -> NDArray[np.float64]:
        """Rows counted from the corner, as GDAL does: `row` + half a pixel."""
        return pixel_to_map(_CORNERS, self.col, self.row)[1]

    @classmethod
    def from_rasterio(cls, points: Iterable[Any], crs: Any = None) -> GCPs:
        """Take rasterio's points.

        Parameters
        ----------
        points : iterable of rasterio.control.GroundControlPoint
        crs : CRS in any spelling, optional

        Returns
        -------
        GCPs

        Examples
        --------
        >>> from rasterio.control import GroundControlPoint
        >>> GCPs.from_rasterio([GroundControlPoint(row=0.5, col=1.5, x=10, y=20)]).col
        array([1.])
        """
        rows = [(p.col, p.row, p.x, p.y, 0.0 if p.z is None else p.z) for p in points]
        columns = np.array(rows, np.float64).reshape(-1, 5).T
        names = {"id": tuple(str(p.id) for p in points), "info": tuple(p.info or "" for p in points)}
        return cls.from_gdal(*columns[:4], z=columns[4], crs=crs, **names)

    def to_rasterio(self) -> list[Any]:
        """Convert to control points of rasterio, with pixels counted from the corner.

        Returns
        -------
        list of rasterio.control.GroundControlPoint
        """
        columns = (self.line, self.pixel, self.x, self.y, self.z)
        rows = zip(*(column.tolist() for column in columns), self.id, self.info, strict=True)
        return [GroundControlPoint(*row) for row in rows]

    def select(self, keep: ArrayLike | slice) -> GCPs:
        """Take some of the points.

        Parameters
        ----------
        keep : (n,) bool, int or slice
            Mask or positions.

        Returns
        -------
        GCPs

        Examples
        --------
        >>> GCPs([0, 1], [0, 1], [5, 6], [7, 8]).select([False, True]).x
        array([6.])
        """
        at = np.arange(len(self))[keep if isinstance(keep, slice) else np.asarray(keep)]
        columns: Any = {name: getattr(self, name)[at] for name in _COLUMNS}
        texts: Any = {name: tuple(getattr(self, name)[i] for i in at) for name in ("id", "info")}
        return GCPs(**columns, **texts, crs=self.crs)

    def to_crs(self, crs: Any) -> GCPs:
        """Bring the points into another CRS.

        Parameters
        ----------
        crs : CRS in any spelling

        Returns
        -------
        GCPs
            Heights stay as they are.

        Raises
        ------
        OptionError
            When the CRS of the points is unknown.
        GridError
            When a point has no place there.

        Examples
        --------
        >>> GCPs([0], [0], [-80], [40], crs="EPSG:4326").to_crs("EPSG:32617").x.round(5)
        array([585360.46184])
        """
        if self.crs is None:
            raise OptionError("the CRS of the GCPs is unknown: give it, GCPs(..., crs='EPSG:...')")
        goal = as_crs(crs)
        if same_crs(self.crs, goal):
            return self
        x, y = transform_points(self.crs, goal, self.x, self.y)
        lost = ~(np.isfinite(x) & np.isfinite(y))
        if lost.any():
            raise GridError(f"{int(lost.sum())} of {len(self)} GCPs have no place in {goal.name!r}")
        return replace(self, x=x, y=y, crs=goal)

    def with_crs(self, crs: Any) -> GCPs:
        """Name the CRS of the points; their numbers stay.

        Parameters
        ----------
        crs : CRS in any spelling

        Returns
        -------
        GCPs

        Examples
        --------
        >>> GCPs([0], [0], [-80], [40]).with_crs(4326)
        GCPs(1 point, WGS 84)
        """
        return replace(self, crs=crs)

    def moved(self, dx: float, dy: float) -> GCPs:
        """Move the points on the ground.

        Parameters
        ----------
        dx, dy : float
            Correction, units of the CRS: added to x and y.

        Returns
        -------
        GCPs

        Examples
        --------
        >>> GCPs([0], [0], [5], [7]).moved(1.0, -1.0).y
        array([6.])
        """
        return replace(self, x=self.x + dx, y=self.y + dy)

    def continuous(self) -> GCPs:
        """Undo the jump of longitudes at the antimeridian, where there is one.

        Returns
        -------
        GCPs
            Longitudes on one side of it are 360 degrees more: a swath from 179 to -179 goes from 179 to 181. Points
            in metres, and such without a jump, stay as they are.

        Examples
        --------
        >>> GCPs([0, 1], [0, 0], [179.5, -179.5], [0, 0], crs=4326).continuous().x
        array([179.5, 180.5])
        """
        full = longitude_period(self.crs)
        if full is None or not len(self):
            return self
        return replace(self, x=unrolled(self.x, full))

    def save(self, path: str | Path) -> Path:
        """Write the points; see :func:`xcoreg.georef.save_gcps`.

        Parameters
        ----------
        path : str or Path
            .csv, .points (QGIS), .pts (ENVI) or .gpkg.

        Returns
        -------
        Path
            The file.
        """
        from xcoreg.georef.gcp_files import save_gcps

        return save_gcps(self, path)


def unrolled(angles: Sequence[float] | NDArray[np.float64], full: float) -> NDArray[np.float64]:
    """Wrap angles to one turn that starts in the widest gap between them: angles (n,) float -> (n,) float64."""
    values = np.asarray(angles, np.float64)
    if np.ptp(values) <= full / 2:
        return values
    around = np.sort(values % full)
    gaps = np.diff(np.append(around, around[0] + full))
    start = around[(int(np.argmax(gaps)) + 1) % around.size]
    turned = (values - start) % full + start
    middle: NDArray[np.float64] = turned - full * np.ceil((turned.mean() - full / 2) / full)
    return middle
