"""Never a wrong answer in silence: a small part of benchmarks/acceptance.py, through the whole of `match`."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import fft, ndimage

from xcoreg.coregister import match
from xcoreg.datasets import sentinel2_pair
from xcoreg.errors import CoregError, GridError, NoOverlap
from xcoreg.simulate import Acquisition, Product, Texture, pair

SIZES = (64, 96, 128)


def accepted(ref: xr.DataArray, tgt: xr.DataArray, **options: object) -> bool:
    return match(tgt, ref, errors="return", **options).ok


def like(image: xr.DataArray, values: np.ndarray) -> xr.DataArray:
    return image.copy(data=values.clip(1, 65535).round().astype(image.dtype))


@pytest.fixture(scope="module", params=SIZES)
def blank(request: pytest.FixtureRequest) -> xr.DataArray:
    return pair((request.param, request.param)).ref


def numbers(blank: xr.DataArray, values: np.ndarray) -> xr.DataArray:
    return like(blank, 2000 + 400 * values / values.std())


# --- nothing in common -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("contrast", ["same", "any"])
def test_other_places(size: int, exponent: float, contrast: str) -> None:
    both = pair((size, size), shift=None, snr_db=20, texture=Texture(exponent=exponent), seed=size)
    assert not accepted(both.ref, both.tgt, contrast=contrast)


@pytest.mark.parametrize("size", SIZES)
def test_white_noise(size: int) -> None:
    both = pair((size, size), snr_db=-np.inf, seed=size)
    assert not accepted(both.ref, both.tgt)


@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0])
def test_coloured_noise(blank: xr.DataArray, sigma: float) -> None:
    rng = np.random.default_rng(1)
    ref, tgt = (numbers(blank, ndimage.gaussian_filter(rng.standard_normal(blank.shape), sigma)) for _ in range(2))
    assert not accepted(ref, tgt)


@pytest.mark.parametrize("size", [96, 200])
def test_clouds_over_everything(size: int) -> None:
    how = Acquisition(clouds=1.0)
    both = pair((size, size), shift=(3.3, -2.6), ref=how, tgt=how, seed=size)
    assert not accepted(both.ref, both.tgt)


def test_other_places_of_a_real_image() -> None:
    image = sentinel2_pair()[0]
    ref, tgt = image[:, :200, 300:500], image[:, 400:600, 300:500]
    tgt = tgt.assign_coords(x=ref.x, y=ref.y)
    tgt.rio.write_transform(ref.rio.transform(recalc=True), inplace=True)
    ref = ref.rio.write_transform(ref.rio.transform(recalc=True))
    assert not accepted(ref, tgt)


# --- nothing to see --------------------------------------------------------------------------------------------------


def test_constant_images(blank: xr.DataArray) -> None:
    assert not accepted(like(blank, np.full(blank.shape, 700.0)), like(blank, np.full(blank.shape, 900.0)))


def test_flat_images_with_a_flickering_digit(blank: xr.DataArray) -> None:
    rng = np.random.default_rng(2)
    ref, tgt = (like(blank, 700.5 + 0.2 * rng.standard_normal(blank.shape)) for _ in range(2))
    assert not accepted(ref, tgt)


def test_water(blank: xr.DataArray) -> None:
    rng = np.random.default_rng(3)

    def sea() -> np.ndarray:
        waves = ndimage.gaussian_filter(rng.standard_normal(blank.shape), 2)
        return 200 + 2 * waves / waves.std() + 2 * rng.standard_normal(blank.shape)

    assert not accepted(like(blank, sea()), like(blank, sea()))


# --- no single answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", [7, 12, 23])
def test_a_repetitive_field(blank: xr.DataArray, period: int) -> None:
    rng = np.random.default_rng(period)
    tile = ndimage.gaussian_filter(rng.standard_normal((period, period)), 1, mode="wrap")
    field = np.tile(tile / tile.std(), (400 // period, 400 // period))
    rows, cols = blank.shape
    ref, tgt = (field[at : at + rows, at : at + cols] + 0.05 * rng.standard_normal(blank.shape) for at in (0, 3))
    assert not accepted(numbers(blank, ref), numbers(blank, tgt))


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_rows_of_a_crop(blank: xr.DataArray, degrees: float) -> None:
    rng = np.random.default_rng(4)
    y, x = np.indices(blank.shape)
    turn = np.radians(degrees)
    waves = np.sin(2 * np.pi / 9.3 * (np.cos(turn) * x + np.sin(turn) * y))
    ref, tgt = (numbers(blank, waves + 0.1 * rng.standard_normal(blank.shape)) for _ in range(2))
    assert not accepted(ref, tgt)


# --- the same sensor looks at other things ---------------------------------------------------------------------------


def test_noise_under_the_same_swath_edge(blank: xr.DataArray) -> None:
    rng = np.random.default_rng(5)
    out = np.add.outer(0.3 * np.arange(blank.shape[0]), np.arange(blank.shape[1])) < blank.shape[1] / 2
    ref, tgt = (numbers(blank, rng.standard_normal(blank.shape)) for _ in range(2))
    assert not accepted(ref.where(~out, 0).astype("uint16"), tgt.where(~out, 0).astype("uint16"))


@pytest.mark.parametrize("strength", [0.05, 0.3])
def test_the_same_column_pattern(strength: float) -> None:
    both = pair((128, 128), shift=None, product=Product(nodata=None), seed=8)
    pattern = 400 * strength * np.random.default_rng(6).standard_normal(128)
    assert not accepted(like(both.ref, both.ref.values + pattern), like(both.tgt, both.tgt.values + pattern))


def test_the_same_vignette() -> None:
    both = pair((128, 128), shift=None, seed=9)
    y, x = (np.indices((128, 128)) - 63.5) / 128
    light = 1 - (x**2 + y**2)
    assert not accepted(like(both.ref, both.ref.values * light), like(both.tgt, both.tgt.values * light))


def test_the_same_blocks_of_a_compression() -> None:
    rng = np.random.default_rng(7)
    both = pair((128, 128), shift=None, seed=10)

    def compressed(image: xr.DataArray) -> xr.DataArray:
        blocks = image.values.astype(float).reshape(16, 8, 16, 8)
        kept = fft.dctn(blocks, axes=(1, 3), norm="ortho").round(-2)
        return like(image, fft.idctn(kept, axes=(1, 3), norm="ortho").reshape(128, 128) + rng.normal(0, 1, (128, 128)))

    assert not accepted(compressed(both.ref), compressed(both.tgt))


# --- no place to look at ---------------------------------------------------------------------------------------------


def test_no_overlap() -> None:
    both = pair((64, 64))
    far = both.tgt.assign_coords(x=both.tgt.x + 10000)
    far.rio.write_transform(far.rio.transform(recalc=True), inplace=True)
    with pytest.raises(NoOverlap):
        match(far, both.ref)


def test_all_nodata() -> None:
    both = pair((64, 64))
    with pytest.raises(CoregError, match="no valid pixel"):
        match(both.tgt * 0, both.ref)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_images_of_a_few_pixels(size: int) -> None:
    both = pair((64, 64))
    with pytest.raises(GridError, match="at least 16 x 16"):
        match(both.tgt[:size, :size], both.ref)


# --- what must not be refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("exponent", [1.0, 1.5])
def test_true_pairs_at_10_db_are_accepted(size: int, exponent: float) -> None:
    both = pair((size, size), shift=(3.3, -2.6), snr_db=10, texture=Texture(exponent=exponent), seed=size)
    fit = match(both.tgt, both.ref)
    assert np.hypot(fit.shift.dcol - 3.3, fit.shift.drow + 2.6) < 0.3
