"""Where the corrected image goes: checked before any work, written whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg.cli.inputs import open_image
from xcoreg.cli.options import creation_options
from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from xcoreg.result import Coregistration

__all__ = ["Delivery"]


@dataclass(frozen=True)
class Delivery:
    """The output that the options of :data:`xcoreg.cli.options.write_options` describe.

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
    >>> Delivery(Path("out.tif"), driver="COG").is_plain_move
    False
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

    @property
    def is_plain_move(self) -> bool:
        """Whether a GeoTIFF is asked for without resampling or creation options."""
        from xcoreg.io.write import driver_for

        resampled = self.align_grid or self.like is not None
        return driver_for(self.path, self.driver) == "GTiff" and not resampled and not self.creation

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
        from xcoreg.io.paths import check_output
        from xcoreg.io.write import check_header, driver_for

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
        from xcoreg import io, warp
        from xcoreg.rectify import needs_rectifying
        from xcoreg.warp.vertical import raises

        image = open_image(source, chunks="auto")
        moves = fit.model is not None and fit.model.kind == "translation"
        moves = moves and not raises(image, fit, self.vertical, self.resampling)
        if self.is_plain_move and moves and _is_geotiff(source) and not needs_rectifying(image):
            io.copy_moved(source, self.path, warp.apply(image, fit, vertical=False).rio.transform())
            return
        like = None if self.like is None else open_image(self.like)
        options: dict[str, Any] = {"align_grid": self.align_grid, "like": like}
        options |= {"resampling": self.resampling, "nodata": nodata, "vertical": self.vertical}
        fixed = image.coreg.apply(fit, **options)
        io.write_raster(fixed, self.path, driver=self.driver, overwrite=self.overwrite, **(self.creation or {}))


def _is_geotiff(source: str) -> bool:
    import rasterio

    from xcoreg.io.paths import local_path

    path = local_path(source)
    if path is None or not path.is_file():
        return False
    with rasterio.open(path) as image:
        # a file placed by control points has no transform of its own that could be moved
        return image.driver == "GTiff" and not image.gcps[0]
