import json
import math

import numpy as np
import pytest

from xcoreg.core.matches import decode, decode_column, encode, encode_column


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


def test_settings_survive_json_exactly():
    settings = {"max_shift": 0.1 + 0.2, "at": None, "n": 9, "on": True, "who": ["a", {"b": 1e-300}]}
    assert decode(through_json(encode(settings))) == settings


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_floats_that_are_not_finite_survive_in_settings(value):
    back = decode(through_json(encode({"nodata": value})))["nodata"]
    assert np.array_equal(back, value, equal_nan=True)


def test_numpy_and_tuples_become_plain():
    assert encode({"a": np.float32(0.5), "b": np.arange(2), "c": (np.int16(3),)}) == {"a": 0.5, "b": [0, 1], "c": [3]}


def test_functions_are_stored_by_name():
    assert encode(through_json) == "through_json"


def test_columns_survive_json_exactly():
    column = np.random.default_rng(1).normal(size=(5, 2, 2)) * 1e-7
    column[1, 0, 0], column[2] = np.nan, -np.inf
    back = decode_column(through_json(encode_column(column)))
    assert np.array_equal(back, column, equal_nan=True)


def test_a_column_of_something_else_is_refused():
    with pytest.raises(ValueError, match="expected a number, found dict"):
        decode_column([1.0, {}])
