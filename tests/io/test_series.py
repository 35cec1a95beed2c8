"""Series of images: names and times of dates."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xcoreg
from xcoreg import OptionError
from xcoreg.io.series import dates_of, series_dim
from xcoreg.simulate import cube


@pytest.fixture
def made():
    return cube(3, (32, 32), clouds=0, seed=1).cube


def test_dates_of_a_cube_have_the_names_of_their_times(made):
    dates = dates_of(made)
    assert [one.name for one in dates] == ["2020-01-05", "2020-01-21", "2020-02-06"]
    assert dates[1].time == np.datetime64("2020-01-21")
    assert dates[1].image.dims == ("y", "x")


def test_times_within_a_day_are_part_of_the_name(made):
    times = made.time.values + np.timedelta64(37, "m")
    assert dates_of(made.assign_coords(time=times))[0].name == "2020-01-05T00:37"


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("S2A_20200131T101021_B04.tif", "2020-01-31"),
        ("scene_2019-07-04.tif", "2019-07-04"),
        ("LC08_192024_20210315_02.tif", "2021-03-15"),
        ("ortho_20201399.tif", "NaT"),
        ("tile_1.tif", "NaT"),
    ],
)
def test_files_are_dated_by_their_names(made, tmp_path, name, day):
    path = xcoreg.write_raster(made[0].drop_vars("time"), tmp_path / name)
    (date,) = dates_of([path])
    assert date.name == name.removesuffix(".tif")
    assert str(date.time)[:10] == day


def test_equal_names_are_numbered(made):
    images = [made[0].drop_vars("time").rename("a")] * 2
    assert [one.name for one in dates_of(images)] == ["a #1", "a #2"]


def test_cubes_in_lists_and_axes_beside_time_are_refused(made):
    with pytest.raises(OptionError, match="is a cube itself"):
        dates_of([made, made])
    several = xr.concat([made, made], "orbit")
    with pytest.raises(OptionError, match="several axes"):
        series_dim(several)
    with pytest.raises(OptionError, match="give DataArrays"):
        dates_of([3])
