"""Computing with dask: schedulers, lazy arrays made block by block, windows of chunked arrays, long jobs."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise, product
from operator import getitem
from pathlib import Path
from threading import Lock, current_thread
from typing import Any, TypeAlias

import dask.array as da
import dask.config
import dask.threaded
import numpy as np
from dask.base import compute, get_scheduler, optimize, tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from xcoreg.errors import CoregError, OptionError, require

# Options of `computing` in this thread.
_OPTIONS: ContextVar[Mapping[str, Any] | None] = ContextVar("options", default=None)


def _drop_pools() -> None:
    """Forget dask's threads after a fork: those of the parent do not live in the child, which would wait for them."""
    dask.threaded.default_pool, dask.threaded.pools_lock = None, Lock()
    dask.threaded.pools.clear()
    dask.threaded.main_thread = current_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_pools)


@contextmanager
def setting(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    """Give a context variable a value for a while."""
    before = variable.set(value)
    try:
        yield
    finally:
        variable.reset(before)


def computing(**how: Any) -> AbstractContextManager[None]:
    """Set options of dask's `compute` for this thread; ``dask.config.set`` would set them for all threads."""
    return setting(_OPTIONS, how)


def compute_options() -> Mapping[str, Any]:
    """Options of :func:`computing` in this thread."""
    return _OPTIONS.get() or {}


def compute_items(items: Sequence[Any]) -> tuple[Any, ...]:
    """Compute dask collections together, with the options of :func:`computing`."""
    how = compute_options()
    if how.get("scheduler") == "synchronous" and worker_threads() is not None and any(map(_is_on_cluster, items)):
        how = {}
    chosen = any(dask.config.get(name, None) for name in ("scheduler", "scheduler-address"))
    if not (chosen or "scheduler" in how or "distributed" in sys.modules):
        how = {**how, "scheduler": dask.threaded.get}  # dask would load distributed, for a client that cannot be there
    try:
        done: tuple[Any, ...] = compute(*items, **how)  # type: ignore[no-untyped-call]
    except (CoregError, MemoryError):
        raise
    except Exception as error:
        frames = list(traceback.walk_tb(error.__traceback__))[1:]
        if any(_package_of(frame) == "xcoreg" for frame, _ in frames):  # a fault of what is done with blocks
            raise
        raise BlockError(_failure(error, frames)) from error
    return done


class BlockError(OptionError):
    """A function of the user's graph raised the error that is its cause, or a block is not what its array says."""


_READERS = ("xcoreg.files", "xcoreg.raster.stored")  # their functions stand between dask and the libraries that read


def _package_of(frame: Any) -> str:
    name = str(frame.f_globals.get("__name__", ""))
    return "" if name in _READERS else name.partition(".")[0]


def _failure(error: Exception, frames: list[Any]) -> str:
    """Describe an error of a graph, with the first place in it that is not dask's."""
    passing = ("dask", "distributed", "concurrent", "threading", "tlz", "toolz", "xarray", "")
    places = [one for one in frames if _package_of(one[0]) not in passing] or frames[-1:]
    codes = [(one.f_code, line) for one, line in places[:1]]
    where = "".join(f", in {code.co_name} ({Path(code.co_filename).name}, line {line})" for code, line in codes)
    return f"dask cannot compute a block: {type(error).__name__}: {error.__cause__ or error}{where}"


def check_block(block: Any, shape: tuple[int, ...], dtype: Any, name: str) -> NDArray[Any]:
    """Refuse a block of another shape or kind than its array announces; sizes that are NaN are unknown."""
    made, dtype = np.asarray(block), np.dtype(dtype)
    if np.ma.is_masked(block):
        raise BlockError(
            f"blocks of {name} are masked arrays, whose masks are lost here: use dask.array.ma.filled first"
        )
    same = len(shape) == made.ndim and all(
        own == said for own, said in zip(made.shape, shape, strict=True) if said == said
    )
    if not same or (made.dtype.kind in _NUMBERS) != (dtype.kind in _NUMBERS):
        raise BlockError(
            f"a block of {name} is {made.dtype} of shape {made.shape}, and {dtype} of shape {shape} was announced: "
            "the function that makes it must keep shape and dtype, or dask must be told others"
        )
    return made


_NUMBERS = "biufc"


def client_for(item: Any) -> Any:
    """Client of the cluster that computes a collection or has parts of it."""
    client = current_client()
    if client is not None or worker_threads() is None or not _is_on_cluster(item):
        return client
    return _distributed().get_client()


def _distributed() -> Any:
    return require("distributed", extra="distributed")


def current_client() -> Any:
    """Client of the cluster that computes in this thread."""
    get: Any = get_scheduler(scheduler=compute_options().get("scheduler"))  # type: ignore[no-untyped-call]
    client = getattr(get, "__self__", None)
    return client if hasattr(client, "persist") else None


def _is_on_cluster(item: Any) -> bool:
    """Whether parts of a collection are on workers of a cluster."""
    return any("Future" in type(value).__name__ for value in dict(item.__dask_graph__()).values())


def token(*values: Any) -> str:
    """Name that follows from values alone."""
    name: str = tokenize(*values)
    return name


def is_lazy(data: Any) -> bool:
    """Whether data are a dask collection, without importing dask."""
    return hasattr(data, "__dask_graph__") and getattr(data, "chunks", None) is not None


def compute_all(items: Sequence[Any]) -> list[NDArray[Any]]:
    """Bring several arrays into memory, all lazy ones in a single computation."""
    plain = [getattr(item, "data", item) if is_lazy(item) else item for item in items]
    lazy = [item for item in plain if is_lazy(item)]
    if not lazy:
        return [np.asarray(item) for item in plain]
    done = iter(compute_items(lazy))
    return [
        check_block(next(done), item.shape, item.dtype, item.name) if is_lazy(item) else np.asarray(item)
        for item in plain
    ]


def fused(window: Any) -> Any:
    """Fuse a window of stored data with its reading: only the window is read, not its chunk. Not for computed data."""
    return optimize(window)[0]  # type: ignore[no-untyped-call]


def map_output_blocks(
    function: Callable[..., NDArray[Any]],
    source: Any,
    chunks: tuple[tuple[int, ...], tuple[int, ...]],
    box_of: Callable[[slice, slice], tuple[int, int, int, int]],
    dtype: Any,
    mask: Any = None,
) -> Any:
    """Make a lazy array block by block, each from one window of the source, and of its mask: chunks (rows, cols)."""
    token = tokenize(function, source.name, chunks, str(dtype), *([] if mask is None else [mask.name]))
    return _map_blocks([(function, box_of)], 0, source, (chunks, dtype, token), mask)


def map_stack_blocks(
    functions: Sequence[tuple[Callable[..., NDArray[Any]], Callable[[slice, slice], Box]]],
    axis: int,
    source: Any,
    chunks: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: Any,
    token: str,
) -> Any:
    """Make a lazy array as :func:`map_output_blocks`, with a function for each chunk along a leading axis.

    The token stands for all functions: a hash of hundreds of them would take long.
    """
    return _map_blocks(functions, axis, source, (chunks, dtype, tokenize(token, source.name, chunks, str(dtype))), None)


def _map_blocks(functions: Sequence[Any], axis: int, source: Any, plan: tuple[Any, Any, str], mask: Any) -> Any:
    (chunks, dtype, token), several = plan, len(functions) > 1
    name, window, worker = f"xcoreg-{token}", f"xcoreg-window-{token}", f"xcoreg-function-{token}"
    # One key for each function, which its tasks share.
    workers = [f"{worker}-{at}" if several else worker for at in range(len(functions))]
    graph: dict[Any, Any] = dict(zip(workers, (function for function, _ in functions), strict=True))
    mask_window, leads = f"{window}-mask", list(product(*(range(len(sizes)) for sizes in source.chunks[:-2])))
    for (i, rows), (j, cols) in product(*(list(enumerate(slices_of(sizes))) for sizes in chunks)):
        boxes = [box_of(rows, cols) for _, box_of in functions]
        masks, mask_cols = ([], 0) if mask is None else _add_pieces(graph, (mask_window, i, j), mask, (), boxes[0])
        for lead in leads:
            at = lead[axis] if several else 0
            pieces, n_cols = _add_pieces(graph, (window, *lead, i, j), source, lead, boxes[at])
            layers = tuple(sizes[at] for sizes, at in zip(source.chunks[:-2], lead, strict=True))
            how = _Block(layers, n_cols, boxes[at], rows, cols, str(source.dtype), mask_cols)
            graph[(name, *lead, i, j)] = (how, workers[at], pieces, *([masks] if masks else []))
    layered = HighLevelGraph.from_collections(name, graph, dependencies=[source] if mask is None else [source, mask])
    meta = np.empty((0,) * source.ndim, dtype=dtype)
    return da.Array(layered, name, (*source.chunks[:-2], *chunks), meta=meta)  # type: ignore[no-untyped-call]


def _add_pieces(
    graph: dict[Any, Any], name: tuple[Any, ...], source: Any, lead: tuple[int, ...], box: Box
) -> tuple[list[Any], int]:
    """Add the pieces of chunks that make up a window; return their keys, row by row, and the number in a row."""
    edges = [edges_of(sizes) for sizes in source.chunks[-2:]]
    cuts = [cuts_along(*span, sizes) for span, sizes in zip((box[:2], box[2:]), edges, strict=True)]
    every, pieces = (slice(None),) * len(lead), []
    for (row, row_cut), (col, col_cut) in product(*cuts):
        graph[(*name, row, col)] = (getitem, (source.name, *lead, row, col), (*every, row_cut, col_cut))
        pieces.append((*name, row, col))
    return pieces, len(cuts[1])


@dataclass(frozen=True)
class _Block:
    """A task that assembles the pieces of a window, and of its mask, and calls the function."""

    layers: tuple[int, ...]
    n_cols: int
    box: tuple[int, int, int, int]
    rows: slice
    cols: slice
    dtype: str
    mask_cols: int = 0

    def __call__(self, function: Callable[..., NDArray[Any]], pieces: list[NDArray[Any]], *masks: Any) -> NDArray[Any]:
        shape = (*self.layers, self.box[1] - self.box[0], self.box[3] - self.box[2])
        window = np.empty((*self.layers, 0, 0), dtype=self.dtype)
        if pieces:
            window = check_block(_join_pieces(pieces, self.n_cols), shape, self.dtype, "the image")
        return function(
            window, self.box, self.rows, self.cols, *(_join_pieces(parts, self.mask_cols) for parts in masks)
        )


def _join_pieces(pieces: list[NDArray[Any]], n_cols: int) -> NDArray[Any]:
    """Join the pieces of a window, given row by row."""
    if len(pieces) == 1:
        return pieces[0]
    strips = [pieces[at : at + n_cols] for at in range(0, len(pieces), n_cols)]
    try:
        return np.concatenate([np.concatenate(strip, axis=-1) for strip in strips], axis=-2)
    except ValueError as error:
        shapes = ", ".join(dict.fromkeys(str(np.shape(one)) for one in pieces))
        raise BlockError(f"blocks of the image do not fit together, they have shapes {shapes}") from error


def slices_of(sizes: Sequence[int]) -> Iterator[slice]:
    """Slices of chunks along an axis, from their sizes."""
    return (slice(start, stop) for start, stop in pairwise(edges_of(sizes)))


#: Rows row0 <= row < row1 and columns col0 <= col < col1: (row0, row1, col0, col1), px.
Box: TypeAlias = "tuple[int, int, int, int]"

#: A chunk of a two-dimensional dask array: its name, row and column of chunks.
Key: TypeAlias = "tuple[str, int, int]"
#: Rows and columns of a chunk.
Cut: TypeAlias = "tuple[slice, slice]"


def edges_of(sizes: Sequence[int]) -> list[int]:
    """Edges of chunks along an axis, from their sizes."""
    return [0, *accumulate(sizes)]


def cuts_along(start: int, stop: int, edges: Sequence[int], step: int = 1) -> list[tuple[int, slice]]:
    """Chunks that a span intersects, and the part of each."""
    out = []
    for chunk, (low, high) in enumerate(pairwise(edges)):
        first = start if start >= low else start + -(-(low - start) // step) * step
        last = min(stop, high)
        if first < last:
            out.append((chunk, slice(first - low, last - low, step)))
    return out


def parts_of(array: Any, box: Box, step: tuple[int, int] = (1, 1)) -> list[list[tuple[Key, Cut]]]:
    """Parts of chunks that make up a window, row by row: step (rows, columns)."""
    axes = zip((box[:2], box[2:]), array.chunks, step, strict=True)
    down, across = (cuts_along(*span, edges_of(sizes), each) for span, sizes, each in axes)
    return [[((array.name, row, col), (rows, cols)) for col, cols in across] for row, rows in down]


def announced(array: Any, key: Key) -> tuple[tuple[int, ...], Any, str]:
    """Give what an array says of a chunk: shape, dtype, name of the array."""
    return tuple(sizes[at] for sizes, at in zip(array.chunks, key[1:], strict=True)), array.dtype, array.name


def chunks_under(array: Any, boxes: Sequence[Box]) -> list[Key]:
    """Chunks that any of some windows intersects, each once."""
    return list({key: None for box in boxes for row in parts_of(array, box) for key, _ in row})


def assemble_windows(
    array: Any,
    boxes: Sequence[Box],
    step: tuple[int, int],
    read_parts: Callable[[dict[Key, list[Cut]]], dict[Key, list[Any]]],
) -> list[NDArray[Any]]:
    """Assemble windows from parts of chunks that a function reads: step (rows, columns)."""
    plans = [parts_of(array, box, step) for box in boxes]
    wanted: dict[Key, list[Cut]] = {}
    for key, cut in (part for plan in plans for row in plan for part in row):
        wanted.setdefault(key, []).append(cut)
    supply = {key: iter(parts) for key, parts in read_parts(wanted).items()}
    parts = [[[next(supply[key]) for key, _ in row] for row in plan] for plan in plans]
    return [_join(rows, box, step, array.dtype) for rows, box in zip(parts, boxes, strict=True)]


def _join(rows: list[list[NDArray[Any]]], box: Box, step: tuple[int, int], dtype: Any) -> NDArray[Any]:
    if not rows or not rows[0]:
        return np.empty((len(range(box[0], box[1], step[0])), len(range(box[2], box[3], step[1]))), dtype)
    strips = [row[0] if len(row) == 1 else np.concatenate(row, axis=1) for row in rows]
    return strips[0] if len(strips) == 1 else np.concatenate(strips, axis=0)


_TIMEOUT = 60  # seconds for a scheduler to answer and for its first worker to appear
_RETRIES = 1  # of a job whose worker died
# By default dask's workers return every freed block to the system; mapping the arrays of each step again takes half of
# the time of matching.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}


def run_each(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    memory: str | int | None = None,
) -> Generator[tuple[int, Any]]:
    """Call a function once per item; yield (index, result) as they are finished, an exception as its result."""
    if scheduler is None and workers is None:
        if memory is not None:
            raise OptionError("memory= is the limit of each of workers=: give workers= too")
        yield from ((at, _outcome(partial(function, item))) for at, item in enumerate(items))
        return
    with ExitStack() as stack:
        yield from _spread(_client(stack, scheduler, workers, memory), function, items)


def worker_threads() -> int | None:
    """Threads of the worker of a cluster in this process; None outside of one."""
    if sys.modules.get("distributed") is None:
        return None
    try:
        return int(_distributed().get_worker().state.nthreads)
    except ValueError:
        return None


def _outcome(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - one failed job must not end the others
        return error


def _client(stack: ExitStack, scheduler: str | None, workers: int | None, memory: str | int | None) -> Any:
    if scheduler is not None and (workers is not None or memory is not None):
        raise OptionError("a scheduler has its own workers: omit workers= and memory=")
    distributed = _distributed()
    if scheduler is None:
        if not isinstance(workers, int) or workers < 1:
            raise OptionError(f"workers is {workers!r}: give the number of processes, at least 1")
        environ = {**dask.config.get("distributed.nanny.pre-spawn-environ", {}), **_MALLOC}
        config = {"distributed.scheduler.allowed-failures": _RETRIES, "distributed.nanny.pre-spawn-environ": environ}
        stack.enter_context(dask.config.set(config))
        limit = "auto" if memory is None else memory
        how = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "memory_limit": limit}
        cluster = stack.enter_context(distributed.LocalCluster(**how, dashboard_address="127.0.0.1:0"))
        return stack.enter_context(distributed.Client(cluster))
    try:
        client = stack.enter_context(distributed.Client(scheduler, timeout=_TIMEOUT))
        client.wait_for_workers(1, timeout=_TIMEOUT)
    except (OSError, TimeoutError, ValueError) as error:
        raise OptionError(f"the scheduler {scheduler} cannot be used: {error}") from error
    return client


def _spread(client: Any, function: Callable[[Any], Any], items: Sequence[Any]) -> Generator[tuple[int, Any]]:
    """Submit one job per thread, no more: jobs that wait in the queue of a dying worker would fail with it."""
    ahead = iter(enumerate(items))
    known: dict[Any, int] = {}
    running = _distributed().as_completed()

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
