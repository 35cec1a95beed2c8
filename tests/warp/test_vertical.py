"""Heights: dz is added where it belongs, once, at the position in the target, and never to what is missing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import dask
import dask.array as da
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import Dataset

from xcoreg.core.models import Translation
from xcoreg.errors import OptionError
from xcoreg.georef import pixel_to_map, transform_points
from xcoreg.raster.grid import grid_of
from xcoreg.warp.apply import apply
from xcoreg.warp.mapping import compose
from xcoreg.warp.plan import Displacement
from xcoreg.warp.vertical import TOLERANCE, VerticalCorrection, identity_mapping


def make_grid(transform, shape, crs):
    return GeoBox(shape, Affine(*transform), crs)


ORIGIN = Affine(10, 0, 300000, 0, -10, 5900040)
LIFT = Translation(3.5, 15.5, -2.25)


@dataclass(frozen=True)
class Bent:
    """A correction that varies in every direction; x and y may stay constant."""

    kind: ClassVar[str] = "bent"
    dz_constant: ClassVar[None] = None
    scatter: ClassVar[tuple] = ((0.0, 0.0), (0.0, 0.0))

    size: float = 12.0
    length: float = 900.0

    def predict(self, x, y):
        u, v = (np.asarray(x) - 3e5) / self.length, (np.asarray(y) - 5.9e6) / self.length
        return 4 + self.size * np.sin(u), -7 + self.size * np.cos(v + u)

    def predict_dz(self, x, y):
        u, v = (np.asarray(x) - 3e5) / self.length, (np.asarray(y) - 5.9e6) / self.length
        return 5 + 8 * np.sin(u + 2 * v) + 0.01 * (np.asarray(x) - 3e5) ** 2 / 1e4


@dataclass(frozen=True)
class Tilted(Bent):
    """One shift and a dz that varies: what a deramp of a whole image gives."""

    kind: ClassVar[str] = "translation"

    def predict(self, x, y):
        return np.full(np.shape(x), 3.5), np.full(np.shape(x), 15.5)


def hills(x, y):
    """Heights, smooth to the scale of pixels."""
    return 500 + 120 * np.sin((x - 3e5) / 230) * np.cos((y - 5.9e6) / 310)


def centres(shape, transform=ORIGIN):
    row, col = np.mgrid[: shape[0], : shape[1]]
    return pixel_to_map(transform, col, row)


@pytest.fixture
def dem(make_image):
    """Heights with a void, nodata -9999, float32."""
    heights = hills(*centres((100, 120))).astype(np.float32)
    heights[40:44, 50:56] = -9999
    return make_image(heights, attrs={"_FillValue": np.float32(-9999)})


def lazily(image, chunks):
    return image.copy(data=da.from_array(image.values, chunks=chunks))


# --- without interpolation -----------------------------------------------------------------------------------------


def test_a_moved_dem_is_raised_and_its_voids_are_not(dem, make_fit):
    out = apply(dem, make_fit(model=LIFT))
    void = dem.values == -9999
    np.testing.assert_array_equal(out.values[~void], dem.values[~void] - np.float32(2.25))
    assert (out.values[void] == -9999).all()
    assert out.dtype == np.float32
    assert (grid_of(out).affine.c, grid_of(out).affine.f) == (300003.5, 5900055.5)


def test_raising_stays_lazy_and_keeps_the_chunks(dem, make_fit, computes):
    out = apply(lazily(dem, (33, 50)), make_fit(model=Tilted()))
    assert computes.n == 0
    assert out.chunks == ((33, 33, 33, 1), (50, 50, 20))


def test_a_tilt_is_that_of_the_place_before_the_move(dem, make_fit):
    out = apply(dem, make_fit(model=Tilted()))
    expected = dem.values + Tilted().predict_dz(*centres((100, 120)))
    good = dem.values != -9999
    assert np.abs(out.values - expected)[good].max() < TOLERANCE + 1e-4  # float32


@pytest.mark.parametrize("dz", [0.0, np.nan], ids=["none", "unknown"])
def test_without_dz_the_pixels_are_the_very_same(dem, make_fit, dz):
    fit = make_fit(model=Translation(3.5, 15.5, dz))
    assert apply(dem, fit).variable._data is dem.variable._data


def test_the_history_records_what_was_done(dem, make_fit):
    done = json.loads(apply(dem, make_fit(model=LIFT)).attrs["xcoreg"])
    assert [one["did"] for one in done] == ["added the vertical correction", "moved the transform"]
    assert done[0]["dz"] == -2.25


# --- with it ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["bilinear", "cubic", "lanczos", "nearest"])
def test_one_interpolation_takes_height_and_dz_from_one_place(make_image, make_fit, kernel):
    model, like = Bent(), GeoBox((70, 90), Affine(9, 0, 300200, 0, -9, 5899900), "EPSG:32633")
    dem = make_image(hills(*centres((100, 120))))
    out = apply(dem, make_fit(model=model), like=like, resampling=kernel, vertical=True)
    x, y = centres(like.shape, like.affine)
    move = Displacement.of(model, "EPSG:32633", grid_of(dem))
    at = move.invert(x, y)
    plain = apply(dem, make_fit(model=model), like=like, resampling=kernel, vertical=False)
    assert np.abs(out.values - plain.values - model.predict_dz(*at)).max() < 2 * TOLERANCE
    if kernel in ("cubic", "lanczos"):
        assert np.abs(out.values - hills(*at) - model.predict_dz(*at)).max() < 0.1


def test_it_puts_simulated_terrain_right(make_image, make_fit):
    # The reference is made from the target by the definition: z_ref(q + d(q)) = z_tgt(q) + dz(q).
    model, shape = Bent(size=15.0), (100, 120)
    dem = make_image(hills(*centres(shape)))
    q = Displacement.of(model, "EPSG:32633", grid_of(dem)).invert(*centres(shape))
    truth = hills(*q) + model.predict_dz(*q)
    out = apply(dem, make_fit(model=model), like=dem)
    left = (out.values - truth)[5:-5, 5:-5]
    assert np.sqrt(np.mean(left**2)) < 0.005
    assert np.abs(hills(*centres(shape)) - truth).mean() > 5


def test_voids_stay_voids_and_do_not_leak(dem, make_fit):
    out = apply(dem, make_fit(model=LIFT), like=dem)
    good = out.values != -9999
    assert 20 <= (~good[20:80, 20:80]).sum() <= 30
    assert out.values[good].min() > 370


def test_nan_voids_of_an_image_that_covers_the_output_stay_nan(make_image, make_fit):
    heights = hills(*centres((60, 60)))
    heights[30, 30] = np.nan
    like = GeoBox((20, 20), Affine(10, 0, 300200, 0, -10, 5899840), "EPSG:32633")
    for fit in (make_fit(model=LIFT), make_fit()):
        out = apply(make_image(heights), fit, like=like)
        assert int(np.isnan(out.values).sum()) == 1
        assert np.nanmin(out.values) > 300


@pytest.mark.parametrize("model", [LIFT, Tilted(), Bent()], ids=["shift", "tilt", "field"])
@pytest.mark.parametrize("chunks", [(100, 120), (17, 31), (64, 7)])
def test_any_chunks_and_scheduler_give_the_same_bytes(dem, make_fit, model, chunks):
    fit, like = make_fit(model=model), None if model is not LIFT else dem
    expected = apply(dem, fit, like=like).values
    out = apply(lazily(dem, chunks), fit, like=like)
    for scheduler in ("sync", "threads"):
        with dask.config.set(scheduler=scheduler):
            assert out.compute().values.tobytes() == expected.tobytes()


def test_equal_inputs_give_equal_names(dem, make_fit):
    one, two = (apply(lazily(dem, (50, 50)), make_fit(model=Bent())) for _ in range(2))
    assert one.data.name == two.data.name


def test_another_crs_takes_dz_at_the_same_place(make_image, make_fit):
    dem = make_image(hills(*centres((100, 120))))
    lon, lat = transform_points(
        "EPSG:32633", "EPSG:4326", np.array([300300.0, 300900.0]), np.array([5899300.0, 5899800.0])
    )
    like = GeoBox.from_bbox((lon[0], lat[0], lon[1], lat[1]), "EPSG:4326", shape=(40, 60))
    fit = make_fit(model=Tilted())
    dz = (apply(dem, fit, like=like) - apply(dem, fit, like=like, vertical=False)).values
    x, y = transform_points("EPSG:4326", "EPSG:32633", *centres((40, 60), like.affine))
    assert np.abs(dz - Tilted().predict_dz(x - 3.5, y - 15.5)).max() < 2 * TOLERANCE


# --- which images, which types -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "options", "raised", "becomes"),
    [
        ("float32", {}, True, "float32"),
        ("float64", {}, True, "float64"),
        ("int16", {}, True, "float32"),
        ("int32", {}, True, "float64"),
        ("uint8", {}, False, "uint8"),
        ("uint16", {}, False, "uint16"),
        ("uint16", {"vertical": True}, True, "float32"),
        ("int16", {"resampling": "nearest"}, False, "int16"),
        ("float32", {"resampling": "nearest"}, False, "float32"),
        ("float32", {"vertical": False}, False, "float32"),
        ("float32", {"vertical": True, "resampling": "nearest"}, True, "float32"),
        ("bool", {}, False, "bool"),
    ],
)
def test_what_may_hold_heights_gets_dz(make_image, make_fit, dtype, options, raised, becomes):
    image = make_image(np.full((8, 9), 7, dtype))
    out = apply(image, make_fit(model=LIFT), **options)
    assert out.dtype == np.dtype(becomes)
    assert (out.values == (7 - 2.25 if raised else image.values)).all()


@pytest.mark.parametrize("like", [False, True], ids=["moved", "resampled"])
def test_integer_heights_become_floating_with_their_nodata(make_image, make_fit, like):
    heights = np.rint(hills(*centres((60, 60)))).astype(np.int16)
    heights[20:30, 20:30] = -32768
    image = make_image(heights, attrs={"_FillValue": np.int16(-32768)})
    image.encoding |= {"dtype": "int16", "rasterio_dtype": "int16"}
    out = apply(image, make_fit(10.0, 20.0, model=Translation(10.0, 20.0, 0.25)), like=image if like else None)
    assert out.dtype == np.float32
    assert out.attrs["_FillValue"].dtype == np.float32
    assert not {"dtype", "rasterio_dtype"} & set(out.encoding)
    inner = out.values[out.values != -32768]
    assert (inner % 1 == 0.25).all()  # whole pixels: copied, then raised
    assert (out.values == -32768).sum() >= 100


def test_decoded_heights_forget_how_their_file_rounds(make_image, make_fit):
    image = make_image(hills(*centres((20, 20))))
    image.encoding |= {"dtype": "int16", "scale_factor": 0.1, "add_offset": 0.0, "_FillValue": -32768}
    out = apply(image, make_fit(model=LIFT), like=image)
    assert not {"dtype", "scale_factor", "add_offset"} & set(out.encoding)
    assert image.encoding["dtype"] == "int16"


def test_of_a_dataset_each_variable_is_asked(dem, make_image, make_fit):
    stable = make_image(np.ones((100, 120), np.uint8), attrs={"_FillValue": np.uint8(255)})
    product = Dataset({"z": dem, "stable": stable})
    for options in ({}, {"like": dem}):
        out = apply(product, make_fit(model=LIFT), **options)
        assert out.stable.dtype == np.uint8
        assert set(np.unique(out.stable)) <= {1, 255}
        np.testing.assert_array_equal(out.z, apply(dem, make_fit(model=LIFT), **options))


def test_no_height_becomes_nodata_by_accident(make_image, make_fit):
    image = make_image(np.array([[102.25, -100.0], [7.0, 8.0]], np.float32), attrs={"_FillValue": np.float32(100)})
    out = apply(image, make_fit(model=LIFT)).values
    assert out[0, 0] != 100
    assert out[0, 0] == pytest.approx(100, abs=1e-4)
    assert out[0, 1] == -102.25


def test_heights_of_unknown_dz_are_missing(make_image, make_fit):
    class Torn(Tilted):
        def predict_dz(self, x, y):
            return np.where(np.asarray(x) > 300050, np.nan, 1.0)

    image = make_image(np.full((4, 12), 5.0, np.float32), attrs={"_FillValue": np.float32(-1)})
    out = apply(image, make_fit(model=Torn())).values
    assert out[0].tolist() == [6.0] * 5 + [-1.0] * 7


@pytest.mark.parametrize(
    ("model", "dtype", "words"), [(None, "f4", "no vertical correction"), (LIFT, "bool", "no elevation")]
)
def test_what_cannot_be_raised_is_refused(make_image, make_fit, model, dtype, words):
    with pytest.raises(OptionError, match=words):
        apply(make_image(np.ones((4, 4), dtype)), make_fit(model=model), vertical=True)


# --- the lattice of dz ------------------------------------------------------------------------------------------------


def test_dz_of_a_large_output_is_right_wherever_a_block_begins():
    grid = make_grid(tuple(ORIGIN)[:6], (1500, 1300), "EPSG:32633")
    move = Displacement.of(Bent(length=2000.0), "EPSG:32633", grid)
    correction = VerticalCorrection.of(compose(grid, grid, move))
    block = slice(1000, 1100), slice(900, 1250)
    found = correction.at(*block)
    row, col = np.mgrid[block]
    assert np.abs(found - correction.exact(row, col)[0]).max() < TOLERANCE
    assert (found[24:60, 3:90] == correction.at(slice(1024, 1060), slice(903, 990))).all()


def test_a_tilt_needs_a_handful_of_nodes():
    asked = []

    class Plane(Tilted):
        def predict_dz(self, x, y):
            asked.append(np.size(x))
            return 1e-3 * (np.asarray(x) - 3e5) - 2e-3 * (np.asarray(y) - 5.9e6)

    grid = make_grid(tuple(ORIGIN)[:6], (1024, 1024), "EPSG:32633")
    VerticalCorrection.of(identity_mapping(grid, Displacement.of(Plane(), "EPSG:32633", grid))).at(
        slice(0, 1024), slice(0, 1024)
    )
    assert sum(asked) < 1500
