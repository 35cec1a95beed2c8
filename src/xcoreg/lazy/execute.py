"""Independent tasks on the current scheduler of dask, which share chunks: none is computed twice in one estimate."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import dask.array as da
import dask.config
import numpy as np
from dask.callbacks import Callback
from dask.delayed import delayed
from dask.utils import parse_bytes
from numpy.typing import NDArray
from tqdm import tqdm

from xcoreg.lazy import graph
from xcoreg.lazy.chunkstore import ChunkStore, MissingChunks, TaskChunks

_LARGEST_FREED = 31 << 20  # just below the size that glibc always returns to the system (32 MiB)


def run_tasks(
    function: Callable[[Any, Any], Any],
    shared: Any,
    items: Sequence[Any],
    done: Callable[[int], None] | None = None,
    ahead: Sequence[Sequence[tuple[Any, Sequence[graph.Box]]]] | None = None,
) -> list[Any]:
    """Call a function once per item, as independent tasks of dask's current scheduler (threads by default)."""
    if len(items) < 2:
        found = [function(shared, item) for item in items]
        if done is not None and found:
            done(1)
        return found
    needs = [
        [key for array, boxes in row for key in graph.chunks_under(array, boxes)] for row in ahead or [()] * len(items)
    ]
    answers: dict[int, Any] = {}
    with shared_chunks():
        store = _store()
        for array in {one.name: one for row in ahead or () for one, _ in row}.values():
            store.register(array)
        while len(answers) < len(items):
            todo = [at for at in range(len(items)) if at not in answers]
            found = _round(function, shared, [(items[at], needs[at]) for at in todo], store, done)
            for at, box in zip(todo, found, strict=True):
                if isinstance(box.value, MissingChunks):
                    needs[at] += box.value.keys
                else:
                    answers[at] = box.value
    return [answers[at] for at in range(len(items))]


_QUIET = 2.0  # seconds without a line, so that quick work prints none


class ProgressLines:
    """Prints a line at every tenth of the work, for logs and pipes, where a bar would write thousands of lines."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.n, self.start = 0, time.monotonic()
        self.last = self.start

    def update(self, n: int = 1) -> None:
        """Count finished work."""
        tenths = [10 * count // max(self.total, 1) for count in (self.n, self.n + n)]
        self.n += n
        now = time.monotonic()
        if tenths[1] > tenths[0] and now - self.last >= _QUIET:
            done = f"{10 * tenths[1]:3d} % of {self.total} {self.unit}s after {now - self.start:.0f} s"
            print(f"{self.label:<10}{done}", file=sys.stderr, flush=True)  # noqa: T201 - progress was asked for
            self.last = now

    def set_postfix_str(self, *_: Any, **__: Any) -> None:
        """Take what a bar shows at its end; lines do without."""

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def progress_bar(total: int | None, label: str, unit: str, shown: bool, **style: Any) -> Any:
    """Make a tqdm bar on stderr, hidden unless `shown`; a line every tenth where stderr is no terminal."""
    if shown and total is not None and not sys.stderr.isatty():
        return ProgressLines(total, label, unit)
    how = {"total": total, "desc": label, "unit": unit, "leave": False, "disable": None if shown else True}
    return tqdm(**(how | style))


class _Box:
    """Hides arguments and results from dask, which would search dataclasses for images to load."""

    __slots__ = ("answer", "value")

    def __init__(self, value: Any, answer: bool = False) -> None:
        self.value, self.answer = value, answer


def _round(
    function: Any,
    shared: Any,
    work: list[tuple[Any, list[graph.Key]]],
    store: ChunkStore,
    done: Callable[[int], None] | None,
) -> list[_Box]:
    """Run tasks once; chunks that several of them need are computed once."""
    nodes = store.nodes(key for _, needs in work for key in needs)
    # Workers of a cluster have only the chunks that they are given.
    behind = store if graph.current_client() is None else None
    common = delayed(_Box((function, shared, behind)), pure=False, traverse=False)
    task = delayed(_call, pure=False)
    tasks = [task(common, _Box((item, needs)), [nodes[key] for key in needs]) for item, needs in work]

    def ended(_key: Any, result: Any, *_rest: Any) -> None:
        if done is not None and isinstance(result, _Box) and result.answer:
            done(1)

    with Callback(posttask=ended):  # type: ignore[no-untyped-call]
        return list(graph.compute_items(tasks))


def _call(common: _Box, work: _Box, chunks: list[Any]) -> _Box:
    # glibc returns freed memory to the system unless a block of this size was freed before; mapping the arrays of
    # every step again would take a quarter of the time.
    np.empty(_LARGEST_FREED, np.uint8)
    function, shared, behind = common.value
    item, keys = work.value
    given = TaskChunks(dict(zip(keys, chunks, strict=True)), behind)
    # A task on a worker reads by itself, or it would send new tasks to the cluster.
    alone = {"scheduler": "synchronous"} if graph.worker_threads() is not None else graph.compute_options()
    with graph.computing(**alone), graph.setting(_STORE, [given]):
        try:
            return _Box(function(shared, item), answer=True)
        except MissingChunks as missing:
            return _Box(missing)


# Chunks in memory, unless dask's configuration has another size as "xcoreg.keep-in-memory".
_IN_MEMORY = "512 MiB"

# A list of none until the first chunk is computed, then of the one store; None outside of a context.
_STORE: ContextVar[list[ChunkStore | TaskChunks] | None] = ContextVar("store", default=None)


@contextmanager
def shared_chunks() -> Iterator[None]:
    """Store the chunks that :func:`read_windows` and tasks compute, until the outermost of these contexts ends.

    Some are in memory, others in a folder (`temporary-directory` of dask's configuration), or on a cluster's workers.
    """
    if _STORE.get() is not None:
        yield
        return
    made: list[ChunkStore | TaskChunks] = []
    before = _STORE.set(made)
    try:
        yield
    finally:
        _STORE.reset(before)
        for store in made:
            cast("ChunkStore", store).close()


def _store() -> Any:
    """Give the store of the context, and make it where it is needed first; None outside of a context."""
    made = _STORE.get()
    if made is not None and not made:
        room = int(parse_bytes(dask.config.get("xcoreg.keep-in-memory", _IN_MEMORY)))
        made.append(ChunkStore(room // (graph.worker_threads() or 1)))
    return made and made[0]


def read_windows(array: Any, boxes: Sequence[graph.Box], step: tuple[int, int] = (1, 1)) -> list[NDArray[Any]]:
    """Read windows of an image that dask computes: step (rows, columns)."""
    store = _store()
    if store is None:
        return graph.compute_all([array[r0 : r1 : step[0], c0 : c1 : step[1]] for r0, r1, c0, c1 in boxes])
    return graph.assemble_windows(array, boxes, step, partial(store.read_parts, array))


def register(array: Any) -> None:
    """Register an array with the store, for tasks that may need more of its chunks than planned."""
    store = _store()
    if store is not None:
        store.register(array)


def without_graph(array: Any) -> Any:
    """Array with name, chunks and dtype, but without the graph that computes it."""
    return da.Array({}, array.name, array.chunks, meta=array._meta)  # type: ignore[no-untyped-call]


@contextmanager
def collecting_missing(keys: list[graph.Key]) -> Iterator[None]:
    """Collect the keys of missing chunks instead of raising."""
    try:
        yield
    except MissingChunks as missing:
        keys += missing.keys
