"""What lasts as long as one estimate: its rounds share the chunks that dask computes, and none is computed twice."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from xcoreg.lazy.chunks import put_together
from xcoreg.lazy.cluster import threads_here
from xcoreg.lazy.store import Kept, Lacking
from xcoreg.lazy.tasks import compute_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from xcoreg.lazy.chunks import Box, Key
    from xcoreg.lazy.store import Given

__all__ = ["hollow", "keeping", "noting", "read_windows", "remember", "store_here"]

# What is kept in memory, unless dask's configuration tells another number as "xcoreg.keep-in-memory".
_IN_MEMORY = "512 MiB"

_STORE: ContextVar[Kept | Given | None] = ContextVar("store", default=None)


@contextmanager
def keeping() -> Iterator[Any]:
    """Keep every chunk that is computed for :func:`read_windows` and tasks in here, until the outermost of these ends.

    A limited part is kept in memory, the rest in a temporary folder (`temporary-directory` of dask's configuration), on
    a cluster by its workers.

    Examples
    --------
    >>> import dask.array as da
    >>> looked = []
    >>> image = da.zeros((4, 4), chunks=2)
    >>> image = image.map_blocks(lambda b: looked.append(1) or b, dtype=float, meta=image._meta)
    >>> with keeping():
    ...     _ = [read_windows(image, [(0, 1, 0, 3)]) for _ in range(5)]
    >>> len(looked)
    2
    """
    store = _STORE.get()
    if store is not None:
        yield store
        return
    kept = Kept(_budget())
    before = _STORE.set(kept)
    try:
        yield kept
    finally:
        _STORE.reset(before)
        kept.close()


@contextmanager
def store_here(store: Kept | Given) -> Iterator[None]:
    """Let :func:`read_windows` take chunks from a store."""
    before = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(before)


def read_windows(array: Any, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[NDArray[Any]]:
    """Read windows of an image that dask computes.

    Parameters
    ----------
    array : dask.array.Array (n_rows, n_cols)
    boxes : sequence of (row0, row1, col0, col1)
        Inside the image.
    step : (rows, columns)
        Take every so many rows and columns.

    Returns
    -------
    list of arrays
        Not to be written into: they may be parts of chunks that are kept.

    Raises
    ------
    Lacking
        In a task of :func:`run_tasks` that was not given all of the chunks.

    Examples
    --------
    >>> import dask.array as da
    >>> read_windows(da.arange(9, chunks=4).reshape(1, 9), [(0, 1, 3, 8)], (1, 2))
    [array([[3, 5, 7]])]
    """
    store = _STORE.get()
    if store is None:
        return compute_all([array[r0 : r1 : step[0], c0 : c1 : step[1]] for r0, r1, c0, c1 in boxes])
    return put_together(array, boxes, step, partial(store.fetch, array))


def remember(array: Any) -> None:
    """Tell :func:`keeping` of an array of which tasks may need chunks that nobody has foreseen.

    Examples
    --------
    >>> import dask.array as da
    >>> remember(da.zeros((4, 4)))
    """
    store = _STORE.get()
    if store is not None:
        store.remember(array)


def hollow(array: Any) -> Any:
    """Leave away how an array is computed: name, chunks and dtype suffice for those who are given its chunks.

    Examples
    --------
    >>> import dask.array as da
    >>> image = da.ones((4, 4), chunks=2)
    >>> hollow(image).name == image.name, len(hollow(image).dask)
    (True, 0)
    """
    import dask.array as da

    return da.Array({}, array.name, array.chunks, meta=array._meta)  # type: ignore[no-untyped-call]


@contextmanager
def noting(keys: list[Key]) -> Iterator[None]:
    """Note what is lacking, and go on to see what else is.

    Examples
    --------
    >>> keys = []
    >>> with noting(keys):
    ...     raise Lacking([("image", 0, 0)])
    >>> keys
    [('image', 0, 0)]
    """
    try:
        yield
    except Lacking as lacking:
        keys += lacking.keys


def _budget() -> int:
    import dask.config
    from dask.utils import parse_bytes

    wanted = parse_bytes(dask.config.get("xcoreg.keep-in-memory", _IN_MEMORY))
    return int(wanted) // (threads_here() or 1)
