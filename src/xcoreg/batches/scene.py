"""One scene of a batch: its options and files, the work, and the record of how it ended."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.drivers import raster_driver_extensions
from rasterio.errors import RasterioError
from xarray import set_options

from xcoreg import lazy, presets
from xcoreg.batches.pairs import Pair
from xcoreg.batches.thumbnail import write_thumbnail
from xcoreg.core.matches import encode_column
from xcoreg.coregister import correct_file, match, match_local, rectified_to
from xcoreg.errors import CoregError, CoregWarning, MatchError, NoOverlap, OptionError, hide_secrets, is_name, require
from xcoreg.files import clear_cached, gdal_path, local_path, new_file, read_json
from xcoreg.io.formats import checked_creation, driver_for
from xcoreg.io.read import open_raster
from xcoreg.matching.options import LocalOptions, Options, check_options
from xcoreg.matching.stack_options import StackLocalOptions, StackOptions, check_stack_options
from xcoreg.results.coregistration import Coregistration, current_versions
from xcoreg.results.stack import load_stack
from xcoreg.warp.plan import APPLY_OPTIONS, ApplyOptions

# How a scene ended: corrected; no trustworthy match; nothing in common with the reference; any other error, so it is
# tried again.
DONE, REFUSED, SKIPPED, FAILED = _STATUSES = "done", "refused", "skipped", "failed"
FORMAT = "xcoreg scene"
SCENES = "scenes"  # folder of records, fits and pages

_WRITE_OPTIONS = ("driver", "creation", "report", "manifest", "preset")
_MANIFESTS = ("csv", "parquet")
_SUFFIXES = {"GTiff": ".tif", "COG": ".tif", "netCDF": ".nc", "Zarr": ".zarr", "ENVI": ".bsq", "JP2OpenJPEG": ".jp2"}
_OPEN_FILES = 8  # at most, that xarray holds open from one scene to the next
_WAITS = (1.0, 4.0)  # seconds before an image on the web is opened again


@dataclass(frozen=True)
class ScenePaths:
    """Files of one scene: the corrected image, its fit, its record, and the page of the report, if wanted."""

    image: Path
    fit: Path
    record: Path
    report: Path | None


@dataclass(frozen=True, eq=False)
class BatchOptions:
    """What is done with every scene.

    folder, manifest : Of the outputs, absolute, and format of the table of scenes in it.
    verb : "shift", one for the whole image, or "warp", a field of shifts.
    matching, applying : Options of `match` or `match_local`, and of `apply`.
    stack : Of scenes that are adjusted together: the file of the result, its mark, and the names of the scenes in it.
    driver, creation, report : GDAL's name and the creation options of the output format; whether to write a page.
    preset : Name of the preset that chooses the bands.
    """

    folder: Path
    verb: str = "shift"
    matching: dict[str, Any] = field(default_factory=dict)
    applying: dict[str, Any] = field(default_factory=dict)
    driver: str = "GTiff"
    creation: dict[str, Any] = field(default_factory=dict)
    report: bool = False
    manifest: str = "csv"
    preset: str | None = None
    stack: tuple[str, str, tuple[str, ...]] | None = None

    def paths(self, name: str) -> ScenePaths:
        """Name the files of a scene."""
        folder = self.folder / SCENES
        page = folder / f"{name}.html" if self.report else None
        image = self.folder / f"{name}{_suffix(self.driver)}"
        return ScenePaths(image, folder / f"{name}.fit.json", folder / f"{name}.json", page)

    def files(self, name: str) -> list[Path]:
        """List all files that a scene may have, the record first."""
        paths = self.paths(name)
        beside = [paths.image.with_name(f"{paths.image.name}.aux.xml")]
        beside += [paths.image.with_suffix(".hdr")] if self.driver == "ENVI" else []
        beside += [paths.record.with_suffix(suffix) for suffix in (".html", ".png")]
        return [paths.record, paths.fit, paths.image, *beside]

    def remove_outputs(self, name: str) -> None:
        """Remove the outputs of an earlier run, if there is a record of it."""
        for path in self.files(name) if self.paths(name).record.exists() else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def signature(self, pair: Pair) -> str:
        """Hash what a result depends on: the input files as they are now, and the options."""
        names = [one.name for one in fields(self) if one.name not in ("folder", "manifest")]
        parts = [pair.name, file_state(pair.target), file_state(pair.reference)]
        parts += [_hashable(getattr(self, name)) for name in names]
        # One by one: old versions of dask give equal parts another token where they are one object, as strings may be.
        return lazy.token(current_versions()["xcoreg"], *map(lazy.token, parts))


def check_batch_options(folder: Path, verb: str, options: dict[str, Any], *, adjust: bool = False) -> BatchOptions:
    """Check the options of a batch before any work."""
    if not is_name(verb, ("shift", "warp")):
        raise OptionError(f"verb is {verb!r}: choose 'shift' (one for the whole image) or 'warp' (a field of shifts)")
    preset = options.get("preset")
    if preset is not None:
        options = presets.options(preset, "match_local" if verb == "warp" else "match") | options
    others = (*APPLY_OPTIONS, *_WRITE_OPTIONS)
    matching = {name: value for name, value in options.items() if name not in others or name == "nodata"}
    needless = sorted({"errors", "progress"} & matching.keys())
    if needless:
        raise OptionError(f"{needless[0]}= has no meaning for many scenes: each record has the reason of a failure")
    if adjust:
        check_stack_options(matching, StackLocalOptions if verb == "warp" else StackOptions)
    else:
        check_options(matching, others, kind=LocalOptions if verb == "warp" else Options)
    applying = {name: options[name] for name in APPLY_OPTIONS if options.get(name) is not None}
    ApplyOptions.checked(applying)
    driver = driver_for(Path("image.tif"), options["driver"] if options.get("driver") is not None else "GTiff")
    _suffix(driver)
    report = False if options.get("report") is None else options["report"]
    if not isinstance(report, bool):
        raise OptionError(f"report is {report!r:.80}: give True or False")
    if report:
        require("matplotlib.figure", extra="plot")
    manifest = options.get("manifest", "csv")
    if not is_name(manifest, _MANIFESTS):
        raise OptionError(f"manifest is {manifest!r}: choose from {', '.join(_MANIFESTS)}")
    if manifest == "parquet":
        require("pyarrow", extra="vector")
    creation = checked_creation(options["creation"] if options.get("creation") is not None else {})
    return BatchOptions(folder, verb, matching, applying, driver, creation, report, manifest, preset)


def _suffix(driver: str) -> str:
    others = (f".{suffix}" for suffix, one in raster_driver_extensions().items() if one == driver)
    suffix = _SUFFIXES.get(driver) or next(others, "")
    if not suffix:
        raise OptionError(f"{driver} has no usual extension: choose one of {', '.join(_SUFFIXES)}")
    return suffix


def file_state(path: str) -> tuple[Any, ...]:
    """Path of an image, with size and time of a local file."""
    local = local_path(path)
    if local is None or not local.exists():
        return (path,)
    stat = local.stat()
    return path, stat.st_size, stat.st_mtime_ns


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hashable(one) for key, one in value.items()}
    if isinstance(value, Path):
        return str(value)
    return file_state(value) if isinstance(value, str) and local_path(value) is not None else value


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


def correct_scene(options: BatchOptions, pair: Pair) -> dict[str, Any]:
    """Match and correct one scene, and write all its files, the record last."""
    threads = lazy.worker_threads()
    options.remove_outputs(pair.name)
    clock, messages = _Clock(), list[str]()
    record: dict[str, Any] = {**_description(options, pair), "signature": options.signature(pair)}
    # A worker process works on several scenes at once: each computes in its own thread.
    how = {} if threads is None else {"scheduler": "synchronous"}
    few_files = set_options(file_cache_maxsize=_OPEN_FILES)  # type: ignore[no-untyped-call]
    with (
        few_files,
        lazy.computing(**how),
        clock.running("total"),
        _collecting_warnings(messages, alone=(threads or 1) == 1),
    ):
        try:
            fit = _correct_with_retries(options, pair, clock)
        except MatchError as error:
            record |= {"status": REFUSED, "reason": error.reason}
        except NoOverlap as error:
            record |= {"status": SKIPPED, "reason": str(error)}
        except Exception as error:  # noqa: BLE001 - one scene that fails must not stop the others
            return record_failure(options, pair, error, record["signature"])
        else:
            record |= {"status": DONE, "reason": "", **_numbers(fit), "bytes": _size(options.paths(pair.name).image)}
    record |= {"warnings": messages, "seconds": clock.seconds}
    write_record(options.paths(pair.name).record, record)
    return record


def record_failure(options: BatchOptions, pair: Pair, error: Any, signature: str = "") -> dict[str, Any]:
    """Record that a scene failed."""
    failure = {"signature": signature, "status": FAILED, "reason": _reason(error)}
    record = _description(options, pair) | failure
    try:
        write_record(options.paths(pair.name).record, record)
    except (OSError, OptionError):  # a full disk: the caller reports the failure nevertheless
        record["reason"] += " (nor can its record be written)"
    return record


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if "previous exception" in str(error) and error.__cause__ is not None else error
    text = hide_secrets(" ".join(str(cause).split()))
    if isinstance(error, RasterioError):
        return f"an image cannot be read, it may be damaged or out of reach: {text}"
    if isinstance(error, MemoryError):
        return f"out of memory {text}".rstrip()
    return text if isinstance(error, CoregError | OSError) else f"{type(error).__name__}: {text}"


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record, complete or not at all."""
    with new_file(path) as place:
        place.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a record; None where there is none, or a broken one: its scene is worked on again."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT or record.get("status") not in _STATUSES:
        return None
    kinds = dict.fromkeys(("name", "reason", "target", "reference", "output"), str) | {
        "quality": dict,
        "seconds": dict,
    }
    named = {"name", "reason", "output"} <= record.keys()
    return record if named and all(isinstance(record.get(name, kind()), kind) for name, kind in kinds.items()) else None


def _correct_with_retries(options: BatchOptions, pair: Pair, clock: _Clock) -> Coregistration:
    """Correct a scene; images on the web are tried again after a while."""
    remote = any(local_path(path) is None for path in (pair.target, pair.reference))
    for wait in _WAITS if remote else ():
        try:
            return _correct(options, pair, clock)
        except FileNotFoundError:
            raise
        except (RasterioError, OptionError, OSError):
            for path in (pair.target, pair.reference):
                clear_cached(gdal_path(path))
            time.sleep(wait)
    return _correct(options, pair, clock)


def _correct(options: BatchOptions, pair: Pair, clock: _Clock) -> Coregistration:
    paths = options.paths(pair.name)
    with clock.running("match"):
        tgt, ref = open_raster(pair.target), open_raster(pair.reference)
        images = {"band": tgt, "ref_band": ref}
        bands = {} if options.preset is None else presets.bands_of(options.preset, images, options.matching)
        tgt = rectified_to(tgt, ref, nodata=options.matching.get("nodata"))
        matching = options.matching | bands
        if options.preset is not None and "window" in matching:
            matching = presets.without_large_window(options.preset, matching, tgt.coreg.grid, ref.coreg.grid)
        fit = _fit(options, pair, (tgt, ref), matching)
    with clock.running("write"):
        with new_file(paths.fit) as place:
            fit.save(place)
        like: Any = options.applying.get("like")  # an image, too, which is not compared with a text
        onto = {"like": pair.reference} if isinstance(like, str) and like == "reference" else {}
        applying = options.applying | onto
        correct_file(pair.target, fit, paths.image, driver=options.driver, creation=options.creation, **applying)
    if paths.report is not None:
        with clock.running("report"):
            fit.report(paths.report, target=tgt, reference=ref, title=pair.name)
    write_thumbnail(paths.record.with_suffix(".png"), fit, tgt, ref)
    return fit


def _fit(options: BatchOptions, pair: Pair, images: tuple[Any, Any], matching: dict[str, Any]) -> Coregistration:
    """Match a scene, or take its part of the stack that it was adjusted with."""
    if options.stack is None:
        return (match_local if options.verb == "warp" else match)(*images, **matching)
    path, _, names = options.stack
    return load_stack(path).fit(names.index(pair.name))


@contextmanager
def _collecting_warnings(messages: list[str], alone: bool) -> Iterator[None]:
    """Collect warnings, unless other threads work beside this one, whose warnings would be caught as well."""
    if not alone:
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CoregWarning)
        yield
    messages += dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, CoregWarning))


def _description(options: BatchOptions, pair: Pair) -> dict[str, Any]:
    """Fields of a record of any scene, however it ended."""
    paths = options.paths(pair.name)
    files = {"output": paths.image.name, "fit": paths.fit.name}
    images = {key: hide_secrets(value) for key, value in asdict(pair).items()}
    return {"format": FORMAT, "version": current_versions()["xcoreg"], **images, "verb": options.verb, **files}


def _numbers(fit: Coregistration) -> dict[str, Any]:
    """Shift and quality of a fit in plain JSON types."""
    shift = {} if fit.shift_or_none is None else fit.shift.numbers()
    found = {"model": None if fit.model is None else fit.model.kind, **shift, "quality": asdict(fit.quality)}
    return {key: _jsonable(value) for key, value in found.items()}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(one) for key, one in value.items()}
    return encode_column(float(value) if isinstance(value, np.floating) else value)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size
