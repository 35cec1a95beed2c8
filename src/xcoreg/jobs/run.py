"""Running a batch: what is left to do is done, whatever happens to single scenes."""

from __future__ import annotations

import logging
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg import lazy
from xcoreg.errors import OptionError
from xcoreg.files import local_path, sweep
from xcoreg.jobs.pairs import Pair, read_pairs
from xcoreg.jobs.scene import DONE, FAILED, REFUSED, correct_scene, failed, read_record
from xcoreg.jobs.tell import Batch, tell_counts, write_manifest, write_page
from xcoreg.jobs.work import SCENES, Work, make_work

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    Tell = Callable[[dict[str, Any]], None]

__all__ = ["batch"]

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
        addresses or GDAL names: each worker opens its own. See :func:`xcoreg.jobs.read_pairs`.
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
            sweep(folder)
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
    from tqdm import tqdm

    ended: dict[str, int] = {}
    with tqdm(total=total, desc="scenes", unit="scene", disable=None if progress else True) as bar:

        def told(record: dict[str, Any]) -> None:
            ended[record["status"]] = ended.get(record["status"], 0) + 1
            bar.set_postfix_str(tell_counts(ended), refresh=False)
            bar.update()

        yield told
