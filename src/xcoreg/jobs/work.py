"""What is done with every scene of a batch, and where it goes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg import lazy
from xcoreg.core.kernels import KERNELS
from xcoreg.errors import OptionError, require
from xcoreg.files import local_path
from xcoreg.io.write import driver_for
from xcoreg.matching.options import LocalOptions, Options, check_options
from xcoreg.results.coregistration import current_versions

if TYPE_CHECKING:
    from xcoreg.jobs.pairs import Pair

__all__ = ["SCENES", "Goals", "Work", "make_work"]

SCENES = "scenes"  # folder of what is told of each scene
_MOVING = ("align_grid", "like", "resolution", "resampling", "nodata", "vertical")
_WRITING = ("driver", "creation", "report", "manifest")
_MANIFESTS = ("csv", "parquet")
_SUFFIXES = {"GTiff": ".tif", "COG": ".tif", "netCDF": ".nc", "Zarr": ".zarr", "ENVI": ".bsq", "JP2OpenJPEG": ".jp2"}


@dataclass(frozen=True)
class Goals:
    """Files of one scene.

    Parameters
    ----------
    image, fit, record : Path
        The corrected image; what :meth:`Coregistration.save` writes; what is told of the scene, written last.
    report : Path or None
        The page of pictures, if wanted.
    """

    image: Path
    fit: Path
    record: Path
    report: Path | None


@dataclass(frozen=True, eq=False)
class Work:
    """What is done with every scene.

    Parameters
    ----------
    folder : Path
        Of the outputs, absolute.
    verb : {"shift", "warp"}
        One shift for the whole image, or a field of them.
    matching, moving : dict
        Options of `match` or `match_local`, and of `apply`.
    driver : str
        GDAL's name of the output format.
    creation : dict
        Creation options.
    report : bool
        Write a page of pictures for every scene.
    manifest : {"csv", "parquet"}
        Format of the table of scenes.
    """

    folder: Path
    verb: str = "shift"
    matching: dict[str, Any] = field(default_factory=dict)
    moving: dict[str, Any] = field(default_factory=dict)
    driver: str = "GTiff"
    creation: dict[str, Any] = field(default_factory=dict)
    report: bool = False
    manifest: str = "csv"

    def goals(self, name: str) -> Goals:
        """Tell where the files of a scene go."""
        beside = self.folder / SCENES
        page = beside / f"{name}.html" if self.report else None
        image = self.folder / f"{name}{_suffix(self.driver)}"
        return Goals(image, beside / f"{name}.fit.json", beside / f"{name}.json", page)

    def clear(self, name: str) -> None:
        """Remove what an earlier run has made of a scene, known by its record: it is not to be taken for the new."""
        goals = self.goals(name)
        if not goals.record.exists():
            return
        for path in (goals.record, goals.fit, goals.record.with_suffix(".html"), goals.image):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def signature(self, pair: Pair) -> str:
        """Name a scene by its files, as they are now, and by all that is done with it."""
        options = {
            one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.name not in ("folder", "manifest")
        }
        return lazy.token(current_versions()["xcoreg"], pair.name, _state(pair.target), _state(pair.reference), options)


def make_work(folder: Path, verb: str, options: dict[str, Any]) -> Work:
    """Check the options of a batch.

    Parameters
    ----------
    folder : Path
        Absolute.
    verb : str
    options : dict
        Of matching, of `apply`, and `driver`, `creation`, `report`, `manifest`.

    Returns
    -------
    Work

    Raises
    ------
    OptionError
        For an unknown verb or option, or a value that cannot be used.
    MissingDependency
        When the page of pictures is wanted without matplotlib.

    Examples
    --------
    >>> make_work(Path("/out"), "warp", {"spacing": 100, "driver": "cog"}).goals("a").image.name
    'a.tif'
    """
    if verb not in ("shift", "warp"):
        raise OptionError(f"verb is {verb!r}: choose 'shift' (one for the whole image) or 'warp' (a field of shifts)")
    also = (*_MOVING, *_WRITING)
    matching = {name: value for name, value in options.items() if name not in also or name == "nodata"}
    taken = sorted({"errors", "progress"} & matching.keys())
    if taken:
        raise OptionError(f"{taken[0]}= has no meaning for many scenes: what failed is told at the end")
    check_options(matching, also, kind=LocalOptions if verb == "warp" else Options)
    moving = {name: options[name] for name in _MOVING if options.get(name) is not None}
    if moving.get("resampling", "cubic") not in KERNELS:
        raise OptionError(f"resampling={moving['resampling']!r} is unknown: choose one of {', '.join(KERNELS)}")
    if moving.get("like") is not None and (moving.get("align_grid") or moving.get("resolution")):
        raise OptionError("like= and align_grid=, resolution= each choose the output grid: give one of them")
    driver = driver_for(Path("image.tif"), options.get("driver") or "GTiff")
    _suffix(driver)
    if options.get("report"):
        require("matplotlib.figure", extra="plot")
    manifest = options.get("manifest", "csv")
    if manifest not in _MANIFESTS:
        raise OptionError(f"manifest is {manifest!r}: choose from {', '.join(_MANIFESTS)}")
    if manifest == "parquet":
        require("pyarrow", extra="vector")
    creation = dict(options.get("creation") or {})
    return Work(folder, verb, matching, moving, driver, creation, bool(options.get("report")), manifest)


def _suffix(driver: str) -> str:
    from rasterio.drivers import raster_driver_extensions

    others = (f".{suffix}" for suffix, one in raster_driver_extensions().items() if one == driver)
    known = _SUFFIXES.get(driver) or next(others, "")
    if not known:
        raise OptionError(f"{driver} has no usual extension: choose one of {', '.join(_SUFFIXES)}")
    return known


def _state(path: str) -> tuple[Any, ...]:
    """Tell an image by its path and, where it is a local file, by its size and time."""
    local = local_path(path)
    if local is None or not local.exists():
        return (path,)
    stat = local.stat()
    return path, stat.st_size, stat.st_mtime_ns


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Path):
        return str(value)
    return _state(value) if isinstance(value, str) and local_path(value) is not None else value
