"""Images in a CRS that no transformation leads out of: a site's own grid, another planet, an unknown projection."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import xcoreg
from xcoreg.cli import cli
from xcoreg.errors import NoOverlap, OptionError
from xcoreg.georef import GCPs, attach_gcps
from xcoreg.simulate import pair

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
CRSS = {
    "local": ('LOCAL_CS["Site",UNIT["metre",1]]', 'ENGCRS["site",EDATUM["Mine"],CS[Cartesian,2],AXIS["e",east],'
              'AXIS["n",north],LENGTHUNIT["meter",1]]'),
    "planet": ('PROJCS["Mars",GEOGCS["M",DATUM["D_Mars",SPHEROID["Mars",3396190,169.89]],PRIMEM["R",0],'
               'UNIT["Degree",0.0174532925199433]],PROJECTION["Equirectangular"],UNIT["metre",1]]',) * 2,
}  # fmt: skip
WINDOWS = ["--spacing", "60", "--window", "64"]


@pytest.fixture(scope="module", params=CRSS)
def files(request, tmp_path_factory):
    """Target and reference as files, in two spellings of one CRS."""
    folder, scene = tmp_path_factory.mktemp(request.param), pair((300, 300), shift=(2.4, -1.3), seed=1)
    for name, image, crs in zip(("ref", "tgt"), (scene.ref, scene.tgt), CRSS[request.param], strict=True):
        xcoreg.write_raster(image.drop_vars("spatial_ref").rio.write_crs(crs), folder / f"{name}.tif")
    return folder


@pytest.fixture(scope="module")
def fit(files):
    tgt, ref = (xcoreg.open_raster(files / f"{name}.tif") for name in ("tgt", "ref"))
    return tgt.coreg.match_local(ref, spacing=60, window=64)


def run(*args):
    done = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert done.exit_code in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_info_does_without_degrees(files):
    found = json.loads(run("info", "--json", files / "tgt.tif").stdout)
    assert found["georeference"] == "complete"
    assert found["unit"] == "metre"
    assert len(found["corners"]) == 4
    assert "corners_lonlat" not in found
    assert "lon " not in run("info", files / "tgt.tif").stdout


def test_info_of_control_points(files, tmp_path):
    gcps = GCPs([0, 290, 0, 290], [0, 0, 290, 290], [0, 290, 0, 290], [0, 0, -290, -290], crs=CRSS["local"][0])
    image = attach_gcps(files / "tgt.tif", gcps, tmp_path / "gcps.tif")
    done = run("info", image)
    assert done.exit_code == 0
    assert "x 299.5, y 0.5" in done.stdout


@pytest.mark.parametrize("more", [[], ["--align-grid"]], ids=["moved", "aligned"])
def test_match_and_move(files, tmp_path, more):
    assert run("shift", files / "ref.tif", files / "tgt.tif", tmp_path / "out.tif", *more).exit_code == 0
    left = xcoreg.open_raster(tmp_path / "out.tif").coreg.match(xcoreg.open_raster(files / "ref.tif"))
    assert max(abs(left.shift.dcol), abs(left.shift.drow)) < 0.1


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".shp", ".csv"])
def test_tables_keep_the_coordinates(fit, tmp_path, suffix):
    if suffix != ".csv":
        pytest.importorskip("geopandas")
    fit.points.save(tmp_path / f"points{suffix}")
    found = xcoreg.TiePoints.load(tmp_path / f"points{suffix}")
    assert found.x == pytest.approx(fit.points.x)


def test_geojson_is_refused_with_the_way_out(files, fit, tmp_path):
    with pytest.raises(OptionError, match=r"\.gpkg"):
        fit.points.save(tmp_path / "points.geojson")
    done = run("points", files / "ref.tif", files / "tgt.tif", tmp_path / "points.geojson", *WINDOWS)
    assert done.exit_code == 2
    assert ".gpkg" in done.stderr
    assert not (tmp_path / "points.geojson").exists()


def test_report_summary_and_debug(files, fit, tmp_path):
    pytest.importorskip("matplotlib")
    assert fit.summary()
    assert fit._repr_html_()
    assert fit.report(tmp_path / "report.html").stat().st_size > 1000
    assert run("match", files / "ref.tif", files / "tgt.tif", "--debug", tmp_path / "debug").exit_code == 0


def test_a_web_map_has_its_own_coordinates_and_no_background(fit):
    pytest.importorskip("folium")
    page = fit.explore().get_root().render()
    assert "CRS.Simple" in page
    assert "openstreetmap" not in page.lower()


def test_images_that_do_not_meet_are_named_in_their_own_coordinates(files, fit):
    image = xcoreg.open_raster(files / "tgt.tif")
    far = image.assign_coords(x=image.x + 1e6).drop_vars("spatial_ref").rio.write_crs(image.rio.crs)
    with pytest.raises(NoOverlap, match=r"bounds|x .* to"):
        image.coreg.apply(fit, like=far)
