"""CRSs: spellings, equality, points and displacements."""

from __future__ import annotations

import numpy as np
import odc.geo.crs
import pyproj
import pytest
import rasterio.crs

from xcoreg.errors import GridError, OptionError
from xcoreg.georef import as_crs, has_lonlat, local_displacement, same_crs, transform_points


def test_x_before_y_always():
    x, y = transform_points("EPSG:4326", "EPSG:32617", -80, 40)
    assert (float(x), float(y)) == pytest.approx((585360.46184, 4428236.06463), abs=1e-5)
    lon, lat = transform_points("EPSG:32633", "EPSG:4326", 354223, 5805559)
    assert (float(lon), float(lat)) == pytest.approx((12.858185560, 52.380863991), abs=1e-9)


def test_arrays_keep_their_shape():
    x, y = transform_points("EPSG:4326", "EPSG:32633", np.full((2, 3), 15.0), 52.0)
    assert x.shape == y.shape == (2, 3)
    np.testing.assert_allclose(x, 500000.0)


def test_equal_crs_return_the_points_bitwise():
    x = np.array([354223.1, 0.3])
    out, _ = transform_points("EPSG:32633", rasterio.crs.CRS.from_epsg(32633), x, x)
    np.testing.assert_array_equal(out, x)
    assert out is not x


@pytest.mark.parametrize("make", [str, pyproj.CRS, rasterio.crs.CRS.from_user_input, odc.geo.crs.CRS])
def test_objects_of_every_library(make):
    assert same_crs(make("EPSG:32633"), 32633)


def test_axis_order_names_and_height_do_not_matter():
    assert same_crs("EPSG:4326", "OGC:CRS84")
    assert same_crs("EPSG:32633", "+proj=utm +zone=33 +datum=WGS84")
    assert same_crs("EPSG:4326", "EPSG:4979")


def test_zones_and_the_unknown_differ():
    assert not same_crs("EPSG:32633", "EPSG:32632")
    assert not same_crs("EPSG:32633", None)
    assert not same_crs(None, None)


@pytest.mark.parametrize("crs", [None, "", "  "])
def test_an_empty_crs_is_never_guessed(crs):
    with pytest.raises(OptionError, match="unknown"):
        as_crs(crs)


def test_an_unknown_crs_is_named():
    with pytest.raises(OptionError, match=r"'EPSG:999999' is unknown: give an authority code"):
        as_crs("EPSG:999999")


def test_displacement_follows_convergence_and_unit():
    # 100 m North in zone 33 seen from zone 32, six degrees of longitude further: turned by their convergence
    dx, dy = local_displacement(830000.0, 5800000.0, 0.0, 100.0, "EPSG:32633", "EPSG:32632")
    lon, lat = transform_points("EPSG:32632", "EPSG:4326", 830000.0, 5800000.0)
    gamma = [np.arctan(np.tan(np.radians(lon - centre)) * np.sin(np.radians(lat))) for centre in (9, 15)]
    assert np.hypot(dx, dy) == pytest.approx(100.0, rel=2e-3)
    assert np.arctan2(dx, dy) == pytest.approx(gamma[1] - gamma[0], abs=1e-4)


def test_displacement_in_degrees_lands_where_the_metres_do():
    lon, lat = np.array([14.0, 15.5]), np.array([52.0, 47.0])
    dlon, dlat = local_displacement(lon, lat, 30.0, -20.0, "EPSG:32633", "EPSG:4326")
    start = transform_points("EPSG:4326", "EPSG:32633", lon, lat)
    end = transform_points("EPSG:4326", "EPSG:32633", lon + dlon, lat + dlat)
    np.testing.assert_allclose(np.subtract(end, start), [[30.0, 30.0], [-20.0, -20.0]], atol=1e-6)


def test_displacement_in_the_same_crs_is_untouched():
    dx, dy = local_displacement([1.0, 2.0], [3.0, 4.0], 0.1, 0.3, "EPSG:32633", "EPSG:32633")
    assert dx.tolist() == [0.1, 0.1]
    assert dy.tolist() == [0.3, 0.3]


LOCAL = 'LOCAL_CS["Site grid (m)",UNIT["metre",1]]'
SAME_LOCAL = {
    "case and unit": 'LOCAL_CS["site  GRID (M)",UNIT["meter",1],AXIS["X",EAST],AXIS["Y",NORTH]]',
    "no unit": 'LOCAL_CS["Site grid (m)"]',
    "datum": 'LOCAL_CS["Site grid (m)",LOCAL_DATUM["Mine",32767],UNIT["m",1]]',
    "WKT 2": 'ENGCRS["Site grid (m)",EDATUM["Mine"],CS[Cartesian,2],AXIS["(N)",north],AXIS["(E)",east],'
    'LENGTHUNIT["metre",1]]',
}
OTHER_LOCAL = {
    "name": 'LOCAL_CS["Pit",UNIT["metre",1]]',
    "unit": 'LOCAL_CS["Site grid (m)",UNIT["foot",0.3048]]',
    "axes": 'LOCAL_CS["Site grid (m)",UNIT["metre",1],AXIS["X",WEST],AXIS["Y",SOUTH]]',
    "kind": "EPSG:32633",
}
MARS = (
    'PROJCS["Mars",GEOGCS["M",DATUM["D_Mars",SPHEROID["Mars",3396190,169.89]],PRIMEM["R",0],'
    'UNIT["Degree",0.0174532925199433]],PROJECTION["Equirectangular"],UNIT["metre",1]]'
)


@pytest.mark.parametrize("kind", SAME_LOCAL)
def test_a_local_crs_is_the_same_under_another_spelling(kind):
    assert same_crs(LOCAL, SAME_LOCAL[kind])
    assert same_crs(rasterio.crs.CRS.from_wkt(SAME_LOCAL[kind]), LOCAL)


@pytest.mark.parametrize("kind", OTHER_LOCAL)
def test_another_local_crs_is_another(kind):
    assert not same_crs(LOCAL, OTHER_LOCAL[kind])
    with pytest.raises(GridError, match=r"write_crs"):
        transform_points(LOCAL, OTHER_LOCAL[kind], 0, 0)


def test_a_local_crs_survives_a_geotiff(tmp_path):
    for name, text in {"own": LOCAL, **SAME_LOCAL}.items():
        place = tmp_path / f"{name}.tif"
        with rasterio.open(
            place,
            "w",
            driver="GTiff",
            width=2,
            height=2,
            count=1,
            dtype="uint8",
            crs=text,
            transform=(1, 0, 9, 0, -1, 9),
        ):
            pass
        with rasterio.open(place) as file:
            assert same_crs(file.crs, text)


def test_where_longitudes_and_latitudes_are():
    assert has_lonlat("EPSG:4326")
    assert has_lonlat("EPSG:27700")
    assert not any(map(has_lonlat, (LOCAL, MARS, None)))
