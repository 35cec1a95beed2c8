"""Run a batch: the scenes that are not finished, then a table and a page of all."""

from __future__ import annotations

import csv
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from xcoreg import lazy
from xcoreg.batches import scene
from xcoreg.batches.adjust import STACK, adjusted_by
from xcoreg.batches.page import count_statuses, describe_counts, write_page
from xcoreg.batches.pairs import Pair, read_pairs
from xcoreg.coregister import check_format
from xcoreg.csv_files import plain_cell
from xcoreg.errors import OptionError
from xcoreg.files import check_output, local_path, locked, new_file, remove_stale_folders

logger = logging.getLogger("xcoreg")

OnRecord = Callable[[dict[str, Any]], None]
_PAUSE = 5.0  # seconds between two writings of the manifest


def batch(
    pairs: Any,
    out: str | os.PathLike[str],
    *,
    ref: Any = None,
    verb: str = "shift",
    workers: int | str | None = None,
    memory: str | int | None = None,
    progress: bool | OnRecord = False,
    **options: Any,
) -> Batch:
    """Correct many scenes, and continue where an earlier run stopped.

    Parameters
    ----------
    pairs : path, pattern, DataFrame or sequence
        The scenes: a CSV table with the columns target, reference and name; a folder of rasters; a pattern such as
        ``"scenes/**/*.tif"``; STAC items or a collection of them (a JSON file, an address, dictionaries, objects of
        pystac); or a sequence of targets, of (target, reference), or of dictionaries. Images are paths, addresses or
        GDAL names: each worker opens its own. See :func:`xcoreg.batches.pairs.read_pairs`.
    out : path
        Folder of the outputs, made if need be; shared with the workers.
    ref : path, optional
        The reference of all targets that have none of their own; a STAC item, too.
    verb : {"shift", "warp"}
        One shift for the whole image, as :func:`xcoreg.match`, or a field of shifts, as :func:`xcoreg.match_local`.
    workers : int or str, optional
        Number of processes of one thread on this machine, or the address of a distributed scheduler ("tcp://...").
        Default: one scene after another in this process, the windows of each in its threads.
    memory : str or int, optional
        Memory of each of these processes, "2GB" or bytes.
    progress : bool or callable
        Show a bar on stderr, or call this function with the record of every scene when it ends; a method `start` of it
        is called with the number of scenes to do before.
    **options
        Of `match` or `match_local`; of `apply` (`like` may be a path, or "reference" for each scene's own); `driver`
        and `creation` (a dictionary) of the output format; `report` (a page of figures for every scene); `manifest`
        ("csv" or "parquet"); `retry` (try refused and skipped scenes again); `asset` of STAC items, by its key or
        common name; `preset`, a name of :data:`xcoreg.presets.PRESETS`; `adjust` (match all targets with each other
        too, and adjust them together, see :func:`xcoreg.match_stack`; options of that function then). Masks (`where`,
        `ref_where`) may be paths.

    Returns
    -------
    Batch
        The records of all scenes.

    Raises
    ------
    OptionError
        When an option or a list cannot be used. An error of one scene is in its record and raises nothing.
    MissingDependency
        When a package that workers, reports or the manifest need is not installed.

    Notes
    -----
    `out` contains for every scene NAME.tif (the suffix depends on `driver`), ``scenes/NAME.fit.json`` and, written
    last, the record ``scenes/NAME.json``; besides, ``manifest.csv`` and ``index.html``. Every file is complete or
    absent. A scene is finished when its record says so, the output has the size recorded there, and neither images
    nor options have changed since. A *refused* scene (no trustworthy match) and a *skipped* one (it does not overlap
    its reference) count as finished, a *failed* one (any other error) is tried again: the same call continues a run
    that was killed.

    Examples
    --------
    >>> import tempfile, xcoreg
    >>> folder = Path(tempfile.mkdtemp())
    >>> scene = xcoreg.simulate.pair((300, 300), shift=(0.7, -1.2), seed=3)
    >>> tgt, ref = (str(xcoreg.write_raster(getattr(scene, name), folder / f"{name}.tif")) for name in ("tgt", "ref"))
    >>> done = batch([tgt], folder / "out", ref=ref)
    >>> done.counts(), round(done.records[0]["dcol"], 1), done.n_new
    ({'done': 1}, 0.7, 1)
    >>> batch([tgt], folder / "out", ref=ref).n_new
    0
    """
    scenes = read_pairs(pairs, ref, asset=options.pop("asset", None), out=out)
    retry, adjust = bool(options.pop("retry", False)), bool(options.pop("adjust", False))
    folder = Path(out).absolute()
    checked = scene.check_batch_options(folder, verb, options, adjust=adjust)
    _check_outputs(checked, scenes, (pairs, ref))
    check_format(checked.paths("image").image, checked.driver, checked.creation)
    (folder / scene.SCENES).mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if adjust:
            checked = adjusted_by(checked, scenes)
        done = ((at, _finished(checked, pair, retry)) for at, pair in enumerate(scenes))
        records = {at: record for at, record in done if record is not None}
        todo = [at for at in range(len(scenes)) if at not in records]
        logger.info("%d scenes: %d done before, %d to do", len(scenes), len(records), len(todo))
        _run(checked, {at: scenes[at] for at in todo}, records, _worker_options(workers, memory), progress)
    return Batch(folder, tuple(records[at] for at in range(len(scenes))), len(todo))


def _run(
    options: scene.BatchOptions,
    todo: dict[int, Pair],
    records: dict[int, dict[str, Any]],
    workers: dict[str, Any],
    progress: bool | OnRecord,
) -> None:
    """Work on the scenes to do; table and page are up to date every few seconds, and after an interruption."""
    last, items = time.monotonic(), list(todo.items())
    try:
        results = lazy.run_each(partial(scene.correct_scene, options), list(todo.values()), **workers)
        with _record_function(progress, len(todo)) as on_record, closing(results):
            for number, result in results:
                at, pair = items[number]
                is_record = isinstance(result, dict)
                records[at] = result if is_record else scene.record_failure(options, pair, _explain(result))
                on_record(records[at])
                if time.monotonic() - last > _PAUSE:
                    _write_summary(options, records)
                    last = time.monotonic()
    finally:
        for folder in (options.folder, options.folder / scene.SCENES):
            remove_stale_folders(folder)
        _write_summary(options, records)


def _write_summary(options: scene.BatchOptions, records: dict[int, dict[str, Any]]) -> None:
    """Write the table and the page of all records."""
    found = Batch(options.folder, tuple(records[at] for at in sorted(records)))
    try:
        write_manifest(found, options.folder / f"manifest.{options.manifest}")
        found._write_page()
    except (OSError, OptionError) as error:  # such as a full disk, which the scenes have reported
        logger.warning("the table of scenes cannot be written: %s", error)


def _explain(error: Any) -> Any:
    """Replace the error of distributed after a worker died with a scene by one in plain words."""
    if type(error).__name__ != "KilledWorker":
        return error
    return OptionError(
        "the worker process died while working on this scene, twice: it was killed, or needed more memory than it may "
        "have (memory=)"
    )


def _worker_options(workers: int | str | None, memory: str | int | None) -> dict[str, Any]:
    if isinstance(workers, str) and not workers.isdecimal():
        return {"scheduler": workers, "memory": memory}
    return {"workers": None if workers is None else int(workers), "memory": memory}


def _finished(options: scene.BatchOptions, pair: Pair, retry: bool) -> dict[str, Any] | None:
    """Read the record of a scene that is finished; None of one that is to be worked on."""
    paths = options.paths(pair.name)
    record = scene.read_record(paths.record)
    if record is None or record["status"] == scene.FAILED or record.get("signature") != options.signature(pair):
        return None
    if record["status"] in (scene.REFUSED, scene.SKIPPED):
        return None if retry else record
    complete = paths.image.exists() and paths.fit.exists() and (paths.report is None or paths.report.exists())
    if not complete or (paths.image.is_file() and paths.image.stat().st_size != record.get("bytes")):
        return None
    return record if record["status"] == scene.DONE else None


def _check_outputs(options: scene.BatchOptions, scenes: list[Pair], given: tuple[Any, ...]) -> None:
    """Refuse a folder that cannot be made, and outputs that would replace an input."""
    folder = options.folder
    if not folder.parent.is_dir() or (folder.exists() and not folder.is_dir()):
        raise OptionError(f"cannot write into {folder}: give a folder in one that exists")
    others = (*given, *options.matching.values(), *options.applying.values())
    paths = {path for pair in scenes for path in (pair.target, pair.reference)}
    paths |= {os.fspath(one) for one in others if isinstance(one, str | os.PathLike)}
    inputs = {found for path in paths if local_path(path) and (found := _identity(Path(path))) is not None}
    for path in (folder / name for name in (f"manifest.{options.manifest}", "index.html", STACK)):
        if _identity(path) in inputs:
            raise OptionError(f"the output {path} would replace an input: give another folder")
        if path.exists():
            check_output(path)
    for pair in scenes:
        if any(_identity(path) in inputs for path in options.files(pair.name)):
            raise OptionError(f"the output of {pair.name} would replace an input: give another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    """Give what is the same for all names of one file; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _record_function(progress: bool | OnRecord, total: int) -> Iterator[OnRecord]:
    """Give the function that is called with every record: the user's, or one that moves a bar."""
    if callable(progress):
        if hasattr(progress, "start"):
            progress.start(total)
        yield progress
        return
    counts: Counter[str] = Counter()
    with lazy.progress_bar(total, "scenes", "scene", progress, leave=True) as bar:

        def move(record: dict[str, Any]) -> None:
            counts[record["status"]] += 1
            bar.set_postfix_str(describe_counts(counts), refresh=False)
            bar.update()

        yield move


_TOP = ("name", "status", "reason", "target", "reference", "output", "model", "dx", "dy", "unit", "dcol", "drow")
_SIGMA = ("sigma_x", "sigma_y", "sigma_col", "sigma_row", "length", "angle")
_SIMILARITY = ("reliability", "score", "ssim_before", "ssim_after", "n_windows", "n_ok")
_QUALITY = (*_SIMILARITY, "n_check", "rmse_before", "rmse_after", "ce90_before", "ce90_after")
_STEPS = ("match", "write", "report", "total")
_COLUMNS = [*_TOP, *_SIGMA, *_QUALITY, *(f"seconds_{step}" for step in _STEPS)]


@dataclass(frozen=True, eq=False)
class Batch:
    """The records of many scenes; true when every one that overlaps its reference was corrected.

    Parameters
    ----------
    folder : Path
        Of the outputs.
    records : tuple of dict
        One per scene, in the order they were given: the content of its JSON file.
    n_new : int
        Scenes worked on in this run; the others were finished before.

    Examples
    --------
    >>> batch = Batch(Path("out"), ({"name": "a", "status": "done"}, {"name": "b", "status": "refused"}), 2)
    >>> batch, bool(batch)
    (Batch(1 corrected, 1 refused; out), False)
    """

    folder: Path
    records: tuple[dict[str, Any], ...]
    n_new: int = 0

    def counts(self) -> dict[str, int]:
        """Numbers of scenes by status: done, refused (no trustworthy match), skipped (no overlap), failed."""
        return count_statuses(self.records)

    @property
    def ok(self) -> bool:
        """True when every scene was corrected that overlaps its reference, and one at least."""
        found = self.counts()
        return bool(found.get(scene.DONE)) and not found.get(scene.REFUSED) and not found.get(scene.FAILED)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"Batch({describe_counts(self.counts())}; {self.folder})"

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per scene, with the same keys, None for missing values."""
        return [_row(record) for record in self.records]

    def _write_page(self, spell: Callable[[str], str] = str) -> None:
        """Write the page of all scenes, with reasons in the words that `spell` makes of them."""
        records = [{**record, "reason": spell(record["reason"])} for record in self.records]
        write_page(records, self.rows(), self.folder / "index.html")

    def to_dataframe(self) -> pd.DataFrame:
        """Give these rows as a DataFrame."""
        return pd.DataFrame(self.rows(), columns=_COLUMNS)


def write_manifest(batch: Batch, path: Path) -> None:
    """Write the table of a batch, complete or not at all."""
    with new_file(path) as place:
        if path.suffix.lower() == ".parquet":
            frame = batch.to_dataframe()
            texts = ("name", "status", "reason", "target", "reference", "output", "model", "unit")
            kinds = {name: "string" if name in texts else "float64" for name in frame.columns}
            frame.astype(kinds).to_parquet(place, index=False)
            return
        with place.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows({name: plain_cell(value) for name, value in row.items()} for row in batch.rows())


def _row(record: dict[str, Any]) -> dict[str, Any]:
    quality, seconds = record.get("quality") or {}, record.get("seconds") or {}
    row = {name: record.get(name) for name in (*_TOP, *_SIGMA)}
    row |= {name: quality.get(name) for name in _QUALITY}
    return row | {f"seconds_{step}": seconds.get(step) for step in _STEPS}
