"""Interpolation does little work per pixel; benchmarks/warping.py compares its time with GDAL's."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.warp.apply import apply
from xcoreg.warp.resample import Resampler


@pytest.fixture
def shifted(make_image, make_fit):
    """What a shift by fractions of a pixel makes of 1500 x 1500 px, by cubic interpolation."""
    values = np.random.default_rng(0).integers(1, 60000, (1500, 1500)).astype(np.uint16)
    image, fit = make_image(values, attrs={"_FillValue": np.uint16(0)}), make_fit(3.57, 15.66)
    return lambda: apply(image, fit, like=image)


def test_a_shift_goes_along_rows_and_columns(shifted, monkeypatch):
    def position_by_position(*_):
        raise AssertionError("a shift does not need the position of every pixel")

    monkeypatch.setattr(Resampler, "_resample_tiles", position_by_position)
    assert shifted().values.any()


def test_a_shift_takes_little(shifted, effort):
    took = effort(shifted)
    assert took.calls < 50_000  # 20 000: none is done for one pixel or one row alone
    assert took.megabytes < 15  # 9.5, of which the output is 4.5
