"""Targets without a transform: one treatment in Python, the command line and batches, whatever georeferences them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from rasterio.rpc import RPC

import xcoreg
from xcoreg import coregister
from xcoreg.cli import cli
from xcoreg.georef import Corners, GCPs, attach_gcps, save_gcps, transform_points
from xcoreg.lazy import is_lazy
from xcoreg.raster.grid import grid_of
from xcoreg.simulate import pair
from xcoreg.warp.resample import Resampler

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SIZE, SHIFT = 256, (2.4, -1.3)
LOCAL = {"window": 64, "spacing": 60, "model": "affine"}
GROUNDS = ("gcps", "rpcs")


def lonlat_of(grid, col, row):
    return transform_points(grid.crs, 4326, *(grid.affine @ (col + 0.5, row + 0.5)))


def rpcs_of(grid):
    """RPCs without heights that repeat a grid to a thousandth of a pixel."""
    col, row = (axis.ravel() for axis in np.meshgrid(*[np.linspace(0.0, SIZE - 1.0, 9)] * 2))
    (lon, lat), zeros = lonlat_of(grid, col, row), [0.0] * 19
    lon_off, lat_off, scale = lon.mean(), lat.mean(), 0.05
    east, north = (lon - lon_off) / scale, (lat - lat_off) / scale
    terms = np.stack([east**0, east, north, east * north, east**2, north**2], axis=1)
    numerators = []
    for pixel in (row, col):
        found = np.linalg.lstsq(terms, pixel / SIZE, rcond=None)[0]
        numerator = np.zeros(20)
        numerator[[0, 1, 2, 4, 7, 8]] = found
        numerators.append(numerator.tolist())
    return RPC(0.0, 500.0, lat_off, scale, [1.0, *zeros], numerators[0], 0.0, SIZE,
               lon_off, scale, [1.0, *zeros], numerators[1], 0.0, SIZE)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a pair, of the target with control points or RPCs alone, without either, and of its control points."""
    folder = tmp_path_factory.mktemp("pair")
    both = pair((SIZE, SIZE), shift=SHIFT, snr_db=35.0, seed=5)
    paths = {name: folder / f"{name}.tif" for name in ("ref", "tgt", "bare", *GROUNDS)}
    for name, image in (("ref", both.ref), ("tgt", both.tgt)):
        xcoreg.write_raster(image, paths[name], blockxsize=64, blockysize=64, tiled=True)
    col, row = (axis.ravel() for axis in np.meshgrid(*[np.linspace(0.0, SIZE - 1.0, 6)] * 2))
    gcps = GCPs(col, row, *lonlat_of(grid_of(both.tgt), col, row), crs=4326)
    attach_gcps(paths["tgt"], gcps, paths["gcps"])
    profile = {"driver": "GTiff", "dtype": str(both.tgt.dtype), "width": SIZE, "height": SIZE, "count": 1, "nodata": 0}
    for name in ("rpcs", "bare"):
        with rasterio.open(paths[name], "w", **profile) as file:
            file.write(both.tgt.values, 1)
            if name == "rpcs":
                file.rpcs = rpcs_of(grid_of(both.tgt))
    paths["list"] = folder / "gcps.csv"
    save_gcps(gcps, paths["list"])
    return {name: str(path) for name, path in paths.items()}


def run(*arguments):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def numbers(fit):
    return {name: fit.to_dict()[name] for name in ("model", "points", "status", "transform", "shape", "crs_wkt")}


@pytest.mark.parametrize("georeference", GROUNDS)
def test_python_commands_and_batches_give_the_same_shift_and_image(files, georeference, tmp_path):
    target, reference = xcoreg.open_raster(files[georeference]), xcoreg.open_raster(files["ref"])
    fit = xcoreg.match(target, reference)
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((10 * SHIFT[0], -10 * SHIFT[1]), abs=0.5)
    run("shift", files["ref"], files[georeference], tmp_path / "cli.tif", "--save-fit", tmp_path / "fit.json")
    xcoreg.batch([files[georeference]], tmp_path / "out", ref=files["ref"])
    saved = [tmp_path / "fit.json", tmp_path / "out" / "scenes" / f"{georeference}.fit.json"]
    for other in (target.coreg.match(reference), *map(xcoreg.load_fit, saved)):
        np.testing.assert_equal(numbers(other), numbers(fit))
    fixed = xcoreg.shift_to(target, reference)
    for path in (tmp_path / "cli.tif", tmp_path / "out" / f"{georeference}.tif"):
        written = xcoreg.open_raster(path)
        assert grid_of(written) == grid_of(fixed)
        np.testing.assert_array_equal(written, fixed)


@pytest.mark.parametrize("georeference", GROUNDS)
def test_python_commands_and_batches_give_the_same_field_and_image(files, georeference, tmp_path):
    target, reference = xcoreg.open_raster(files[georeference]), xcoreg.open_raster(files["ref"])
    fit = xcoreg.match_local(target, reference, **LOCAL)
    np.testing.assert_equal(xcoreg.tie_points(target, reference, **LOCAL).dx, fit.points.dx)
    options = [word for name, value in LOCAL.items() for word in (f"--{name}", value)]
    run("warp", files["ref"], files[georeference], tmp_path / "cli.tif", *options, "--save-fit", tmp_path / "fit.json")
    run("points", files["ref"], files[georeference], tmp_path / "points.csv", *options)
    xcoreg.batch([files[georeference]], tmp_path / "out", ref=files["ref"], verb="warp", **LOCAL)
    for path in (tmp_path / "fit.json", tmp_path / "out" / "scenes" / f"{georeference}.fit.json"):
        np.testing.assert_equal(numbers(xcoreg.load_fit(path)), numbers(fit))
    assert len((tmp_path / "points.csv").read_text().splitlines()) == len(fit.points) + 1
    fixed = xcoreg.warp_to(target, reference, **LOCAL)
    for path in (tmp_path / "cli.tif", tmp_path / "out" / f"{georeference}.tif"):
        np.testing.assert_array_equal(xcoreg.open_raster(path), fixed)


def test_a_given_ground_is_as_good_as_one_in_the_file(files):
    reference, carried = xcoreg.open_raster(files["ref"]), xcoreg.open_raster(files["gcps"])
    bare = xcoreg.open_raster(files["bare"])
    wanted = xcoreg.shift_to(carried, reference, nodata=0)
    points = carried.coreg.gcps
    for ground in (points, xcoreg.fit_gcps(points)):
        fixed = xcoreg.shift_to(bare, reference, ground=ground, nodata=0)
        np.testing.assert_array_equal(fixed, wanted)
        np.testing.assert_array_equal(bare.coreg.shift_to(reference, ground=ground, nodata=0), wanted)
    field = xcoreg.warp_to(bare, reference, ground=points, **LOCAL)
    np.testing.assert_array_equal(field.squeeze(), xcoreg.warp_to(carried, reference, **LOCAL).squeeze())
    listed = xcoreg.match(bare, reference, ground=files["list"]).shift
    assert (listed.dx, listed.dy) == pytest.approx((10 * SHIFT[0], -10 * SHIFT[1]), abs=0.5)


def test_corners_are_a_ground(files):
    reference, bare = xcoreg.open_raster(files["ref"]), xcoreg.open_raster(files["bare"])
    grid, ends = grid_of(xcoreg.open_raster(files["tgt"])), (-0.5, SIZE - 0.5)
    lon, lat = lonlat_of(grid, *np.array([(x, y) for y in ends for x in ends])[[0, 1, 3, 2]].T)
    corners = Corners(*zip(lon, lat, strict=True), crs=4326)
    found = xcoreg.match(bare, reference, ground=corners).shift
    assert (found.dx, found.dy) == pytest.approx((10 * SHIFT[0], -10 * SHIFT[1]), abs=0.5)


def test_a_target_with_a_transform_is_left_alone(files):
    reference, target = xcoreg.open_raster(files["ref"]), xcoreg.open_raster(files["tgt"])
    assert coregister.rectified_to(target, reference) is target


def test_a_target_in_a_file_is_rectified_where_it_is_read(files, monkeypatch):
    reference, target = xcoreg.open_raster(files["ref"]), xcoreg.open_raster(files["gcps"])
    blocks, work = [], Resampler.__call__
    monkeypatch.setattr(Resampler, "__call__", lambda self, source, *at: blocks.append(at) or work(self, source, *at))
    rectified = coregister.rectified_to(target, reference)
    assert is_lazy(rectified)
    assert not blocks
    assert not is_lazy(coregister.rectified_to(target.load(), reference))


def test_an_image_of_several_bands_is_rectified_in_one_of_them(files, tmp_path):
    with rasterio.open(files["gcps"]) as file:
        values, gcps = file.read(1), file.gcps
    profile = {"driver": "GTiff", "dtype": values.dtype, "width": SIZE, "height": SIZE, "count": 3, "nodata": 0}
    with rasterio.open(tmp_path / "three.tif", "w", interleave="band", compress="deflate", **profile) as file:
        file.write(values, 2)
        file.gcps = gcps
    reference, target = xcoreg.open_raster(files["ref"]), xcoreg.open_raster(tmp_path / "three.tif")
    one = xcoreg.open_raster(files["gcps"])
    np.testing.assert_equal(numbers(xcoreg.match(target, reference, band=2)), numbers(xcoreg.match(one, reference)))
    assert not target.variable._in_memory


@pytest.mark.parametrize("georeference", GROUNDS)
def test_footprints_and_reports_of_commands_are_on_the_map(files, georeference, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    grid = grid_of(xcoreg.open_raster(files["ref"]))
    left, bottom, right, top = grid.extent.boundingbox
    upper = shapely.box(left, (bottom + top) / 2, right, top)
    geopandas.GeoSeries([upper], crs=str(grid.crs)).to_crs(4326).to_file(tmp_path / "upper.geojson")
    for footprint in (upper.wkt, tmp_path / "upper.geojson"):  # WKT is in the CRS of the reference
        report = tmp_path / "page.html"
        answer = run("match", files["ref"], files[georeference], "--footprint", footprint, "--report", report)
        assert json.loads(answer)["answer"]["ok"]
        assert min(json.loads(answer)["points"]["y"]) > (bottom + top) / 2 - 20
        assert report.stat().st_size > 10_000


def test_a_part_of_a_file_is_refused(files):
    reference, target = xcoreg.open_raster(files["ref"]), xcoreg.open_raster(files["gcps"])
    with pytest.raises(xcoreg.OptionError, match="rectify first, then cut"):
        xcoreg.match(target[:, :200], reference)
    part, ground = target[:, :200], target.coreg.gcps
    found = xcoreg.match(part, reference, ground=ground).shift  # given control points count the pixels of the part
    assert (found.dx, found.dy) == pytest.approx((10 * SHIFT[0], -10 * SHIFT[1]), abs=0.5)


def test_a_moved_file_with_control_points_is_rectified_not_copied(files, tmp_path):
    fit = xcoreg.match(xcoreg.open_raster(files["tgt"]), xcoreg.open_raster(files["ref"]))
    fit.save(tmp_path / "fit.json")
    run("apply", tmp_path / "fit.json", files["gcps"], tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert not file.gcps[0]
        assert file.crs.to_epsg() == grid_of(xcoreg.open_raster(files["ref"])).crs.epsg


@pytest.mark.parametrize(("verb", "options"), [("shift_to", {}), ("warp_to", LOCAL)])
def test_control_points_are_fitted_once_for_both_steps(files, monkeypatch, verb, options):
    calls, work = [], xcoreg.fit_gcps
    monkeypatch.setattr("xcoreg.warp.ground.fit_gcps", lambda gcps: calls.append(gcps) or work(gcps))
    getattr(xcoreg, verb)(xcoreg.open_raster(files["gcps"]), xcoreg.open_raster(files["ref"]), **options)
    assert len(calls) == 1


def test_a_file_is_corrected_on_a_given_ground(files, tmp_path):
    reference, bare = xcoreg.open_raster(files["ref"]), xcoreg.open_raster(files["bare"])
    points = xcoreg.open_raster(files["gcps"]).coreg.gcps
    fit = xcoreg.match(bare, reference, ground=points)
    written = coregister.correct_file(files["bare"], fit, tmp_path / "out.tif", ground=points)
    np.testing.assert_array_equal(xcoreg.open_raster(written), xcoreg.apply(bare, fit, ground=points))


def test_a_reference_of_points_gives_the_crs(files):
    geopandas = pytest.importorskip("geopandas")
    table = geopandas.GeoDataFrame({"z": [1.0]}, geometry=geopandas.points_from_xy([500000.0], [5900000.0]), crs=32634)
    rectified = coregister.rectified_to(xcoreg.open_raster(files["gcps"]), table)
    assert grid_of(rectified).crs.epsg == 32634
