"""Graphs of lazy results: as large as their outputs, of small tasks, with the same names for the same results."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import numpy as np
import pytest
from xarray import DataArray

import xcoreg
from xcoreg.simulate import pair, smooth_field

SIZE = 1000
MODELS = ["translation", "polynomial3", "piecewise", "spline"]


@pytest.fixture(scope="module")
def both():
    return pair((SIZE, SIZE), shift=smooth_field((SIZE, SIZE), 2.5, seed=1), seed=2)


@pytest.fixture(scope="module")
def points(both):
    return xcoreg.tie_points(both.tgt, both.ref, spacing=20, window=32)


def blank(like, times, chunk=200):
    """A lazy image with the upper left corner of another one, so many times as large."""
    rows, cols = (size * times for size in like.shape)
    values = da.zeros((rows, cols), chunks=chunk, dtype=like.dtype)
    x, y = float(like.x[0]) + 10.0 * np.arange(cols), float(like.y[0]) - 10.0 * np.arange(rows)
    return DataArray(values, {"y": y, "x": x}, ("y", "x"), attrs=like.attrs).rio.write_crs(like.rio.crs)


def own_tasks(array):
    """Tasks of a lazy result that are not those of the image it is made of."""
    return {key: task for key, task in dict(array.__dask_graph__()).items() if "xcoreg" in str(key)}


@pytest.mark.parametrize("model", MODELS)
def test_tasks_are_small_and_share_what_is_large(model, both, points):
    assert len(points) > 2000
    fit = both.tgt.coreg.match_local(both.ref, points=points, model=model)
    tasks = own_tasks(both.tgt.chunk(100).coreg.apply(fit, like=both.ref).data)
    sizes = {key: len(pickle.dumps(task)) for key, task in tasks.items()}
    shared = [key for key in sizes if isinstance(key, str)]
    assert len(shared) == 1  # the model, once
    assert max(size for key, size in sizes.items() if key not in shared) < 2000
    if model != "piecewise":  # which has a row for every triangle
        assert sizes[shared[0]] < 50_000


@pytest.mark.filterwarnings("ignore::xcoreg.errors.Extrapolation")
def test_the_number_of_tasks_goes_with_the_chunks_of_the_output(both, points):
    fit = both.tgt.coreg.match_local(both.ref, points=points, model="affine")
    made = [blank(both.tgt, times).coreg.apply(fit, align_grid=True).data for times in (1, 2, 4)]
    each = [len(own_tasks(one)) / one.npartitions for one in made]
    assert max(each) < 6
    assert max(each) < 1.4 * min(each)


@pytest.mark.parametrize("model", MODELS)
def test_the_same_image_fit_and_options_have_the_same_name(model, both, tmp_path):
    fit = both.tgt.coreg.match_local(both.ref, spacing=100, window=64, model=model)
    fit.save(tmp_path / "fit.json")
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        name, again = (
            both.tgt.chunk(250).coreg.apply(one, like=both.ref).data.name
            for one in (fit, xcoreg.load_fit(tmp_path / "fit.json"))
        )
    assert name == again


def test_another_image_fit_or_option_has_another_name(both):
    fit, less = (both.tgt.coreg.match_local(both.ref, spacing=n, window=64, model="affine") for n in (100, 150))
    image = both.tgt.chunk(250)
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        made = [
            image.coreg.apply(fit, like=both.ref),
            image.coreg.apply(less, like=both.ref),
            image.coreg.apply(fit, like=both.ref, resampling="bilinear"),
            image.coreg.apply(fit, align_grid=True),
            image.coreg.apply(fit, like=both.ref[1:]),
            (image + 0).assign_attrs(image.attrs).coreg.apply(fit, like=both.ref),
            both.tgt.chunk(200).coreg.apply(fit, like=both.ref),
        ]
    assert len({one.data.name for one in made}) == 7
