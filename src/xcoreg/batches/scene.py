"""One scene of a batch: matched, corrected, written, and a record of it.

What is done with every scene of a batch, and where it goes.

Putting an image file in place by a fit: copied where nothing but its place changes, written anew otherwise.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from rasterio.drivers import raster_driver_extensions
from rasterio.errors import RasterioError

from xcoreg import lazy
from xcoreg.core.kernels import KERNELS
from xcoreg.core.matches import encode_column
from xcoreg.coregister import correct_file, match, match_local
from xcoreg.errors import CoregError, CoregWarning, MatchError, OptionError, require
from xcoreg.files import clear_cached, gdal_path, local_path, new_file
from xcoreg.io.read import open_raster
from xcoreg.io.write import driver_for
from xcoreg.matching.options import LocalOptions, Options, check_options
from xcoreg.results.coregistration import current_versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xcoreg.batches.pairs import Pair
    from xcoreg.results.coregistration import Coregistration


#: A scene was corrected; no trustworthy match was found; anything else went wrong, and is tried again.
DONE, REFUSED, FAILED = "done", "refused", "failed"
FORMAT = "xcoreg scene"

_WEB = re.compile(r"/?vsicurl\?[^\s']*url=([^\s',]+)")
_WAITS = (1.0, 4.0)  # seconds before an image on the web is asked for again


@dataclass
class _Clock:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def correct_scene(work: Work, pair: Pair) -> dict[str, Any]:
    """Match and correct one scene, and write all its files, the record last."""
    threads = lazy.worker_threads()
    work.clear(pair.name)
    clock = _Clock()
    told: dict[str, Any] = {"signature": work.signature(pair)}
    heard: list[str] = []
    # Worker processes work on several scenes side by side: within one, everything is computed in its own thread.
    how = {} if threads is None else {"scheduler": "synchronous"}
    with lazy.computing(**how), clock.running("total"), _hearing(heard, alone=(threads or 1) == 1):
        try:
            fit = _patiently(work, pair, clock)
        except MatchError as error:
            told |= {"status": REFUSED, "reason": error.reason}
        except Exception as error:  # noqa: BLE001 - one scene that fails must not stop the others
            return failed(work, pair, error, told["signature"])
        else:
            told |= {"status": DONE, "reason": "", **_found(fit), "bytes": _size(work.goals(pair.name).image)}
    record = {**_head(work, pair), **told, "warnings": heard, "seconds": clock.seconds}
    write_record(work.goals(pair.name).record, record)
    return record


def failed(work: Work, pair: Pair, error: Any, signature: str = "") -> dict[str, Any]:
    """Record that a scene was not worked on to its end."""
    reason = _in_words(error)
    record = {**_head(work, pair), "signature": signature, "status": FAILED, "reason": reason}
    try:
        write_record(work.goals(pair.name).record, record)
    except OSError:  # a full disk: the caller still hears of it
        record["reason"] += " (nor can the record of it be written)"
    return record


def _in_words(error: BaseException) -> str:
    cause = error.__cause__ if "previous exception" in str(error) and error.__cause__ is not None else error
    text = " ".join(str(cause).split())
    text = _WEB.sub(lambda found: unquote(found[1]), text)  # as the user has written it
    if isinstance(error, RasterioError):
        return f"an image cannot be read, it may be damaged or out of reach: {text}"
    if isinstance(error, MemoryError):
        return f"out of memory {text}".rstrip()
    return text if isinstance(error, CoregError | OSError) else f"{type(error).__name__}: {text}"


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record, whole or not at all."""
    with new_file(path) as place:
        place.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a record; None where there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def _patiently(work: Work, pair: Pair, clock: _Clock) -> Coregistration:
    """Correct a scene; what comes over a network is asked for again after a while."""
    remote = any(local_path(path) is None for path in (pair.target, pair.reference))
    for wait in (*_WAITS, None):
        try:
            return _corrected(work, pair, clock)
        except (RasterioError, OptionError, OSError) as error:
            if wait is None or not remote or isinstance(error, FileNotFoundError):
                raise
        for path in (pair.target, pair.reference):
            clear_cached(gdal_path(path))
        time.sleep(wait)
    raise AssertionError  # pragma: no cover


def _corrected(work: Work, pair: Pair, clock: _Clock) -> Coregistration:
    goals = work.goals(pair.name)
    with clock.running("match"):
        tgt, ref = open_raster(pair.target), open_raster(pair.reference)
        function = match_local if work.verb == "warp" else match
        fit = function(tgt, ref, **work.matching)
    with clock.running("write"):
        with new_file(goals.fit) as place:
            fit.save(place)
        _deliver(work, pair, fit)
    if goals.report is not None:
        with clock.running("report"):
            fit.report(goals.report, target=tgt, reference=ref, title=pair.name)
    return fit


def _deliver(work: Work, pair: Pair, fit: Coregistration) -> None:
    moving = dict(work.moving)
    if isinstance(moving.get("like"), str) and moving["like"] == "reference":
        moving["like"] = pair.reference
    correct_file(pair.target, fit, work.goals(pair.name).image, driver=work.driver, creation=work.creation, **moving)


@contextmanager
def _hearing(heard: list[str], alone: bool) -> Iterator[None]:
    """Collect warnings, unless other threads work beside this one: they would be caught and lost as well."""
    if not alone:
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CoregWarning)
        yield
    heard += dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, CoregWarning))


def _head(work: Work, pair: Pair) -> dict[str, Any]:
    goals = work.goals(pair.name)
    files = {"output": goals.image.name, "fit": goals.fit.name}
    return {"format": FORMAT, "version": current_versions()["xcoreg"], **asdict(pair), "verb": work.verb, **files}


def _found(fit: Coregistration) -> dict[str, Any]:
    """Put what a fit tells into plain numbers."""
    answer: dict[str, Any] = {"model": None if fit.model is None else fit.model.kind}
    shift = fit.shift_or_none
    if shift is not None:
        names = ("dx", "dy", "unit", "dcol", "drow", "length", "angle")
        answer |= {name: getattr(shift, name) for name in names}
        answer |= dict(
            zip(("sigma_x", "sigma_y", "sigma_col", "sigma_row"), (*shift.sigma, *shift.sigma_px), strict=True)
        )
    quality = asdict(fit.quality)
    answer["quality"] = quality
    return {key: _jsonable(value) for key, value in answer.items()}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(one) for key, one in value.items()}
    return encode_column(float(value) if isinstance(value, np.floating) else value)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size


SCENES = "scenes"  # folder of what is told of each scene
_MOVING = ("align_grid", "like", "resolution", "resampling", "nodata", "vertical")
_WRITING = ("driver", "creation", "report", "manifest")
_MANIFESTS = ("csv", "parquet")
_SUFFIXES = {"GTiff": ".tif", "COG": ".tif", "netCDF": ".nc", "Zarr": ".zarr", "ENVI": ".bsq", "JP2OpenJPEG": ".jp2"}


@dataclass(frozen=True)
class Goals:
    """Files of one scene.

    image, fit, record : The corrected image; what :meth:`Coregistration.save` writes; what is told of the scene,
        written last.
    report : The page of pictures, if wanted.
    """

    image: Path
    fit: Path
    record: Path
    report: Path | None


@dataclass(frozen=True, eq=False)
class Work:
    """What is done with every scene.

    folder : Of the outputs, absolute.
    verb : One shift for the whole image, or a field of them.
    matching, moving : Options of `match` or `match_local`, and of `apply`.
    driver : GDAL's name of the output format.
    creation : Creation options.
    report : Write a page of pictures for every scene.
    manifest : Format of the table of scenes.
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
    """Check the options of a batch."""
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


pass  # REMOVED
