import json

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from xcoreg.core.matches import Status
from xcoreg.errors import OptionError
from xcoreg.results.tiepoints import TiePoints

gpd = pytest.importorskip("geopandas")

GRID = GeoBox((1000, 1100), Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5900040.0), "EPSG:32633")
EXACT = ["gpkg", "geojson", "parquet", "csv"]
NAMES = [
    "POINT_ID", "X_IM", "Y_IM", "X_UTM", "Y_UTM", "X_WIN_SIZE", "Y_WIN_SIZE", "X_SHIFT_PX", "Y_SHIFT_PX",
    "X_SHIFT_M", "Y_SHIFT_M", "ABS_SHIFT", "ANGLE",
]  # fmt: skip


@pytest.mark.parametrize("suffix", EXACT)
def test_own_files_come_back_to_the_last_digit(points, tmp_path, suffix):
    points.save(tmp_path / f"p.{suffix}")
    back = TiePoints.load(tmp_path / f"p.{suffix}")
    assert back == points
    assert np.array_equal(back.cov, points.cov)


@pytest.mark.parametrize("suffix", EXACT)
def test_numbers_that_look_like_rounding_errors_come_back(points, tmp_path, suffix):
    odd = TiePoints(**{**points.__dict__, "cov": np.tile(np.eye(2) * 0.057600000000000005, (12, 1, 1))})
    odd.save(tmp_path / f"p.{suffix}")
    assert TiePoints.load(tmp_path / f"p.{suffix}").cov[0, 0, 0] == 0.057600000000000005


def test_a_shapefile_comes_back_to_fifteen_digits(points, tmp_path):
    points.save(tmp_path / "p.shp")
    back = TiePoints.load(tmp_path / "p.shp")
    for name in ("window", "status", "size"):
        assert np.array_equal(getattr(back, name), getattr(points, name))
    for name in ("x", "y", "dx", "dy", "dcol", "drow", "cov", "score", "reliability"):
        np.testing.assert_allclose(getattr(back, name), getattr(points, name), rtol=1e-13)


@pytest.mark.parametrize("suffix", EXACT)
@pytest.mark.parametrize("crs", ["EPSG:4326", "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84 +units=m"])
def test_the_crs_comes_back(points, tmp_path, suffix, crs):
    degrees = CRS.from_user_input(crs).is_geographic
    places = {"x": np.linspace(9, 11, 12), "y": np.linspace(51, 53, 12)} if degrees else {}
    wanted = TiePoints(**{**points.__dict__, **places, "crs_wkt": CRS.from_user_input(crs).to_wkt()})
    wanted.save(tmp_path / f"p.{suffix}")
    assert TiePoints.load(tmp_path / f"p.{suffix}") == wanted


@pytest.mark.parametrize("suffix", EXACT)
def test_an_empty_table_comes_back(points, tmp_path, suffix):
    points.take([]).save(tmp_path / f"p.{suffix}")
    assert len(TiePoints.load(tmp_path / f"p.{suffix}")) == 0


def test_a_marker_stands_for_missing_numbers(points, tmp_path):
    points.save(tmp_path / "p.csv", nodata=-1.0)
    assert pd.read_csv(tmp_path / "p.csv")["dx"].to_numpy()[6] == -1.0


@pytest.mark.parametrize("suffix", [*EXACT, "shp"])
def test_the_columns_of_arosics(points, tmp_path, suffix):
    points.on_grid(GRID).save(tmp_path / f"p.{suffix}", columns="arosics")
    path = tmp_path / f"p.{suffix}"
    table = {"csv": pd.read_csv, "parquet": gpd.read_parquet}.get(suffix, gpd.read_file)(path)
    assert [name for name in table.columns if name not in ("geometry", "crs")] == NAMES
    assert table["X_IM"].tolist()[:4] == [200, 400, 600, 800]
    assert table["X_UTM"].tolist()[:2] == [302000.0, 304000.0]
    assert table["POINT_ID"].tolist()[:5] == [7, 8, 9, 10, 13]  # six windows fit in a row of 1100 px
    assert table["X_SHIFT_M"].to_numpy()[0] == pytest.approx(points.dx[0], abs=1e-9)
    untrusted = table.loc[~points.ok, NAMES[7:]].to_numpy(float)
    assert (untrusted == -9999).all()


def test_point_id_of_seed_000():
    one = TiePoints([0], [199.5], [5199.5], [352000], [5898040], [3.724704], [2.855005], [0.37247], [-0.2855])
    from xcoreg.results.tables import arosics_columns

    grid = GeoBox((10980, 10980), GRID.affine, GRID.crs)
    table = arosics_columns(one.on_grid(grid, 200), -9999.0)
    assert (table["POINT_ID"][0], table["X_UTM"][0], table["Y_UTM"][0]) == (81, 352000.0, 5898040.0)
    assert table["ABS_SHIFT"][0] == pytest.approx(4.693024, abs=1e-6)
    assert table["ANGLE"][0] == pytest.approx(232.529646, abs=1e-5)


def test_arosics_columns_at_the_middle_of_a_pixel_name_its_corner(points, tmp_path):
    middle = TiePoints([0], [200.0], [200.0], [302005], [5898035], [1], [1], [0.1], [-0.1])
    middle.on_grid(GRID).save(tmp_path / "p.csv", columns="arosics")
    assert pd.read_csv(tmp_path / "p.csv")[["X_IM", "X_UTM", "Y_UTM"]].to_numpy().tolist() == [[200, 302000, 5898040]]


def test_arosics_files_are_read_as_tie_points(points, tmp_path):
    points.on_grid(GRID).save(tmp_path / "p.gpkg", columns="arosics")
    back = TiePoints.load(tmp_path / "p.gpkg")
    assert np.array_equal(back.ok, points.ok)
    np.testing.assert_allclose(back.dx[back.ok], points.dx[points.ok], rtol=1e-12)
    assert np.isnan(back.dx[~back.ok]).all()
    assert back.size.tolist() == [64] * 12


def test_the_columns_of_arosics_need_the_grid(points, tmp_path):
    with pytest.raises(OptionError, match=r"fit\.points\.save"):
        points.save(tmp_path / "p.csv", columns="arosics")


def test_unknown_columns_are_refused(points, tmp_path):
    with pytest.raises(OptionError, match="'xcoreg' or 'arosics'"):
        points.save(tmp_path / "p.csv", columns="envi")


def test_no_file_and_no_table(tmp_path):
    with pytest.raises(OptionError, match="there is no file"):
        TiePoints.load(tmp_path / "p.gpkg")
    (tmp_path / "p.gpkg").write_text("hello")
    with pytest.raises(OptionError, match="cannot be read as tie points"):
        TiePoints.load(tmp_path / "p.gpkg")


def foreign(**columns):
    geometry = gpd.points_from_xy([300100.0, 300300.0, 300500.0], [5900000.0] * 3)
    return gpd.GeoDataFrame(columns, geometry=geometry, crs="EPSG:32633")


def test_foreign_tie_points_need_only_positions_and_corrections():
    points = TiePoints.from_geodataframe(foreign(dx=[1.0, 2.0, None], dy=[3.0, 4.0, 5.0]))
    assert points.status.tolist() == [Status.OK, Status.OK, Status.NO_PEAK]
    assert points.x.tolist() == [300100.0, 300300.0, 300500.0]
    assert np.isnan(points.row).all()


def test_a_transform_gives_pixels():
    points = TiePoints.from_geodataframe(foreign(dx=[10.0] * 3, dy=[20.0] * 3), grid=GRID)
    assert points.col.tolist() == [9.5, 29.5, 49.5]
    assert points.drow.tolist() == [-2.0] * 3


def test_corrections_in_pixels_need_a_transform():
    frame = foreign(X_SHIFT_PX=[1.0] * 3, Y_SHIFT_PX=[-2.0] * 3)
    with pytest.raises(OptionError, match="grid="):
        TiePoints.from_geodataframe(frame)
    assert TiePoints.from_geodataframe(frame, grid=GRID).dy.tolist() == [20.0] * 3


@pytest.mark.parametrize("flags", [[False, True, False], ["False", "True", "-9999"], [0, 1, -9999]])
def test_outliers_of_arosics_are_outliers(flags):
    frame = foreign(X_SHIFT_M=[1.0, 2.0, -9999.0], Y_SHIFT_M=[1.0, 2.0, -9999.0], OUTLIER=flags)
    assert TiePoints.from_geodataframe(frame).status.tolist() == [Status.OK, Status.OUTLIER, Status.NO_PEAK]


def test_sigmas_become_covariances():
    points = TiePoints.from_geodataframe(foreign(dx=[1.0] * 3, dy=[1.0] * 3, sigma_x=[0.1] * 3, sigma_y=[0.2] * 3))
    assert points.cov[0] == pytest.approx(np.diag([0.01, 0.04]))


def test_positions_alone_are_no_tie_points():
    with pytest.raises(OptionError, match=r"no corrections, only name, geometry: .*dx and dy"):
        TiePoints.from_geodataframe(foreign(name=["a", "b", "c"]))


def test_a_frame_moved_to_another_crs_is_refused(points):
    with pytest.raises(OptionError, match="moved to another CRS"):
        TiePoints.from_geodataframe(points.to_geodataframe().to_crs("EPSG:4326"))


def test_polygons_and_words_are_refused():
    frame = foreign(dx=[1.0] * 3, dy=[1.0] * 3)
    with pytest.raises(OptionError, match="Polygon"):
        TiePoints.from_geodataframe(frame.set_geometry(frame.buffer(5)))
    with pytest.raises(OptionError, match=r"dx .* does not hold numbers"):
        TiePoints.from_geodataframe(foreign(dx=["a", "b", "c"], dy=[1.0] * 3))
    with pytest.raises(OptionError, match="'FINE' is unknown"):
        TiePoints.from_geodataframe(foreign(dx=[1.0] * 3, dy=[1.0] * 3, status=["OK", "FINE", "OK"]))


def test_geojson_names_the_crs_of_its_columns(points, tmp_path):
    points.save(tmp_path / "p.geojson")
    assert json.loads((tmp_path / "p.geojson").read_text())["features"][0]["properties"]["crs"] == "EPSG:32633"
