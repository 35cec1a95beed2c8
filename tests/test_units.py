"""Lengths are printed in the unit they are in: coordinates in km, CRSs in km and feet."""

from __future__ import annotations

import pytest
from pyproj import CRS
from xarray import DataArray

import xcoreg

KM = CRS.from_proj4("+proj=utm +zone=33 +datum=WGS84 +units=km")


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((200, 200), shift=(2.0, -1.0), seed=1)


def placed(image, crs, scale, unit=None):
    attrs = {"units": unit} if unit else {}
    coords = {dim: (dim, image[dim].values * scale, attrs) for dim in ("y", "x")}
    return DataArray(image.values, coords, ("y", "x")).rio.write_crs(crs)


def test_coordinates_in_km_are_matched_and_moved_in_metres(scene):
    with pytest.warns(xcoreg.CoregWarning, match="are in km, its CRS .* converted to metre") as seen:
        fixed = placed(scene.tgt, 3413, 1e-3, "km").coreg.shift_to(placed(scene.ref, 3413, 1e-3, "km"))
    assert len(seen) == 2  # one for each image
    assert float(fixed.x[0] - scene.tgt.x[0]) == pytest.approx(20, abs=0.1)
    assert (fixed.x.attrs["units"], fixed.y.attrs["units"]) == ("metre", "metre")


def test_km_against_metres(scene):
    with pytest.warns(xcoreg.CoregWarning, match="target are in km"):
        shift = placed(scene.tgt, 3413, 1e-3, "km").coreg.match(placed(scene.ref, 3413, 1.0)).shift
    assert (shift.dx, shift.dy, shift.unit) == (pytest.approx(20, abs=0.1), pytest.approx(10, abs=0.1), "metre")


@pytest.mark.parametrize(("crs", "scale", "label"), [(KM, 1e-3, " km"), (2225, 1.0, " ft"), (32633, 1.0, " m")])
@pytest.mark.parametrize("place", ["array", "file"])
def test_the_unit_of_the_crs_stands_in_the_text(scene, tmp_path, crs, scale, label, place):
    target, reference = (placed(image, crs, scale) for image in (scene.tgt, scene.ref))
    if place == "file":
        target = xcoreg.open_raster(xcoreg.write_raster(target, tmp_path / "a.tif"))
    shift = target.coreg.match(reference).shift
    assert shift.dx == pytest.approx(20 * scale, rel=0.01)
    assert label in str(shift).partition(",")[0]


def test_a_crs_in_km_against_one_in_metres(scene):
    shift = placed(scene.tgt, KM, 1e-3).coreg.match(placed(scene.ref, 32633, 1.0)).shift
    assert (shift.dx, shift.unit) == (pytest.approx(0.02, rel=0.01), "kilometre")
