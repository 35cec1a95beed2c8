"""A store of chunks that dask computes, and of intermediate results that several chunks share."""

from __future__ import annotations

import logging
import pickle
import shutil
import tempfile
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import dask.config
import numpy as np
from dask.blockwise import Blockwise
from dask.core import istask
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.sizeof import sizeof
from numpy.typing import NDArray

from xcoreg.files import make_temporary_folder
from xcoreg.lazy.graph import Cut, Key, announced, check_block, client_for, compute_items

# Names that rioxarray, xarray and dask give to arrays that are read.
_READ = ("open_rasterio-", "open_dataset-", "open_zarr-", "xarray-", "array-", "from-zarr-", "from_array-", "original-")


def is_read(array: Any) -> bool:
    """Whether an array is read from a file or from memory, not computed."""
    graph, name = array.__dask_graph__(), array.name
    while not name.startswith(_READ):
        layer, before = graph.layers.get(name), graph.dependencies.get(name, ())
        if isinstance(layer, MaterializedLayer) and isinstance(next(iter(layer.values()), None), np.ndarray):
            return True
        if not name.startswith("getitem-") or len(before) != 1:
            return False
        name = next(iter(before))
    return True


def is_task(node: Any) -> bool:
    """Whether a node of a graph has to be computed."""
    task: Any = istask
    return bool(task(node)) or (hasattr(node, "dependencies") and type(node).__name__ not in ("DataNode", "Alias"))


def shared_keys(arrays: Sequence[Any]) -> frozenset[Hashable]:
    """Keys of computed intermediate results that several chunks of some images share."""
    if not _may_share(arrays):
        return frozenset()
    before: Any = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays)).get_all_dependencies()
    ends: set[Hashable] = {(array.name, *at) for array in arrays for at in np.ndindex(*array.numblocks)}
    return frozenset(key for key in _shared(before, ends) if not _name_of(key).startswith(_READ))


def _may_share(arrays: Sequence[Any]) -> bool:
    """Whether chunks may share intermediate results, by the layers of their graphs."""
    layers = Counter(name for array in arrays for name in array.__dask_graph__().layers)
    common = any(count > 1 and not name.startswith(_READ) for name, count in layers.items())
    return common or not all(_is_straight(array) for array in arrays)


def _is_straight(array: Any) -> bool:
    """Whether each chunk is made from the chunks at the same position of other arrays."""
    graph = array.__dask_graph__()
    return all(
        isinstance(layer, Blockwise) and all(blocks == array.numblocks for blocks in layer.numblocks.values())
        for name, layer in graph.layers.items()
        if graph.dependencies[name] and not name.startswith(_READ)
    )


def _shared(before: Mapping[Hashable, Iterable[Hashable]], ends: set[Hashable]) -> set[Hashable]:
    """Keys from which more than one end, or other shared key, is made."""
    after = _users(before, ends)
    # The end or shared key that needs each key; users come before what they use.
    owner: dict[Hashable, Hashable] = {}
    shared: set[Hashable] = set()
    todo = [key for key in after if not after[key]]
    waiting = {key: len(users) for key, users in after.items()}
    while todo:
        key = todo.pop()
        owners = {owner[user] for user in after[key]} | ({key} if key in ends else set())
        if len(owners) > 1:
            shared.add(key)
        owner[key] = owners.pop() if len(owners) == 1 else key
        for other in before[key]:
            waiting[other] -= 1
            if not waiting[other]:
                todo.append(other)
    return shared


def _users(before: Mapping[Hashable, Iterable[Hashable]], ends: Iterable[Hashable]) -> dict[Hashable, list[Hashable]]:
    """Users of each key from which an end is made."""
    after: dict[Hashable, list[Hashable]] = {end: [] for end in ends}
    todo = list(after)
    while todo:
        key = todo.pop()
        for other in before[key]:
            if other not in after:
                after[other] = []
                todo.append(other)
            after[other].append(key)
    return after


def _name_of(key: Hashable) -> str:
    return str(key[0] if isinstance(key, tuple) else key)


logger = logging.getLogger("xcoreg")


class MissingChunks(Exception):
    """A task needs chunks, those of its `keys`, that it was not given."""

    def __init__(self, keys: list[Key]) -> None:
        super().__init__(keys)
        self.keys = keys


class StoredChunk:
    """A chunk or an intermediate result in memory or in a file."""

    __slots__ = ("_place",)

    def __init__(self, place: Any) -> None:
        self._place = place

    def open(self) -> Any:
        """Pixels; those of a file are read when they are used."""
        return _load(self._place, "r") if isinstance(self._place, Path) else self._place

    def load(self) -> Any:
        """Pixels in memory, for functions that may write into them."""
        return _load(self._place, None) if isinstance(self._place, Path) else self._place


class TaskChunks:
    """Chunks that a task may read: those given to it, and those of the store of its process."""

    def __init__(self, chunks: Mapping[Key, Any], behind: ChunkStore | None = None) -> None:
        self._chunks, self._behind = dict(chunks), behind

    def register(self, array: Any) -> None:
        """Register an array with the store."""
        if self._behind is not None:
            self._behind.register(array)

    def read_parts(self, array: Any, wanted: dict[Key, list[Cut]]) -> dict[Key, list[Any]]:
        """Parts of chunks; raises MissingChunks with the keys of those that are missing."""
        pixels = {key: self._find(key) for key in wanted}
        missing = [key for key, chunk in pixels.items() if chunk is None]
        if missing:
            self.register(array)
            raise MissingChunks(missing)
        return {key: _cut_parts(pixels[key], cuts, announced(array, key)) for key, cuts in wanted.items()}

    def _find(self, key: Key) -> NDArray[Any] | None:
        chunk = self._chunks.get(key)
        if chunk is None and self._behind is not None:
            chunk = self._behind.get(key)
        if isinstance(chunk, StoredChunk):
            chunk = self._chunks[key] = chunk.open()
        return chunk


class ChunkStore:
    """Chunks in the memory (`room`, bytes) and the files of this program, or with the workers of a cluster.

    Pickled to another process it stores everything in files there; the folder is made when needed.
    """

    def __init__(self, room: int, folder: Path | None = None) -> None:
        self._room, self._folder, self._lock = room, folder, Lock()
        self._here: dict[Hashable, Any] = {}
        self._far: dict[Hashable, Any] = {}
        self._arrays: dict[str, Any] = {}
        self._shared: frozenset[Hashable] | None = None
        self._clients: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkStore, (0, self._room_on_disk())

    def close(self) -> None:
        """Delete everything."""
        self._here, self._far, self._arrays = {}, {}, {}
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def register(self, array: Any) -> None:
        """Register an array by its name, under which tasks request its chunks."""
        if array.name not in self._arrays:
            self._arrays[array.name], self._shared = array, None

    def get(self, key: Hashable) -> StoredChunk | None:
        """Chunk of a key, or None if it is not stored."""
        if key in self._here:
            return StoredChunk(self._here[key])
        path = None if self._folder is None else _file_of(self._folder, key)
        return StoredChunk(path) if path is not None and path.exists() else None

    def put(self, key: Hashable, value: Any) -> StoredChunk:
        """Store a value in memory if it fits there, else in a file."""
        known = self.get(key)
        if known is not None:
            return known
        size = int(sizeof(value))
        with self._lock:
            fits = size <= self._room
            self._room -= size if fits else 0
        if fits:
            self._here[key] = _own_copy(value)
            return StoredChunk(self._here[key])
        return self._write(key, value)

    def store_and_return(self, key: Hashable, value: Any) -> Any:
        """Store an intermediate result and return it."""
        self.put(key, value)
        return value

    def nodes(self, keys: Iterable[Key]) -> dict[Key, Any]:
        """Chunks of registered arrays, or the collections that compute and store them."""
        wanted: dict[str, dict[Key, None]] = {}
        for key in keys:
            wanted.setdefault(key[0], {})[key] = None
        found: dict[Key, Any] = {}
        for name, own in wanted.items():
            if name not in self._clients:
                self._clients[name] = client_for(self._arrays[name])
            find = self._nodes_here if self._clients[name] is None else self._nodes_there
            found |= find(self._arrays[name], list(own))
        return found

    def _nodes_here(self, array: Any, keys: list[Key]) -> dict[Key, Any]:
        found: dict[Key, Any] = {key: self.get(key) for key in keys}
        missing = [key for key, chunk in found.items() if chunk is None]
        if not missing:
            return found
        graph, shared = _graph_of(array, missing, self._shared_keys())
        for key in shared:
            chunk = self.get(key)
            graph[key] = (partial(self.store_and_return, key), graph[key]) if chunk is None else (chunk.load,)
        graph |= {
            ("xcoreg-stored", *key): (partial(self._store_chunk, key, announced(array, key)), key) for key in missing
        }
        ends = _collections(f"xcoreg-stored-{array.name}", graph, [("xcoreg-stored", *key) for key in missing])
        return found | dict(zip(missing, ends, strict=True))

    def _store_chunk(self, key: Key, said: tuple[Any, ...], pixels: Any) -> StoredChunk:
        return self.put(key, check_block(pixels, *said))

    def _nodes_there(self, array: Any, keys: list[Key]) -> dict[Key, Any]:
        missing = [key for key in keys if key not in self._far]
        if missing:
            graph, shared = _graph_of(array, missing, self._shared_keys())
            for key in shared & self._far.keys():
                graph[key] = self._far[key].__dask_graph__()[key]
            new: list[Any] = [*missing, *(shared - self._far.keys() - set(missing))]
            there = self._clients[array.name].persist(_collections(array.name, graph, new))
            self._far.update(zip(new, there, strict=True))
        return {key: self._far[key] for key in keys}

    def _shared_keys(self) -> frozenset[Hashable]:
        if self._shared is None:
            self._shared = shared_keys(list(self._arrays.values()))
        return self._shared

    def read_parts(self, array: Any, wanted: dict[Key, list[Cut]]) -> dict[Key, list[Any]]:
        """Parts of chunks; those that are not stored are computed together."""
        self.register(array)
        nodes = self.nodes(wanted)
        pick = delayed(_copy_parts, pure=False)
        cuts = {key: partial(_cut_parts, cuts=wanted[key], said=announced(array, key)) for key in wanted}
        found = {key: cuts[key](node.open()) for key, node in nodes.items() if isinstance(node, StoredChunk)}
        rest = [key for key in wanted if key not in found]
        parts = compute_items([pick(nodes[key], cuts[key]) for key in rest]) if rest else ()
        return found | dict(zip(rest, parts, strict=True))

    def _write(self, key: Hashable, value: Any) -> StoredChunk:
        """Store a value in a file; on a full disk it is returned without being stored."""
        folder = self._room_on_disk()
        if folder is None:
            return StoredChunk(value)
        path, part = _file_of(folder, key), folder / f"{uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                _save(file, value)
            part.replace(path)
        except Exception as error:  # noqa: BLE001 - a full disk, or a value that cannot be pickled
            logger.warning("chunk not stored, it may be computed again: %s", error)
            part.unlink(missing_ok=True)
            return StoredChunk(value)
        return StoredChunk(path)

    def _room_on_disk(self) -> Path | None:
        with self._lock:
            if self._folder is None:
                parent = dask.config.get("temporary-directory", None) or tempfile.gettempdir()
                try:
                    self._folder = make_temporary_folder(Path(parent) / "chunks")
                except OSError as error:
                    logger.warning("no folder for chunks in %s: %s", parent, error)
            return self._folder


def _graph_of(array: Any, keys: list[Key], shared: frozenset[Hashable]) -> tuple[dict[Any, Any], set[Hashable]]:
    """Graph that computes some chunks, and the shared keys in it that have to be computed."""
    whole = array.__dask_graph__()
    needed = shared.intersection(whole.cull(set(keys)).keys()) if shared else set()
    graph = dict(array.__dask_optimize__(whole, [*keys, *needed]))
    return graph, {key for key in needed if is_task(graph[key])}


def _collections(name: str, graph: dict[Any, Any], keys: Sequence[Hashable]) -> list[Any]:
    """Make a collection of each key of one graph."""
    layered = HighLevelGraph({name: graph}, {name: set()})
    return [Delayed(key, layered, layer=name) for key in keys]  # type: ignore[no-untyped-call]


def _copy_parts(chunk: Any, pick: Any) -> list[NDArray[Any]]:
    """Copy parts of a chunk, so that it can be freed."""
    pixels = chunk.open() if isinstance(chunk, StoredChunk) else chunk
    return [np.array(part) for part in pick(pixels)]


def _cut_parts(pixels: Any, cuts: list[Cut], said: tuple[Any, ...]) -> list[Any]:
    made = check_block(pixels, *said)
    return [made[cut] for cut in cuts]


def _own_copy(value: Any) -> Any:
    """Copy a part of a larger array, which would stay in memory with it."""
    base = getattr(value, "base", None)
    return value.copy() if isinstance(base, np.ndarray) and base.nbytes > value.nbytes else value


def _file_of(folder: Path, key: Hashable) -> Path:
    return folder / sha256(repr(key).encode()).hexdigest()


def _save(file: Any, value: Any) -> None:
    if type(value) is np.ndarray and not value.dtype.hasobject:
        np.save(file, value)
    else:
        pickle.dump(value, file, protocol=5)


def _load(path: Path, mode: Any) -> Any:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            file.seek(0)
            return pickle.load(file)
    return np.load(path, mmap_mode=mode)
