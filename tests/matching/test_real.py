"""Real pairs whose correction is known: exactly, or from other correlators to a quarter of a pixel."""

import numpy as np
import pytest
import rioxarray

from xcoreg.coregister import match
from xcoreg.georef import gsd

SA = "aerial_s2_l8_south_africa/"
MOVED = "s2_known_shift/sen2_20210527_aber_subset"
NAIP = "naip/m_4709963_se_14_1_"
SRTM = "dem_srtm_shifted/srtm_"
GERMANY = "s2_s2_germany/"


@pytest.fixture
def open_file(data_dir):
    opened = []

    def open_it(name):
        opened.append(rioxarray.open_rasterio(data_dir / name))
        return opened[-1]

    yield open_it
    for image in opened:
        image.close()


def coarser_pixel(*images):
    return np.max([gsd(image.coreg.grid.affine) for image in images])


@pytest.mark.parametrize("band", [1, 2, 3])
def test_pixels_under_a_moved_origin_are_exact(open_file, band):
    tgt, ref = open_file(f"{MOVED}_b123_offset.tif"), open_file(f"{MOVED}.tif")
    fit = match(tgt, ref, band=band, ref_band=band)
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((-30, -30), abs=0.02 * 10)


def test_a_dem_of_whole_pixels_is_exact(open_file):
    fit = match(open_file(f"{SRTM}blurred_and_shifted.tif"), open_file(f"{SRTM}ref.tif"))
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((3, 5), abs=0.02)


@pytest.mark.parametrize(
    ("ref", "tgt", "correction"),
    [
        pytest.param(
            GERMANY + "ref_S2A_20160608T153121_T33UUU_sub.tif",
            GERMANY + "tgt_S2A_20160529T153631_T33UUU_sub.tif",
            (-6.5, -18.1),
            id="Sentinel-2 twice",
        ),
        pytest.param(SA + "sentinel2_b432_byte.tif", SA + "ngi_rgb_byte_1.tif", (2.0, 5.5), id="aerial 1"),
        pytest.param(SA + "sentinel2_b432_byte.tif", SA + "ngi_rgb_byte_2.tif", (2.5, 4.7), id="aerial 2"),
        pytest.param(NAIP + "20180716.tif", NAIP + "20190904.tif", (1.3, -0.7), id="another season"),
    ],
)
def test_measured_corrections(open_file, ref, tgt, correction):
    tgt, ref = open_file(tgt), open_file(ref)
    shift = match(tgt, ref).shift
    near = 0.25 * coarser_pixel(tgt, ref)
    assert abs(shift.dx - correction[0]) < near
    assert abs(shift.dy - correction[1]) < near


def test_swapping_a_real_pair_negates(open_file):
    tgt, ref = open_file(f"{NAIP}20190904.tif"), open_file(f"{NAIP}20180716.tif")
    there, back = match(tgt, ref, windows=4).shift, match(ref, tgt, windows=4).shift
    sigma = np.hypot(there.sigma, back.sigma)
    assert abs(there.dx + back.dx) < 2 * sigma[0]
    assert abs(there.dy + back.dy) < 2 * sigma[1]


def test_correcting_a_real_pair_leaves_nothing(open_file):
    tgt, ref = open_file(SA + "ngi_rgb_byte_1.tif"), open_file(SA + "sentinel2_b432_byte.tif")
    again = match(tgt.coreg.shift_to(ref), ref).shift
    assert max(abs(again.dcol), abs(again.drow)) < 0.03


def test_two_zones_and_infinite_nodata(open_file):
    tgt, ref = (
        open_file(f"l9_s2_cross_zone/{name}_ms.tif") for name in ("2023-06-30-22-01-55_L9", "2023-10-09-22-28-02_S2")
    )
    shift = match(tgt, ref, band=4, ref_band=4).shift
    assert abs(shift.dx - 4) < 0.25 * 15
    assert abs(shift.dy - 1) < 0.25 * 15
