"""What does not change the ground does not change the answer: radiometry, dtype, order, place, direction of axes."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

import xcoreg

SHARE = 0.2  # of a standard deviation


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((200, 190), shift=(1.3, -0.8), seed=7)


@pytest.fixture(scope="module")
def found(scene):
    return xcoreg.match(scene.tgt, scene.ref)


def _with(image, values):
    """Other pixels, and nothing else that the file says of them."""
    made = image.copy(data=values)
    made.attrs, made.encoding = {}, {}
    return made


def _gain(image, gain, dtype="f8", offset=0.0):
    with np.errstate(over="ignore"):
        return _with(image, ((image.values.astype("f8") + offset) * gain).astype(dtype))


def _on(image, affine, crs=32633):
    """The pixels on another grid."""
    bare = image.drop_vars(["x", "y", "spatial_ref"])
    return bare.rio.write_crs(crs).rio.write_transform(affine)


def _turned(image):
    affine = image.rio.transform()
    return _on(image, affine @ Affine.rotation(30))


def _in_feet(image):
    return _on(image, Affine.scale(1 / 0.3048) @ image.rio.transform(), "+proj=utm +zone=33 +datum=WGS84 +units=ft")


def _bands(image):
    return np.stack([image.values * 0 + 7, image.values]), image


def _in_last_band(image):
    stack = image.expand_dims(band=[1, 2]).copy(data=_bands(image)[0])
    return stack.isel(band=1, drop=True).expand_dims(band=[2])


SAME_PIXELS = {
    "chunks": lambda image: image.chunk(y=37, x=64),
    "order of dimensions": lambda image: image.transpose("x", "y"),
    "big-endian": lambda image: image.astype(f">{image.dtype.str[1:]}"),
    "as double precision": lambda image: _with(image, image.values.astype("f8")),
    "as integers of 64 bits": lambda image: _with(image, image.values.astype("i8")),
    "as one band of several": _in_last_band,
    "a view of every pixel twice": lambda image: image.isel(x=slice(None, None, -1)).isel(x=slice(None, None, -1)),
    "Fortran order": lambda image: image.copy(data=np.asfortranarray(image.values)),
}
SAME_ANSWER = {
    **{f"gain {gain:g} in {dtype}": lambda image, gain=gain, dtype=dtype: _gain(image, gain, dtype)
       for gain, dtype in ((1e-20, "f4"), (1e-30, "f8"), (1e-3, "f4"), (1e10, "f4"), (1e20, "f4"), (1e30, "f4"),
                           (1e200, "f8"))},
    "constant": lambda image: _gain(image, 1.0, offset=30_000.0),
    "south-up": lambda image: image.isel(y=slice(None, None, -1)),
    "from east to west": lambda image: image.isel(x=slice(None, None, -1)),
    "negative": lambda image: _gain(image, -1.0),
}  # fmt: skip
SAME_IN_PIXELS = {"turned by 30 degrees": _turned, "in feet": _in_feet}


@pytest.mark.parametrize("name", SAME_PIXELS)
def test_the_same_pixels_give_the_same_bits(name, scene, found):
    again = xcoreg.match(SAME_PIXELS[name](scene.tgt), SAME_PIXELS[name](scene.ref))
    apart = np.subtract((again.shift.dcol, again.shift.drow), (found.shift.dcol, found.shift.drow))
    assert np.abs(apart).max() <= (1e-7 if name.startswith("as ") else 0.0)  # sums in double precision, else bitwise
    np.testing.assert_allclose(again.shift.cov, found.shift.cov, rtol=1e-4 if name.startswith("as ") else 0.0)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("name", SAME_ANSWER)
def test_neither_radiometry_nor_direction_matter(name, both, scene, found):
    if name == "negative" and not both:
        pytest.skip("one negative of two is another contrast")
    tgt, ref = SAME_ANSWER[name](scene.tgt), SAME_ANSWER[name](scene.ref) if both else scene.ref
    again = xcoreg.match(tgt, ref)
    sigma = np.sqrt(np.diag(found.shift.cov))
    assert np.abs((again.shift.dx - found.shift.dx, again.shift.dy - found.shift.dy) / sigma).max() < SHARE
    assert np.sqrt(np.diag(again.shift.cov)) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("name", SAME_IN_PIXELS)
def test_the_grid_does_not_matter_in_pixels(name, scene, found):
    again = xcoreg.match(SAME_IN_PIXELS[name](scene.tgt), SAME_IN_PIXELS[name](scene.ref))
    apart = np.subtract((again.shift.dcol, again.shift.drow), (found.shift.dcol, found.shift.drow))
    assert np.abs(apart / found.shift.sigma_px).max() < SHARE


def test_a_swap_negates(scene):
    at = (float(scene.ref.x.mean()), float(scene.ref.y.mean()))
    one, other = (xcoreg.match(*both, at=at, window=128) for both in ((scene.tgt, scene.ref), (scene.ref, scene.tgt)))
    apart = np.abs((one.shift.dx + other.shift.dx, one.shift.dy + other.shift.dy))
    assert (apart / np.sqrt(np.diag(one.shift.cov))).max() < SHARE


def test_a_swap_changes_less_than_a_window_moved_by_two_pixels():
    """A window has its place in the reference: after a swap other pixels are in it, by the shift between the images."""
    swapped, moved = [], []
    for seed in range(1, 9):
        scene = xcoreg.simulate.pair((200, 190), shift=(1.3, -0.8), seed=seed)
        x, y = float(scene.ref.x.mean()), float(scene.ref.y.mean())
        one = xcoreg.match(scene.tgt, scene.ref, at=(x, y), window=128)
        other = xcoreg.match(scene.ref, scene.tgt, at=(x, y), window=128)
        beside = xcoreg.match(scene.tgt, scene.ref, at=(x + 20, y - 10), window=128)
        sigma = np.sqrt(np.diag(one.shift.cov))
        swapped.append((one.shift.dx + other.shift.dx, one.shift.dy + other.shift.dy) / sigma)
        moved.append((one.shift.dx - beside.shift.dx, one.shift.dy - beside.shift.dy) / sigma)
    spread = [np.sqrt(np.mean(np.square(each))) for each in (swapped, moved)]
    assert spread[0] < SHARE
    assert spread[0] < spread[1]


def test_transposed_pixels_exchange_rows_and_columns(scene, found):
    turned = [_on(one.copy(data=one.values).rename(x="y", y="x").transpose("y", "x"), one.rio.transform())
              for one in (scene.tgt, scene.ref)]  # fmt: skip
    again = xcoreg.match(*turned)
    apart = np.subtract((again.shift.dcol, again.shift.drow), (found.shift.drow, found.shift.dcol))
    assert np.abs(apart / found.shift.sigma_px).max() < SHARE


def test_the_order_of_bands_does_not_matter(scene, found):
    stack = scene.tgt.expand_dims(band=[1, 2, 3]).copy(data=np.stack([scene.tgt.values + n for n in (9, 5, 0)]))
    for turned, band in ((stack, 3), (stack.isel(band=[2, 0, 1]), 1), (stack.isel(band=[1, 2, 0]), 2)):
        again = xcoreg.match(turned.assign_coords(band=[1, 2, 3]), scene.ref, band=band)
        assert (again.shift.dcol, again.shift.drow) == (found.shift.dcol, found.shift.drow)


def test_a_crop_around_the_window_changes_nothing(scene):
    at = (float(scene.ref.x.mean()), float(scene.ref.y.mean()))
    full = xcoreg.match(scene.tgt, scene.ref, at=at, window=128)
    parts = [one.isel(y=slice(20, -20), x=slice(16, -20)) for one in (scene.tgt, scene.ref)]
    crop = xcoreg.match(*parts, at=at, window=128)
    apart = (crop.shift.dx - full.shift.dx, crop.shift.dy - full.shift.dy)
    assert np.abs(apart / np.sqrt(np.diag(full.shift.cov))).max() < SHARE


@pytest.mark.parametrize("name", [name for name in SAME_PIXELS if name != "as one band of several"])
def test_moving_the_transform_leaves_all_pixels(name, scene, found):
    image = SAME_PIXELS[name](scene.tgt)
    made = xcoreg.apply(image, found)
    assert made.dtype == image.dtype
    np.testing.assert_array_equal(made.transpose("y", "x").values, scene.tgt.values)


@pytest.mark.parametrize("name", ["chunks", "order of dimensions", "big-endian", "Fortran order"])
def test_interpolation_gives_the_same_bits(name, scene, found):
    wanted = xcoreg.apply(scene.tgt, found, like=scene.ref)
    made = xcoreg.apply(SAME_PIXELS[name](scene.tgt), found, like=scene.ref)
    np.testing.assert_array_equal(made.transpose("y", "x").values, wanted.values)
