"""Stored pixels of a variable: only the windows asked for, whatever the variable rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xcoreg import lazy

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray
    from xarray import Variable

__all__ = ["Box", "is_stored", "read_boxes"]

#: Rows row0 <= row < row1 and columns col0 <= col < col1: (row0, row1, col0, col1), px.
Box: TypeAlias = "tuple[int, int, int, int]"


def is_stored(variable: Variable) -> bool:
    """Tell whether a variable's pixels are read from somewhere, in memory or in a file, not computed.

    Parameters
    ----------
    variable : Variable

    Returns
    -------
    bool
        False for what dask computes. Parts of what is stored, and what was persisted here, are stored.

    Examples
    --------
    >>> from xarray import Variable
    >>> is_stored(Variable("x", [1, 2]))
    True
    """
    return variable.chunks is None or lazy.is_read(variable.data)


def read_boxes(
    variable: Variable,
    lead: Mapping[Hashable, int],
    dims: tuple[Hashable, Hashable],
    boxes: Sequence[Box],
    step: tuple[int, int] = (1, 1),
) -> list[NDArray[Any]]:
    """Read windows of one band as they are stored.

    Parameters
    ----------
    variable : Variable
        In memory, lazily indexed or dask's; for dask this is one computation.
    lead : mapping of dimension to position
        What selects the band. Selecting and cutting in one indexing lets a lazy source read the window alone,
        where dask would otherwise load whole chunks.
    dims : (y_dim, x_dim)
        The spatial dimensions.
    boxes : sequence of (row0, row1, col0, col1)
        Inside the image.
    step : (rows, columns)
        Take every so many rows and columns.

    Returns
    -------
    list of (rows, columns) arrays
        In the variable's dtype.

    Examples
    --------
    >>> from xarray import Variable
    >>> cube = Variable(("band", "y", "x"), np.arange(24).reshape(2, 3, 4))
    >>> read_boxes(cube, {"band": 1}, ("y", "x"), [(1, 3, 0, 2)])[0].tolist()
    [[16, 17], [20, 21]]
    """
    parts = []
    for row0, row1, col0, col1 in boxes:
        window = {**lead, dims[0]: slice(row0, row1, step[0]), dims[1]: slice(col0, col1, step[1])}
        parts.append(variable.isel(window).transpose(*dims))
    if variable.chunks is None:
        return [np.asarray(part.values) for part in parts]
    fused = len(parts) > 1 and is_stored(variable)
    windows = [lazy.fused(part.data) if fused else part.data for part in parts]
    return [np.asarray(block) for block in lazy.compute_all(windows)]
