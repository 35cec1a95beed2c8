"""Real images under known corrections."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray

from xcoreg.georef import same_crs
from xcoreg.raster.grid import grid_of
from xcoreg.warp.apply import apply


@pytest.fixture
def open_file(data_dir):
    opened = []

    def open_it(name, **options):
        opened.append(rioxarray.open_rasterio(data_dir / name, **options))
        return opened[-1]

    yield open_it
    for image in opened:
        image.close()


def test_the_offset_subset_lands_on_its_pixels_bit_by_bit(open_file, make_fit):
    ref = open_file("s2_known_shift/sen2_20210527_aber_subset.tif")
    tgt = open_file("s2_known_shift/sen2_20210527_aber_subset_b123_offset.tif")
    fit = make_fit(-30.0, -30.0, str(tgt.rio.crs.to_wkt()))
    out = apply(tgt, fit, like=ref, nodata=0, force=True)
    ours, theirs = out.values, ref.values[: out.sizes["band"]]
    there = ours != 0
    assert there.mean() > 0.2
    assert np.array_equal(ours[there], theirs[there])


def test_an_aerial_image_is_laid_on_the_satellites_grid(open_file, make_fit):
    ref = open_file("aerial_s2_l8_south_africa/sentinel2_b432_byte.tif")
    tgt = open_file("aerial_s2_l8_south_africa/ngi_rgb_byte_1.tif")
    fit = make_fit(2.0, 5.5, str(tgt.rio.crs.to_wkt()))
    before, after = (apply(tgt, each, like=ref, force=True) for each in (make_fit(0.0, 0.0, fit.crs_wkt), fit))
    assert after.dtype == tgt.dtype
    assert same_crs(after.rio.crs, ref.rio.crs)
    scores = []
    for image in (before, after):
        both = (image[0] != image.rio.nodata) & (ref[0] != ref.rio.nodata)
        scores.append(np.corrcoef(image.values[0][both.values], ref.values[0][both.values])[0, 1])
    assert scores[1] > scores[0]


def test_two_zones_and_an_infinite_nodata(open_file, make_fit):
    ref = open_file("l9_s2_cross_zone/2023-10-09-22-28-02_S2_ms.tif")
    tgt = open_file("l9_s2_cross_zone/2023-06-30-22-01-55_L9_ms.tif", chunks={"x": 200, "y": 200})
    fit = make_fit(4.0, 1.0, str(tgt.rio.crs.to_wkt()))
    out = apply(tgt, fit, like=ref, force=True)
    assert grid_of(out) == grid_of(ref)
    values = out.isel(band=0).values
    source = tgt.isel(band=0).values
    known = np.isfinite(values)
    assert known.mean() > 0.3
    low, high = np.nanmin(source[np.isfinite(source)]), np.nanmax(source[np.isfinite(source)])
    assert values[known].min() > low - 0.2 * (high - low)
    assert values[known].max() < high + 0.2 * (high - low)


def test_terrain_in_degrees_moves_by_whole_pixels(open_file, make_fit):
    tgt = open_file("dem_srtm_shifted/srtm_blurred_and_shifted.tif")
    a, e = grid_of(tgt).affine.a, grid_of(tgt).affine.e
    out = apply(tgt, make_fit(3 * a, 5 * e, "EPSG:4326"), like=tgt, nodata=-32768, force=True)
    assert np.array_equal(out.values[:, 5:, 3:], tgt.values[:, :-5, :-3])
    assert (out.values[:, :5] == -32768).all()
