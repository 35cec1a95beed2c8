"""Running a batch: what is left to do is done, whatever happens to single scenes.

What became of a batch: a table for programs, and a page for people.
"""

from __future__ import annotations

import csv
import logging
import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xcoreg import lazy
from xcoreg.batches.pairs import Pair, read_pairs
from xcoreg.batches.scene import DONE, FAILED, REFUSED, SCENES, Work, correct_scene, failed, make_work, read_record
from xcoreg.errors import OptionError, require
from xcoreg.files import local_path, new_file, remove_stale_folders
from xcoreg.report.html import escape, page, paragraphs, section, table

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    import pandas as pd

    Tell = Callable[[dict[str, Any]], None]

logger = logging.getLogger("xcoreg")

_PAUSE = 5.0  # seconds between two writings of the manifest


def batch(
    pairs: Any,
    out: str | os.PathLike[str],
    *,
    ref: str | os.PathLike[str] | None = None,
    verb: str = "shift",
    workers: int | str | None = None,
    memory: str | int | None = None,
    progress: bool | Tell = False,
    **options: Any,
) -> Batch:
    """Correct many scenes, and go on where an earlier run has stopped.

    Parameters
    ----------
    pairs : path, pattern, DataFrame or sequence
        What to correct: a CSV table with the columns target, reference and name; a pattern such as
        ``"scenes/**/*.tif"``; or a sequence of targets, of (target, reference), or of dictionaries. Images are paths,
        addresses or GDAL names: each worker opens its own. See :func:`xcoreg.batches.pairs.read_pairs`.
    out : path
        Folder of the outputs, made if need be; shared with the workers.
    ref : path, optional
        The reference of all targets that have none of their own.
    verb : {"shift", "warp"}
        One shift for the whole image, as :func:`xcoreg.match`, or a field of shifts, as :func:`xcoreg.match_local`.
    workers : int or str, optional
        Number of processes of one thread on this machine, or the address of a distributed scheduler ("tcp://...").
        Default: one scene after another in this process, the windows of each in its threads.
    memory : str or int, optional
        What each of the processes may hold, "2GB" or bytes.
    progress : bool or callable
        Show a bar on stderr, or be told the record of every scene when it ends.
    **options
        Of `match` or `match_local`; of `apply` (`like` may be a path, or "reference" for each scene's own); `driver`
        and `creation` (a dictionary) of the output format; `report` (a page of pictures for every scene); `manifest`
        ("csv" or "parquet"); `retry` (try again what was refused). Masks (`where`, `ref_where`) may be paths.

    Returns
    -------
    Batch
        The records of all scenes.

    Raises
    ------
    OptionError
        When an option or a list cannot be used. What goes wrong with a scene is told in its record alone.
    MissingDependency
        Without what workers or pages of pictures need.

    Notes
    -----
    `out` holds for every scene NAME.tif (or what `driver` calls for), ``scenes/NAME.fit.json`` and the record
    ``scenes/NAME.json``; besides, the table ``manifest.csv`` and the page ``index.html``. Every file appears whole or
    not at all, the record last. A scene is done when its record says so, the output has the size told there, and
    neither images nor options have changed since; a scene that was *refused* (no trustworthy match) counts as done,
    one that *failed* (anything else) is tried again. So a run that was killed is continued by the same call, and the
    final files are those of a run that was not; times aside.

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
    listed = read_pairs(pairs, ref)
    retry = bool(options.pop("retry", False))
    folder = Path(out).absolute()
    work = make_work(folder, verb, options)
    _check_outputs(work, listed)
    (folder / SCENES).mkdir(parents=True, exist_ok=True)
    known = {at: record for at, pair in enumerate(listed) if (record := _done(work, pair, retry)) is not None}
    todo = [at for at in range(len(listed)) if at not in known]
    logger.info("%d scenes: %d done before, %d to do", len(listed), len(known), len(todo))
    _run(work, listed, todo, known, _where(workers, memory), progress)
    return Batch(folder, tuple(known[at] for at in range(len(listed))), len(todo))


def _run(
    work: Work,
    listed: list[Pair],
    todo: list[int],
    known: dict[int, dict[str, Any]],
    where: dict[str, Any],
    progress: bool | Tell,
) -> None:
    """Work on what is left; table and page are true at every moment, and after an interruption."""
    ledger = _Ledger(work, listed, known)
    try:
        results = lazy.run_each(partial(correct_scene, work), [listed[each] for each in todo], **where)
        with _teller(progress, len(todo)) as tell, closing(results):
            for at, result in results:
                pair = listed[todo[at]]
                known[todo[at]] = record = result if isinstance(result, dict) else failed(work, pair, _told(result))
                tell(record)
                ledger.write(pause=_PAUSE)
    finally:
        for folder in (work.folder, work.folder / SCENES):
            remove_stale_folders(folder)
        ledger.write()


class _Ledger:
    """Writes table and page of what is known so far."""

    def __init__(self, work: Work, listed: list[Pair], known: dict[int, dict[str, Any]]) -> None:
        self.work, self.listed, self.known, self.last = work, listed, known, time.monotonic()

    def write(self, pause: float = 0.0) -> None:
        """Write, if the last time was long enough ago."""
        if time.monotonic() - self.last < pause:
            return
        found = Batch(self.work.folder, tuple(self.known[at] for at in sorted(self.known)))
        try:
            write_manifest(found, self.work.folder / f"manifest.{self.work.manifest}")
            write_page(found, self.work.folder / "index.html")
        except OSError as error:  # a full disk, say: scenes have told that already
            logger.warning("the table of scenes cannot be written: %s", error)
        self.last = time.monotonic()


def _told(error: Any) -> Any:
    """Say in plain words that a worker died with a scene."""
    if type(error).__name__ != "KilledWorker":
        return error
    return OptionError(
        "the worker process died while working on this scene, twice: it was killed, or needed more memory than it may "
        "have (memory=)"
    )


def _where(workers: int | str | None, memory: str | int | None) -> dict[str, Any]:
    if isinstance(workers, str) and not workers.isdecimal():
        return {"scheduler": workers, "memory": memory}
    return {"workers": None if workers is None else int(workers), "memory": memory}


def _done(work: Work, pair: Pair, retry: bool) -> dict[str, Any] | None:
    """Read the record of a scene that needs no more work."""
    goals = work.goals(pair.name)
    record = read_record(goals.record)
    if record is None or record["status"] == FAILED or record.get("signature") != work.signature(pair):
        return None
    if record["status"] == REFUSED:
        return None if retry else record
    whole = goals.image.exists() and goals.fit.exists() and (goals.report is None or goals.report.exists())
    if not whole or (goals.image.is_file() and goals.image.stat().st_size != record.get("bytes")):
        return None
    return record if record["status"] == DONE else None


def _check_outputs(work: Work, listed: list[Pair]) -> None:
    """Refuse a folder that cannot be, and outputs that would replace an input."""
    if not work.folder.parent.is_dir() or (work.folder.exists() and not work.folder.is_dir()):
        raise OptionError(f"cannot write into {work.folder}: give a folder in one that exists")
    inputs = {Path(path).resolve() for pair in listed for path in (pair.target, pair.reference) if local_path(path)}
    for pair in listed:
        if work.goals(pair.name).image.resolve() in inputs:
            raise OptionError(f"the output of {pair.name} would replace an input: give another folder")


@contextmanager
def _teller(progress: bool | Tell, total: int) -> Iterator[Tell]:
    """Offer a function that is told every record."""
    if callable(progress):
        yield progress
        return
    ended: dict[str, int] = {}
    with lazy.progress_bar(total, "scenes", "scene", progress, leave=True) as bar:

        def told(record: dict[str, Any]) -> None:
            ended[record["status"]] = ended.get(record["status"], 0) + 1
            bar.set_postfix_str(describe_counts(ended), refresh=False)
            bar.update()

        yield told


_WORDS = {DONE: "corrected", REFUSED: "refused", FAILED: "failed"}
_TOP = ("name", "status", "reason", "target", "reference", "output", "model", "dx", "dy", "unit", "dcol", "drow")
_SIGMA = ("sigma_x", "sigma_y", "sigma_col", "sigma_row", "length", "angle")
_QUALITY = (
    "reliability",
    "score",
    "ssim_before",
    "ssim_after",
    "n_windows",
    "n_ok",
    "n_check",
    "rmse_before",
    "rmse_after",
    "ce90_before",
    "ce90_after",
)
_STEPS = ("match", "write", "report", "total")


@dataclass(frozen=True, eq=False)
class Batch:
    """What became of many scenes; true when every one was corrected.

    Parameters
    ----------
    folder : Path
        Of the outputs.
    records : tuple of dict
        One per scene, in the order they were given: what its JSON file holds.
    n_new : int
        Scenes worked on in this run; the others had been done before.

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
        """How many scenes ended in which way: done, refused (no trustworthy match), failed."""
        found = Counter(record["status"] for record in self.records)
        return {status: found[status] for status in _WORDS if found[status]}

    @property
    def ok(self) -> bool:
        """True when every scene was corrected."""
        return all(record["status"] == DONE for record in self.records)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"Batch({describe_counts(self.counts())}; {self.folder})"

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per scene, the same keys in all, None where nothing is known."""
        return [_row(record) for record in self.records]

    def to_dataframe(self) -> pd.DataFrame:
        """Give the same as a table of pandas; needs the extra `vector`.

        Raises
        ------
        MissingDependency
            Without pandas.
        """
        frame: pd.DataFrame = require("pandas", extra="vector").DataFrame(self.rows(), columns=_columns())
        return frame


def describe_counts(counts: dict[str, int]) -> str:
    """Put counts into words."""
    return ", ".join(f"{n} {_WORDS[status]}" for status, n in counts.items()) or "nothing"


def write_manifest(batch: Batch, path: Path) -> None:
    """Write the table of a batch, whole or not at all."""
    with new_file(path) as place:
        if path.suffix.lower() == ".parquet":
            frame = batch.to_dataframe()
            texts = ("name", "status", "reason", "target", "reference", "output", "model", "unit")
            kinds = {name: "string" if name in texts else "float64" for name in frame.columns}
            frame.astype(kinds).to_parquet(place, index=False)
            return
        with place.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _columns())
            writer.writeheader()
            writer.writerows(batch.rows())


def write_page(batch: Batch, path: Path) -> None:
    """Write an index of all scenes that needs nothing but itself, with links to their files."""
    title = f"{len(batch.records)} scenes: {describe_counts(batch.counts())}"
    kind = "" if batch.ok else ' class="bad"'
    sign = (
        "A correction is what is added to the coordinates of the target to lie on the reference: x_ref = x_tgt + dx; "
        "dcol runs to the right, drow down, in pixels of the target. RMSE: what was between the images, and is left "
        "at withheld points, px."
    )
    head = f"<header{kind}><h1>{escape(title)}</h1>{paragraphs([sign], 'faint')}</header>"
    bad = [record for record in batch.records if record["status"] != DONE]
    good = [record for record in batch.records if record["status"] == DONE]
    names = ["scene", "dcol", "drow", "RMSE before", "after", "SSIM before", "after", "windows", "s", "model"]
    body = head
    if bad:
        lines = [[_link(batch, one), escape(_WORDS[one["status"]]), escape(one["reason"])] for one in bad]
        body += section("Not corrected", table(["scene", "", "reason"], lines, markup=True))
    if good:
        lines = [_cells(batch, one) for one in good]
        body += section("Corrected", table(names, lines, numbers=len(names) - 2, markup=True))
    with new_file(path) as place:
        place.write_text(page(title, body), encoding="utf-8")


def _columns() -> list[str]:
    return [*_TOP, *_SIGMA, *_QUALITY, *(f"seconds_{step}" for step in _STEPS)]


def _row(record: dict[str, Any]) -> dict[str, Any]:
    quality, seconds = record.get("quality") or {}, record.get("seconds") or {}
    row = {name: record.get(name) for name in (*_TOP, *_SIGMA)}
    row |= {name: quality.get(name) for name in _QUALITY}
    return row | {f"seconds_{step}": seconds.get(step) for step in _STEPS}


def _cells(batch: Batch, record: dict[str, Any]) -> list[str]:
    row = _row(record)
    cells = [_link(batch, record), *(_number(row[name], "+.3f") for name in ("dcol", "drow"))]
    cells += [_number(row[name], ".3f") for name in ("rmse_before", "rmse_after", "ssim_before", "ssim_after")]
    cells += [f"{row['n_ok']} / {row['n_windows']}", _number(row["seconds_total"], ".1f")]
    return [*cells, escape(record.get("model") or "")]


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else ""


def _link(batch: Batch, record: dict[str, Any]) -> str:
    name = record["name"]
    told = f"{SCENES}/{name}.json"
    if record["status"] != DONE:
        return _anchor(told, name)
    shown = batch.folder / SCENES / f"{name}.html"
    goal = f"{SCENES}/{name}.html" if shown.exists() else record["output"]
    return f"{_anchor(goal, name)} {_anchor(told, 'record')}"


def _anchor(goal: str, text: str) -> str:
    return f'<a href="{quote(goal)}">{escape(text)}</a>'
