"""What is no path, fit, seed, column, mask, scale or dtype is refused where it is given, by an error of xcoreg."""

from __future__ import annotations

import json
import warnings
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr

import xcoreg
from xcoreg.arosics import COREG, DESHIFTER
from xcoreg.batches.stac import read_items
from xcoreg.coregister import correct_file, gcps_of
from xcoreg.errors import CoregWarning, OptionError, is_number, numbers_of
from xcoreg.files import check_output


@pytest.mark.parametrize("path", [5, None, {"a": 1}, np.array([1]), np.datetime64("2024-01-01"), b"x"])
def test_what_is_no_path(path, small_fit):
    uses = (
        xcoreg.load_fit,
        xcoreg.load_stack,
        small_fit.save,
        small_fit.report,
        small_fit.points.save,
        xcoreg.TiePoints.load,
    )
    for use in (*uses, xcoreg.read_gcps):
        with pytest.raises(OptionError, match="is no path"):
            use(path)


@pytest.mark.parametrize("other", [None, "fit.json", 5, {}, xr.DataArray(5)])
def test_what_is_no_fit(other, small_scene):
    for use in (
        lambda: xcoreg.apply(small_scene.tgt, other),
        lambda: small_scene.tgt.coreg.apply(other, like=small_scene.ref),
    ):
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
def test_a_mask_that_is_none(mask, small_scene, small_fit, tmp_path):
    image = small_scene.tgt.assign_coords(valid_mask=mask)
    uses = (
        lambda: image.coreg.match(small_scene.ref),
        lambda: xcoreg.apply(image, small_fit, like=small_scene.ref).compute(),
        lambda: xcoreg.write_raster(image, tmp_path / "a.tif"),
    )
    for use in uses:
        with pytest.raises(OptionError, match=r"'valid_mask' is .* over .*drop_vars"):
            use()


def test_chunks_of_unknown_sizes(small_scene, small_fit):
    lazy = small_scene.tgt.chunk(64).data
    image = xr.DataArray(lazy[lazy[:, 0] > 0], dims=("y", "x"))
    for use in (lambda: xcoreg.match(image, small_scene.ref), lambda: xcoreg.apply(image, small_fit)):
        with pytest.raises(OptionError, match=r"unknown sizes.*compute_chunk_sizes"):
            use()


@pytest.mark.parametrize("value", ["", "x", (1, 2), {}, np.nan, 0])
def test_a_scale_of_heights_that_is_no_number(value, small_scene):
    image = small_scene.tgt.astype("f4").assign_attrs(scale_factor=value)
    with pytest.raises(OptionError, match=r"the scale of the heights is .*da\.attrs"):
        xcoreg.match(image, small_scene.ref, matcher="nuth_kaab")


@pytest.mark.parametrize("dtype", [False, "junk", {}, 5, xr.Dataset(), NotImplemented])
def test_an_encoding_that_is_no_dtype(dtype, small_scene, tmp_path):
    image = small_scene.tgt.copy()
    image.encoding["dtype"] = dtype
    with pytest.warns(CoregWarning, match="dtype="):
        path = xcoreg.write_raster(image, tmp_path / "a.tif")
    np.testing.assert_array_equal(xcoreg.open_raster(path)[0], small_scene.tgt)


@pytest.mark.parametrize(
    ("key", "at", "value"), [("transform", 5, "nan"), ("transform", 2, "inf"), ("shape", 0, 10**29)]
)
def test_texts_and_numbers_without_end_in_a_fit_file(key, at, value, small_fit, tmp_path):
    data = small_fit.to_dict()
    for place in (data, data["details"]["ref_grid"]):
        changed = json.loads(json.dumps(data))
        there = changed if place is data else changed["details"]["ref_grid"]
        there[key][at] = value
        (tmp_path / "fit.json").write_text(json.dumps(changed))
        with pytest.raises(OptionError, match="damaged fit: ValueError a grid"):
            xcoreg.load_fit(tmp_path / "fit.json")


@pytest.mark.parametrize("text", ["[" * 10**5 + "]" * 10**5, '{"a":' * 10**5 + "1" + "}" * 10**5])
def test_trees_without_end(text, small_scene, tmp_path):
    path = tmp_path / "deep.geojson"
    path.write_text(text)
    uses = (xcoreg.load_fit, xcoreg.load_stack, xcoreg.read_gcps, lambda source: read_items(source, None))
    for use in (*uses, lambda where: xcoreg.match(small_scene.tgt, small_scene.ref, where=where)):
        with pytest.raises(OptionError, match=r"deep\.geojson"):
            use(path)


@pytest.mark.parametrize("gcps", ["junk", "[]", '{"features":[{}]}', 5, [1]])
def test_control_points_in_attributes_that_are_damaged(gcps, small_scene):
    image = small_scene.tgt.drop_vars("spatial_ref").drop_vars(["x", "y"]).rio.write_crs(4326)
    image.spatial_ref.attrs["gcps"] = gcps
    with pytest.raises(OptionError, match="control points in the attributes"):
        gcps_of(image)


@pytest.mark.parametrize("end", [".tfw", ".prj", ".dbf"])
def test_what_describes_an_input_is_not_replaced(end, small_scene, tmp_path):
    path = xcoreg.write_raster(small_scene.tgt, tmp_path / "a.tif")
    beside = path.with_suffix(end)
    beside.write_text("mine")
    with pytest.raises(OptionError, match="is a part of the input"):
        check_output(beside, inputs=[path])


def test_a_grid_of_an_image_without_end(small_scene, small_fit, tmp_path):
    path = xcoreg.write_raster(small_scene.tgt, tmp_path / "a.tif")
    place = "<SRS>EPSG:32633</SRS><GeoTransform>300000,10,0,5900000,0,-10</GeoTransform>"
    band = '<VRTRasterBand dataType="Byte" band="1"/>'
    like = tmp_path / "like.vrt"
    like.write_text(f'<VRTDataset rasterXSize="400000" rasterYSize="400000">{place}{band}</VRTDataset>')
    with pytest.raises(OptionError, match="the output would have 400000 x 400000 pixels"):
        correct_file(path, small_fit, tmp_path / "o.tif", like=str(like))


class Endless:
    """A sequence of numbers that nobody can read to its end."""

    def __len__(self):
        return 10**12

    def __getitem__(self, at):
        return 1.0


ENDLESS = [Endless(), range(10**12), np.broadcast_to(1.0, 10**12), "9" * 10**5, b"9" * 10**5, np.timedelta64(5, "s")]
USES = {
    "match": lambda scene, name, value: xcoreg.match(scene.tgt, scene.ref, **{name: value}),
    "match_local": lambda scene, name, value: xcoreg.match_local(scene.tgt, scene.ref, **{name: value}),
    "apply": lambda scene, name, value: xcoreg.apply(scene.tgt, scene.tgt.coreg.match(scene.ref), **{name: value}),
    "stack": lambda scene, name, value: xcoreg.match_stack({"a": scene.ref, "b": scene.tgt}, **{name: value}),
    "Corners": lambda scene, name, value: xcoreg.Corners(**CORNERS | {name: value}),
    "fit_gcps": lambda scene, name, value: xcoreg.fit_gcps(PLACES, **{name: value}),
    "simulate": lambda scene, name, value: xcoreg.simulate.pair(**{"shape": (64, 64), name: value}),
    "arosics": lambda scene, name, value: COREG(scene.ref, scene.tgt, q=True, **{name: value}),
}  # fmt: skip
CORNERS = {"ul": (12.0, 50.0), "ur": (12.1, 50.0), "lr": (12.1, 49.9), "ll": (12.0, 49.9)}
PLACES = xcoreg.GCPs(
    [0.0, 90, 80, 4], [0.0, 5, 99, 88], [12.0, 12.9, 12.8, 12.04], [50.0, 49.95, 49.01, 49.12], crs=4326
)
OPTIONS = {
    "match": ["at", "initial_shift", "window", "windows", "max_shift", "contrast", "matcher", "geometry", "errors",
              "band"],
    "match_local": ["spacing", "max_points", "model", "filters"],
    "apply": ["resolution", "resampling", "nodata"],
    "stack": ["contrast", "errors", "progress", "pairs", "max_pairs", "max_shift", "reference"],
    "Corners": ["ul", "crs"],
    "fit_gcps": ["weights", "robust", "order", "model", "crs"],
    "simulate": ["shape", "shift", "seed"],
    "arosics": ["ws", "wp", "nodata", "path_out", "out_gsd", "fmt_out", "out_crea_options", "align_grids",
                "data_corners_ref", "target_xyGrid", "clipextent"],
}  # fmt: skip


@pytest.mark.parametrize("value", ENDLESS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb, names in OPTIONS.items() for name in names])
def test_options_without_end_and_times_are_refused_at_once(verb, name, value, small_scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if (verb, name) in (("arosics", "path_out"), ("arosics", "fmt_out")) and isinstance(value, str):
            return  # it is only used where something is written
        with pytest.raises(OptionError) as caught:
            USES[verb](small_scene, name, value)
    assert len(str(caught.value)) <= 4000


def test_a_message_of_any_length_is_cut():
    assert len(str(OptionError("x" * 10**6))) < 4000


@pytest.mark.parametrize("number", [True, 1j, "1", np.timedelta64(1), np.bool_(True), None, [1]])
def test_what_is_no_number(number):
    assert not is_number(number)
    assert numbers_of([number, 1.0], 2) is None


@pytest.mark.parametrize(
    "number", [1, 2.5, np.float32(1), np.int8(3), Fraction(1, 2), np.array(2.0), xr.DataArray(2.0)]
)
def test_numbers_of_any_kind(number):
    assert numbers_of([number, 1], 2) == [float(number), 1.0]


@pytest.mark.parametrize("result", [None, 5, {}, {"xcoreg fit": {}}, np.zeros(3)])
def test_what_is_no_result_of_arosics(result, small_scene):
    with pytest.raises(OptionError, match="coreg_info was not made"):
        DESHIFTER(small_scene.tgt, result)


def test_chunks_of_a_few_pixels_along_other_axes_are_refused(small_scene, tmp_path):
    """5440 of them kept dask busy for two minutes and took 1.8 GB."""
    image = small_scene.tgt.expand_dims(wavelength=np.arange(100.0)).chunk({"wavelength": 1, "y": 8, "x": 16})
    with pytest.raises(OptionError, match="chunks of about"):
        xcoreg.write_raster(image, tmp_path / "o.zarr")


@pytest.mark.parametrize("name", ["driver", "creation", "manifest", "report"])
def test_settings_of_a_batch_that_are_arrays(name, small_scene, tmp_path):
    xcoreg.write_raster(small_scene.tgt, tmp_path / "a.tif")
    pairs = [{"target": str(tmp_path / "a.tif"), "reference": str(tmp_path / "a.tif")}]
    with pytest.raises(OptionError, match=name):
        xcoreg.batch(pairs, tmp_path / "out", **{name: np.zeros((0, 3))})


def test_a_dataset_is_no_image_of_arosics(small_scene):
    with pytest.raises(OptionError, match="one of its variables, a"):
        COREG(small_scene.ref, small_scene.tgt.to_dataset(name="a"))


@pytest.mark.parametrize("kind", [np.longdouble, np.float16, np.uint8, int])
def test_a_nodata_value_of_any_kind_is_read_again(kind, small_scene, tmp_path):
    fit = small_scene.tgt.coreg.match(small_scene.ref, nodata=kind(1), ref_nodata=kind(1))
    fit.save(tmp_path / "fit.json")
    assert xcoreg.load_fit(tmp_path / "fit.json").details.tgt_nodata == 1


def test_a_name_that_netcdf_cannot_hold(small_scene, tmp_path):
    with pytest.raises(OptionError, match="cannot be written as netCDF"):
        xcoreg.write_raster(small_scene.tgt.rename("x" * 500), tmp_path / "o.nc")
