"""Footprints and overlaps."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray
import shapely
from affine import Affine

from xcoreg.errors import GridError, NoOverlap
from xcoreg.georef import transform_points
from xcoreg.raster.footprint import footprint, overlap
from xcoreg.raster.raster import make_raster


def vertices(polygon):
    return shapely.get_num_coordinates(polygon) - 1


def test_a_full_image_is_its_rectangle(make_image, noise):
    assert footprint(make_raster(make_image(noise))).equals(shapely.box(300000, 5897040, 304000, 5900040))


def test_a_slanted_edge_stays_slanted(make_image):
    rows, cols = np.mgrid[:2000, :2000]
    pixels = np.where(cols > 900 - 0.3 * rows, 5, 0).astype("uint8")
    outline = footprint(make_raster(make_image(pixels), nodata=0))
    # the edge leaves at the bottom: column 900 at the top, 300 at the bottom
    true = shapely.Polygon([(309000, 5900040), (320000, 5900040), (320000, 5880040), (303000, 5880040)])
    assert vertices(outline) == 4
    assert outline.symmetric_difference(true).area < 0.003 * true.area
    assert outline.hausdorff_distance(true) < 2 * 40  # two coarse cells of 4 px


def test_clouds_do_not_matter(make_image, noise):
    noise[100:180, 100:250] = 0
    noise[20:22, 30:35] = 0
    assert footprint(make_raster(make_image(noise), nodata=0)).equals(shapely.box(300000, 5897040, 304000, 5900040))


def test_two_parts_stay_two_and_specks_vanish(make_image):
    pixels = np.zeros((300, 400), "uint8")
    pixels[:, :150] = pixels[:, 250:] = 1
    pixels[150, 200] = 1
    outline = footprint(make_raster(make_image(pixels), nodata=0))
    assert outline.geom_type == "MultiPolygon"
    assert [part.area for part in outline.geoms] == [300 * 150 * 100.0] * 2


def test_never_beyond_the_image(make_image):
    # 1003 pixels: the last coarse cell reaches out
    raster = make_raster(make_image(np.ones((1003, 1003), "uint8")))
    assert footprint(raster).bounds == pytest.approx((300000, 5900040 - 10030, 310030, 5900040))


def test_rotated_images_have_rotated_footprints(make_image, noise):
    transform = Affine(9.8, 1.7, 500000, 1.7, -9.8, 5000000)
    outline = footprint(make_raster(make_image(noise, transform)))
    assert outline.area == pytest.approx(300 * 400 * (9.8**2 + 1.7**2))
    assert vertices(outline) == 4


@pytest.mark.parametrize(
    ("value", "options", "sentence"),
    [
        (np.nan, {}, "every sampled pixel is NaN or infinite"),
        (0.0, {"nodata": 0}, r"is nodata \(0, as given\)"),
    ],
)
def test_nothing_valid_tells_why(make_image, value, options, sentence):
    with pytest.raises(GridError, match=f"reference has no valid pixel: .*{sentence}"):
        footprint(make_raster(make_image(np.full((50, 50), value)), name="reference", **options))


def test_an_empty_file_tells_its_marker(data_dir):
    raster = make_raster(rioxarray.open_rasterio(data_dir / "formats" / "riotiler_inverted_lat.tif"))
    with pytest.raises(GridError, match=r"the stored nodata \(-9999.0\)"):
        footprint(raster)


@pytest.mark.parametrize(
    ("name", "share", "most"),
    [
        ("s2_s2_germany/ref_S2A_20160608T153121_T33UUU_sub.tif", 0.746, 6),
        ("s2_s2_germany/tgt_S2A_20160529T153631_T33UUU_sub.tif", 0.895, 6),
        ("formats/RGB.byte.tif", 0.676, 10),
        ("naip/m_4709963_se_14_1_20180716.tif", 1.0, 4),
        ("aerial_s2_l8_south_africa/ngi_rgb_byte_1.tif", 0.88, 60),
    ],
)
def test_real_footprints_have_few_vertices(data_dir, name, share, most):
    raster = make_raster(rioxarray.open_rasterio(data_dir / name))
    outline = footprint(raster)
    assert outline.area / raster.grid.extent.area == pytest.approx(share, abs=0.005)
    assert vertices(outline) <= most


def test_overlap_of_the_same_crs():
    shared = overlap(shapely.box(0, 0, 10, 10), "EPSG:32633", shapely.box(5, -5, 20, 5), "EPSG:32633")
    assert shared.equals(shapely.box(5, 0, 10, 5))


def test_overlap_is_in_the_crs_of_the_target():
    target = shapely.box(600000, 5700000, 700000, 5800000)
    x, y = transform_points("EPSG:32633", "EPSG:4326", [600000, 700000], [5700000, 5800000])
    shared = overlap(target, "EPSG:32633", shapely.box(x[0] - 1, y[0] - 1, x[1] + 1, y[1] + 1), "EPSG:4326")
    assert shared.symmetric_difference(target).area < 1e-9 * target.area


def test_edges_are_bent_by_the_transformation():
    # a parallel of latitude is an arc in UTM, a kilometre deep over five degrees
    shared = overlap(shapely.box(3e5, 5.5e6, 8e5, 5.9e6), "EPSG:32633", shapely.box(12.6, 50, 17.4, 52), "EPSG:4326")
    x, y = transform_points("EPSG:4326", "EPSG:32633", np.linspace(12.7, 17.3, 50), 52.0)
    assert np.ptp(y) > 1000
    assert shapely.distance(shapely.points(x, y), shared.boundary).max() < 30


def test_no_overlap_tells_both_places():
    with pytest.raises(NoOverlap, match=r"target lon 15\.0.* lat 45\.1.*, reference lon 20\.0"):
        overlap(shapely.box(5e5, 5e6, 5.1e5, 5.1e6), "EPSG:32633", shapely.box(20, 45, 21, 46), "EPSG:4326")


def test_touching_is_no_overlap():
    with pytest.raises(NoOverlap):
        overlap(shapely.box(0, 0, 1, 1), "EPSG:32633", shapely.box(1, 0, 2, 1), "EPSG:32633")


def test_two_zones_of_the_real_pair(data_dir):
    folder = data_dir / "l9_s2_cross_zone"
    target, reference = (
        make_raster(rioxarray.open_rasterio(folder / name))
        for name in ("2023-06-30-22-01-55_L9_ms.tif", "2023-10-09-22-28-02_S2_ms.tif")
    )
    shared = overlap(footprint(target), target.grid.crs, footprint(reference), reference.grid.crs)
    assert 0.5 < shared.area / target.grid.extent.area <= 1


def test_a_single_pixel_is_a_square(make_image):
    outline = footprint(make_raster(make_image(np.ones((1, 1), "uint8"))))
    assert outline.equals(shapely.box(300000, 5900030, 300010, 5900040))
