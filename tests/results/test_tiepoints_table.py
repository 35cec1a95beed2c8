import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyproj import CRS

from xcoreg.core.matches import Status
from xcoreg.errors import OptionError
from xcoreg.files import replacing
from xcoreg.results.shift import shift_angle
from xcoreg.results.tiepoints import TiePoints

UTM = CRS.from_epsg(32633).to_wkt()


def make(n=4, crs_wkt=UTM, **columns):
    rng = np.random.default_rng(5)
    dcol, drow = rng.normal(size=(2, n))
    row, col = rng.uniform(0, 1000, size=(2, n))
    return TiePoints(
        **{
            "window": np.arange(n),
            "row": row,
            "col": col,
            "x": 3e5 + 10 * (col + 0.5),
            "y": 5.9e6 - 10 * (row + 0.5),
            "dx": 10 * dcol,
            "dy": -10 * drow,
            "dcol": dcol,
            "drow": drow,
            "cov": np.tile([[0.04, 0.01], [0.01, 0.09]], (n, 1, 1)),
            "score": rng.uniform(size=n),
            "status": np.arange(n) % 2 * Status.OUTLIER,
            "size": np.full(n, 256),
            "crs_wkt": crs_wkt,
        }
        | columns
    )


@pytest.mark.parametrize(
    ("dx", "dy", "angle", "tolerance"),
    [
        (3.578856324660592, 15.661626799963415, 192.8717191970359, 1e-9),
        (3.724704, 2.855005, 232.529647, 1e-5),
        (1.416935, -1.870360, 322.853399, 1e-5),
        (-2.309409, -1.211389, 62.320967, 1e-5),
        (3.725107, 14.104504, 194.794441, 1e-5),
    ],
)
def test_angle_of_seed_000(dx, dy, angle, tolerance):
    assert shift_angle(dx, dy) == pytest.approx(angle, abs=tolerance)


def test_lengths_of_seed_000():
    points = make(2, dx=[3.724704, -2.309409], dy=[2.855005, -1.211389])
    assert points.length == pytest.approx([4.693024, 2.607841], abs=1e-6)


def test_defaults_say_unknown_and_not_zero():
    points = TiePoints([0], [0], [0], [0], [0], [1], [1], [1], [1])
    assert np.isnan([points.score, points.reliability, points.ssim_before, points.ssim_after]).all()
    assert np.isnan(points.cov).all()
    assert (points.status[0], points.dz[0]) == (Status.OK, 0.0)


def test_columns_of_another_length_are_refused():
    with pytest.raises(ValueError, match="column 'row'"):
        make(row=np.zeros(3))


def test_columns_cannot_be_written():
    points = make()
    with pytest.raises(ValueError, match="read-only"):
        points.dx[0] = 1.0
    with pytest.raises(AttributeError):
        points.dx = points.dy


def test_flags_never_shrink_and_keep_the_first_reason():
    points = make().with_status([True, True, False, False], Status.NOT_IMPROVED)
    assert points.status.tolist() == [Status.NOT_IMPROVED, Status.OUTLIER, Status.OK, Status.OUTLIER]


def test_flagging_leaves_the_original():
    points = make()
    points.with_status(np.ones(4, bool), Status.FLAT)
    assert points.counts() == {"OK": 2, "OUTLIER": 2}


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match="mask"):
        make().with_status([True], Status.FLAT)


def test_take_keeps_rows_together():
    points = make()
    two = points.take(points.ok)
    assert two.window.tolist() == [0, 2]
    assert np.array_equal(two.dx, points.dx[[0, 2]])
    assert two.cov.shape == (2, 2, 2)
    assert two.crs_wkt == UTM


def test_json_round_trip_is_exact():
    points = make(reliability=[0.1 + 0.2, np.nan, np.inf, 99.0])
    assert TiePoints.from_dict(json.loads(json.dumps(points.to_dict(), allow_nan=False))) == points


def test_json_round_trip_of_no_rows():
    points = make(0)
    assert TiePoints.from_dict(json.loads(json.dumps(points.to_dict()))) == points


def test_json_keeps_types():
    points = TiePoints.from_dict(make().to_dict())
    assert (points.window.dtype, points.status.dtype, points.size.dtype) == (np.int64, np.int8, np.int32)


def test_tables_differ_by_one_number():
    points = make()
    assert points != make(dz=[0, 0, 0, 1e-9])
    assert points != make(crs_wkt=None)


def test_pickle_round_trip():
    points = make()
    back = pickle.loads(pickle.dumps(points))
    assert back == points
    assert not back.cov.flags.writeable


def test_repr_gives_the_counts():
    assert repr(make()) == "TiePoints(4 windows: 2 OK, 2 OUTLIER)"
    assert repr(make(0)) == "TiePoints(0 windows: none)"


def test_dataframe_has_names_for_statuses_and_sigmas():
    table = make().to_dataframe()
    assert table["status"].tolist() == ["OK", "OUTLIER", "OK", "OUTLIER"]
    assert table["sigma_y"].tolist() == pytest.approx([0.3] * 4)
    assert table.attrs["crs_wkt"] == UTM


def test_geodataframe_is_in_the_targets_crs():
    pytest.importorskip("geopandas")
    points = make()
    frame = points.to_geodataframe()
    assert frame.crs.to_epsg() == 32633
    assert np.array_equal(frame.geometry.y, points.y)


def read(path):
    import pandas as pd

    gpd = pytest.importorskip("geopandas")
    readers = {".csv": partial(pd.read_csv, engine="python"), ".parquet": gpd.read_parquet}
    return readers.get(path.suffix, gpd.read_file)(path)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "shp", "csv"])
def test_save_keeps_every_row_and_digit(tmp_path, suffix):
    pytest.importorskip("geopandas")
    points = make()
    points.save(tmp_path / f"points.{suffix}")
    table = read(tmp_path / f"points.{suffix}")
    assert np.array_equal(table["dx"], points.dx) or suffix == "shp"
    assert table["dx"].to_numpy() == pytest.approx(points.dx, abs=1e-9)
    assert table["status"].tolist() == ["OK", "OUTLIER", "OK", "OUTLIER"]
    assert len(table) == 4


def test_geojson_geometries_are_longitude_and_latitude(tmp_path):
    pytest.importorskip("geopandas")
    make(1, x=[354223.0], y=[5805559.0]).save(tmp_path / "p.geojson")
    feature = json.loads((tmp_path / "p.geojson").read_text())["features"][0]
    assert feature["geometry"]["coordinates"] == pytest.approx([12.858185560, 52.380863991], abs=1e-6)
    assert feature["properties"]["x"] == 354223.0


def test_a_shapefile_keeps_all_columns(tmp_path):
    pytest.importorskip("geopandas")
    make().save(tmp_path / "p.shp")
    names = set(read(tmp_path / "p.shp").columns)
    assert {"reliab", "ssim_bef", "ssim_aft", "sigma_x"} <= names


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "csv"])
def test_no_rows_can_be_saved(tmp_path, suffix):
    pytest.importorskip("geopandas")
    make(0).save(tmp_path / f"p.{suffix}")
    assert len(read(tmp_path / f"p.{suffix}")) == 0


def test_save_without_crs(tmp_path):
    pytest.importorskip("geopandas")
    make(crs_wkt=None).save(tmp_path / "p.parquet")
    assert read(tmp_path / "p.parquet").crs is None


def test_save_replaces_and_leaves_nothing_else(tmp_path):
    pytest.importorskip("geopandas")
    make(2).save(tmp_path / "p.gpkg")
    make(4).save(tmp_path / "p.gpkg")
    assert len(read(tmp_path / "p.gpkg")) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["p.gpkg"]


def test_unknown_suffix_names_the_known_ones():
    with pytest.raises(OptionError, match=r"'points\.xyz'.*\.gpkg.*\.csv"):
        make().save("points.xyz")


def test_a_missing_folder_is_one_clear_sentence(tmp_path):
    with pytest.raises(OptionError, match=r"cannot write .*No such file or directory"):
        make().save(tmp_path / "nowhere" / "p.csv")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    goal = tmp_path / "a.txt"
    goal.write_text("old")

    def write_half():
        with replacing(goal) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert goal.read_text() == "old"
    assert list(tmp_path.iterdir()) == [goal]


def test_sidecars_move_along(tmp_path):
    with replacing(tmp_path / "a.shp") as temporary:
        temporary.write_text("1")
        Path(temporary).with_suffix(".dbf").write_text("2")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.dbf", "a.shp"]
