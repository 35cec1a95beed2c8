"""What is no path, fit, seed, column, mask, scale or dtype is refused where it is given, by an error of xcoreg."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import xcoreg
from xcoreg.errors import CoregWarning, OptionError


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((128, 128), shift=(1.3, -0.8), seed=7)


@pytest.fixture(scope="module")
def fit(scene):
    return scene.tgt.coreg.match(scene.ref)


@pytest.mark.parametrize("path", [5, None, {"a": 1}, np.array([1]), np.datetime64("2024-01-01"), b"x"])
def test_what_is_no_path(path, fit):
    uses = (xcoreg.load_fit, xcoreg.load_stack, fit.save, fit.report, fit.points.save, xcoreg.TiePoints.load)
    for use in (*uses, xcoreg.read_gcps):
        with pytest.raises(OptionError, match="is no path"):
            use(path)


@pytest.mark.parametrize("other", [None, "fit.json", 5, {}, xr.DataArray(5)])
def test_what_is_no_fit(other, scene):
    for use in (lambda: xcoreg.apply(scene.tgt, other), lambda: scene.tgt.coreg.apply(other, like=scene.ref)):
        with pytest.raises(OptionError, match=r"fit is a .*xcoreg\.load_fit"):
            use()


@pytest.mark.parametrize("column", ["x", {}, 1j, 10**400, ["a"] * 4, [[1], [2, 3]], iter([1])])
def test_what_is_no_column(column):
    with pytest.raises(OptionError, match="row of the GCPs is no column of numbers"):
        xcoreg.GCPs([1.0, 2, 3, 4], column, [1.0, 2, 3, 4], [1.0, 2, 3, 4])


@pytest.mark.parametrize(
    ("options", "words"),
    [({"seed": "x"}, "seed is"), ({"seed": -1}, "seed is"), ({"seed": [1]}, "seed is"), ({"shift": 5}, "shift is"),
     ({"shift": (1, "a")}, "shift is"), ({"shift": (1, np.nan)}, "shift is"), ({"shape": "ab"}, "shape is"),
     ({"shape": np.array(5)}, "shape is"), ({"shape": (64.5, 64)}, "shape is")],
)  # fmt: skip
def test_what_is_no_scene(options, words):
    with pytest.raises(OptionError, match=words):
        xcoreg.simulate.pair(**{"shape": (64, 64), **options})


@pytest.mark.parametrize("mask", [5, np.nan, ("x", np.ones(128)), (("y", "x"), np.full((128, 128), "a"))])
def test_a_mask_that_is_none(mask, scene, fit, tmp_path):
    image = scene.tgt.assign_coords(valid_mask=mask)
    uses = (
        lambda: image.coreg.match(scene.ref), lambda: xcoreg.apply(image, fit, like=scene.ref).compute(),
        lambda: xcoreg.write_raster(image, tmp_path / "a.tif"),
    )  # fmt: skip
    for use in uses:
        with pytest.raises(OptionError, match=r"'valid_mask' is .* over .*drop_vars"):
            use()


def test_chunks_of_unknown_sizes(scene, fit):
    lazy = scene.tgt.chunk(64).data
    image = xr.DataArray(lazy[lazy[:, 0] > 0], dims=("y", "x"))
    for use in (lambda: xcoreg.match(image, scene.ref), lambda: xcoreg.apply(image, fit)):
        with pytest.raises(OptionError, match=r"unknown sizes.*compute_chunk_sizes"):
            use()


@pytest.mark.parametrize("value", ["", "x", (1, 2), {}, np.nan, 0])
def test_a_scale_of_heights_that_is_no_number(value, scene):
    image = scene.tgt.astype("f4").assign_attrs(scale_factor=value)
    with pytest.raises(OptionError, match=r"the scale of the heights is .*da\.attrs"):
        xcoreg.match(image, scene.ref, matcher="nuth_kaab")


@pytest.mark.parametrize("dtype", [False, "junk", {}, 5, xr.Dataset(), NotImplemented])
def test_an_encoding_that_is_no_dtype(dtype, scene, tmp_path):
    image = scene.tgt.copy()
    image.encoding["dtype"] = dtype
    with pytest.warns(CoregWarning, match="dtype="):
        path = xcoreg.write_raster(image, tmp_path / "a.tif")
    np.testing.assert_array_equal(xcoreg.open_raster(path)[0], scene.tgt)


@pytest.mark.parametrize(
    ("key", "at", "value"), [("transform", 5, "nan"), ("transform", 2, "inf"), ("shape", 0, 10**29)]
)
def test_texts_and_numbers_without_end_in_a_fit_file(key, at, value, fit, tmp_path):
    data = fit.to_dict()
    for place in (data, data["details"]["ref_grid"]):
        changed = json.loads(json.dumps(data))
        there = changed if place is data else changed["details"]["ref_grid"]
        there[key][at] = value
        (tmp_path / "fit.json").write_text(json.dumps(changed))
        with pytest.raises(OptionError, match="damaged fit: ValueError a grid"):
            xcoreg.load_fit(tmp_path / "fit.json")
