"""Two images on different grids: the answer is always in units of the target's CRS and in target pixels."""

import numpy as np
import pytest
from affine import Affine

from xcoreg.coregister import match
from xcoreg.georef import transform_points
from xcoreg.simulate import Acquisition, pair

UTM = "EPSG:32633"
NEAR = 0.02  # matching pixels
SHIFT = (6.3, -11.7)


def turned(degrees, n=240):
    """A grid of 10 m turned about the middle of the reference."""
    c, s = 10 * np.cos(np.radians(degrees)), 10 * np.sin(np.radians(degrees))
    return Affine(c, s, 301200 - (c + s) * n / 2, s, -c, 5898840 - (s - c) * n / 2)


def check(fit, shift, pixel=10.0):
    assert abs(fit.shift.dx - shift[0]) < NEAR * pixel
    assert abs(fit.shift.dy - shift[1]) < NEAR * pixel


def back(shift):
    return -shift[0], -shift[1]


@pytest.mark.parametrize("origin", [(3.7, -2.1), (5.0, 5.0), (-4.9, 4.9)])
def test_pixels_off_by_a_fraction(plain, make_image, origin):
    tgt = make_image(plain.tgt.values, Affine(10, 0, 300000 + origin[0], 0, -10, 5900040 + origin[1]))
    check(match(tgt, plain.ref), (7.0 - origin[0], 12.0 - origin[1]))


@pytest.mark.parametrize("which", ["target", "reference", "both"])
def test_south_up(plain, make_image, which):
    south_up = Affine(10, 0, 300000, 0, 10, 5900040 - 2400)
    tgt, ref = (
        make_image(image.values[::-1], south_up) if name in (which, "both") or which == "both" else image
        for name, image in (("target", plain.tgt), ("reference", plain.ref))
    )
    fit = match(tgt, ref)
    check(fit, (7.0, 12.0))
    assert fit.shift.drow == pytest.approx(1.2 if which in ("target", "both") else -1.2, abs=NEAR)


def test_a_quarter_turn(plain, make_image):
    tgt = make_image(np.rot90(plain.tgt.values), Affine(0, -10, 302600, -10, 0, 5900040))
    check(match(tgt, plain.ref), (7.0, 12.0))


@pytest.mark.parametrize("degrees", [5.0, 38.0])
def test_rotated_grids(make_pair, degrees):
    tgt, ref = make_pair((240, 240), turned(degrees), shift=SHIFT, seed=1)
    check(match(tgt, ref, window=96), SHIFT)
    check(match(ref, tgt, window=96), back(SHIFT))


def test_another_utm_zone(make_pair):
    x, y = transform_points(UTM, "EPSG:32632", np.array([301200.0]), np.array([5898840.0]))
    grid = Affine(10, 0, x[0] - 1203.3, 0, -10, y[0] + 1198)
    tgt, ref = make_pair((240, 240), grid, "EPSG:32632", SHIFT, seed=2)
    check(match(tgt, ref), SHIFT)


def test_degrees(make_pair):
    lon, lat = transform_points(UTM, "EPSG:4326", np.array([301200.0]), np.array([5898840.0]))
    across, down = 1.5e-4, 9e-5
    grid = Affine(across, 0, lon[0] - 120 * across, 0, -down, lat[0] + 120 * down)
    tgt, ref = make_pair((240, 240), grid, "EPSG:4326", (6e-5, -11e-5), seed=3)
    fit = match(tgt, ref)
    assert fit.shift.dcol == pytest.approx(6e-5 / across, abs=NEAR)
    assert fit.shift.drow == pytest.approx(11e-5 / down, abs=NEAR)
    assert fit.shift.unit == "degree"


@pytest.mark.parametrize("factor", [2, 3])
def test_a_coarser_reference(make_image, factor):
    both = pair((360, 360), shift=(1.7, -2.2), seed=4, ref=Acquisition(coarser=factor))
    tgt = make_image(both.tgt.values, Affine(10, 0, 300003.3, 0, -10, 5900044.1))
    fit = match(tgt, both.ref)
    check(fit, (17 - 3.3, 22 - 4.1), 10 * factor)
    assert fit.shift.dcol == pytest.approx(1.37, abs=NEAR * factor)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_coarser_target(factor):
    both = pair((360, 360), shift=(1.7, -2.2), seed=5, tgt=Acquisition(coarser=factor))
    fit = match(both.tgt, both.ref)
    check(fit, (17, 22), 10 * factor)
    assert fit.shift.dcol == pytest.approx(1.7 / factor, abs=NEAR)


@pytest.mark.parametrize("ratio", [1.5, 2.4])
def test_broken_ratios_of_pixel_sizes(make_pair, ratio):
    n, gsd = round(150 * ratio), 10 / ratio
    tgt, ref = make_pair((n, n), Affine(gsd, 0, 300003.3, 0, -gsd, 5900042), shift=SHIFT, seed=6)
    ref = ref[:150, :150]
    check(match(tgt, ref), SHIFT)
    check(match(ref, tgt), back(SHIFT))


def test_the_fit_corrects_the_target_on_its_own_grid(make_pair):
    tgt, ref = make_pair((240, 240), turned(20.0), shift=SHIFT, seed=1)
    fit = match(tgt, ref)
    again = match(tgt.coreg.apply(fit), ref)
    check(again, (0.0, 0.0))
