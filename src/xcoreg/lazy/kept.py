"""Chunks that dask computes, kept while one estimate lasts: its rounds share them, and none is computed twice."""

from __future__ import annotations

import logging
import shutil
import tempfile
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from xcoreg.lazy.chunks import put_together
from xcoreg.lazy.cluster import threads_here
from xcoreg.lazy.tasks import client_of, compute_all, compute_items, token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from xcoreg.lazy.chunks import Box, Cut, Key

__all__ = ["Chunk", "Given", "Kept", "Lacking", "hollow", "keeping", "noting", "read_windows", "remember", "store_here"]

logger = logging.getLogger("xcoreg")

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
    >>> image = da.zeros((4, 4), chunks=2).map_blocks(lambda b: looked.append(1) or b, dtype=float, meta=np.empty(0))
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


class Lacking(Exception):
    """A task was not given all chunks that it needs.

    Parameters
    ----------
    keys : list of (name, row, col)
        The others.
    """

    def __init__(self, keys: list[Key]) -> None:
        super().__init__(keys)
        self.keys = keys


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


class Chunk:
    """A chunk in memory or in a file."""

    __slots__ = ("_place",)

    def __init__(self, place: NDArray[Any] | Path) -> None:
        self._place = place

    def open(self) -> NDArray[Any]:
        """Get the pixels; of a file those alone are read that are looked at."""
        if isinstance(self._place, Path):
            pixels: NDArray[Any] = np.load(self._place, mmap_mode="r")
            return pixels
        return self._place


class Given:
    """What a task may read: chunks it was given, and those kept by others of its process.

    Parameters
    ----------
    chunks : mapping of (name, row, col) to Chunk or array
    behind : Kept, optional
    """

    def __init__(self, chunks: Mapping[Key, Any], behind: Kept | None = None) -> None:
        self._chunks, self._behind = dict(chunks), behind

    def remember(self, array: Any) -> None:
        """Let :class:`Kept` know an array."""
        if self._behind is not None:
            self._behind.remember(array)

    def fetch(self, array: Any, wanted: dict[Key, list[Cut]]) -> dict[Key, list[Any]]:
        """Cut parts out of chunks, or tell which ones are lacking."""
        pixels = {key: self._find(key) for key in wanted}
        lacking = [key for key, chunk in pixels.items() if chunk is None]
        if lacking:
            self.remember(array)
            raise Lacking(lacking)
        return {key: _picked(pixels[key], cuts) for key, cuts in wanted.items()}

    def _find(self, key: Key) -> NDArray[Any] | None:
        chunk = self._chunks.get(key)
        if chunk is None and self._behind is not None:
            chunk = self._behind.get(key)
        if isinstance(chunk, Chunk):
            chunk = self._chunks[key] = chunk.open()
        return chunk


class Kept:
    """Chunks kept by this program, or for it by the workers of a cluster.

    Where it is sent to another process it keeps everything in files there.

    Parameters
    ----------
    room : int
        Bytes to be kept in memory.
    folder : Path, optional
        For the rest; made when it is needed.
    """

    def __init__(self, room: int, folder: Path | None = None) -> None:
        self._room, self._folder, self._lock = room, folder, Lock()
        self._here: dict[Key, NDArray[Any]] = {}
        self._far: dict[Key, Any] = {}
        self._arrays: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, (0, self._room_on_disk())

    def close(self) -> None:
        """Let go of everything."""
        self._here, self._far, self._arrays = {}, {}, {}
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def remember(self, array: Any) -> None:
        """Know an array by its name: tasks ask for its chunks by that."""
        self._arrays.setdefault(array.name, array)

    def get(self, key: Key) -> Chunk | None:
        """Get a chunk, if it is kept in memory or in a file."""
        pixels = self._here.get(key)
        if pixels is not None:
            return Chunk(pixels)
        path = None if self._folder is None else _path(self._folder, key)
        return Chunk(path) if path is not None and path.exists() else None

    def put(self, key: Key, pixels: Any) -> Chunk:
        """Keep a chunk, in memory while there is room."""
        pixels = np.asarray(pixels)
        known = self.get(key)
        if known is not None:
            return known
        with self._lock:
            fits = pixels.nbytes <= self._room
            self._room -= pixels.nbytes if fits else 0
        if fits:
            self._here[key] = _owned(pixels)
            return Chunk(self._here[key])
        return self._written(key, pixels)

    def nodes(self, keys: Iterable[Key]) -> dict[Key, Any]:
        """Find chunks of arrays that are known, or how they are computed and kept.

        Parameters
        ----------
        keys : iterable of (name, row, col)

        Returns
        -------
        dict
            Key to what may be handed to a task, which gets a :class:`Chunk` or the pixels for it.
        """
        wanted: dict[str, dict[Key, None]] = {}
        for key in keys:
            wanted.setdefault(key[0], {})[key] = None
        found: dict[Key, Any] = {}
        for name, own in wanted.items():
            if name not in self._clients:
                self._clients[name] = client_of(self._arrays[name])
            find = self._nodes_here if self._clients[name] is None else self._nodes_there
            found |= find(self._arrays[name], list(own))
        return found

    def _nodes_here(self, array: Any, keys: list[Key]) -> dict[Key, Any]:
        found: dict[Key, Any] = {key: self.get(key) for key in keys}
        missing = [key for key, chunk in found.items() if chunk is None]
        return found | dict(zip(missing, _computed(array, missing, self), strict=True))

    def _nodes_there(self, array: Any, keys: list[Key]) -> dict[Key, Any]:
        missing = [key for key in keys if key not in self._far]
        if missing:
            there = self._clients[array.name].persist(_computed(array, missing))
            self._far.update(zip(missing, there, strict=True))
        return {key: self._far[key] for key in keys}

    def fetch(self, array: Any, wanted: dict[Key, list[Cut]]) -> dict[Key, list[Any]]:
        """Cut parts out of chunks; those not yet kept are computed, all together."""
        from dask.delayed import delayed

        self.remember(array)
        nodes = self.nodes(wanted)
        pick = delayed(_copied, pure=False)
        found = {key: _picked(node.open(), wanted[key]) for key, node in nodes.items() if isinstance(node, Chunk)}
        rest = [key for key in wanted if key not in found]
        parts = compute_items([pick(nodes[key], partial(_picked, cuts=wanted[key])) for key in rest]) if rest else ()
        return found | dict(zip(rest, parts, strict=True))

    def _written(self, key: Key, pixels: NDArray[Any]) -> Chunk:
        """Keep a chunk in a file; on a full disk it is not kept."""
        folder = self._room_on_disk()
        if folder is None:
            return Chunk(pixels)
        path, part = _path(folder, key), folder / f"{uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                np.save(file, pixels, allow_pickle=False)
            part.replace(path)
        except OSError as error:
            logger.warning("chunk not kept, it may be computed again: %s", error)
            part.unlink(missing_ok=True)
            return Chunk(pixels)
        return Chunk(path)

    def _room_on_disk(self) -> Path | None:
        import dask.config

        from xcoreg.io.rooms import make_room

        with self._lock:
            if self._folder is None:
                parent = dask.config.get("temporary-directory", None) or tempfile.gettempdir()
                try:
                    self._folder = make_room(Path(parent) / "chunks")
                except OSError as error:
                    logger.warning("no folder for chunks in %s: %s", parent, error)
            return self._folder


def _computed(array: Any, keys: Sequence[Key], kept: Kept | None = None) -> list[Any]:
    """Compute chunks, each as a collection of its own over one graph; and keep them."""
    from dask.delayed import Delayed
    from dask.highlevelgraph import HighLevelGraph

    if not keys:
        return []
    graph = dict(array.__dask_optimize__(array.__dask_graph__(), list(keys)))
    name, ends = array.name, list(keys)
    if kept is not None:
        name = f"xcoreg-kept-{array.name}"
        ends = [(name, *key[1:]) for key in keys]
        graph |= {end: (partial(kept.put, key), key) for key, end in zip(keys, ends, strict=True)}
    layered = HighLevelGraph({name: graph}, {name: set()})
    return [Delayed(end, layered, layer=name) for end in ends]  # type: ignore[no-untyped-call]


def _copied(chunk: Any, pick: Any) -> list[NDArray[Any]]:
    """Pick parts of a chunk, which may go then."""
    pixels = chunk.open() if isinstance(chunk, Chunk) else chunk
    return [np.array(part) for part in pick(pixels)]


def _picked(pixels: Any, cuts: list[Cut]) -> list[Any]:
    return [pixels[cut] for cut in cuts]


def _owned(pixels: NDArray[Any]) -> NDArray[Any]:
    """Copy what is a part of something larger, which would be kept with it."""
    base = pixels.base
    return pixels.copy() if isinstance(base, np.ndarray) and base.nbytes > pixels.nbytes else pixels


def _path(folder: Path, key: Key) -> Path:
    return folder / f"{token(key[0])}-{key[1]}-{key[2]}.npy"


def _budget() -> int:
    import dask.config
    from dask.utils import parse_bytes

    wanted = parse_bytes(dask.config.get("xcoreg.keep-in-memory", _IN_MEMORY))
    return int(wanted) // (threads_here() or 1)
