"""Outlines in any CRS and file, to include or to exclude."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.geometry import box, mapping

from xcoreg.errors import OptionError
from xcoreg.georef import transform_points
from xcoreg.matching.masks import as_mask, inside, outside, read_polygons, union_of

UTM = "EPSG:32633"
WEST_HALF = box(300000, 5899040, 300500, 5900040)
X, Y = np.array([300100.0, 300700.0, 300100.0]), np.array([5899900.0, 5899900.0, 5800000.0])


def degrees(outline):
    return shapely.transform(outline, lambda x, y: transform_points(UTM, "EPSG:4326", x, y), interleaved=False)


def asked(where, crs=UTM):
    return as_mask(where, crs)(X, Y).tolist()


def test_outside_is_all_the_rest():
    assert asked(outside(WEST_HALF)) == [False, True, True]
    assert asked(outside(outside(WEST_HALF))) == asked(WEST_HALF)


def test_a_bare_geometry_may_be_in_another_crs():
    assert asked(inside(degrees(WEST_HALF), crs="EPSG:4326")) == [True, False, False]
    assert asked(outside(degrees(WEST_HALF), "EPSG:4326")) == [False, True, True]


def test_an_srid_is_believed():
    assert asked(shapely.set_srid(degrees(WEST_HALF), 4326)) == [True, False, False]


@pytest.mark.parametrize("invert", [inside, outside])
def test_tables_of_outlines_in_another_crs(invert):
    gpd = pytest.importorskip("geopandas")
    far = box(300600, 5899800, 300800, 5899950)
    table = gpd.GeoDataFrame(geometry=[WEST_HALF, None, far], crs=UTM).to_crs("EPSG:4326")
    expected = np.array([True, True, False])
    assert asked(invert(table)) == (expected if invert is inside else ~expected).tolist()
    assert asked(invert(table.geometry)) == asked(invert(table))


def test_outlines_of_the_whole_world_are_no_trouble():
    # Brought to a UTM zone most of them would have no place; positions are brought to them instead.
    gpd = pytest.importorskip("geopandas")
    world = [box(lon, lat, lon + 9.9, lat + 9.9) for lon in range(-180, 180, 10) for lat in range(-90, 90, 10)]
    table = gpd.GeoDataFrame(geometry=[*world, degrees(WEST_HALF)], crs="EPSG:4326")
    assert asked(table) == [True, True, True]


def test_a_table_without_any_outline_excludes_nothing():
    gpd = pytest.importorskip("geopandas")
    table = gpd.GeoDataFrame(geometry=[], crs=UTM)
    assert asked(table) == [False] * 3
    assert asked(outside(table)) == [True] * 3


def test_a_path_of_geojson(tmp_path):
    path = tmp_path / "glaciers.geojson"
    path.write_text(json.dumps(mapping(degrees(WEST_HALF))))
    assert asked(path) == [True, False, False]
    assert asked(outside(str(path))) == [False, True, True]


def test_a_path_of_a_geopackage(tmp_path):
    gpd = pytest.importorskip("geopandas")
    gpd.GeoDataFrame(geometry=[WEST_HALF], crs=UTM).to_file(tmp_path / "a.gpkg")
    assert asked(tmp_path / "a.gpkg") == [True, False, False]


def test_a_path_of_a_raster_and_its_inverse(tmp_path, make_field):
    transform = Affine(30, 0, 299990, 0, -30, 5900050)
    mask = make_field(lambda x, y: x < 300500, (34, 34), transform).astype("uint8")
    mask.rio.to_raster(tmp_path / "stable.tif")
    assert asked(tmp_path / "stable.tif") == [True, False, False]
    assert asked(outside(tmp_path / "stable.tif")) == [False, True, True]  # beyond its edges, too


def test_a_function_may_speak_another_crs():
    assert asked(inside(lambda lon, lat: lat > 53, crs="EPSG:4326")) == [True, True, False]


def test_invalid_outlines_are_mended():
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    whole = union_of([bow, None, shapely.Point()])
    assert whole.is_valid
    assert whole.area == pytest.approx(2)


@pytest.mark.parametrize("name", ["nowhere.gpkg", "nowhere.geojson", "nowhere.tif"])
def test_missing_files_are_reported(tmp_path, name):
    with pytest.raises(OptionError, match=r"nowhere"):
        as_mask(tmp_path / name, UTM)


def test_an_empty_file_is_reported(tmp_path):
    path = tmp_path / "empty.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(OptionError, match="holds no geometry"):
        read_polygons(path, "--stable")


def test_places_are_needed():
    with pytest.raises(OptionError, match="give places"):
        as_mask(outside(None), UTM)


def test_the_repr_is_short():
    assert repr(outside("a.gpkg", "EPSG:4326")) == "outside('a.gpkg', crs='EPSG:4326')"
