"""One scene of a batch: matched, corrected, written, and a record of it."""

from __future__ import annotations

import json
import re
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from rasterio.errors import RasterioError

from xcoreg import lazy
from xcoreg.core.matches import encode_column
from xcoreg.errors import CoregError, CoregWarning, MatchError, OptionError, require
from xcoreg.files import forget, gdal_path, local_path, new_file
from xcoreg.jobs.deliver import deliver
from xcoreg.results.coregistration import current_versions
from xcoreg.warp.rectify import needs_rectifying, on_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xcoreg.jobs.pairs import Pair
    from xcoreg.jobs.work import Work
    from xcoreg.results.coregistration import Coregistration

__all__ = ["DONE", "FAILED", "FORMAT", "REFUSED", "correct_scene", "failed", "read_record", "write_record"]

#: A scene was corrected; no trustworthy match was found; anything else went wrong, and is tried again.
DONE, REFUSED, FAILED = "done", "refused", "failed"
FORMAT = "xcoreg scene"

_VECTORS = (".geojson", ".json", ".gpkg", ".shp", ".parquet", ".fgb", ".kml", ".gml")
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
    """Match and correct one scene, and write all its files, the record last.

    Parameters
    ----------
    work : Work
    pair : Pair

    Returns
    -------
    dict
        The record: plain JSON types. Whatever goes wrong is told in there.
    """
    threads = lazy.threads_here()
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
    """Record that a scene was not worked on to its end.

    Parameters
    ----------
    work : Work
    pair : Pair
    error : Exception
        The reason.
    signature : str

    Returns
    -------
    dict
        The record; it is written, too, if that can be done.
    """
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
            forget(gdal_path(path))
        time.sleep(wait)
    raise AssertionError  # pragma: no cover


def _corrected(work: Work, pair: Pair, clock: _Clock) -> Coregistration:
    goals = work.goals(pair.name)
    with clock.running("match"):
        tgt, ref = open_raster(pair.target), open_raster(pair.reference)
        if needs_rectifying(tgt):  # by control points or RPCs: the answer is told on a map
            tgt = on_map(open_raster(pair.target, chunks="auto"), ref, nodata=work.moving.get("nodata"))
        function = match_local if work.verb == "warp" else match
        fit = function(tgt, ref, **_masked(work.matching))
    with clock.running("write"):
        with new_file(goals.fit) as place:
            fit.save(place)
        _deliver(work, pair, fit)
    if goals.report is not None:
        with clock.running("report"):
            fit.report(goals.report, target=tgt, reference=ref, title=pair.name)
    return fit


def _masked(options: dict[str, Any]) -> dict[str, Any]:
    """Open the masks that are named by their paths."""
    opened = {}
    for name in ("where", "ref_where"):
        path = options.get(name)
        if isinstance(path, str) and path.lower().endswith(_VECTORS):
            opened[name] = require("geopandas", extra="vector").read_file(path)
        elif isinstance(path, str):
            opened[name] = open_raster(path, band=1)
    return options | opened


def _deliver(work: Work, pair: Pair, fit: Coregistration) -> None:
    moving = dict(work.moving)
    if isinstance(moving.get("like"), str) and moving["like"] == "reference":
        moving["like"] = pair.reference
    deliver(pair.target, fit, work.goals(pair.name).image, driver=work.driver, creation=work.creation, **moving)


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
    shift = fit.shift
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
