"""Classes are never interpolated unless a user insists; what belongs to old pixels does not travel to new ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import rioxarray
from affine import Affine
from tests.io.test_tags import RPCS
from xarray import Dataset

from xcoreg.errors import CoregWarning
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.raster.grid import grid_of
from xcoreg.warp.apply import apply

GRID = Affine(10, 0, 300000, 0, -10, 5900040)


def checks(shape=(100, 120)):
    row, col = np.indices(shape)
    return np.where((row // 10 + col // 10) % 2, 1, 5).astype("uint8")


def write_classes(path, kind):
    options = {"nbits": 1} if kind == "single bits" else {}
    profile = {"driver": "GTiff", "width": 120, "height": 100, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", **profile, transform=GRID, **options) as file:
        file.write(checks()[None] // (5 if kind == "single bits" else 1))
        if kind == "colour table":
            file.write_colormap(1, {1: (0, 90, 0, 255), 5: (200, 0, 0, 255)})
        if kind == "thematic":
            file.update_tags(1, LAYER_TYPE="thematic")
    if kind == "names":
        text = "<CategoryNames><Category>a</Category></CategoryNames>"
        path.with_name(f"{path.name}.aux.xml").write_text(
            f'<PAMDataset><PAMRasterBand band="1">{text}</PAMRasterBand></PAMDataset>'
        )
    return path


# rioxarray 0.23 calls metres EPSG:4326 where a file has RPCs, too; xcoreg refuses that, and opens such files right.
NEW_RIOXARRAY = tuple(map(int, rioxarray.__version__.split(".")[:2])) >= (0, 23)
OPENING = [
    pytest.param(open_raster, id="xcoreg"),
    pytest.param(
        rioxarray.open_rasterio, id="rioxarray", marks=pytest.mark.skipif(NEW_RIOXARRAY, reason="CRS of RPCs")
    ),
]
KINDS = ("colour table", "single bits", "thematic", "names")


@pytest.mark.filterwarnings("ignore:.*has no nodata value")
@pytest.mark.parametrize("opening", [open_raster, rioxarray.open_rasterio], ids=["xcoreg", "rioxarray"])
@pytest.mark.parametrize("kind", KINDS)
def test_classes_of_a_file_default_to_nearest(tmp_path, make_fit, kind, opening):
    image = opening(write_classes(tmp_path / "a.tif", kind))
    like = grid_of(image).pad(-20)
    out = apply(image, make_fit(3.3, 4.4), like=like)
    assert set(np.unique(out)) == set(np.unique(image))
    assert json.loads(out.attrs["xcoreg"])[-1]["did"] == "resampled (nearest)"


@pytest.mark.parametrize("attrs", [{"flag_values": [1, 5]}, {"flag_masks": [1, 4], "flag_meanings": "a b"}])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_flags_of_cf_default_to_nearest(make_image, make_fit, attrs, dtype):
    image = make_image(checks().astype(dtype), attrs=attrs)
    out = apply(image, make_fit(3.3, 4.4), like=grid_of(image).pad(-20))
    assert set(np.unique(out)) == {1, 5}


def test_other_images_default_to_cubic(make_image, make_fit):
    image = make_image(checks())
    like = grid_of(image).pad(-20)
    plain, given = (
        apply(image, make_fit(3.3, 4.4), like=like),
        apply(image, make_fit(3.3, 4.4), like=like, resampling="cubic"),
    )
    np.testing.assert_array_equal(plain, given)
    assert len(np.unique(plain)) > 2


def test_of_a_dataset_each_variable_has_its_kernel(make_image, make_fit):
    product = Dataset({"red": make_image(checks()), "classes": make_image(checks(), attrs={"flag_values": [1, 5]})})
    out = apply(product, make_fit(3.3, 4.4), like=grid_of(product.red).pad(-20))
    assert set(np.unique(out.classes)) == {1, 5}
    assert len(np.unique(out.red)) > 2
    assert json.loads(out.attrs["xcoreg"])[-1]["did"] == "resampled (cubic, nearest)"


def test_who_insists_gets_a_mixture_and_a_warning(make_image, make_fit):
    image = make_image(checks(), attrs={"flag_values": [1, 5]})
    like = grid_of(image).pad(-20)
    with pytest.warns(CoregWarning, match="holds classes .* resampling='cubic' mixes"):
        out = apply(image, make_fit(3.3, 4.4), like=like, resampling="cubic")
    assert len(np.unique(out)) > 2


def test_resampled_classes_keep_their_colours(tmp_path, make_fit):
    image = open_raster(write_classes(tmp_path / "a.tif", "colour table"))
    out = write_raster(apply(image, make_fit(3.3, 4.4), like=grid_of(image).pad(-20)), tmp_path / "b.tif")
    with rasterio.open(out) as file:
        assert file.colormap(1)[5] == (200, 0, 0, 255)


# --- what counts or describes the old pixels -------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path):
    path = write_classes(tmp_path / "scene.tif", "thematic")
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="RPC", **RPCS)
        file.update_tags(1, STATISTICS_MEAN="3", wavelength="490")
    return path


@pytest.mark.parametrize("opening", OPENING)
@pytest.mark.parametrize("name", ["b.tif", "b.bsq", "b.png", "b.jp2"])
def test_rpcs_and_statistics_go_with_a_moved_image(scene, tmp_path, make_fit, opening, name):
    out = write_raster(apply(opening(scene), make_fit(40.0, 30.0)), tmp_path / name)
    with rasterio.open(out) as file:
        assert (file.rpcs.samp_off, file.rpcs.line_off) == (60, 131)
        assert file.tags(1)["STATISTICS_MEAN"] == "3"


@pytest.mark.parametrize("opening", OPENING)
def test_new_pixels_have_neither(scene, tmp_path, make_fit, opening):
    image = opening(scene)
    like = grid_of(image).pad(-20)
    with pytest.warns(CoregWarning, match="RPCs of the image belong to its old pixels: they are dropped"):
        fixed = apply(image, make_fit(3.0, 4.0), like=like)
    with rasterio.open(write_raster(fixed, tmp_path / "b.tif")) as file:
        assert file.rpcs is None
        assert (file.tags(1).get("STATISTICS_MEAN"), file.tags(1)["wavelength"]) == (None, "490")
