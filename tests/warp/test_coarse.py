"""Outputs far coarser than the source: averaged in tiles, at a cost that does not grow with the ratio."""

import numpy as np
import pytest
import rasterio

import xcoreg
from xcoreg.core.sampling import sample_axes
from xcoreg.errors import OptionError
from xcoreg.warp import resample

SIZE, SCALE = 1600, 160


@pytest.fixture(scope="module")
def fit():
    scene = xcoreg.simulate.pair((96, 96), shift=(0, 0), seed=2)
    fit = scene.tgt.coreg.match(scene.ref)
    return scene, fit


@pytest.fixture(scope="module")
def image(fit):
    """A trend and noise, with a corner of nodata."""
    values = np.hypot(*np.mgrid[:SIZE, :SIZE]) + np.random.default_rng(1).normal(0, 50, (SIZE, SIZE)) + 1000
    values[:400, :300] = 0
    scene, _ = fit
    axes = {"y": 5_900_000 - 10.0 * np.arange(SIZE), "x": 300_000 + 10.0 * np.arange(SIZE)}
    made = scene.tgt.isel(y=0, x=0, drop=True).expand_dims(axes).copy(data=values.astype("u2"))
    return (
        made.rio.write_crs(scene.tgt.rio.crs).rio.write_nodata(0).rio.write_transform(made.rio.transform(recalc=True))
    )


def test_blocks_are_averaged_before_they_are_interpolated(fit, image):
    made = xcoreg.apply(image, fit[1], resolution=10.0 * SCALE, force=True)
    affine = ~image.rio.transform() @ made.rio.transform()
    axes = zip(made.shape, (affine.e, affine.a), (affine.f, affine.c), strict=True)
    rows, cols = (scale * (np.arange(n) + 0.5) + start - 0.5 for n, scale, start in axes)
    wanted, good = sample_axes(image.values, image.values > 0, rows, cols, "cubic", scale=(SCALE, SCALE))
    differ = made.values.astype(float)[good] - wanted[good]
    assert (made.values > 0)[good].mean() > 0.97
    assert np.abs(differ).max() < 10  # of 1000 to 3000: a hundredth of what is averaged


def test_results_do_not_depend_on_chunks_or_tiles(fit, image, monkeypatch):
    made = xcoreg.apply(image, fit[1], resolution=10.0 * SCALE, force=True)
    lazily = xcoreg.apply(image.chunk(y=333, x=512), fit[1], resolution=10.0 * SCALE, force=True)
    monkeypatch.setattr(resample, "_READ", 5000)
    tiled = xcoreg.apply(image, fit[1], resolution=10.0 * SCALE, force=True)
    assert lazily.chunks is not None
    np.testing.assert_array_equal(lazily.values, made.values)
    np.testing.assert_array_equal(tiled.values, made.values)


@pytest.mark.parametrize("resolution", [1e5, 1e7, 1e12])
def test_any_ratio_costs_no_more_than_the_source(fit, image, resolution, monkeypatch):
    sizes = []
    monkeypatch.setattr(resample, "sample_axes", lambda *a, **k: sizes.append(a[0].shape) or sample_axes(*a, **k))
    made = xcoreg.apply(image, fit[1], resolution=resolution, force=True)
    assert made.size <= 4
    assert max(max(size) for size in sizes) <= SIZE


def test_an_image_too_long_for_coordinates_is_refused_before_they_are_made(tmp_path):
    path = tmp_path / "long.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="2147483647" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(OptionError, match="1 x 2147483647 pixels, and 2e"):
        xcoreg.open_raster(path)


def test_blocks_missing_in_a_sparse_file_are_not_searched(tmp_path):
    path, (top, left, n) = tmp_path / "sparse.tif", (3000, 9500, 1000)
    how = {"width": 12000, "height": 12000, "count": 1, "dtype": "uint8", "nodata": 0, "tiled": True, "sparse_ok": True}
    with rasterio.open(
        path, "w", crs="EPSG:32633", transform=rasterio.Affine(10, 0, 3e5, 0, -10, 5.9e6), **how
    ) as file:
        file.write(np.full((n, n), 7, "u1"), 1, window=rasterio.windows.Window(left, top, n, n))
    for chunks in (None, "auto"):
        west, south, east, north = xcoreg.open_raster(path, chunks=chunks).coreg.footprint().bounds
        found = (5.9e6 - north) / 10, (west - 3e5) / 10, (5.9e6 - south) / 10, (east - 3e5) / 10
        assert np.abs(np.subtract(found, (top, left, top + n, left + n))).max() < 24  # px, a coarse cell
