"""What lasts as long as one estimate: its rounds share the chunks that dask computes, and none is computed twice.

Independent tasks on whatever scheduler dask has: each is given the chunks it needs, and returns something small.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import dask.config
import numpy as np
from dask.callbacks import Callback
from dask.delayed import delayed
from dask.utils import parse_bytes
from tqdm import tqdm

from xcoreg.lazy.chunkstore import ChunkStore, MissingChunks, TaskChunks
from xcoreg.lazy.graph import (
    assemble_windows,
    chunks_under,
    compute_all,
    compute_items,
    compute_options,
    computing,
    current_client,
    worker_threads,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from xcoreg.lazy.graph import Box, Key


# Just below what glibc takes for too large to keep (32 MiB).
_LARGEST_KEPT = 31 << 20


def run_tasks(
    function: Callable[[Any, Any], Any],
    shared: Any,
    items: Sequence[Any],
    done: Callable[[int], None] | None = None,
    ahead: Sequence[Sequence[tuple[Any, Sequence[Box]]]] | None = None,
) -> list[Any]:
    """Call a function once per item, as independent tasks of dask's current scheduler (threads by default)."""
    if len(items) < 2:
        return [_reported(function(shared, item), done) for item in items]
    needs = [[key for array, boxes in row for key in chunks_under(array, boxes)] for row in ahead or [()] * len(items)]
    answers: dict[int, Any] = {}
    with shared_chunks() as kept:
        for array in {one.name: one for row in ahead or () for one, _ in row}.values():
            kept.register(array)
        while len(answers) < len(items):
            todo = [at for at in range(len(items)) if at not in answers]
            found = _round(function, shared, [(items[at], needs[at]) for at in todo], kept, done)
            for at, box in zip(todo, found, strict=True):
                if isinstance(box.value, MissingChunks):
                    needs[at] += box.value.keys
                else:
                    answers[at] = box.value
    return [answers[at] for at in range(len(items))]


def progress_bar(total: int | None, label: str, unit: str, shown: bool, **style: Any) -> Any:
    """Make a tqdm bar with rate and remaining time on stderr, hidden unless `shown` and stderr is a terminal."""
    return tqdm(
        **{"total": total, "desc": label, "unit": unit, "leave": False, "disable": None if shown else True} | style
    )


class _Box:
    """Keeps dask from looking into what a task is given or returns: a dataclass it would search for images to load."""

    __slots__ = ("answer", "value")

    def __init__(self, value: Any, answer: bool = False) -> None:
        self.value, self.answer = value, answer


def _round(
    function: Any, shared: Any, work: list[tuple[Any, list[Key]]], kept: ChunkStore, done: Callable[[int], None] | None
) -> list[_Box]:
    """Run every task that has not answered yet; chunks that several of them need are computed once."""
    nodes = kept.nodes(key for _, needs in work for key in needs)
    # Workers of a cluster have what they are given alone.
    behind = kept if current_client() is None else None
    common = delayed(_Box((function, shared, behind)), pure=False, traverse=False)
    task = delayed(_call, pure=False)
    tasks = [task(common, _Box((item, needs)), [nodes[key] for key in needs]) for item, needs in work]

    def ended(_key: Any, result: Any, *_rest: Any) -> None:
        if done is not None and isinstance(result, _Box) and result.answer:
            done(1)

    with Callback(posttask=ended):  # type: ignore[no-untyped-call]
        return list(compute_items(tasks))


def _call(common: _Box, work: _Box, chunks: list[Any]) -> _Box:
    # The C library of Linux hands memory back to the system, page by page, unless a block of this size has been freed
    # before: arrays of every step would be mapped anew, which takes a quarter of the time.
    np.empty(_LARGEST_KEPT, np.uint8)
    function, shared, behind = common.value
    item, keys = work.value
    given = TaskChunks(dict(zip(keys, chunks, strict=True)), behind)
    # What a worker of a cluster reads in a task it reads by itself: it would send it to the cluster as new tasks.
    alone = {"scheduler": "synchronous"} if worker_threads() is not None else compute_options()
    with computing(**alone), using_store(given):
        try:
            return _Box(function(shared, item), answer=True)
        except MissingChunks as missing:
            return _Box(missing)


def _reported(result: Any, done: Callable[[int], None] | None) -> Any:
    if done is not None:
        done(1)
    return result


# What is kept in memory, unless dask's configuration tells another number as "xcoreg.keep-in-memory".
_IN_MEMORY = "512 MiB"

_STORE: ContextVar[ChunkStore | TaskChunks | None] = ContextVar("store", default=None)


@contextmanager
def shared_chunks() -> Iterator[Any]:
    """Keep every chunk that is computed for :func:`read_windows` and tasks in here, until the outermost of these ends.

    A limited part is kept in memory, the rest in a temporary folder (`temporary-directory` of dask's configuration), on
    a cluster by its workers.
    """
    store = _STORE.get()
    if store is not None:
        yield store
        return
    kept = ChunkStore(_budget())
    before = _STORE.set(kept)
    try:
        yield kept
    finally:
        _STORE.reset(before)
        kept.close()


@contextmanager
def using_store(store: ChunkStore | TaskChunks) -> Iterator[None]:
    """Let :func:`read_windows` take chunks from a store."""
    before = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(before)


def read_windows(array: Any, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[NDArray[Any]]:
    """Read windows of an image that dask computes.

    step (rows, columns).
    """
    store = _STORE.get()
    if store is None:
        return compute_all([array[r0 : r1 : step[0], c0 : c1 : step[1]] for r0, r1, c0, c1 in boxes])
    return assemble_windows(array, boxes, step, partial(store.read_parts, array))


def register(array: Any) -> None:
    """Tell :func:`shared_chunks` of an array of which tasks may need chunks that nobody has foreseen."""
    store = _STORE.get()
    if store is not None:
        store.register(array)


def without_graph(array: Any) -> Any:
    """Leave away how an array is computed: name, chunks and dtype suffice for those who are given its chunks."""
    return da.Array({}, array.name, array.chunks, meta=array._meta)  # type: ignore[no-untyped-call]


@contextmanager
def collecting_missing(keys: list[Key]) -> Iterator[None]:
    """Note what is missing, and go on to see what else is."""
    try:
        yield
    except MissingChunks as missing:
        keys += missing.keys


def _budget() -> int:
    wanted = parse_bytes(dask.config.get("xcoreg.keep-in-memory", _IN_MEMORY))
    return int(wanted) // (worker_threads() or 1)
