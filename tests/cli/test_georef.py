"""xcoreg georef: control points, sidecar files, CRSs, rectified images."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from xcoreg.cli.georef import georef
from xcoreg.georef import GCPs, read_gcps

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def run():
    def call(*arguments):
        return CliRunner().invoke(georef, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def gcps(tmp_path):
    col, row = (axis.ravel() for axis in np.meshgrid([0.0, 50, 99], [0.0, 40, 79]))
    points = GCPs(col, row, 300005 + 10 * col, 5900035 - 10 * row, crs=32633)
    return str(points.save(tmp_path / "points.csv"))


@pytest.fixture
def bare(make_tif):
    values = np.random.default_rng(1).integers(1, 200, (80, 100)).astype(np.uint8)
    return make_tif("bare.tif", values, crs=None, transform=None)


def test_points_are_converted(run, gcps, tmp_path):
    assert run("gcps", gcps).stdout.splitlines()[:2] == ["#CRS: EPSG:32633", "id,info,pixel,line,x,y,z"]
    result = run("gcps", gcps, tmp_path / "a.points", "--to-crs", "WGS84")
    assert result.exit_code == 0
    assert read_gcps(tmp_path / "a.points").crs.to_epsg() == 4326


def test_a_fit_is_written_as_json(run, gcps):
    found = json.loads(run("fit", gcps, "--model", "affine").stdout)
    assert (found["model"], found["n"], len(found["points"])) == ("affine", 9, 9)
    assert found["left_out_rmse"]["px"] < 1e-6
    assert run("fit", gcps, "--model", "polynomial", "--order", "3").exit_code == 2


def test_attach_and_rectify(run, gcps, bare, tmp_path):
    assert run("attach", bare, gcps, tmp_path / "with.tif").exit_code == 0
    assert "exists" in run("attach", bare, gcps, tmp_path / "with.tif").stderr
    result = run("rectify", tmp_path / "with.tif", tmp_path / "map.tif", "--nodata", "0", "--resolution", "10")
    assert result.exit_code == 0, result.stderr
    assert "affine" in result.stderr
    with rasterio.open(tmp_path / "map.tif") as made, rasterio.open(bare) as source:
        assert (made.crs.to_epsg(), tuple(made.transform)[:6]) == (32633, (10, 0, 300000, 0, -10, 5900040))
        np.testing.assert_array_equal(made.read(), source.read())


def test_rectify_by_a_list_like_another(run, gcps, bare, make_tif, tmp_path):
    like = make_tif("like.tif", np.zeros((30, 40), np.uint8), transform=rasterio.Affine(20, 0, 300100, 0, -20, 5900000))
    result = run("rectify", bare, tmp_path / "map.tif", "--gcps", gcps, "--like", like, "--nodata", "0")
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "map.tif") as made:
        assert (made.shape, made.transform.c) == ((30, 40), 300100)


def test_sidecars(run, make_tif):
    path = make_tif("a.tif", np.zeros((4, 5), np.uint8))
    assert run("sidecars", path).exit_code == 0
    lines = Path(path).with_suffix(".tfw").read_text().split()
    assert lines == ["10", "0", "0", "-10", "300005", "5900035"]
    assert "PROJCS" in Path(path).with_suffix(".prj").read_text()


def test_a_crs_is_described(run):
    assert json.loads(run("crs", "+proj=utm +zone=11 +datum=WGS84").stdout)["epsg"] == 32611
    assert run("crs", "nonsense").exit_code == 2


def test_an_image_without_georeference_is_bad_input(run, bare, tmp_path):
    assert run("rectify", bare, tmp_path / "map.tif").exit_code == 2
    assert run("sidecars", bare).exit_code == 2
    assert run("gcps", bare).exit_code == 2
