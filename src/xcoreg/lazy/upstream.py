"""What lies between the pixels somebody has and the chunks of an image: what several chunks share there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

__all__ = ["is_read", "is_task", "shared_keys"]

# Names that rioxarray, xarray and dask give to arrays that are read, not computed.
_READ = ("open_rasterio-", "open_dataset-", "open_zarr-", "xarray-", "array-", "from-zarr-", "from_array-", "original-")


def is_read(array: Any) -> bool:
    """Tell whether an array is read from somewhere, or in memory already, not computed.

    Parameters
    ----------
    array : dask.array.Array

    Returns
    -------
    bool
        Also for what was cut out of such an array.

    Examples
    --------
    >>> import dask.array as da
    >>> image = da.from_array(np.zeros(9), chunks=3)
    >>> is_read(image[2:7]), is_read(image + 1), is_read((image + 1).persist())
    (True, False, True)
    """
    from dask.highlevelgraph import MaterializedLayer

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
    """Tell whether a node of a graph is to be computed, not at hand."""
    from dask.core import istask

    task: Any = istask
    return bool(task(node)) or (hasattr(node, "dependencies") and type(node).__name__ not in ("DataNode", "Alias"))


def shared_keys(arrays: Sequence[Any]) -> frozenset[Hashable]:
    """Find what several chunks of some images are made from, and is computed itself.

    Parameters
    ----------
    arrays : sequence of dask.array.Array

    Returns
    -------
    frozenset
        Keys of their graphs. When these are kept, as chunks are, nothing is computed twice. What leads to one of them,
        or to one chunk, alone is left out.

    Examples
    --------
    >>> import dask.array as da
    >>> image = da.zeros((4, 4), chunks=2) + 1
    >>> {key[0] == image.name for key in shared_keys([2 * image, image > 0])}
    {True}
    >>> shared_keys([2 * image]), len(shared_keys([image.rechunk((4, 1))]))
    (frozenset(), 4)
    """
    from dask.highlevelgraph import HighLevelGraph

    if not _may_share(arrays):
        return frozenset()
    before: Any = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays)).get_all_dependencies()
    ends: set[Hashable] = {(array.name, *at) for array in arrays for at in np.ndindex(*array.numblocks)}
    return frozenset(key for key in _shared(before, ends) if not _name_of(key).startswith(_READ))


def _may_share(arrays: Sequence[Any]) -> bool:
    """Tell whether chunks may have anything in common, from the layers of graphs alone."""
    layers = Counter(name for array in arrays for name in array.__dask_graph__().layers)
    common = any(count > 1 and not name.startswith(_READ) for name, count in layers.items())
    return common or not all(_is_straight(array) for array in arrays)


def _is_straight(array: Any) -> bool:
    """Tell whether each chunk is made from the chunks at the same place of other arrays."""
    from dask.blockwise import Blockwise

    graph = array.__dask_graph__()
    return all(
        isinstance(layer, Blockwise) and all(blocks == array.numblocks for blocks in layer.numblocks.values())
        for name, layer in graph.layers.items()
        if graph.dependencies[name] and not name.startswith(_READ)
    )


def _shared(before: Mapping[Hashable, Iterable[Hashable]], ends: set[Hashable]) -> set[Hashable]:
    """Find keys that more than one end, or other key of this kind, is made from."""
    after = _users(before, ends)
    # Through which end or shared key each one is computed; whoever uses a key comes before it.
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
    """List who uses each key that leads to an end."""
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
