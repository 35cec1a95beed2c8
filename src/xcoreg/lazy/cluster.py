"""Long jobs, one after another or on the workers of a cluster."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from xcoreg.errors import OptionError, require

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["run_each", "threads_here"]

_PATIENCE = 60  # seconds for a scheduler to answer and for its first worker to appear
_DEATHS = 1  # a job that has lost so many workers is given one more, and no further
# Dask lets its workers hand every freed block back to the system: arrays of each step are then mapped anew, which
# costs half of the time of matching.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}


def run_each(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    memory: str | int | None = None,
) -> Generator[tuple[int, Any]]:
    """Call a function once per item, and hand on what it returns as it comes.

    Parameters
    ----------
    function : callable (item) -> result
        Both small; they travel.
    items : sequence
    scheduler : str, optional
        Address of a distributed scheduler, "tcp://...". No more items are sent to it than its workers have threads.
    workers : int, optional
        Processes of one thread each on this machine. Default: none, items are worked on in this process.
    memory : str or int, optional
        What each process may hold, "2GB" or bytes: it writes to disk beyond 60 % and is replaced beyond 95 %.

    Yields
    ------
    index : int
    result : object
        What the function returned, or the exception that ended it. One that took two workers down with it is a
        `KilledWorker`.

    Raises
    ------
    OptionError
        When the scheduler does not answer or has no worker, or both it and `workers` are given.
    MissingDependency
        Without distributed.

    Examples
    --------
    >>> list(run_each(abs, [-1, "a"]))
    [(0, 1), (1, TypeError("bad operand type for abs(): 'str'"))]
    """
    if scheduler is None and workers is None:
        if memory is not None:
            raise OptionError("memory= bounds the processes of workers=: give their number, too")
        yield from ((at, _outcome(partial(function, item))) for at, item in enumerate(items))
        return
    with ExitStack() as stack:
        yield from _spread(_client(stack, scheduler, workers, memory), function, items)


def threads_here() -> int | None:
    """Tell how many jobs a worker of a cluster runs side by side in this process; None outside of one.

    Examples
    --------
    >>> threads_here() is None
    True
    """
    import sys

    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:
        return None


def _outcome(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - whatever ended one job must not end the others
        return error


def _client(stack: ExitStack, scheduler: str | None, workers: int | None, memory: str | int | None) -> Any:
    if scheduler is not None and (workers is not None or memory is not None):
        raise OptionError("scheduler= has workers of its own: leave out workers= and memory=")
    distributed = require("distributed", extra="distributed")
    if scheduler is None:
        import dask.config

        if not isinstance(workers, int) or workers < 1:
            raise OptionError(f"workers is {workers!r}: give the number of processes, at least 1")
        environ = {**dask.config.get("distributed.nanny.pre-spawn-environ", {}), **_MALLOC}
        config = {"distributed.scheduler.allowed-failures": _DEATHS, "distributed.nanny.pre-spawn-environ": environ}
        stack.enter_context(dask.config.set(config))
        limit = "auto" if memory is None else memory
        how = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "memory_limit": limit}
        cluster = stack.enter_context(distributed.LocalCluster(**how, dashboard_address="127.0.0.1:0"))
        return stack.enter_context(distributed.Client(cluster))
    try:
        client = stack.enter_context(distributed.Client(scheduler, timeout=_PATIENCE))
        client.wait_for_workers(1, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise OptionError(f"the scheduler {scheduler} cannot be used: {error}") from error
    return client


def _spread(client: Any, function: Callable[[Any], Any], items: Sequence[Any]) -> Generator[tuple[int, Any]]:
    """Keep every thread of the cluster busy, and nothing waiting: what a dying worker had in its queue is blamed."""
    from distributed import as_completed

    ahead = iter(enumerate(items))
    known: dict[Any, int] = {}
    running: Any = as_completed()  # type: ignore[no-untyped-call]

    def send(number: int) -> None:
        for _, (at, item) in zip(range(number), ahead, strict=False):
            future = client.submit(function, item, pure=False)
            known[future] = at
            running.add(future)

    try:
        send(_threads(client))
        for future in running:
            at = known.pop(future)
            yield at, _outcome(future.result)
            del future
            send(_threads(client) - len(known))
    finally:
        client.cancel(list(known))


def _threads(client: Any) -> int:
    return max(1, int(sum(client.nthreads().values())))
