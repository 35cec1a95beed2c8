"""Applying stacks: one grid and one interpolation for cubes, moved transforms for lists, by name and by time."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xcoreg
from xcoreg import CoregWarning, MatchError, OptionError
from xcoreg.simulate import cube


@pytest.fixture(scope="module")
def made():
    return cube(5, (200, 200), clouds=0.1, seed=4)


@pytest.fixture(scope="module")
def stack(made):
    return made.cube.coreg.match_stack()


def test_a_cube_is_interpolated_as_each_date_alone(made, stack):
    out = made.cube.coreg.apply(stack)
    assert out.coreg.grid == made.cube.coreg.grid
    assert out.dtype == made.cube.dtype
    for at in range(5):
        alone = made.cube[at].coreg.apply(stack.fit(at), like=made.cube.coreg.grid)
        assert (out[at].values == alone.values).all()


def test_a_lazy_cube_stays_lazy_and_has_the_same_pixels(made, stack):
    lazy = made.cube.chunk(time=2, y=90, x=200).coreg.apply(stack)
    assert lazy.chunks is not None
    assert (lazy.compute() == made.cube.coreg.apply(stack)).all()
    again = made.cube.chunk(time=2, y=90, x=200).coreg.apply(stack)
    assert lazy.data.name == again.data.name


def test_matching_again_finds_nothing_left(made, stack):
    again = made.cube.coreg.apply(stack).coreg.match_stack()
    assert np.median(np.hypot(*again.shifts_px.T)) < 0.05


def test_datasets_bands_and_other_pixel_sizes(made, stack):
    both = xr.Dataset({"red": made.cube, "nir": made.cube.astype("float32")}, attrs={"title": "kept"})
    out = both.coreg.apply(stack)
    assert set(out.data_vars) == {"red", "nir"}
    assert out.attrs["title"] == "kept"
    assert (out.red == made.cube.coreg.apply(stack)).all()
    banded = xr.concat([made.cube, made.cube], "band").transpose("time", "band", "y", "x").assign_coords(band=[1, 2])
    fixed = banded.coreg.apply(stack)
    assert fixed.dims == ("time", "band", "y", "x")
    assert (fixed[:, 1] == made.cube.coreg.apply(stack)).all()
    coarse = made.cube.coreg.apply(stack, resolution=20.0)
    assert coarse.coreg.grid.affine.a == 20.0


def test_dates_are_recognised_by_their_names(made, stack):
    some = made.cube[[3, 1]].coreg.apply(stack)
    whole = made.cube.coreg.apply(stack)
    assert (some.values == whole[[3, 1]].values).all()
    one = made.cube[2].coreg.apply(stack)
    assert (one.values == whole[2].values).all()
    grouped = made.cube.groupby("time").map(lambda date: date.coreg.apply(stack))
    assert (grouped.values == whole.values).all()
    with pytest.raises(OptionError, match="no date '2021"):
        made.cube.assign_coords(time=made.cube.time + np.timedelta64(366, "D")).coreg.apply(stack)


def test_dates_that_only_their_order_names_are_not_guessed(made, stack):
    plain = made.cube.drop_vars("time")
    found = plain.coreg.match_stack()
    assert found.shifts_px == pytest.approx(stack.shifts_px, abs=0.01)
    assert plain.coreg.apply(found).sizes["time"] == 5
    with pytest.raises(OptionError, match="order"):
        plain[2:4].coreg.apply(found)
    with pytest.raises(OptionError, match="give times"):
        plain.coreg.extend_stack(found)
    twice = made.cube.assign_coords(time=made.cube.time.values[[0, 0, 0, 3, 4]])
    found = twice.coreg.match_stack()
    assert twice.coreg.apply(found).sizes["time"] == 5
    with pytest.raises(OptionError, match="order"):
        twice[1:3].coreg.apply(found)


def test_of_a_list_transforms_are_moved(made, stack):
    images = [made.cube[at] for at in range(5)]
    moved = xcoreg.apply(images, stack)
    for at, one in enumerate(moved):
        assert float(one.x[0] - made.cube.x[0]) == pytest.approx(stack.shifts[at, 0])
        assert (one.values == images[at].values).all()
    onto = xcoreg.apply(images, stack, like=made.cube.coreg.grid)
    assert (onto[1].values == made.cube.coreg.apply(stack)[1].values).all()


def test_dates_that_are_not_placed_are_left_out_by_name():
    other = cube(6, (200, 200), clouds=0, strangers=(2,), seed=1)
    with pytest.warns(CoregWarning, match="not placed"):
        stack = other.cube.coreg.match_stack()
    with pytest.warns(CoregWarning, match="1 of 6 dates are left out.*2020-02-06"):
        out = other.cube.coreg.apply(stack)
    assert out.sizes["time"] == 5
    assert np.datetime64("2020-02-06") not in out.time.values
    with pytest.raises(MatchError, match="2020-02-06"):
        other.cube[2].coreg.apply(stack)


def test_a_cube_is_not_corrected_twice_in_silence(made, stack):
    out = made.cube.coreg.apply(stack)
    assert stack.id in out.attrs["xcoreg"]
    with pytest.warns(CoregWarning, match="already"):
        out.coreg.apply(stack)


def test_pixels_without_data_stay_without(made, stack):
    holes = made.cube.copy()
    holes[:, 50:80, 50:80] = 0
    out = holes.coreg.apply(stack)
    assert ((out == 0).mean(("y", "x")) > 0.015).all()


def test_the_graph_is_small(made, stack):
    lazy = made.cube.chunk(time=1).coreg.apply(stack)
    assert len(dict(lazy.__dask_graph__())) < 5 * 8


def test_axes_in_another_order_and_degrees_without_a_crs(made):
    turned = made.cube.transpose("y", "x", "time")
    stack = turned.coreg.match_stack()
    assert turned.coreg.apply(stack).dims == turned.dims
    plain = made.cube.drop_vars("spatial_ref").rename(x="longitude", y="latitude").drop_attrs()
    plain = plain.assign_coords(longitude=10 + np.arange(200) * 1e-4, latitude=50 - np.arange(200) * 1e-4)
    with pytest.warns(CoregWarning, match="WGS 84"):
        degrees = plain.coreg.match_stack(nodata=0)
    assert degrees.shifts_px == pytest.approx(stack.shifts_px, abs=0.01)
    with pytest.warns(CoregWarning, match="WGS 84"):
        assert plain.coreg.apply(degrees, nodata=0).rio.crs.to_epsg() == 4326
