"""Where the corrected image goes: checked before any work, written whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg.cli.options import creation_options
from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from xcoreg.results.coregistration import Coregistration

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
        from xcoreg.files import check_output
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
        from xcoreg.jobs.deliver import deliver

        moving = {name: getattr(self, name) for name in ("align_grid", "like", "resampling", "vertical")}
        how: dict[str, Any] = {"driver": self.driver, "creation": self.creation, "overwrite": self.overwrite}
        deliver(source, fit, self.path, nodata=nodata, **moving, **how)
