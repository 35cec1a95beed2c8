"""Rectifying by control points, RPCs and corners: against rasterio, against the truth, lazily."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import binary_erosion
from xarray import DataArray

import xcoreg
from xcoreg.errors import CoregWarning, NoOverlap, NotGeoreferenced, OptionError
from xcoreg.georef import AffineGround, Corners, GCPs, attach_gcps, fit_gcps, read_gcps, transform_points
from xcoreg.raster.grid import grid_of, needs_rectifying
from xcoreg.simulate import pair
from xcoreg.warp.ground import gcps_of, ground_of
from xcoreg.warp.rectify import rectify

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SWATH = "sar_gcps/rio-tiler_S1A_IW_GRDH_20180716_iw-vv.tiff"
TURN = Affine(8.0, 6.0, 500000, 6.0, -8.0, 5000000)


def bowed(col, row):
    x, y = TURN @ (col + 0.5, row + 0.5)
    return x + 2e-4 * col * row, y + 1e-4 * col**2


@pytest.fixture
def swath():
    """An image of smooth brightness on the ground, seen through a turned, bowed geometry; and its control points."""
    row, col = np.mgrid[:200, :240].astype(float)
    x, y = bowed(col, row)
    image = DataArray(brightness(x, y), dims=("y", "x"))
    at = np.random.default_rng(3).uniform(0, 200, (2, 40))
    gx, gy = bowed(*at)
    return image, GCPs(at[0], at[1], gx, gy, crs=32633)


def brightness(x, y):
    return 1000 + 300 * np.sin((x - 5e5) / 150) + 200 * np.cos((y - 5e6) / 130)


def assert_true_to_ground(out, crs=32633, least=0.5, tolerance=2.0):
    x, y = np.meshgrid(out.x, out.y)
    truth = brightness(*transform_points(crs, 32633, x, y))
    valid = np.isfinite(out.values)
    assert valid.mean() > least
    # at the edge half of a kernel has no pixels
    inside = binary_erosion(valid, iterations=3)
    assert np.abs(out.values - truth)[inside].max() < tolerance


def test_the_ground_comes_out_right(swath):
    image, gcps = swath
    out = rectify(image, fit_gcps(gcps, "polynomial", order=2))
    assert grid_of(out).crs.epsg == 32633
    assert grid_of(out).affine.a == -grid_of(out).affine.e == pytest.approx(10, abs=0.1)
    assert_true_to_ground(out, least=0.4)


@pytest.mark.parametrize("model", ["auto", "tps"])
def test_other_crs_and_resolution(swath, model):
    image, gcps = swath
    out = rectify(image, fit_gcps(gcps, model), crs="EPSG:32632", resolution=12.0)
    assert (grid_of(out).crs.epsg, grid_of(out).affine.a) == (32632, 12.0)
    assert_true_to_ground(out, 32632, least=0.3, tolerance=6.0)


def test_the_crs_of_the_output_is_not_that_of_the_points(swath, tmp_path):
    image, gcps = swath
    plain = xcoreg.write_raster(image.rio.write_crs(32633).rio.write_transform(TURN), tmp_path / "plain.tif")
    opened = xcoreg.open_raster(attach_gcps(plain, gcps.to_crs(4326), tmp_path / "gcps.tif"), band=1)
    for ground in (None, gcps):
        out = rectify(opened, ground, like=GeoBox((90, 100), Affine(10, 0, 500500, 0, -10, 5000200), "EPSG:32633"))
        assert out.rio.crs.to_epsg() == 32633
        assert_true_to_ground(out, least=0.9)


def test_exactly_the_grid_of_another(swath):
    image, gcps = swath
    like = GeoBox((90, 100), Affine(10, 0, 500500, 0, -10, 5000200), "EPSG:32633")
    out = rectify(image, gcps, like=like)
    assert (out.shape, grid_of(out).affine) == ((90, 100), like.affine)
    other = rectify(image, gcps, like=out)
    np.testing.assert_array_equal(out, other)


def test_dask_stays_lazy_and_chunks_change_nothing(swath):
    image, gcps = swath
    fit = fit_gcps(gcps, "polynomial", order=2)

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        lazy = rectify(image.chunk({"y": 64, "x": 50}), fit)
        again = rectify(image.chunk({"y": 64, "x": 50}), fit)
        other = rectify(image.chunk({"y": 64, "x": 50}), fit_gcps(gcps, "affine"))
    assert lazy.data.name == again.data.name != other.data.name
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), rectify(image, fit))


def test_integers_bands_attributes_and_nodata_survive(swath):
    image, gcps = swath
    stack = (image / 10).astype("uint8").expand_dims(band=[1, 2]).assign_attrs(sensor="SAR").rio.write_nodata(0)
    out = rectify(stack, gcps)
    assert (out.dtype, out.sizes["band"], out.attrs["sensor"], out.rio.nodata) == ("uint8", 2, "SAR", 0)
    assert (out[0].values[0, 0], out[0].values[-1, -1]) == (0, 0)


def test_a_file_with_points_alone_needs_nothing_else(swath, tmp_path):
    image, gcps = swath
    with rasterio.open(
        tmp_path / "bare.tif", "w", driver="GTiff", dtype="float64", count=1, width=240, height=200
    ) as file:
        file.write(image.values[None])
    path = attach_gcps(tmp_path / "bare.tif", gcps, tmp_path / "swath.tif")
    opened = xcoreg.open_raster(path)
    assert len(gcps_of(opened)) == 40
    assert needs_rectifying(opened)
    out = rectify(opened.isel(band=0))
    assert "gcps" not in out.spatial_ref.attrs
    assert_true_to_ground(out, least=0.4)
    with pytest.raises(OptionError, match="rectify first, then cut"):
        rectify(opened.isel(x=slice(10, 100)))


def test_four_corners_place_an_image():
    row, col = np.mgrid[:100, :120].astype(float)
    x, y = Affine(10, 0, 500000, 0, -10, 5000000) @ (col + 0.5, row + 0.5)
    corners = Corners((5e5, 5e6), (501200, 5e6), (501200, 4999000), (5e5, 4999000), crs=32633)
    out = rectify(DataArray(brightness(x, y), dims=("y", "x")), corners)
    np.testing.assert_allclose(grid_of(out).affine[:6], (10, 0, 5e5, 0, -10, 5e6), atol=1e-6)
    np.testing.assert_allclose(out, brightness(x, y), rtol=1e-9)


def test_refusals(swath):
    image, gcps = swath
    with pytest.raises(NotGeoreferenced):
        rectify(image)
    with pytest.raises(NotGeoreferenced, match="no CRS"):
        rectify(image, GCPs(gcps.col, gcps.row, gcps.x, gcps.y))
    with pytest.raises(OptionError, match="each choose"):
        rectify(image, gcps, like=image, crs=4326)
    with pytest.raises(OptionError, match="positive"):
        rectify(image, gcps, resolution=-1)
    with pytest.raises(OptionError, match="does not georeference"):
        rectify(image, 5)
    with pytest.raises(NoOverlap):
        rectify(image, gcps, like=GeoBox((9, 9), Affine(10, 0, 9e5, 0, -10, 6e6), "EPSG:32633"))


@pytest.mark.parametrize(("model", "order", "tps"), [("polynomial", 3, False), ("tps", None, True)])
def test_sentinel_1_within_a_tenth_of_a_pixel_of_rasterio(data_dir, model, order, tps):
    """Warp an image of the column and row numbers: the output shows where each program samples.

    In tiles, because rasterio takes positions along a row of the output as linear up to an error of 0.125 px.
    """
    gcps = read_gcps(data_dir / SWATH)
    fit = fit_gcps(gcps, model, order=order)
    numbers = np.mgrid[:837, :1280].astype(np.float32)
    options = {"SRC_METHOD": "GCP_TPS"} if tps else {"MAX_GCP_ORDER": 3}
    options |= {"src_crs": "EPSG:4326", "dst_crs": "EPSG:4326", "dst_nodata": np.nan}
    options["resampling"] = rasterio.warp.Resampling.bilinear
    for col, row in ((100, 100), (640, 420), (1100, 90), (90, 760), (1180, 700), (400, 300)):
        x, y = fit.to_map(col, row)
        tile = GeoBox((40, 40), Affine(0.0018, 0, float(x), 0, -0.0018, float(y)), "EPSG:4326")
        ours = rectify(DataArray(numbers, dims=("band", "y", "x")), fit, like=tile, resampling="bilinear").values
        theirs = np.full((2, *tile.shape), np.nan, np.float32)
        rasterio.warp.reproject(numbers, theirs, gcps=gcps.to_rasterio(), dst_transform=tile.affine, **options)
        assert np.abs(ours - theirs).max() < 0.1
    assert 0.05 < fit.left_out.rmse_px < 0.6


def test_rpcs_as_rasterio_warps_them(data_dir):
    path = data_dir / "formats" / "RGB.byte.rpc.vrt"
    image = xcoreg.open_raster(path, band=1)
    out = rectify(image, resampling="nearest")
    assert grid_of(out).crs.epsg == 4326
    grid = grid_of(out)
    with rasterio.open(path) as file:
        theirs = np.zeros(grid.shape, np.uint8)
        rasterio.warp.reproject(
            file.read(1), theirs, rpcs=file.rpcs, src_crs="EPSG:4326", dst_transform=grid.affine, dst_crs="EPSG:4326",
            tolerance=0.0,
        )  # fmt: skip
    assert np.mean(out.values == theirs) > 0.97


def test_an_image_with_points_alone_is_matched_and_interpolated_once():
    scene = pair((320, 320), shift=(2.4, -1.3), snr_db=35.0, seed=5)
    grid = grid_of(scene.tgt)
    at = np.stack(np.meshgrid([0.0, 160, 319], [0.0, 150, 319]), axis=-1).reshape(-1, 2).T
    x, y = grid.affine @ (at + 0.5)
    bare = DataArray(scene.tgt.values.astype(np.float32), dims=("y", "x"))
    points = GCPs(at[0], at[1], x, y, crs=grid.crs)
    fit = xcoreg.match(bare, scene.ref, ground=points)
    out = xcoreg.shift_to(bare, scene.ref, ground=points, like=scene.ref)
    assert (fit.shift.dx / 10, -fit.shift.dy / 10) == pytest.approx((2.4, -1.3), abs=0.05)
    inner = (slice(20, -20), slice(20, -20))
    moved = scene.tgt.coreg.apply(fit, like=scene.ref)
    np.testing.assert_allclose(out.values[inner], moved.values[inner], atol=0.51)
    near = bare.coreg.shift_to(scene.ref, ground=points, align_grid=True)
    assert ((grid_of(near).affine.c - grid.affine.c) / 10 + 0.5) % 1 == pytest.approx(0.5, abs=1e-6)
    assert not needs_rectifying(scene.tgt)
    assert ground_of(scene.tgt).crs.to_epsg() == grid.crs.epsg


TINY = {"resolution": 1e-3}, {"like": GeoBox((10**6, 10**6), Affine(0.01, 0, 5e5, 0, -0.01, 5000200), "EPSG:32633")}


@pytest.mark.parametrize("more", TINY, ids=["resolution", "like"])
def test_an_output_of_absurd_size_is_refused_before_anything_is_made(swath, more):
    image, gcps = swath
    scene = pair((128, 128), shift=(1.0, 2.0), seed=1)
    fit = scene.tgt.coreg.match(scene.ref)
    aligned = {**more, "resolution": 1e-4} if "resolution" in more else more
    for make in (lambda: rectify(image, gcps, **more), lambda: scene.tgt.coreg.apply(fit, **aligned)):
        with pytest.raises(
            OptionError, match=r"would have \d+ x \d+ pixels, .* times those of the image, .*larger reso"
        ):
            make()


def test_a_huge_grid_that_is_asked_for_stays_lazy(swath):
    image, gcps = swath
    like = GeoBox((37_500, 50_000), Affine(0.04, 0, 500500, 0, -0.04, 5000200), "EPSG:32633")
    out = rectify(image.chunk(100), gcps, like=like)
    np.testing.assert_allclose(out[10_000, 12_500].values, brightness(501000.02, 4999799.98), atol=2)
    with pytest.raises(OptionError, match="times those of the image"):
        rectify(image.chunk(100), gcps, resolution=1e-4)


def test_a_chosen_grid_is_never_absurd(swath):
    class Stretched(AffineGround):
        def to_map(self, col, row):
            x, y = super().to_map(col, row)
            return x + (col - 120) ** 5, y

    with pytest.raises(OptionError, match="check the georeference"):
        rectify(swath[0].chunk(100), Stretched(TURN, 32633))


def test_a_map_that_folds_beyond_its_points_is_named(swath):
    image = swath[0]
    col, row = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 100, 5), np.linspace(0, 199, 5)))
    gcps = GCPs(col, row, 5e5 + 10 * col - 0.03 * col**2, 5e6 - 10 * row, crs=32633)
    with pytest.warns(CoregWarning, match=r"folds over itself on about 30\..% of the image, beyond"):
        rectify(image, fit_gcps(gcps, "polynomial", order=2))
