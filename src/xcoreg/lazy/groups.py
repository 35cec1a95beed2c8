"""Independent tasks on whatever scheduler dask has: each is given the chunks it needs, and returns something small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.lazy.chunks import chunks_under
from xcoreg.lazy.cluster import threads_here
from xcoreg.lazy.kept import keeping, store_here
from xcoreg.lazy.store import Given, Kept, Lacking
from xcoreg.lazy.tasks import chosen, cluster, compute_items, computing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xcoreg.lazy.chunks import Box, Key

__all__ = ["run_tasks"]

# Just below what glibc takes for too large to keep (32 MiB).
_LARGEST_KEPT = 31 << 20


def run_tasks(
    function: Callable[[Any, Any], Any],
    shared: Any,
    items: Sequence[Any],
    done: Callable[[int], None] | None = None,
    ahead: Sequence[Sequence[tuple[Any, Sequence[Box]]]] | None = None,
) -> list[Any]:
    """Call a function once per item, as independent tasks of dask's current scheduler (threads by default).

    Parameters
    ----------
    function : callable (shared, item) -> result
        Reads images that dask computes by :func:`read_windows` alone: then no chunk of them is computed twice.
    shared : object
        What all tasks need; handed over once, not copied into each of them.
    items : sequence
        Small things; what their tasks return should be small, too.
    done : callable (number), optional
        Told how many tasks have ended, as they end; not by a distributed scheduler, which tells at the end.
    ahead : sequence of sequences of (dask array, boxes), optional
        For each item, windows of computed images that its task is going to read. A task that needs more than it was
        given is run again with that.

    Returns
    -------
    list
        Results in the order of the items.

    Examples
    --------
    >>> run_tasks(lambda base, item: base + item, 10, [1, 2])
    [11, 12]
    """
    if len(items) < 2:
        return [_told(function(shared, item), done) for item in items]
    needs = [[key for array, boxes in row for key in chunks_under(array, boxes)] for row in ahead or [()] * len(items)]
    answers: dict[int, Any] = {}
    with keeping() as kept:
        for array in {one.name: one for row in ahead or () for one, _ in row}.values():
            kept.remember(array)
        while len(answers) < len(items):
            todo = [at for at in range(len(items)) if at not in answers]
            found = _round(function, shared, [(items[at], needs[at]) for at in todo], kept, done)
            for at, box in zip(todo, found, strict=True):
                if isinstance(box.value, Lacking):
                    needs[at] += box.value.keys
                else:
                    answers[at] = box.value
    return [answers[at] for at in range(len(items))]


class _Box:
    """Keeps dask from looking into what a task is given or returns: a dataclass it would search for images to load."""

    __slots__ = ("answer", "value")

    def __init__(self, value: Any, answer: bool = False) -> None:
        self.value, self.answer = value, answer


def _round(
    function: Any, shared: Any, work: list[tuple[Any, list[Key]]], kept: Kept, done: Callable[[int], None] | None
) -> list[_Box]:
    """Run every task that has not answered yet; chunks that several of them need are computed once."""
    from dask.callbacks import Callback
    from dask.delayed import delayed

    nodes = kept.nodes(key for _, needs in work for key in needs)
    # Workers of a cluster have what they are given alone.
    behind = kept if cluster() is None else None
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
    given = Given(dict(zip(keys, chunks, strict=True)), behind)
    # What a worker of a cluster reads in a task it reads by itself: it would send it to the cluster as new tasks.
    alone = {"scheduler": "synchronous"} if threads_here() is not None else chosen()
    with computing(**alone), store_here(given):
        try:
            return _Box(function(shared, item), answer=True)
        except Lacking as lacking:
            return _Box(lacking)


def _told(result: Any, done: Callable[[int], None] | None) -> Any:
    if done is not None:
        done(1)
    return result
