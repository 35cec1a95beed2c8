"""Applying a fit: where every pixel ends up, in every kind of image."""

from __future__ import annotations

import json
import pickle
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import Dataset

from xcoreg.core.matches import Status
from xcoreg.errors import CoregWarning, MatchError, NoOverlap, NotGeoreferenced, OptionError
from xcoreg.georef import map_to_pixel, pixel_to_map, transform_points
from xcoreg.raster.grid import grid_of
from xcoreg.warp.apply import apply

WITH_NODATA = {"_FillValue": np.uint16(0)}
SOUTH_UP = Affine(10, 0, 300000, 0, 10, 5899440)
ROTATED = Affine(8.66, 5.0, 300000, 5.0, -8.66, 5900040)
DEGREES = Affine(0.0001, 0, 12.0, 0, -0.0001, 53.2)


def smooth(rows, cols):
    """Brightness as a function of map-like positions: interpolation of it has next to no error."""
    return 1000 + 400 * np.sin(rows / 17) + 300 * np.cos(cols / 13) + 200 * np.sin((rows + cols) / 23)


def smooth_scene(shape, dtype=np.float64):
    row, col = np.mgrid[: shape[0], : shape[1]].astype(float)
    return smooth(row, col).astype(dtype)


# --- the transform moves ---------------------------------------------------------------------------------------------


def test_one_shift_moves_the_transform_and_shares_the_pixels(scene, make_image, make_fit):
    image = make_image(scene)
    out = apply(image, make_fit(3.5, 15.5))
    assert out.variable._data is image.variable._data
    assert grid_of(out).affine == Affine(10, 0, 300003.5, 0, -10, 5900055.5)
    assert out.x.values[:2].tolist() == [300008.5, 300018.5]
    assert out.y.values[:2].tolist() == [5900050.5, 5900040.5]
    assert out.spatial_ref.attrs["GeoTransform"] == "300003.5 10.0 0.0 5900055.5 0.0 -10.0"


def test_the_seed_arithmetic(scene, make_image, make_fit):
    # REFERENCE 1.2: (0.357885632465, -1.566162680016) px on a 10 m grid.
    out = apply(make_image(scene), make_fit(3.578856324660592, 15.661626799963415))
    moved = grid_of(out).affine
    assert moved.c == pytest.approx(300003.57885632466, abs=1e-9)
    assert moved.f == pytest.approx(5900055.6616268, abs=1e-8)


def test_the_input_is_left_as_it_was(scene, make_image, make_fit):
    image = make_image(scene, attrs={"sensor": "MSI"})
    before = image.copy(deep=True)
    apply(image, make_fit())
    apply(image, make_fit(), align_grid=True, nodata=0)
    assert image.identical(before)
    assert image.spatial_ref.attrs == before.spatial_ref.attrs
    assert image.encoding == {"grid_mapping": "spatial_ref"}


def test_moving_computes_nothing(scene, make_image, make_fit, computes):
    image = make_image(da.from_array(scene, chunks=16))
    out = apply(image, make_fit())
    assert computes.n == 0
    assert out.data is image.data


@pytest.mark.parametrize("transform", [SOUTH_UP, ROTATED], ids=["south-up", "rotated"])
def test_moving_any_grid_adds_the_shift_to_every_pixel(scene, make_image, make_fit, transform):
    out = grid_of(apply(make_image(scene, transform), make_fit(3.5, 15.5))).affine
    assert tuple(out)[:6] == pytest.approx(
        (transform.a, transform.b, transform.c + 3.5, transform.d, transform.e, transform.f + 15.5), abs=1e-6
    )


def test_a_shift_in_metres_moves_an_image_in_degrees(scene, make_image, make_fit):
    image = make_image(scene, DEGREES, "EPSG:4326")
    old, new = grid_of(image).affine, grid_of(apply(image, make_fit(30.0, -40.0), force=True)).affine
    lon, lat = np.array([old.c, new.c]) + 0.0025, np.array([old.f, new.f]) - 0.003
    x, y = transform_points("EPSG:4326", "EPSG:32633", lon, lat)
    assert np.diff(x)[0] == pytest.approx(30.0, abs=1e-3)
    assert np.diff(y)[0] == pytest.approx(-40.0, abs=1e-3)


def test_a_fit_moves_another_pixel_size_by_the_same_metres(make_image, make_fit):
    image = make_image(np.ones((20, 30), np.uint8), Affine(60, 0, 300000, 0, -60, 5900040))
    assert grid_of(apply(image, make_fit(3.5, 15.5))).affine == Affine(60, 0, 300003.5, 0, -60, 5900055.5)


# --- whole pixels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "lanczos"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int64", "float32", "float64"])
def test_no_shift_onto_the_own_grid_gives_the_input(scene, make_image, make_fit, resampling, dtype):
    image = make_image(scene.astype(dtype), attrs={"_FillValue": np.dtype(dtype).type(7)})
    out = apply(image, make_fit(0.0, 0.0), like=image, resampling=resampling)
    assert out.dtype == image.dtype
    assert np.array_equal(out.values, image.values)
    assert out.equals(image)


@pytest.mark.parametrize("transform", [Affine(10, 0, 300000, 0, -10, 5900040), SOUTH_UP, DEGREES, ROTATED])
def test_a_whole_pixel_shift_moves_pixels_bit_by_bit(scene, make_image, make_fit, transform):
    values = scene.astype(np.float32)
    values[5, 6] = np.nan
    values[20:25, 10:14] = -9999
    crs = "EPSG:4326" if transform is DEGREES else "EPSG:32633"
    image = make_image(values, transform, crs, attrs={"_FillValue": np.float32(-9999)})
    dx, dy = 3 * transform.a + 2 * transform.b, 3 * transform.d + 2 * transform.e  # 3 columns right, 2 rows down
    out = apply(image, make_fit(dx, dy, crs), like=image, resampling="cubic", force=True)
    assert np.array_equal(out.values[2:, 3:], values[:-2, :-3], equal_nan=True)
    assert (out.values[:2] == -9999).all()
    assert (out.values[:, :3] == -9999).all()


def test_a_south_up_image_is_turned_over_bit_by_bit(scene, make_image, make_fit):
    image = make_image(scene[::-1], SOUTH_UP, attrs=WITH_NODATA)
    north_up = make_image(scene, Affine(10, 0, 300000, 0, -10, 5899440 + 600))
    out = apply(image, make_fit(0.0, 0.0), like=north_up)
    assert np.array_equal(out.values, scene)


# --- between pixels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [Affine(10, 0, 300000, 0, -10, 5900040), SOUTH_UP, ROTATED])
def test_content_goes_where_the_correction_says(make_image, make_fit, transform):
    image = make_image(smooth_scene((80, 70)), transform)
    fit = make_fit(13.7, -8.2)
    out = apply(image, fit, like=make_image(np.zeros((40, 50)), Affine(10, 0, 300103, 0, -10, 5900004)))
    x, y = pixel_to_map(grid_of(out).affine, *np.meshgrid(np.arange(50), np.arange(40)))
    col, row = map_to_pixel(transform, x - 13.7, y + 8.2)  # x_ref = x_tgt + dx
    inside = (row > 2) & (row < 77) & (col > 2) & (col < 67)
    assert inside.sum() > 300
    np.testing.assert_allclose(out.values[inside], smooth(row, col)[inside], atol=0.3)
    assert np.isnan(out.values[(row < -0.5) | (row > 79.5) | (col < -0.5) | (col > 69.5)]).all()


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "lanczos"])
def test_content_goes_where_it_should_in_another_crs(make_image, make_fit, resampling):
    image = make_image(smooth_scene((150, 160)), Affine(10, 0, 699000, 0, -10, 5901000), "EPSG:32632")
    fit = make_fit(21.0, -13.0, "EPSG:32632")
    grid = GeoBox((130, 140), Affine(10, 0, 298500, 0, -10, 5900900), "EPSG:32633")
    out = apply(image, fit, like=grid, resampling=resampling, force=True)
    x, y = pixel_to_map(grid.affine, *np.meshgrid(np.arange(140), np.arange(130)))
    x, y = transform_points("EPSG:32633", "EPSG:32632", x, y)
    col, row = map_to_pixel(Affine(10, 0, 699000, 0, -10, 5901000), x - 21.0, y + 13.0)
    inside = (row > 3) & (row < 146) & (col > 3) & (col < 156)
    assert inside.mean() > 0.9
    error = out.values[inside] - smooth(row, col)[inside]
    assert np.abs(error).max() < {"bilinear": 1.0, "cubic": 0.3, "lanczos": 1.5}[resampling]


def test_an_image_in_degrees_is_laid_on_metres(make_image, make_fit):
    image = make_image(smooth_scene((120, 150)), DEGREES, "EPSG:4326")
    grid = GeoBox((80, 70), Affine(10, 0, 299800, 0, -10, 5898600), "EPSG:32633")
    out = apply(image, make_fit(0.0, 0.0), like=grid, force=True)
    lon, lat = transform_points(
        "EPSG:32633", "EPSG:4326", *pixel_to_map(grid.affine, *np.meshgrid(np.arange(70), np.arange(80)))
    )
    col, row = map_to_pixel(DEGREES, lon, lat)
    inside = (row > 3) & (row < 116) & (col > 3) & (col < 146)
    assert inside.mean() > 0.2
    np.testing.assert_allclose(out.values[inside], smooth(row, col)[inside], atol=1.0)


def test_the_answer_is_gdals(make_image, make_fit):
    from rasterio.warp import Resampling, reproject

    image = make_image(smooth_scene((120, 130), np.uint16), attrs=WITH_NODATA)
    out = apply(image, make_fit(3.3, 17.9), like=image)
    expected = np.zeros(image.shape, np.uint16)
    there = {"src_crs": "EPSG:32633", "dst_crs": "EPSG:32633", "src_nodata": 0, "dst_nodata": 0}
    moved = Affine(10, 0, 300003.3, 0, -10, 5900057.9)
    reproject(
        image.values,
        expected,
        src_transform=moved,
        dst_transform=grid_of(image).affine,
        resampling=Resampling.cubic,
        **there,
    )
    assert np.array_equal(out.values == 0, expected == 0)
    inside = (slice(3, -3), slice(3, -3))
    assert np.abs(out.values[inside].astype(int) - expected[inside]).max() <= 1


def test_a_coarser_grid_gets_averages(make_image, make_fit):
    board = (np.indices((120, 120)).sum(axis=0) % 2 * 1000).astype(np.uint16) + 1
    image = make_image(board, attrs=WITH_NODATA)
    grid = GeoBox((10, 10), Affine(60, 0, 300180, 0, -60, 5899860), "EPSG:32633")
    assert np.abs(apply(image, make_fit(3.0, 4.0), like=grid).values - 501.0).max() <= 5
    turned = GeoBox((10, 10), Affine(50, 20, 300180, 20, -50, 5899660), "EPSG:32633")
    assert np.abs(apply(image, make_fit(3.0, 4.0), like=turned).values - 501.0).max() <= 5


def test_a_coarser_grid_displaces_nothing(make_image, make_fit):
    image = make_image(np.mgrid[:240, :240][1].astype(float))
    turned = GeoBox((12, 12), Affine(80, 30, 300700, 30, -80, 5899000), "EPSG:32633")
    out = apply(image, make_fit(0.0, 0.0), like=turned)
    x, _ = pixel_to_map(turned.affine, *np.meshgrid(np.arange(12), np.arange(12)))
    np.testing.assert_allclose(out.values, (x - 300005) / 10, atol=0.05)


# --- missing pixels and dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", [0, 255, 9])
def test_integers_saturate_and_nodata_stays_apart(make_image, make_fit, marker):
    rng = np.random.default_rng(1)
    values = rng.choice([v for v in (0, 1, 8, 10, 254, 255) if v != marker], (50, 50)).astype(np.uint8)
    values[10:20, 10:20] = marker
    image = make_image(values, attrs={"_FillValue": np.uint8(marker)})
    out = apply(image, make_fit(5.0, 5.0), like=image, resampling="lanczos")
    missing = np.zeros((50, 50), bool)
    missing[10:20, 10:20] = True
    shifted = np.ones_like(missing)
    # half a pixel right and up: the tie belongs to the higher source row and column
    shifted[:-1, :] = missing[1:, :]
    assert np.array_equal(out.values == marker, shifted)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, -9999.0])
@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "lanczos"])
def test_no_hole_leaks(make_image, make_fit, hole, resampling):
    values = smooth_scene((60, 60), np.float32)
    values[20:25, 30:33] = hole
    image = make_image(values, attrs={"_FillValue": np.float32(-9999)})
    out = apply(image, make_fit(3.3, 2.2), like=image, resampling=resampling).values
    kept = out[out != -9999]
    assert np.isfinite(kept).all()
    assert kept.min() > 100
    assert kept.max() < 2000
    assert (out[1:, 1:] == -9999).sum() == 15


def test_a_given_nodata_marks_pixels_and_is_recorded(make_image, make_fit):
    values = np.full((30, 30), 100, np.int16)
    values[10, 10] = -32768
    out = apply(make_image(values), make_fit(3.0, 3.0), like=make_image(values), nodata=-32768)
    assert set(np.unique(out.values)) == {-32768, 100}
    assert out.rio.nodata == -32768


def test_nodata_found_by_the_fit_is_used_for_images_not_for_masks(make_image, make_fit):
    values = np.full((100, 120), 30000, np.uint16)
    values[:30] = 0
    fit = make_fit(5.0, 3.0, tgt_nodata=0)
    out = apply(make_image(values), fit, like=make_image(values))
    assert set(np.unique(out.values)) == {0, 30000}
    assert (out.values[:29] == 0).all()
    assert out.rio.nodata == 0
    fit = make_fit(13.0, 3.0, tgt_nodata=0)
    with pytest.warns(CoregWarning, match="set to 65535"):
        mask = apply(make_image(values), fit, like=make_image(values), resampling="nearest")
    assert mask.rio.nodata == 65535
    with pytest.warns(CoregWarning, match="set to 65535, which does not occur"):  # its zeros are data
        other = apply(make_image(values[1:]), fit, like=make_image(values[1:]))
    assert len(np.unique(other.values)) > 2


@pytest.mark.parametrize(("dtype", "fill"), [("uint16", 0), ("int16", -32768), ("int32", -(2**31))])
def test_an_integer_image_without_nodata_gets_one_and_a_warning(make_image, make_fit, dtype, fill):
    image = make_image(np.full((20, 20), 100, dtype))
    with pytest.warns(CoregWarning, match=f"set to {fill}.*pass nodata=") as caught:
        out = apply(image, make_fit(13.0, 0.0), like=image)
    assert caught[0].filename == __file__
    assert set(np.unique(out.values)) == {fill, 100}
    assert out.rio.nodata == fill


def test_no_warning_where_nothing_is_missing(make_image, make_fit):
    image = make_image(np.full((20, 20), 100, np.uint8))
    inner = GeoBox((10, 10), Affine(10, 0, 300050, 0, -10, 5899990), "EPSG:32633")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = apply(image, make_fit(3.0, 3.0), like=inner)
    assert (out.values == 100).all()
    assert out.rio.nodata is None


def test_a_float_image_without_nodata_gets_nan(make_image, make_fit):
    image = make_image(np.ones((20, 20), np.float32))
    out = apply(image, make_fit(30.0, 0.0), like=image)
    assert np.isnan(out.values[:, :3]).all()
    assert np.isnan(out.rio.nodata)


def test_a_decoded_image_keeps_nan_and_the_value_on_file(make_image, make_fit):
    values = np.ones((20, 20), np.float32)
    values[5, 5] = np.nan
    image = make_image(values)
    image.encoding |= {"_FillValue": np.uint16(0), "dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1}
    out = apply(image, make_fit(31.0, 0.0), like=image)
    assert np.isnan(out.values[:, :3]).all()
    assert "_FillValue" not in out.attrs
    assert {key: out.encoding[key] for key in ("dtype", "scale_factor", "add_offset")} == {
        "dtype": "uint16",
        "scale_factor": 1e-4,
        "add_offset": -0.1,
    }
    assert out.encoding["_FillValue"] == 0


def test_booleans_come_from_the_nearest_pixel(make_image, make_fit):
    values = np.random.default_rng(2).random((20, 20)) > 0.5
    out = apply(make_image(values), make_fit(24.0, 0.0), like=make_image(values))
    assert out.dtype == bool
    assert np.array_equal(out.values[:, 2:], values[:, :-2])
    assert not out.values[:, :2].any()


def test_nearest_invents_no_label(make_image, make_fit):
    values = np.random.default_rng(3).choice([1, 5, 9], (40, 40)).astype(np.uint8)
    out = apply(make_image(values), make_fit(13.0, 4.0), like=make_image(values), resampling="nearest", nodata=0)
    assert set(np.unique(out.values)) == {0, 1, 5, 9}


# --- the grid --------------------------------------------------------------------------------------------------------


def test_align_grid_covers_the_moved_image_on_the_lattice_of_the_reference(scene, make_image, make_fit):
    out = apply(make_image(scene, attrs=WITH_NODATA), make_fit(3.5, 15.5), align_grid=True)
    assert grid_of(out).affine == Affine(10, 0, 300000, 0, -10, 5900060)
    assert out.shape == (61, 51)
    assert out.spatial_ref.attrs["GeoTransform"] == "300000.0 10.0 0.0 5900060.0 0.0 -10.0"


def test_align_grid_with_a_resolution(scene, make_image, make_fit):
    out = apply(make_image(scene, attrs=WITH_NODATA), make_fit(), resolution=20)
    assert grid_of(out).affine == Affine(20, 0, 300000, 0, -20, 5900060)
    assert out.shape == (31, 26)


def test_like_an_image_aligns_exactly(scene, make_image, make_fit):
    like = make_image(np.zeros((30, 40)), Affine(10, 0, 300013.7, 0, -10, 5899977.3))
    out = apply(make_image(scene, attrs=WITH_NODATA), make_fit(), like=like)
    assert out.x.identical(like.x)
    assert out.y.identical(like.y)
    assert (out - like).shape == like.shape


def test_a_grid_of_another_kind_names_its_axes(scene, make_image, make_fit):
    grid = GeoBox((50, 50), Affine(0.0001, 0, 12.006, 0, -0.0001, 53.212), "EPSG:4326")
    out = apply(make_image(scene, attrs=WITH_NODATA), make_fit(), like=grid)
    assert out.dims == ("latitude", "longitude")
    assert out.rio.crs == "EPSG:4326"
    assert grid_of(out).affine.almost_equals(grid.affine)


def test_a_rotated_grid_carries_its_transform_alone(scene, make_image, make_fit):
    grid = GeoBox((50, 50), ROTATED, "EPSG:32633")
    out = apply(make_image(scene, attrs=WITH_NODATA), make_fit(), like=grid)
    assert "x" not in out.coords
    assert grid_of(out).affine.almost_equals(ROTATED)


# --- dask ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    values = np.random.default_rng(4).integers(1, 60000, (600, 500)).astype(np.uint16)
    values[100:140, 200:230] = 0
    values[np.add.outer(np.arange(600), np.arange(500)) < 200] = 0
    return values


OTHER_CRS = GeoBox((560, 460), Affine(11, 0, 700660, 0, -11, 5900300), "EPSG:32632")
TURNED = GeoBox((400, 450), Affine(9.9, 1.2, 300300, 1.2, -9.9, 5899300), "EPSG:32633")
COARSE = GeoBox((30, 30), Affine(90, 45, 300800, 45, -90, 5898000), "EPSG:32633")


@pytest.mark.parametrize("like", [None, OTHER_CRS, TURNED, COARSE], ids=["aligned", "crs", "turned", "coarse"])
@pytest.mark.parametrize("resampling", ["nearest", "cubic"])
def test_chunks_and_schedulers_change_nothing(large, make_image, make_fit, like, resampling):
    options = {"align_grid": True} if like is None else {"like": like}
    options["resampling"] = resampling
    expected = apply(make_image(large, attrs=WITH_NODATA), make_fit(), **options).values
    assert (expected > 0).mean() > 0.3
    for chunks, scheduler in (((600, 500), "sync"), ((256, 256), "threads"), ((97, 131), "threads")):
        image = make_image(da.from_array(large, chunks=chunks), attrs=WITH_NODATA)
        out = apply(image, make_fit(), **options)
        assert np.array_equal(out.data.compute(scheduler=scheduler), expected)


def test_the_size_of_a_block_changes_nothing(large, make_image, make_fit, monkeypatch):
    image = make_image(large, attrs=WITH_NODATA)
    options = {"like": OTHER_CRS, "resampling": "lanczos"}
    expected = apply(image, make_fit(), **options)
    monkeypatch.setattr("xcoreg.warp.resample._BLOCK_PIXELS", 20000)
    assert np.array_equal(apply(image, make_fit(), **options), expected)


def test_interpolating_stays_lazy(scene, make_image, make_fit, computes):
    image = make_image(da.from_array(scene, chunks=16), attrs=WITH_NODATA)
    out = apply(image, make_fit(), like=make_image(np.zeros((30, 30))))
    apply(image, make_fit(), align_grid=True)
    assert computes.n == 0
    assert isinstance(out.data, da.Array)
    out.compute()
    assert computes.n == 1


def test_equal_inputs_give_equal_graphs(scene, make_image, make_fit):
    def build(**options):
        return apply(make_image(da.from_array(scene, chunks=16, name="scene"), attrs=WITH_NODATA), **options).data

    with dask.config.set({"tokenize.ensure-deterministic": True}):
        first = build(fit=make_fit(), align_grid=True)
    assert first.name == build(fit=make_fit(), align_grid=True).name
    assert first.name != build(fit=make_fit(3.6), align_grid=True).name
    assert first.name != build(fit=make_fit(), align_grid=True, resampling="bilinear").name


def test_a_graph_travels(scene, make_image, make_fit):
    image = make_image(da.from_array(scene, chunks=16), attrs=WITH_NODATA)
    out = apply(image, make_fit(), like=make_image(np.zeros((30, 30))))
    there = pickle.loads(pickle.dumps(out))
    assert np.array_equal(there.values, out.values)


def test_a_block_reads_no_more_than_its_surroundings(large, make_image, make_fit):
    seen = []

    def watch(block, block_id=None):
        seen.append(block_id)
        return block

    source = da.map_blocks(watch, da.from_array(large, chunks=100), dtype=large.dtype, meta=np.empty((0, 0), "u2"))
    image = make_image(source, attrs=WITH_NODATA)
    inner = GeoBox((50, 50), Affine(10, 0, 302250, 0, -10, 5897790), "EPSG:32633")
    apply(image, make_fit(3.0, 3.0), like=inner).data.compute(scheduler="sync")
    assert set(seen) == {(2, 2)}


@pytest.mark.parametrize("lazy", [False, True])
def test_an_image_of_one_pixel(make_image, make_fit, lazy):
    values = np.array([[7]], np.uint8)
    image = make_image(da.from_array(values) if lazy else values, attrs={"_FillValue": np.uint8(0)})
    assert apply(image, make_fit(4.0, 4.0), like=image).values.tolist() == [[7]]
    aligned = apply(image, make_fit(4.0, 4.0), align_grid=True)
    assert aligned.values.tolist() == [[0, 0], [7, 0]]


# --- shapes and refusals ---------------------------------------------------------------------------------------------


def test_bands_are_corrected_alike_whatever_their_place(scene, make_image, make_fit):
    stack = np.stack([scene, scene[::-1], scene // 2])
    image = make_image(stack, attrs=WITH_NODATA)
    out = apply(image, make_fit(), like=image)
    assert out.dims == ("lead0", "y", "x")
    for band in range(3):
        alone = make_image(stack[band], attrs=WITH_NODATA)
        assert np.array_equal(out[band], apply(alone, make_fit(), like=alone))
    last = image.transpose("y", "x", "lead0")
    assert apply(last, make_fit(), like=last).identical(out.transpose("y", "x", "lead0"))


def test_time_and_bands_together(scene, make_image, make_fit):
    image = make_image(np.broadcast_to(scene, (2, 3, 60, 50)).copy(), attrs=WITH_NODATA)
    out = apply(image, make_fit(), align_grid=True)
    assert out.shape == (2, 3, 61, 51)
    assert (out == out[0, 0]).all()


@pytest.mark.parametrize("align", [False, True])
def test_every_spatial_variable_of_a_dataset_is_corrected(scene, make_image, make_fit, align):
    red, cloud = make_image(scene, attrs=WITH_NODATA), make_image(scene > 30000)
    data = Dataset({"red": red, "gain": ("band", [1.0, 2.0]), "cloud": cloud}, attrs={"title": "a scene"})
    out = apply(data, make_fit(), align_grid=align)
    assert list(out.data_vars) == ["red", "gain", "cloud"]
    assert out.gain.variable.identical(data.gain.variable)
    assert out.attrs["title"] == "a scene"
    alone = apply(red, make_fit(), align_grid=align)
    assert np.array_equal(out.red, alone)
    assert grid_of(out).affine == grid_of(alone).affine
    assert out.cloud.dtype == bool


def test_a_fit_that_failed_is_not_applied(scene, make_image, make_fit):
    with pytest.raises(MatchError, match="not trusted and cannot be applied"):
        apply(make_image(scene), make_fit(status=Status.NO_PEAK))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resampling": "sinc"}, "choose one of auto, nearest, bilinear, cubic, cubic_spline, lanczos, average"),
        ({"align_grid": True, "like": 1}, "give one of them"),
        ({"resolution": 20, "like": 1}, "give one of them"),
        ({"like": "ref.tif"}, "like= is a str: give a DataArray, a Dataset or a GeoBox"),
        ({"align_grid": True, "resolution": -1}, "positive pixel size"),
        ({"align_grid": True, "nodata": np.nan}, "nodata=nan cannot occur in the image, which holds uint16"),
        ({"align_grid": True, "nodata": -1}, "nodata=-1 cannot occur"),
    ],
)
def test_options_that_make_no_sense_are_refused(scene, make_image, make_fit, options, message):
    with pytest.raises(OptionError, match=message):
        apply(make_image(scene), make_fit(), **options)


def test_an_array_is_no_image(scene, make_fit):
    with pytest.raises(OptionError, match="cannot correct a ndarray"):
        apply(scene, make_fit())


def test_complex_pixels_move_but_are_not_interpolated(scene, make_image, make_fit):
    image = make_image(scene.astype(np.complex64))
    assert np.array_equal(apply(image, make_fit()), image)
    with pytest.raises(OptionError, match=r"complex64.*da.real and da.imag"):
        apply(image, make_fit(), align_grid=True)


def test_grids_that_do_not_meet(scene, make_image, make_fit):
    far = GeoBox((10, 10), Affine(10, 0, 500000, 0, -10, 100000), "EPSG:32633")
    with pytest.raises(NoOverlap, match=r"lon 15\.\d+ to 15\.\d+ and lat 0\.9.*lon 12\.0"):
        apply(make_image(scene), make_fit(), like=far)


def test_an_image_without_a_place(scene, make_image, make_fit):
    with pytest.raises(NotGeoreferenced, match="has no CRS"):
        apply(make_image(scene).drop_vars("spatial_ref"), make_fit())


def test_a_fit_without_a_reference_grid_says_what_to_pass(scene, make_image, make_fit):
    with pytest.raises(OptionError, match="pass like="):
        apply(make_image(scene), make_fit(ref_grid=None), align_grid=True)


def test_the_history_records_what_was_done(scene, make_image, make_fit):
    image = make_image(scene, attrs=WITH_NODATA)
    out = apply(apply(image, make_fit(3.5, 15.5)), make_fit(1.0, 2.0), align_grid=True, force=True)
    first, second = json.loads(out.attrs["xcoreg"])
    assert (first["did"], first["dx"], first["dy"]) == ("moved the transform", 3.5, 15.5)
    assert (second["did"], second["model"]) == ("resampled (cubic)", "translation")


@pytest.mark.parametrize("scale", [1.0, 0.0001])
def test_a_decoded_image_stays_within_what_its_file_can_hold(make_image, make_fit, scale):
    counts = np.ones((40, 40), "float32")
    counts[10:30, 10:30] = 65535
    image = make_image(counts * np.float32(scale))
    image.encoding = {"dtype": "uint16", "_FillValue": 0, "scale_factor": scale, "add_offset": 0.0}
    out = apply(image, make_fit(5.0, -5.0), like=image, resampling="cubic")
    stored = out.values[np.isfinite(out.values)] / scale
    assert stored.min() >= 0.999
    assert stored.max() <= 65535.004
