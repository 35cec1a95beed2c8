"""What the options name, as objects: images, masks, polygons.

Where the corrected image goes: checked before any work, written whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from xcoreg.cli.common import creation_options
from xcoreg.coregister import correct_file
from xcoreg.errors import OptionError
from xcoreg.files import check_output
from xcoreg.georef import same_crs, transform_points
from xcoreg.io.read import open_raster
from xcoreg.io.write import check_header, driver_for
from xcoreg.matching.masks import VECTOR_SUFFIXES, is_vector, read_polygons

if TYPE_CHECKING:
    from shapely import Geometry

    from xcoreg.results.coregistration import Coregistration


def open_image(path: str, *, chunks: Any = None) -> Any:
    """Open a raster lazily, by path, URL or GDAL name.

    Parameters
    ----------
    path : str
    chunks : optional
        As for :func:`xcoreg.io.read.open_raster`.

    Returns
    -------
    DataArray or Dataset
    """
    return open_raster(path, chunks=chunks)


def polygon(text: str | None, crs: Any, option: str) -> Geometry | None:
    """Read the polygon that an option names.

    Parameters
    ----------
    text : str or None
        WKT in `crs`, or the path of a vector file in any CRS; several features become one geometry.
    crs : CRS or None
        Of the image; what is read from a file is brought to it.
    option : str
        Name of the option, for messages.

    Returns
    -------
    shapely geometry or None
        In `crs`.

    Raises
    ------
    OptionError
        When it is neither a vector file nor WKT.

    Examples
    --------
    >>> polygon("POLYGON ((0 0, 20 0, 20 10, 0 10, 0 0))", None, "--footprint").area
    200.0
    """
    if text is None:
        return None
    if is_vector(text):
        found, own = read_polygons(text, option)
        return found if crs is None or own is None else brought_to(found, own, crs)
    try:
        return shapely.from_wkt(text)
    except shapely.errors.ShapelyError as error:
        raise OptionError(
            f"{option} {text[:60]!r} is neither WKT such as 'POLYGON ((...))' nor a vector file "
            f"({', '.join(sorted(VECTOR_SUFFIXES))})"
        ) from error


def brought_to(geometry: Geometry, own: Any, crs: Any) -> Geometry:
    """Bring a geometry to another CRS, with corners along its edges so that these may bend.

    Parameters
    ----------
    geometry : shapely geometry
        In `own`.
    own, crs : CRS in any spelling

    Returns
    -------
    shapely geometry
        In `crs`; the same object where the two are equal.
    """
    if same_crs(own, crs):
        return geometry
    west, south, east, north = geometry.bounds
    longest = max(east - west, north - south) / 64
    dense = shapely.segmentize(geometry, longest) if longest > 0 else geometry
    return shapely.transform(dense, lambda x, y: transform_points(own, crs, x, y), interleaved=False)


@dataclass(frozen=True)
class Delivery:
    """The output that the options of :data:`xcoreg.cli.common.write_options` describe.

    Parameters
    ----------
    path : Path
        The goal.
    align_grid : bool
        Resample onto the lattice of the reference.
    like : str or None
        Resample onto the grid of this raster.
    resampling : str
        Kernel.
    driver : str or None
        GDAL's name of the format.
    creation : dict
        Creation options.
    overwrite : bool
        Whether an existing file may be replaced.
    vertical : bool or None
        Whether to correct heights, as in :func:`xcoreg.apply`.

    Examples
    --------
    >>> Delivery(Path("out.tif"), driver="COG").resampling
    'cubic'
    """

    path: Path
    align_grid: bool = False
    like: str | None = None
    resampling: str = "cubic"
    driver: str | None = None
    creation: dict[str, str] | None = None
    overwrite: bool = False
    vertical: bool | None = None

    @classmethod
    def take(cls, path: str, options: dict[str, Any]) -> Delivery:
        """Take the options that concern the output out of the dictionary.

        Parameters
        ----------
        path : str
        options : dict
            Loses these options.

        Returns
        -------
        Delivery
        """
        creation = creation_options(options.pop("co"))
        names = ("align_grid", "like", "resampling", "driver", "overwrite")
        vertical = options.pop("vertical", None)
        return cls(Path(path), creation=creation, vertical=vertical, **{name: options.pop(name) for name in names})

    def check(self, *inputs: str) -> None:
        """Refuse an output that cannot be, before the work is done.

        Parameters
        ----------
        *inputs : str
            What must survive.

        Raises
        ------
        OptionError
            When the output is one of the inputs, exists already, has no format, or cannot be written.
        """
        check_output(self.path, inputs=inputs)
        if self.path.exists() and not self.overwrite:
            raise OptionError(f"the output {self.path} exists already: add --overwrite to replace it")
        if self.align_grid and self.like:
            raise OptionError("--align-grid and --like name two output grids: choose one")
        check_header(self.path, driver_for(self.path, self.driver))

    def write(self, source: str, fit: Coregistration, nodata: float | None = None) -> None:
        """Correct an image by a fit and write it.

        Parameters
        ----------
        source : str
            Path, URL or GDAL name of the image.
        fit : Coregistration
        nodata : float, optional
            Nodata value of the image, where the file does not tell.
        """
        moving = {name: getattr(self, name) for name in ("align_grid", "like", "resampling", "vertical")}
        how: dict[str, Any] = {"driver": self.driver, "creation": self.creation, "overwrite": self.overwrite}
        correct_file(source, fit, self.path, nodata=nodata, **moving, **how)
