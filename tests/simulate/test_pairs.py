"""Pairs: the sign of the truth, the radiometry, the file they would become."""

import numpy as np
import pytest
from affine import Affine
from scipy import ndimage

from xcoreg.errors import OptionError
from xcoreg.simulate import Acquisition, Product, Texture, pair, similarity, smooth_field

CLEAN = Product(dtype="float64", mean=0.0, std=1.0, nodata=None)


def test_whole_pixel_correction_lands_on_the_same_content():
    both = pair((60, 70), shift=(3, -2), snr_db=np.inf, seed=1, product=CLEAN)
    # x_ref = x_tgt + 3, row_ref = row_tgt - 2
    assert both.tgt.values[2:, :-3] == pytest.approx(both.ref.values[:-2, 3:], abs=1e-5)


def test_subpixel_correction_agrees_with_scipy():
    both = pair((80, 80), shift=(0.36, -1.57), snr_db=np.inf, seed=2, texture=Texture(optics_sigma=1.5), product=CLEAN)
    moved = ndimage.shift(both.ref.values, (1.57, -0.36), order=5)
    assert moved[8:-8, 8:-8] == pytest.approx(both.tgt.values[8:-8, 8:-8], abs=0.01)


def test_field_agrees_with_scipy():
    field = smooth_field((90, 90), 2.0, seed=3)
    both = pair((90, 90), shift=field, snr_db=np.inf, seed=3, texture=Texture(optics_sigma=1.5), product=CLEAN)
    rows, cols = np.mgrid[:90, :90].astype(float)
    dcol, drow = field(rows, cols)
    moved = ndimage.map_coordinates(both.ref.values, [rows + drow, cols + dcol], order=5)
    assert moved[8:-8, 8:-8] == pytest.approx(both.tgt.values[8:-8, 8:-8], abs=0.01)
    assert both.truth is field


@pytest.mark.parametrize(
    ("transform", "dx", "dy"),
    [
        (Affine(10, 0, 300000, 0, -10, 5900040), 3.57885632465, 15.66162680016),
        (Affine(10, 0, 300000, 0, 10, 5900040), 3.57885632465, -15.66162680016),
        (Affine(0, 10, 300000, 10, 0, 5900040), -15.66162680016, 3.57885632465),
    ],
)
def test_map_shift_follows_the_affine(transform, dx, dy):
    both = pair((20, 20), shift=(0.357885632465, -1.566162680016), product=Product(transform=transform))
    assert both.map_shift == pytest.approx((dx, dy), abs=1e-9)


def test_coordinates_are_pixel_centres():
    both = pair((20, 30), product=Product(transform=Affine(5, 0, 100, 0, -5, 900), crs="EPSG:32633"))
    assert (both.ref.x.values[0], both.ref.y.values[0]) == (102.5, 897.5)
    assert both.ref.rio.crs.to_epsg() == 32633
    assert both.ref.rio.nodata == 0


def test_noise_has_the_ratio_asked_for():
    noisy = pair((200, 200), snr_db=20.0, seed=4, product=CLEAN)
    quiet = pair((200, 200), snr_db=np.inf, seed=4, product=CLEAN)
    noise = (noisy.ref.values - quiet.ref.values).std()
    assert noise == pytest.approx(noisy.sigma[0], rel=0.02)
    assert quiet.ref.values.std() / noise == pytest.approx(10, rel=0.02)


def test_noise_of_the_images_is_independent():
    both = pair((200, 200), snr_db=-np.inf, seed=5, product=CLEAN)
    assert abs(np.corrcoef(both.ref.values.ravel(), both.tgt.values.ravel())[0, 1]) < 0.02
    assert both.truth is None
    assert np.isnan(both.shift).all()


def test_gain_and_offset_are_linear():
    both = pair((50, 50), snr_db=np.inf, seed=6, product=CLEAN, tgt=Acquisition(gain=-1.5, offset=3.0))
    assert both.tgt.values == pytest.approx(3.0 - 1.5 * both.ref.values, abs=1e-5)


def test_unrelated_images_share_nothing():
    both = pair((100, 100), shift=None, seed=7, texture=Texture(exponent=0.0))
    assert abs(np.corrcoef(both.ref.values.ravel(), both.tgt.values.ravel())[0, 1]) < 0.05
    assert both.truth is None


def test_clouds_are_bright_and_differ():
    both = pair((150, 150), seed=8, ref=Acquisition(clouds=0.3), tgt=Acquisition(clouds=0.2, gain=-1.0))
    assert both.ref_cloud.values.mean() == pytest.approx(0.3, abs=0.02)
    assert both.tgt_cloud.values.mean() == pytest.approx(0.2, abs=0.02)
    assert np.mean(both.ref_cloud.values & both.tgt_cloud.values) < 0.2
    for image, cloud in ((both.ref, both.ref_cloud), (both.tgt, both.tgt_cloud)):
        assert image.values[cloud.values].mean() > image.values[~cloud.values].mean() + 400


def test_wedges_lie_on_opposite_sides_and_slant():
    both = pair((100, 120), seed=9, ref=Acquisition(wedge=0.2), tgt=Acquisition(wedge=0.1))
    assert np.mean(both.ref.values == 0) == pytest.approx(0.2, abs=0.01)
    assert np.mean(both.tgt.values == 0) == pytest.approx(0.1, abs=0.01)
    left, right = (both.ref.values == 0).sum(axis=1), (both.tgt.values == 0)[:, -1]
    assert left[0] - left[-1] == pytest.approx(20, abs=1)
    assert right[0]


def test_no_valid_pixel_looks_like_nodata():
    dark = Product(dtype="uint8", mean=3.0, std=5.0)
    assert pair((50, 50), seed=10, product=dark).ref.values.min() == 1


def test_uint8_saturates():
    bright = Product(dtype="uint8", mean=250.0, std=20.0)
    values = pair((50, 50), seed=11, product=bright).ref.values
    assert values.dtype == np.uint8
    assert values.max() == 255
    assert values.min() > 100


def test_coarser_target_averages_what_the_reference_sees():
    both = pair((60, 80), snr_db=np.inf, seed=12, product=CLEAN, tgt=Acquisition(coarser=2))
    means = both.ref.values.reshape(30, 2, 40, 2).mean((1, 3))
    assert both.tgt.values == pytest.approx(means, abs=1e-5)
    assert both.tgt.x.values[0] == both.ref.x.values[:2].mean()


def test_truth_of_a_coarser_target_is_in_its_pixels():
    both = pair((60, 80), shift=(3.0, -1.0), tgt=Acquisition(coarser=2))
    assert both.shift == (1.5, -0.5)
    assert both.map_shift == (30.0, 10.0)


def test_truth_of_a_coarser_field_is_in_its_pixels():
    turn = similarity((60, 80), degrees=2.0)
    both = pair((60, 80), shift=turn, tgt=Acquisition(coarser=4))
    dcol, drow = both.truth(5, 5)  # its centre is that of fine pixels 20..23
    assert (4 * dcol, 4 * drow) == pytest.approx(turn(21.5, 21.5))


def test_resampled_target_stays_in_place():
    both = pair((120, 120), snr_db=np.inf, seed=13, product=CLEAN, tgt=Acquisition(resampled_from=3))
    down, right = np.gradient(both.ref.values)
    moved = np.linalg.lstsq(
        np.column_stack([right.ravel(), down.ravel()]), (both.tgt - both.ref).values.ravel(), rcond=None
    )[0]
    assert np.abs(moved).max() < 0.02
    assert np.diff(both.tgt.values).std() < 0.6 * np.diff(both.ref.values).std()


def test_blur_smooths_one_image_and_keeps_the_ratio():
    both = pair((120, 120), snr_db=20.0, seed=14, product=CLEAN, tgt=Acquisition(blur=2.0))
    assert both.sigma[1] < 0.95 * both.sigma[0]
    assert both.tgt.values.std() / both.sigma[1] == pytest.approx(np.sqrt(101), rel=0.02)


def test_result_does_not_depend_on_strips(monkeypatch):
    whole = pair((90, 40), snr_db=np.inf, seed=15, tgt=Acquisition(clouds=0.2, wedge=0.1, resampled_from=2))
    monkeypatch.setattr("xcoreg.simulate.pairs._STRIP", 40 * 7)
    strips = pair((90, 40), snr_db=np.inf, seed=15, tgt=Acquisition(clouds=0.2, wedge=0.1, resampled_from=2))
    assert np.array_equal(whole.tgt.values, strips.tgt.values)


def test_large_pair_is_exact_too():
    both = pair((40, 1050), shift=(3, -2), snr_db=np.inf, seed=16, product=CLEAN)
    assert both.tgt.values[2:, :-3] == pytest.approx(both.ref.values[:-2, 3:], abs=1e-5)


def test_seed_decides():
    first, again, other = (pair((30, 30), seed=seed, tgt=Acquisition(clouds=0.2)) for seed in (1, 1, 2))
    assert first.tgt.identical(again.tgt)
    assert not np.array_equal(first.tgt.values, other.tgt.values)


def test_image_without_crs_has_none():
    assert pair((20, 20), product=Product(crs=None)).ref.rio.crs is None


@pytest.mark.parametrize("shape", [(0, 10), (10,), (10, 10, 3)])
def test_shape_is_two_numbers(shape):
    with pytest.raises(OptionError, match="shape is"):
        pair(shape)


def test_shape_divides_by_the_coarser_pixel():
    with pytest.raises(OptionError, match="coarser=3"):
        pair((60, 80), tgt=Acquisition(coarser=3))
