import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from xcoreg import georef
from xcoreg.errors import OptionError
from xcoreg.results.tiepoints import TiePoints, as_points

UTM = "EPSG:32633"
GRID = GeoBox((1000, 1000), Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0), UTM)


def test_arrays_are_positions_in_the_targets_crs():
    given = [[300100.0, 5900000.0], [300200.0, 5900000.0]]
    assert as_points(given, GRID).tolist() == given
    assert as_points((300100.0, 5900000.0), GRID).shape == (1, 2)


@pytest.mark.parametrize("given", [[1.0, 2.0, 3.0], [[1.0, np.nan]], "a.xyz", object(), [["a", "b"]]])
def test_what_is_no_position_is_refused(given):
    with pytest.raises(OptionError):
        as_points(given, GRID)


def test_tie_points_of_the_target_stay_as_they_are(points):
    assert as_points(points, GRID) == points


def test_tie_points_of_another_pixel_size_get_the_targets_pixels(points):
    coarse = as_points(points, GeoBox((500, 500), Affine(20.0, 0.0, 300000.0, 0.0, -20.0, 5900040.0), UTM))
    np.testing.assert_allclose(coarse.col + 0.5, (points.col + 0.5) / 2)
    np.testing.assert_allclose(coarse.drow, points.drow / 2)
    assert np.array_equal(coarse.dx, points.dx, equal_nan=True)


def test_tie_points_in_another_crs_are_converted(points):
    grid = GeoBox((1000, 1000), Affine(1e-4, 0.0, 11.9, 0.0, -1e-4, 53.3), "EPSG:4326")
    moved = as_points(points, grid)
    x, y = georef.transform_points("EPSG:4326", UTM, moved.x + moved.dx, moved.y + moved.dy)
    np.testing.assert_allclose(x, points.x + points.dx, atol=1e-6)
    np.testing.assert_allclose(y, points.y + points.dy, atol=1e-6)
    back = as_points(moved, GRID)
    np.testing.assert_allclose(back.dx, points.dx, atol=1e-6)
    np.testing.assert_allclose(back.cov, points.cov, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back.col, points.col, atol=1e-5)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "csv"])
def test_files_hold_tie_points(points, tmp_path, suffix):
    pytest.importorskip("geopandas")
    points.save(tmp_path / f"p.{suffix}")
    assert as_points(tmp_path / f"p.{suffix}", GRID) == points
    assert isinstance(
        as_points(str(tmp_path / f"p.{suffix}"), GeoBox(GRID.shape, GRID.affine, "EPSG:32632")), TiePoints
    )


def positions(crs):
    gpd = pytest.importorskip("geopandas")
    return gpd.GeoDataFrame({"name": ["a"]}, geometry=gpd.points_from_xy([12.858185560], [52.380863991]), crs=crs)


def test_frames_without_corrections_are_positions_in_any_crs():
    assert as_points(positions("EPSG:4326"), GRID) == pytest.approx(np.array([[354223, 5805559]]), abs=0.01)
    assert as_points(positions("EPSG:4326").geometry, GRID).shape == (1, 2)


def test_geometries_without_a_crs_are_refused_with_the_cure():
    with pytest.raises(OptionError, match=r"frame\.set_crs"):
        as_points(positions(None), GRID)


def test_a_plain_table_without_crs_is_the_targets():
    import pandas as pd

    table = pd.DataFrame({"x": [300100.0], "y": [5900000.0], "dx": [10.0], "dy": [-10.0]})
    found = as_points(table, GRID)
    assert (found.col[0], found.dcol[0], found.drow[0]) == (9.5, 1.0, 1.0)
    assert CRS(found.crs_wkt).to_epsg() == 32633


def test_corrections_in_pixels_are_the_targets():
    import pandas as pd

    table = pd.DataFrame({"x": [300100.0], "y": [5900000.0], "dcol": [1.0], "drow": [2.0]})
    assert as_points(table, GRID).dy.tolist() == [-20.0]


def test_places_that_the_target_cannot_have_are_refused():
    with pytest.raises(OptionError, match="1 of 1 tie points have no place"):
        as_points(positions("EPSG:4326").assign(geometry=positions("EPSG:4326").translate(0, 40)), GRID)
