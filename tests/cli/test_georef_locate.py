"""xcoreg locate: points of a table in an image."""

import csv
import io

import numpy as np
import pytest
from click.testing import CliRunner

from xcoreg.cli.locate import locate
from xcoreg.georef import transform_points

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
CORNERS = ("-52", "-68", "-47", "-68.3", "-47.6", "-70.2", "-53", "-69.9")


@pytest.fixture
def run():
    def call(*arguments):
        return CliRunner().invoke(locate, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def image(make_tif):
    row, col = np.mgrid[:60, :80]
    return make_tif("image.tif", (1000 * row + col).astype(np.int32))


@pytest.fixture
def table(tmp_path):
    lon, lat = transform_points(32633, 4326, [300005.0, 300105.0, 0.0], [5900035.0, 5899935.0, 0.0])
    path = tmp_path / "points.csv"
    path.write_text(
        "name,lon,lat\n" + "".join(f"p{i},{a:.12f},{b:.12f}\n" for i, (a, b) in enumerate(zip(lon, lat, strict=True)))
    )
    return path


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_columns_are_added(run, image, table):
    result = run(image, table)
    rows = rows_of(result.stdout)
    assert list(rows[0]) == ["name", "lon", "lat", "col", "row", "inside", "value"]
    assert [row["value"] for row in rows] == ["0.0", "10010.0", ""]
    assert [row["inside"] for row in rows] == ["1", "1", "0"]
    assert float(rows[1]["col"]) == pytest.approx(10, abs=1e-6)
    assert "3, 2 inside" in result.stderr


def test_only_inside_to_a_file_and_back(run, image, table, tmp_path):
    assert run(image, table, "--inside-only", "--out", tmp_path / "a.csv", "-q").exit_code == 0
    rows = rows_of((tmp_path / "a.csv").read_text())
    assert len(rows) == 2
    (tmp_path / "pixels.csv").write_text("col,row\n10,10\n")
    back = rows_of(run(image, tmp_path / "pixels.csv", "--inverse").stdout)[0]
    assert (float(back["lon"]), float(back["lat"])) == pytest.approx((float(rows[1]["lon"]), float(rows[1]["lat"])))


def test_corners_alone_and_a_table_without_header(run, tmp_path):
    (tmp_path / "freeboard.xyz").write_text("-50 -68.5 31\n-45 -70 8\n")
    result = run("-", tmp_path / "freeboard.xyz", "--corners", *CORNERS, "--plane", "EPSG:3412")
    rows = rows_of(result.stdout)
    assert (float(rows[0]["u"]), float(rows[0]["v"])) == pytest.approx((0.431580253, 0.184403877), abs=6e-10)
    assert [(row["measured"], row["inside"]) for row in rows] == [("31", "1"), ("8", "0")]


def test_columns_can_be_named(run, image, tmp_path):
    (tmp_path / "t.csv").write_text("north;east\n5900035;300005\n")
    rows = rows_of(run(image, tmp_path / "t.csv", "--x", "east", "--y", "1", "--crs", "EPSG:32633").stdout)
    assert float(rows[0]["col"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("text", ["", "a,b\n1,2,3\n", "a,b\nx,y\n"])
def test_broken_tables_are_bad_input(run, image, tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    assert run(image, tmp_path / "t.csv").exit_code == 2


def test_missing_things_are_bad_input(run, image, table, tmp_path):
    assert run(image, tmp_path / "none.csv").exit_code == 2
    assert run(image, table, "--x", "east").exit_code == 2
    assert run("-", table).exit_code == 2
    assert run(image, table, "--gcps", "a.csv", "--corners", *CORNERS).exit_code == 2
