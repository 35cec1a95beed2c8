"""Every spelling of a CRS that the seed documents name, and some more."""

from __future__ import annotations

import numpy as np
import odc.geo.crs
import pyproj
import pytest
import rasterio.crs
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

from xcoreg.errors import OptionError
from xcoreg.georef import as_crs, epsg_of, parse_crs, same_crs, transform_points

SEED_1 = (
    'PROJCS["unnamed",GEOGCS["NAD27",DATUM["North_American_Datum_1927",SPHEROID["Clarke 1866",6378206.4,'
    '294.9786982139006,AUTHORITY["EPSG","7008"]],AUTHORITY["EPSG","6267"]],PRIMEM["Greenwich",0],UNIT["degree",'
    '0.0174532925199433],AUTHORITY["EPSG","4267"]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",-105],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",0],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AUTHORITY["EPSG","26713"]]'
)
GEOGCS = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG",7030]],TOWGS84[0,0,0,0,'
    '0,0,0],AUTHORITY["EPSG",6326]],PRIMEM["Greenwich",0,AUTHORITY["EPSG",8901]],UNIT["DMSH",0.0174532925199433,'
    'AUTHORITY["EPSG",9108]],AXIS["Lat",NORTH],AXIS["Long",EAST],AUTHORITY["EPSG",4326]]'
)
PARAMETERS = (
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-81],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",0]'
)
UTM_17_UNQUOTED = f'PROJCS["UTM 17 (WGS84) in northern hemisphere.",{GEOGCS},{PARAMETERS}]'
UTM_17 = (
    'PROJCS["UTM 17",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    f'UNIT["degree",0.0174532925199433]],{PARAMETERS},UNIT["metre",1]]'
)
WYOMING = (
    'PROJCS["NAD_1927_StatePlane_Wyoming_West_FIPS_4904",GEOGCS["GCS_North_American_1927",DATUM['
    '"D_North_American_1927",SPHEROID["Clarke_1866",6378206.4,294.9786982]],PRIMEM["Greenwich",0],UNIT["Degree",'
    '0.017453292519943295]],PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",500000],PARAMETER['
    '"False_Northing",0],PARAMETER["Central_Meridian",-110.0833333333333],PARAMETER["Scale_Factor",0.9999411764705882],'
    'PARAMETER["Latitude_Of_Origin",40.66666666666666],UNIT["Foot_US",0.3048006096012192]]'
)
ALBERS = (
    'PROJCS["Albers_Beijing54",GEOGCS["Unknown datum based upon the Krassowsky 1940 ellipsoid",DATUM['
    '"Not_specified_based_on_Krassowsky_1940_ellipsoid",SPHEROID["Krassowsky 1940",6378245,298.3,AUTHORITY["EPSG",'
    '"7024"]],AUTHORITY["EPSG","6024"]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG",'
    '"9122"]]],PROJECTION["Albers_Conic_Equal_Area"],PARAMETER["latitude_of_center",0],PARAMETER["longitude_of_center",'
    '105],PARAMETER["standard_parallel_1",25],PARAMETER["standard_parallel_2",47],PARAMETER["false_easting",0],'
    'PARAMETER["false_northing",0],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
SPELLINGS = {
    "WGS84": 4326, "NAD27": 4267, "NAD83": 4269, "WGS72": 4322, "EPSG:27700": 27700, "epsg:27700": 27700,
    "27700": 27700, "EPSG 27700": 27700, "WGS 84 / UTM zone 33N": 32633, "UTM 33N": 32633, "utm zone 33 S": 32733,
    "WGS84 UTM33N": 32633, "urn:ogc:def:crs:EPSG::32633": 32633, "http://www.opengis.net/def/crs/EPSG/0/32633": 32633,
    "+proj=utm +zone=11 +datum=WGS84": 32611, "+init=epsg:32633": 32633, SEED_1: 26713, UTM_17: 32617,
    UTM_17_UNQUOTED: 32617, WYOMING: 32058, f"ESRI::{WYOMING}": 32058, GEOGCS: 4326,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*'\\+init=<authority>:FutureWarning")
@pytest.mark.parametrize(("text", "code"), SPELLINGS.items(), ids=lambda value: str(value)[:24])
def test_texts(text, code):
    assert epsg_of(text) == code
    assert parse_crs(text).to_epsg() == code


@pytest.mark.parametrize(
    "spelling",
    [
        32633,
        np.int64(32633),
        ("EPSG", 32633),
        {"proj": "utm", "zone": 33, "datum": "WGS84"},
        pyproj.CRS(32633),
        pyproj.CRS(32633).to_cf(),
        {key: value for key, value in pyproj.CRS(32633).to_cf().items() if key != "crs_wkt"},
        pyproj.CRS(32633).to_json_dict(),
        pyproj.CRS(32633).to_json(),
        pyproj.CRS(32633).to_wkt("WKT1_ESRI"),
        pyproj.CRS(32633).to_wkt("WKT1_GDAL"),
        rasterio.crs.CRS.from_epsg(32633),
        odc.geo.crs.CRS("EPSG:32633"),
        xr.Variable((), 0, pyproj.CRS(32633).to_cf()),
        xr.DataArray(np.zeros((2, 2)), dims=("y", "x")).rio.write_crs(32633),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects(spelling):
    assert parse_crs(spelling).to_epsg() == 32633
    assert same_crs(as_crs(spelling), 32633)


def test_a_prj_file(tmp_path):
    path = tmp_path / "NAD 1927 StatePlane Wyoming West FIPS 4904.prj"
    path.write_text(WYOMING, encoding="utf-8")
    assert epsg_of(path) == epsg_of(str(path)) == epsg_of(f"ESRI::{path}") == 32058
    with pytest.raises(OptionError, match="no file"):
        parse_crs(tmp_path / "none.prj")


@pytest.mark.parametrize("nothing", [None, "", "  ", {}, rasterio.crs.CRS()], ids=repr)
def test_the_unknown_stays_unknown(nothing):
    assert parse_crs(nothing) is None
    assert epsg_of(nothing) is None


def test_a_crs_without_a_code_works():
    assert epsg_of(ALBERS) is None
    crs = parse_crs(ALBERS)
    assert crs.name == "Albers_Beijing54"
    lonlat = transform_points(crs, crs.geodetic_crs, *transform_points(crs.geodetic_crs, crs, 110.0, 30.0))
    np.testing.assert_allclose(lonlat, (110.0, 30.0), atol=1e-9)


def test_a_name_alone_does_not_make_a_code():
    moved = WYOMING.replace('"False_Easting",500000', '"False_Easting",500001')
    assert epsg_of(moved) is None


@pytest.mark.parametrize(
    "nonsense", ["EPSG:999999", 'GEOGCS["x"', object(), {"proj": "nonsense"}], ids=["code", "wkt", "object", "dict"]
)
def test_nonsense_is_refused(nonsense):
    with pytest.raises(OptionError, match="CRS"):
        parse_crs(nonsense)
