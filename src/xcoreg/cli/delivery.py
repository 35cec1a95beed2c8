"""Where the corrected image goes: checked before any work, written whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg.cli.inputs import open_image
from xcoreg.cli.options import creation_options
from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from xcoreg.result import Coregistration

__all__ = ["Delivery"]

GEOTIFF = {".tif", ".tiff"}


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
        return cls(Path(path), creation=creation, **{name: options.pop(name) for name in names})

    def check(self, **inputs: str) -> None:
        """Refuse an output that cannot be, before the work is done.

        Parameters
        ----------
        **inputs : str
            What each input is called, and its path.

        Raises
        ------
        OptionError
            When the output is one of the inputs, exists already, or has no folder.
        """
        for name, given in inputs.items():
            if _same_file(self.path, given):
                raise OptionError(f"the output {self.path} is the {name} itself: name another file for the output")
        if self.path.is_dir() and self.path.suffix.lower() != ".zarr":
            raise OptionError(f"the output {self.path} is a folder: name a file inside it")
        if self.path.exists() and not self.overwrite:
            raise OptionError(f"the output {self.path} exists already: add --overwrite to replace it")
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise OptionError(f"the folder {folder} of the output does not exist: create it first")
        if not os.access(folder, os.W_OK):
            raise OptionError(f"the folder {folder} of the output is not writable: choose another one")
        if self.align_grid and self.like:
            raise OptionError("--align-grid and --like name two output grids: choose one")

    @property
    def is_plain_move(self) -> bool:
        """Whether a GeoTIFF is asked for without resampling or creation options."""
        resampled = self.align_grid or self.like is not None
        geotiff = self.path.suffix.lower() in GEOTIFF if self.driver is None else self.driver.upper() == "GTIFF"
        return geotiff and not resampled and not self.creation

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

        image = open_image(source, chunks="auto")
        if self.is_plain_move and _is_geotiff(source):
            io.copy_moved(source, self.path, warp.apply(image, fit).rio.transform())
            return
        like = None if self.like is None else open_image(self.like)
        options: dict[str, Any] = {"align_grid": self.align_grid, "like": like}
        options |= {"resampling": self.resampling, "nodata": nodata}
        fixed = warp.apply(image, fit, **options)
        io.write_raster(fixed, self.path, driver=self.driver, overwrite=self.overwrite, **(self.creation or {}))


def _same_file(first: Path, second: str) -> bool:
    try:
        return first.samefile(second)
    except OSError:  # one of them does not exist, or is no file of this machine
        return first.absolute() == Path(second).absolute()


def _is_geotiff(source: str) -> bool:
    import rasterio

    if not Path(source).is_file():
        return False
    with rasterio.open(source) as image:
        # a file placed by control points has no transform of its own that could be moved
        return image.driver == "GTiff" and not image.gcps[0]
