"""The command dem, run as people run it."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from shapely.geometry import box, mapping

from xcoreg.cli import cli
from xcoreg.results.reading import load_fit

GRID = Affine(20, 0, 5e5, 0, -20, 5.1e6)
TRUTH = (12.0, -7.0, -2.5)
GLACIER = (501500, 5097500, 503000, 5099200)


def hills(x, y):
    u, v = x - 5e5, y - 5.1e6
    return 900 + 90 * np.sin(u / 240) * np.cos(v / 190) + 60 * np.cos((u - 2 * v) / 330) + 40 * np.sin((u + v) / 150)


def write(path, values, **options):
    profile = {"driver": "GTiff", "count": 1, "crs": "EPSG:32633", "transform": GRID, "dtype": values.dtype}
    with rasterio.open(path, "w", height=values.shape[0], width=values.shape[1], **profile, **options) as out:
        out.write(values, 1)
    return str(path)


@pytest.fixture(scope="module")
def dems(tmp_path_factory):
    """Two elevation models 160 x 180 px: z_ref(p + d) = z_tgt(p) + dz, but for a glacier that sank by 30 m."""
    folder, rng = tmp_path_factory.mktemp("dems"), np.random.default_rng(4)
    x, y = np.meshgrid(5e5 + 20 * (np.arange(180) + 0.5), 5.1e6 - 20 * (np.arange(160) + 0.5))
    ice = (x > GLACIER[0]) & (x < GLACIER[2]) & (y > GLACIER[1]) & (y < GLACIER[3])
    tgt = hills(x + TRUTH[0], y + TRUTH[1]) - TRUTH[2] + rng.normal(0, 0.3, x.shape)
    tgt[5:9, 5:9] = -9999
    outlines = folder / "ice.geojson"
    outlines.write_text(json.dumps(mapping(box(*GLACIER)) | {"crs": {"properties": {"name": "EPSG:32633"}}}))
    return SimpleNamespace(
        ref=write(folder / "ref.tif", (hills(x, y) - 30 * ice).astype("f4")),
        tgt=write(folder / "tgt.tif", tgt.astype("f4"), nodata=-9999),
        coarse=write(folder / "int.tif", np.where(tgt == -9999, -9999, np.rint(tgt)).astype("i2"), nodata=-9999),
        stable=write(folder / "stable.tif", (~ice).astype("u1")),
        ice=str(outlines),
        clean=hills(x, y) - 30 * ice,
        used=~ice,
    )


def read(path):
    with rasterio.open(path) as image:
        return image.read(1), image.transform, image.nodata


def test_x_y_and_z_are_put_right(run, dems, tmp_path):
    done = run(
        "dem", dems.ref, dems.tgt, tmp_path / "out.tif", "--stable", dems.stable, "--save-fit", tmp_path / "f.json"
    )
    assert done.exit_code == 0, done.stderr
    fit = load_fit(tmp_path / "f.json")
    assert (fit.shift.dx, fit.shift.dy, fit.shift.dz) == pytest.approx(TRUTH, abs=0.15)
    heights, transform, nodata = read(tmp_path / "out.tif")
    before = read(dems.tgt)[0]
    assert (transform.c, transform.f) == pytest.approx((5e5 + fit.shift.dx, 5.1e6 + fit.shift.dy))
    void = before == nodata
    assert (heights[void] == nodata).all()
    assert heights[~void] == pytest.approx(before[~void] + fit.shift.dz, abs=1e-3)
    assert "heights   NMAD" in done.stderr
    assert done.stdout == ""


def test_on_the_grid_of_the_reference_differences_vanish(run, dems, tmp_path):
    options = ["--stable", dems.ice, "--exclude", "--like", dems.ref]
    done = run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", *options)
    assert done.exit_code == 0, done.stderr
    heights, transform, nodata = read(tmp_path / "out.tif")
    assert transform == GRID
    left = (heights - dems.clean)[(heights != nodata) & dems.used]
    assert abs(np.median(left)) < 0.05
    assert np.std(left) < 0.5


def test_integer_heights_become_floating_point(run, dems, tmp_path):
    done = run("dem", dems.ref, dems.coarse, tmp_path / "out.tif", "--stable", dems.stable)
    assert done.exit_code == 0, done.stderr
    heights, _, nodata = read(tmp_path / "out.tif")
    assert heights.dtype == np.float32
    assert (heights == nodata).sum() == 16


def test_blocks_give_a_table_and_a_field(run, dems, tmp_path):
    outputs = ["--table", tmp_path / "blocks.csv", "--field", tmp_path / "field.tif", "--save-fit", tmp_path / "f.json"]
    done = run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", "--block", 40, "--where", dems.stable, *outputs)
    assert done.exit_code == 0, done.stderr
    with (tmp_path / "blocks.csv").open() as file:
        rows = list(csv.DictReader(file))
    good = [row for row in rows if row["status"] == "OK"]
    assert len(good) >= 8
    assert np.median([float(row["dz"]) for row in good]) == pytest.approx(TRUTH[2], abs=0.2)
    assert "blocks" in done.stderr
    assert (tmp_path / "field.tif").exists()
    heights, _, nodata = read(tmp_path / "out.tif")
    assert np.nanmedian(np.where(heights == nodata, np.nan, heights - read(dems.tgt)[0])) < 0


def test_a_chain_is_estimated_together(run, dems, tmp_path):
    outputs = ["--save-fit", tmp_path / "f.json", "--stable", dems.stable]
    done = run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", "--matcher", "nuth_kaab, deramp", *outputs)
    assert done.exit_code == 0, done.stderr
    fit = load_fit(tmp_path / "f.json")
    assert fit.has_dz
    assert (fit.model.kind, fit.model.dz_constant) == ("translation", None)
    assert (fit.shift.dx, fit.shift.dy, fit.shift.dz) == pytest.approx(TRUTH, abs=0.15)


def test_heights_may_be_left_as_they_are(run, dems, tmp_path):
    done = run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", "--no-vertical")
    assert done.exit_code == 0, done.stderr
    assert (read(tmp_path / "out.tif")[0] == read(dems.tgt)[0]).all()


def test_the_report_knows_the_ground_that_counts(run, dems, tmp_path):
    pytest.importorskip("matplotlib")
    options = ["--stable", dems.ice, "--exclude", "--report", tmp_path / "r.html"]
    assert run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", *options).exit_code == 0
    text = (tmp_path / "r.html").read_text()
    assert "where the mask is true" in text
    assert "NMAD, elsewhere" in text


def test_the_same_model_needs_no_correction(run, dems, tmp_path):
    done = run("dem", dems.ref, dems.ref, tmp_path / "out.tif")
    assert done.exit_code == 0, done.stderr
    assert read(tmp_path / "out.tif")[0] == pytest.approx(read(dems.ref)[0], abs=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--exclude"], "--exclude needs --stable"),
        (["--stable", "nowhere.gpkg"], "no file nowhere.gpkg"),
        (["--stable", "nowhere.tif"], "nowhere.tif"),
        (["--model", "spline"], "--model belongs to blocks: add --block"),
        (["--table", "a.csv"], "--table belongs to blocks"),
        (["--block", "40", "--table", "a.doc"], "a.doc"),
        (["--block", "-3"], "--block is -3: give a side"),
        (["--matcher", "nuth"], "nuth_kaab"),
        (["--matcher", "deramp:7"], "no variant '7'"),
        (["--band", "4"], "band"),
        (["--save-fit", "out.tif"], "same file"),
    ],
)
def test_options_that_cannot_be_used_are_refused(dems, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["dem", dems.ref, dems.tgt, "out.tif", *options])
    assert done.exit_code == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out.tif").exists()


def test_an_input_is_never_overwritten(run, dems):
    done = run("dem", dems.ref, dems.tgt, dems.tgt, "--overwrite")
    assert done.exit_code == 2
    assert "input itself" in done.stderr


def test_flat_terrain_has_no_answer(run, dems, tmp_path):
    flat = write(tmp_path / "flat.tif", np.full((160, 180), 7, "f4"))
    done = run("dem", flat, dems.tgt, tmp_path / "out.tif")
    assert done.exit_code == 3, done.stderr
    assert done.stderr.startswith("No trustworthy match")
    assert not (tmp_path / "out.tif").exists()


def test_no_stable_terrain_is_refused(run, dems, tmp_path):
    none = write(tmp_path / "none.tif", np.zeros((160, 180), "u1"))
    done = run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", "--stable", none)
    assert done.exit_code == 3
    assert "--stable leaves too few pixels" in done.stderr


def test_the_shift_of_the_srtm_pair_is_found(run, data_dir, tmp_path):
    folder = data_dir / "dem_srtm_shifted"
    images = folder / "srtm_ref.tif", folder / "srtm_blurred_and_shifted.tif"
    done = run("dem", *images, tmp_path / "out.tif", "--save-fit", tmp_path / "f.json")
    assert done.exit_code == 0, done.stderr
    shift = load_fit(tmp_path / "f.json").shift
    assert (shift.dcol, shift.drow) == pytest.approx((3, 5), abs=0.01)


def test_a_rigid_motion_and_its_model_are_written(run, dems, tmp_path):
    out, fit = tmp_path / "out.tif", tmp_path / "fit.json"
    run("dem", dems.ref, dems.tgt, out, "--stable", dems.stable, "--matcher", "rigid", "--save-fit", fit)
    found = load_fit(fit)
    assert found.model.kind == "rigid"
    assert np.abs(found.model.angles).max() < 0.02
    assert (found.shift.dx, found.shift.dy, found.shift.dz) == pytest.approx(TRUTH, abs=0.3)


def test_biases_are_fitted_by_name(run, dems, tmp_path):
    fit = tmp_path / "fit.json"
    out = "--stable", dems.stable, "--bias", "elevation,slope", "--save-fit", fit
    run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", *out)
    assert load_fit(fit).details.options["bias"]
    assert (load_fit(fit).shift.dx, load_fit(fit).shift.dy) == pytest.approx(TRUTH[:2], abs=0.3)


def test_points_are_a_reference_and_errors_a_map(run, dems, tmp_path):
    gpd = pytest.importorskip("geopandas")
    rng = np.random.default_rng(5)
    col, row = rng.integers(20, 160, 900), rng.integers(20, 140, 900)
    x, y = GRID @ (col + 0.5, row + 0.5)
    heights = gpd.GeoDataFrame({"z": hills(x, y)}, geometry=gpd.points_from_xy(x, y), crs=32633)
    heights.to_file(tmp_path / "points.gpkg")
    done = run("dem", tmp_path / "points.gpkg", dems.tgt, tmp_path / "a.tif", "--save-fit", tmp_path / "a.json")
    assert done.exit_code == 0, done.stderr
    fit = load_fit(tmp_path / "a.json")
    assert (fit.shift.dx, fit.shift.dy, fit.shift.dz) == pytest.approx(TRUTH, abs=0.4)
    given = "--stable", dems.stable, "--initial-shift", 10, -5, "--error-map", tmp_path / "errors.tif"
    done = run("dem", dems.ref, dems.tgt, tmp_path / "b.tif", *given)
    assert done.exit_code == 0, done.stderr
    assert np.nanmedian(read(tmp_path / "errors.tif")[0]) == pytest.approx(0.3, abs=0.1)


def test_heights_are_brought_to_the_datum_of_the_reference_first(run, dems, tmp_path):
    given = (
        "--vertical-datum",
        40,
        "--to-datum",
        "ellipsoid",
        "--stable",
        dems.stable,
        "--save-fit",
        tmp_path / "f.json",
    )
    done = run("dem", dems.ref, dems.tgt, tmp_path / "out.tif", *given)
    assert done.exit_code == 0, done.stderr
    assert load_fit(tmp_path / "f.json").shift.dz == pytest.approx(TRUTH[2] - 40, abs=0.1)
    assert "vertical datum" in done.stderr
    assert run("dem", dems.ref, dems.tgt, tmp_path / "o.tif", "--vertical-datum", "EGM96").exit_code == 2
