"""Where an image lies: the swath of seed 003, RPCs, affines across the antimeridian."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.rpc import RPC

from xcoreg.errors import OptionError
from xcoreg.georef import AffineGround, Corners, read_rpcs, transform_points

SWATH = ((-52, -68), (-47, -68.3), (-47.6, -70.2), (-53, -69.9))
LOCATED = [
    ((-50, -68.5), (0.431580253, 0.184403877)),
    ((-48, -69.5), (0.881410337, 0.645312532)),
    ((-45, -70), (1.455556866, 0.848980446)),
]


@pytest.mark.parametrize(
    ("lonlat", "xy"),
    [
        ((-45, -70), (-1547131.1245, 1547131.1245)),
        ((-50, -68.5), (-1804572.6272, 1514216.2259)),
        ((-40, -72), (-1263387.5592, 1505646.6625)),
    ],
)
def test_polar_stereographic_of_seed_3(lonlat, xy):
    found = transform_points("EPSG:4326", "EPSG:3412", *lonlat)
    np.testing.assert_allclose(found, xy, atol=6e-5)


@pytest.mark.parametrize(("lonlat", "expected"), LOCATED)
def test_the_swath_of_seed_3(lonlat, expected):
    corners = Corners(*SWATH, plane="EPSG:3412")
    np.testing.assert_allclose(corners.normalized(*lonlat), expected, atol=6e-10)
    assert corners.residual_rms == pytest.approx(0.0034945, abs=6e-8)


def test_corners_count_pixels_too_and_back():
    ground = Corners(*SWATH, plane="EPSG:3412").ground((500, 400))
    x, y = transform_points("EPSG:4326", ground.crs, -50, -68.5)
    col, row = ground.to_pixel(x, y)
    np.testing.assert_allclose([(col + 0.5) / 400, (row + 0.5) / 500], LOCATED[0][1], atol=1e-9)
    np.testing.assert_allclose(ground.to_map(col, row), (x, y), atol=1e-6)


def test_a_plane_is_chosen_across_antimeridian_and_pole():
    across = Corners((179, 10), (-179, 10), (-179, 9), (179, 9))
    np.testing.assert_allclose(across.normalized([180, -180], 9.5), [[0.5, 0.5], [0.5, 0.5]], atol=2e-3)
    pole = Corners((-45, 89), (45, 89), (135, 89), (-135, 89))
    np.testing.assert_allclose(pole.normalized(0, 90), (0.5, 0.5), atol=1e-9)
    utm = Corners((0, 10), (10, 10), (10, 0), (0, 0), crs=32633)
    assert utm.plane_crs.to_epsg() == 32633


@pytest.mark.parametrize("last", [(0, 0), (np.nan, 0), (1, 2, 3)])
def test_corners_on_a_line_or_broken_are_refused(last):
    with pytest.raises(OptionError, match="corner"):
        Corners((0, 0), (1, 1), (2, 2), last, crs=32633)


def test_longitudes_are_found_in_the_turn_of_the_image():
    ground = AffineGround(Affine(0.1, 0, 170, 0, -0.1, 10), 4326)
    col, _ = ground.to_pixel([175.05, -175.05, 184.95, -184.95], 5.0)
    np.testing.assert_allclose(col, [50, 149, 149, 50], atol=1e-9)


def rpc_by_hand(rpcs: RPC, lon, lat, height):
    """The terms of RPC00B, from its specification."""
    p, q = (lon - rpcs.long_off) / rpcs.long_scale, (lat - rpcs.lat_off) / rpcs.lat_scale
    h = (height - rpcs.height_off) / rpcs.height_scale + 0 * p
    second = [p * q, p * h, q * h, p * p, q * q, h * h]
    third = [q * p * h, p**3, p * q * q, p * h * h, p * p * q, q**3, q * h * h, p * p * h, q * q * h, h**3]
    terms = np.stack([p**0, p, q, h, *second, *third])
    line = np.array(rpcs.line_num_coeff) @ terms / (np.array(rpcs.line_den_coeff) @ terms)
    sample = np.array(rpcs.samp_num_coeff) @ terms / (np.array(rpcs.samp_den_coeff) @ terms)
    return sample * rpcs.samp_scale + rpcs.samp_off, line * rpcs.line_scale + rpcs.line_off


@pytest.mark.parametrize("height", [0.0, 350.0])
def test_rpcs_place_pixels_by_their_specification_and_back(data_dir, height):
    ground = read_rpcs(data_dir / "formats" / "RGB.byte.rpc.vrt", height)
    col, row = (v.ravel() for v in np.meshgrid(np.linspace(0, 7000, 9), np.linspace(0, 11000, 9)))
    lon, lat = ground.to_map(col, row)
    np.testing.assert_allclose(rpc_by_hand(ground.rpcs, lon, lat, height), (col, row), atol=1e-5)
    np.testing.assert_allclose(ground.to_pixel(lon, lat), (col, row), atol=1e-5)


def test_missing_rpcs_are_named(data_dir):
    with pytest.raises(OptionError, match="no RPCs"):
        read_rpcs(data_dir / "formats" / "RGB.byte.tif")
    with pytest.raises(OptionError, match="cannot be opened"):
        read_rpcs("nowhere.tif")


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (0, 2, 1, 3)], ids=["row by row", "crossed"])
def test_corners_in_another_order_are_told(order):
    with pytest.raises(OptionError, match="give upper left, upper right, lower right"):
        Corners(*(SWATH[at] for at in order))
    with pytest.raises(OptionError, match="on one line"):
        Corners((0, 0), (1, 1), (2, 2), (3, 3))  # a great circle, nearly
