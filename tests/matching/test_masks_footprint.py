import json

import pytest
from shapely.geometry import box, mapping

from xcoreg.errors import OptionError
from xcoreg.matching.masks import read_footprint

SQUARE = box(13.0, 52.0, 13.1, 52.1)
UTM_BOUNDS = (362705.634, 5762742.653, 369860.639, 5774047.546)  # the square in EPSG:32633, by pyproj


def written(path, data):
    path.write_text(json.dumps(data))
    return str(path)


def test_wkt_is_taken_as_it_is():
    assert read_footprint(SQUARE.wkt, "EPSG:32633", "footprint").equals(SQUARE)


@pytest.mark.parametrize("kind", ["geometry", "feature", "collection"])
def test_geojson_comes_to_the_crs_of_the_image(tmp_path, kind):
    data = mapping(SQUARE)
    if kind != "geometry":
        data = {"type": "Feature", "properties": {}, "geometry": data}
    if kind == "collection":
        data = {"type": "FeatureCollection", "features": [data, data]}
    found = read_footprint(written(tmp_path / "a.geojson", data), "EPSG:32633", "footprint")
    assert found.bounds == pytest.approx(UTM_BOUNDS, abs=0.1)


def test_geojson_that_names_its_crs_is_believed(tmp_path):
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    data = {"type": "FeatureCollection", "crs": crs, "features": []}
    data["features"].append({"type": "Feature", "properties": {}, "geometry": mapping(box(0, 0, 9, 9))})
    assert read_footprint(written(tmp_path / "a.json", data), "EPSG:32633", "footprint").equals(box(0, 0, 9, 9))


def test_a_geopackage_comes_to_the_crs_of_the_image(tmp_path):
    gpd = pytest.importorskip("geopandas")
    gpd.GeoDataFrame(geometry=[SQUARE], crs="EPSG:4326").to_file(tmp_path / "a.gpkg")
    found = read_footprint(str(tmp_path / "a.gpkg"), "EPSG:32633", "footprint")
    assert found.bounds == pytest.approx(UTM_BOUNDS, abs=0.1)


@pytest.mark.parametrize("text", ["nowhere.gpkg", "POLYGON ((1 2", "footprint.txt"])
def test_what_cannot_be_read_is_reported_with_the_option(text):
    with pytest.raises(OptionError, match="footprint"):
        read_footprint(text, None, "footprint")


@pytest.mark.parametrize("data", [[], {"type": "Topology"}, {"type": "Feature", "geometry": {"type": "Cube"}}])
def test_json_of_another_kind_is_refused(tmp_path, data):
    with pytest.raises(OptionError, match="not GeoJSON"):
        read_footprint(written(tmp_path / "a.json", data), None, "footprint")


def test_a_file_without_geometry_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no geometry"):
        read_footprint(written(tmp_path / "a.json", {"type": "FeatureCollection", "features": []}), None, "footprint")
