import json

import pytest
from shapely.geometry import box, shape

from xcoreg.cli.debug import Layer, write_layers

# the square 13.0..13.1 E, 52.0..52.1 N in EPSG:32633, by pyproj, to the metre
UTM = box(362706, 5762743, 369861, 5774048)


def test_geojson_serves_where_geopandas_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    given = [Layer("overlap", [UTM]), Layer("windows", [UTM, UTM], {"status": ["OK", "FLAT"], "dx": [1.5, None]})]
    written = write_layers(tmp_path, given, "EPSG:32633")
    assert [path.name for path in written] == ["overlap.geojson", "windows.geojson"]
    overlap, windows = (json.loads(path.read_text())["features"] for path in written)
    assert shape(overlap[0]["geometry"]).bounds == pytest.approx((13.0, 52.0, 13.1, 52.1), abs=0.01)
    assert [one["properties"] for one in windows] == [{"status": "OK", "dx": 1.5}, {"status": "FLAT", "dx": None}]


def test_a_geopackage_holds_all_layers_in_the_crs_of_the_target(tmp_path):
    gpd = pytest.importorskip("geopandas")
    written = write_layers(tmp_path, [Layer("overlap", [UTM]), Layer("windows", [UTM], {"dx": [1.5]})], "EPSG:32633")
    assert [path.name for path in written] == ["debug.gpkg", "debug.qgs"]
    table = gpd.read_file(written[0], layer="windows")
    assert table.crs.to_epsg() == 32633
    assert table.geometry[0].equals(UTM)
    assert table.dx[0] == 1.5


def test_a_project_of_qgis_names_the_layers_beside_it(tmp_path):
    pytest.importorskip("geopandas")
    import xml.etree.ElementTree as ET

    write_layers(tmp_path, [Layer("overlap", [UTM]), Layer("windows", [UTM], {"dx": [1.5]})], "EPSG:32633")
    project = ET.parse(tmp_path / "debug.qgs").getroot()
    assert [one.text for one in project.iter("datasource")] == [
        "./debug.gpkg|layername=windows", "./debug.gpkg|layername=overlap",
    ]  # fmt: skip
    assert project.find("projectCrs/spatialrefsys/authid").text == "EPSG:32633"
