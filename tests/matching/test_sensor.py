"""Raw images matched over terrain: the correction in image space, its covariance, its RPCs, and how it is applied."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.warp.test_terrain import as_array, hills

import xcoreg
from xcoreg.core.models.fit import prepare_shifts
from xcoreg.core.models.lines import LinesMaker
from xcoreg.errors import CoregWarning, MatchError, OptionError
from xcoreg.georef import RPCGround, TerrainGround
from xcoreg.io.terrain import read_terrain
from xcoreg.simulate import raw_scene


def bias(col, row):
    """(12.3, -7.8) px at the first pixel, and 0.02 %."""
    return 12.3 + 2e-4 * col - 1e-4 * row, -7.8 + 1e-4 * col + 2e-4 * row


@pytest.fixture(scope="module")
def scene():
    return raw_scene(hills(), (220, 200), 15.0, correction=bias, seed=4)


@pytest.fixture(scope="module")
def fit(scene):
    return scene.raw.coreg.match(scene.ref, ground=scene.rpcs, dem=scene.terrain)


def places(n=300, seed=0):
    return np.random.default_rng(seed).uniform(0, [[200], [220]], (2, n))


def errors(fit, col, row):
    """Errors (n, 2) of the correction, y upwards, and their covariances."""
    dcol, drow = bias(col, row)
    dx, dy = fit.model.predict(col + 0.5, -(row + 0.5))
    return np.column_stack([dx - dcol, dy + drow]), fit.model.predict_cov(col + 0.5, -(row + 0.5))


def test_the_correction_is_found_in_the_raw_image(fit):
    off, cov = errors(fit, *places())
    assert np.sqrt((off**2).sum(1).mean()) < 0.01
    assert fit.model.kind == "affine"
    assert fit.shape == (220, 200)
    assert fit.shift.dcol == pytest.approx(12.3, abs=0.1)
    assert fit.quality.rmse_after < 0.05 < 10 < fit.quality.rmse_before
    assert (np.sqrt(np.trace(cov, axis1=1, axis2=2)) < 0.05).all()


def test_the_raw_image_is_corrected_in_one_interpolation(scene, fit):
    fixed = scene.raw.coreg.apply(fit, ground=scene.rpcs, dem=scene.terrain, like=scene.ref)
    noise = 150 / 10 ** (30 / 20) * np.sqrt(2)
    assert float((fixed - scene.ref).std()) < 2.5 * noise
    entry = json.loads(fixed.attrs["xcoreg"])[-1]
    assert (entry["fit"], entry["correction"]) == (fit.id, "affine")
    assert "over terrain" in entry["model"]


def test_a_saved_fit_is_a_ground(scene, fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    loaded = xcoreg.load_fit(tmp_path / "fit.json")
    assert loaded == fit
    assert "the correction is in pixels of the raw image" in loaded.summary()
    one = scene.raw.coreg.apply(loaded, ground=scene.rpcs, dem=scene.terrain, like=scene.ref)
    two = scene.raw.coreg.rectify(loaded, dem=scene.terrain, like=scene.ref)
    np.testing.assert_array_equal(one.values, two.values)


def test_without_an_output_grid_it_is_that_of_the_reference(scene, fit):
    fixed = scene.raw.coreg.apply(fit, ground=scene.rpcs, dem=scene.terrain, align_grid=True, resolution=15.0)
    assert fixed.rio.crs == scene.ref.rio.crs
    assert ((fixed.x[0] - scene.ref.x[0]) / 15.0).item() == pytest.approx(
        round(((fixed.x[0] - scene.ref.x[0]) / 15).item())
    )


def test_corrected_rpcs_hold_the_correction(scene, fit):
    refit = fit.corrected_rpcs()
    assert refit.rms <= refit.largest < 1e-3
    col, row = places()
    lon, lat = scene.ground.to_map(col, row)  # where these pixels truly are
    height = scene.terrain.at("EPSG:4326", lon, lat)
    found = refit.rpcs.project(lon, lat, height)
    assert np.sqrt(np.mean((found[0] - col) ** 2 + (found[1] - row) ** 2)) < 0.012
    plain = TerrainGround(RPCGround(scene.rpcs), scene.terrain).to_pixel(lon, lat)
    assert abs(plain[0] - col).min() > 10


def test_a_shift_alone_stays_a_shift():
    scene = raw_scene(hills(), (150, 150), 15.0, correction=(3.25, -1.5), seed=1)
    fit = scene.raw.coreg.match_local(scene.ref, ground=scene.rpcs, dem=scene.terrain, model="translation", window=40)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((3.25, -1.5), abs=0.01)
    refit = fit.corrected_rpcs()
    assert refit.rms == 0.0
    assert refit.rpcs.samp_off - scene.rpcs.samp_off == pytest.approx(-3.25, abs=0.01)
    assert refit.rpcs.samp_num_coeff == scene.rpcs.samp_num_coeff


def test_a_lazy_image_gives_the_same(scene, fit):
    lazy = scene.raw.chunk({"y": 110, "x": 100}).coreg.match(scene.ref, ground=scene.rpcs, dem=scene.terrain)
    np.testing.assert_array_equal(lazy.points.dx, fit.points.dx)


def test_what_does_not_go_together_is_refused(scene, fit):
    raw, where = scene.raw, {"ground": scene.rpcs, "dem": scene.terrain}
    with pytest.raises(OptionError, match="lies on terrain: give that, dem="):
        raw.coreg.apply(fit, ground=scene.rpcs)
    with pytest.raises(OptionError, match="counts the pixels of a raw image of 200 x 220 px"):
        raw[:100].coreg.apply(fit, **where)
    other = dataclasses.replace(scene.rpcs, samp_off=7.0)
    with pytest.raises(OptionError, match="other RPCs than the one that was matched"):
        raw.coreg.apply(fit, ground=other, dem=scene.terrain)
    with pytest.raises(OptionError, match="at= does not go with dem="):
        raw.coreg.match(scene.ref, at=(0, 0), **where)
    with pytest.raises(OptionError, match="a raw image has none"):
        raw.coreg.match(scene.ref, matcher="nuth_kaab", **where)
    pair = xcoreg.simulate.pair((256, 256), shift=(1.25, -0.5), seed=1)
    plain = xcoreg.match(pair.tgt, pair.ref)
    with pytest.raises(OptionError, match="this fit is of an image on a map"):
        pair.tgt.coreg.apply(plain, dem=scene.terrain)
    with pytest.raises(OptionError, match="not of a raw image with RPCs"):
        plain.corrected_rpcs()
    with pytest.raises(OptionError, match="not of a raw image with RPCs"):
        raw.coreg.rectify(plain)


def test_images_of_different_scenes_do_not_match(scene):
    rng = np.random.default_rng(0)
    noise = scene.ref.copy(data=rng.normal(1000, 100, scene.ref.shape).astype("float32"))
    with pytest.raises(MatchError):
        scene.raw.coreg.match(noise, ground=scene.rpcs, dem=scene.terrain)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_command_ortho(scene, tmp_path):
    from click.testing import CliRunner
    from rasterio import open as open_file
    from rasterio.rpc import RPC

    from xcoreg.cli import cli

    raw, ref, dem, out = (str(tmp_path / f"{name}.tif") for name in ("raw", "ref", "dem", "out"))
    with open_file(raw, "w", driver="GTiff", width=200, height=220, count=1, dtype="float32") as file:
        file.write(scene.raw.values, 1)
        file.rpcs = RPC(**scene.rpcs.to_dict())
    scene.ref.rio.to_raster(ref)
    as_array(scene.terrain).rio.to_raster(dem)
    files = ["--save-rpcs", str(tmp_path / "raw_RPC.TXT"), "--save-fit", str(tmp_path / "fit.json")]
    run = CliRunner().invoke(cli, ["ortho", raw, dem, out, "--ref", ref, "--vertical-datum", "ellipsoid", *files])
    assert run.exit_code == 0, run.stderr
    assert "px RMS" in run.stderr
    with open_file(out) as made, open_file(raw) as image:
        assert made.crs == scene.ref.rio.crs
        fit = xcoreg.load_fit(tmp_path / "fit.json")
        assert image.rpcs.samp_num_coeff == pytest.approx(fit.corrected_rpcs().rpcs.samp_num_coeff, abs=1e-12)
    again = CliRunner().invoke(cli, ["ortho", raw, dem, out])
    assert (again.exit_code, "exists" in again.stderr) == (2, True)
    alone = CliRunner().invoke(
        cli, ["ortho", raw, dem, str(tmp_path / "b.tif"), "--save-fit", str(tmp_path / "b.json")]
    )
    assert (alone.exit_code, "give the reference, --ref" in alone.stderr) == (2, True)


def test_over_real_terrain(data_dir):
    """The elevations of the shared data, with 3 m of noise: better than a twentieth of a pixel."""
    dem = xcoreg.open_raster(data_dir / "dem_srtm_shifted" / "srtm_ref.tif")
    scene = raw_scene(read_terrain(dem, "ellipsoid"), (220, 220), 20.0, correction=bias, snr_db=20, seed=2)
    assert np.ptp(scene.terrain.at("EPSG:4326", *scene.ground.to_map(*places()))) > 500
    noise = np.random.default_rng(0).normal(0, 3, dem.shape)
    fit = scene.raw.coreg.match(scene.ref, ground=scene.rpcs, dem=dem + noise, vertical_datum="ellipsoid")
    off, cov = errors(fit, *places())
    assert np.sqrt((off**2).sum(1).mean()) < 0.05
    assert (np.sqrt(np.trace(cov, axis1=1, axis2=2)) < 0.1).all()


def test_rpcs_that_cannot_hold_a_correction_warn(scene, fit):
    y, x = (one.ravel() for one in np.mgrid[0:220:5.0, 0:200:20.0])
    jitter = LinesMaker(5.0).fit_result(prepare_shifts(x, -y, 0.5 * np.sin(y / 8), 0 * y, None)).model
    with pytest.warns(CoregWarning, match=r"RPCs cannot hold this correction \(lines\)"):
        refit = dataclasses.replace(fit, model=jitter).corrected_rpcs()
    assert refit.rms > 0.1


def test_errors_of_heights_are_found_and_do_not_hide_a_drift(scene):
    """Errors along one direction are no errors across it: a drift of 0.02 % is seen there, and ellipses hold."""
    sigma, rng = 12.0, np.random.default_rng(1)
    noise = gaussian_filter(rng.normal(0, 1, scene.terrain.heights.shape), 4)
    poor = dataclasses.replace(scene.terrain, heights=scene.terrain.heights + noise * sigma / noise.std())
    fit = scene.raw.coreg.match_local(scene.ref, ground=scene.rpcs, dem=poor, window=40)
    assert fit.model.kind == "affine"
    assert 1 < fit.details.sensor.dem_sigma < sigma
    assert "errors of heights" in fit.summary()
    off, cov = errors(fit, *places())
    squared = np.einsum("ni,nij,nj->n", off, np.linalg.inv(cov), off)
    assert np.mean(squared < 9.21) > 0.9
    sizes = np.linalg.eigvalsh(fit.points.cov[fit.points.ok])
    assert np.median(sizes[:, 1] / sizes[:, 0]) > 4
    check = fit.details.assessment.check
    assert np.ptp(check.height) > 100
