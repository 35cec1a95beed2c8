"""Values to plain JSON types and back, without losing a digit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode", "decode_column", "encode", "encode_column"]

# JSON has no NaN and no infinity: inside free-form settings, where null has its own meaning, they travel under a tag.
_TAG = "float"


def encode(value: Any) -> Any:
    """Turn a setting into plain JSON types.

    Parameters
    ----------
    value : object
        Numbers, strings, None, arrays, and mappings or sequences of them. Floats that are not finite are tagged;
        a function becomes its name; anything else its text.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Examples
    --------
    >>> encode({"nodata": float("-inf"), "at": (1, np.float64(2.5)), "matcher": math.hypot})
    {'nodata': {'float': '-inf'}, 'at': [1, 2.5], 'matcher': 'hypot'}
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_TAG: str(float(value))}
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [encode(item) for item in value]
    return getattr(value, "__qualname__", None) or str(value)


def decode(value: Any) -> Any:
    """Undo :func:`encode`.

    Examples
    --------
    >>> decode({"nodata": {"float": "-inf"}, "at": [1, 2.5]})
    {'nodata': -inf, 'at': [1, 2.5]}
    """
    if isinstance(value, dict):
        if set(value) == {_TAG} and isinstance(value[_TAG], str):
            return float(value[_TAG])
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value


def encode_column(values: Any) -> Any:
    """Turn numbers into (nested) lists: NaN becomes null, infinities the text 'inf' or '-inf'.

    Examples
    --------
    >>> encode_column([[0.1, float("nan")], [float("inf"), 2.0]])
    [[0.1, None], ['inf', 2.0]]
    """
    plain = values.tolist() if isinstance(values, np.generic | np.ndarray) else values
    if isinstance(plain, list | tuple):
        return [encode_column(item) for item in plain]
    if isinstance(plain, float) and not math.isfinite(plain):
        return None if math.isnan(plain) else str(plain)
    return plain


def decode_column(values: Any) -> NDArray[np.float64]:
    """Undo :func:`encode_column`.

    Raises
    ------
    ValueError
        When something in it is not a number.

    Examples
    --------
    >>> decode_column([[0.1, None], ["inf", 2.0]])
    array([[0.1, nan],
           [inf, 2. ]])
    """
    return np.array(_floats(values), np.float64)


def _floats(values: Any) -> Any:
    if isinstance(values, list | tuple):
        return [_floats(item) for item in values]
    if isinstance(values, int | float | str):
        return float(values)
    if values is None:
        return math.nan
    raise ValueError(f"expected a number, found {type(values).__name__}")
