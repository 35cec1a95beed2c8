"""`match` between elevation models."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401
import shapely
from affine import Affine
from xarray import DataArray

import xcoreg
from xcoreg.core.matches import Status
from xcoreg.simulate.terrain import DemNoise, dem_pair, elevations

DATA = Path(os.environ.get("XCOREG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CALM = DemNoise(0.3, 0.0, 5.0, 0.0)


@pytest.fixture(scope="module")
def both():
    return dem_pair((200, 240), noise=CALM, glaciers=0.1, seed=4)


def off(shift, truth=(9.2, 2.7, -2.0)):
    return np.abs(np.array([shift.dx, shift.dy, shift.dz]) - truth)


@pytest.mark.parametrize("matcher", ["nuth_kaab", "nuth_kaab:classic", ["nuth_kaab", "deramp"]])
def test_the_shift_and_the_offset_are_found(both, matcher):
    fit = both.tgt.coreg.match(both.ref, matcher=matcher, where=both.stable)
    assert fit.ok
    assert fit.has_dz
    assert not fit.is_field
    assert (off(fit.shift) < [0.1, 0.1, 0.03]).all()
    cov = np.array(fit.shift.cov3)
    assert cov.shape == (3, 3)
    assert (np.linalg.eigvalsh(cov) > 0).all()


def test_quality_has_the_residuals(both):
    q = both.tgt.coreg.match(both.ref, matcher="nuth_kaab", where=both.stable).quality
    assert q.dh_count > 30_000
    assert q.iterations >= 1
    # Interpolation takes a part of the white noise.
    assert 0.2 < q.dh_nmad_after < 0.33
    assert q.dh_nmad_before > 5 * q.dh_nmad_after
    assert abs(q.dh_median_after) < 0.02 < abs(q.dh_median_before)


def test_glaciers_without_a_mask_do_little(both):
    assert (off(both.tgt.coreg.match(both.ref, matcher="nuth_kaab").shift) < [0.3, 0.3, 0.3]).all()


def test_a_swap_negates(both):
    fit, back = (
        both.tgt.coreg.match(both.clean, matcher="nuth_kaab"),
        both.clean.coreg.match(both.tgt, matcher="nuth_kaab"),
    )
    assert [back.shift.dx, back.shift.dy, back.shift.dz] == pytest.approx(
        [-fit.shift.dx, -fit.shift.dy, -fit.shift.dz], abs=0.02
    )


@pytest.mark.parametrize(
    ("matcher", "limit"), [("vertical", 0.02), ("vertical:mean", 0.02), ("vertical:weighted", 0.02)]
)
def test_an_offset_alone_moves_nothing(matcher, limit):
    both = dem_pair((120, 150), shift=(0.0, 0.0, 3.5), noise=CALM, seed=6)
    fit = both.tgt.coreg.match(both.ref, matcher=matcher)
    assert fit.shift.dz == pytest.approx(3.5, abs=limit)
    assert (fit.shift.dx, fit.shift.dy) == (0.0, 0.0)


@pytest.mark.parametrize("order", [1, 2])
def test_a_tilt_becomes_a_model_of_heights(order):
    both = dem_pair((150, 200), shift=(0.0, 0.0, 0.0), noise=CALM, seed=7)
    u, v = np.meshgrid(np.linspace(-1, 1, 200), np.linspace(-1, 1, 150))
    bent = 2.0 + 1.5 * u - v + (0.8 * u * v if order == 2 else 0.0)
    fit = (both.tgt - bent).astype(np.float32).coreg.match(both.ref, matcher=f"deramp:{order}")
    x, y = np.meshgrid(both.tgt.x, both.tgt.y)
    assert fit.model.kind == "translation"
    assert np.abs(fit.model.predict_dz(x, y) - bent).max() < 0.05
    assert fit.shift.dz == pytest.approx(2.0, abs=0.02)
    assert xcoreg.results.coregistration.Coregistration.from_dict(fit.to_dict()) == fit


def test_a_tilt_of_a_moved_model_counts_from_its_own_places():
    both = dem_pair((150, 200), shift=(300.0, 0.0, 0.0), noise=DemNoise(0.05, 0, 5, 0), seed=8)
    slope = 0.002  # per m
    fit = (
        (both.tgt - slope * (both.tgt.x - 500000.0))
        .astype(np.float32)
        .coreg.match(both.ref, matcher=["nuth_kaab", "deramp"])
    )
    assert fit.shift.dx == pytest.approx(300.0, abs=0.1)
    assert fit.model.predict_dz(500000.0, 5399000.0) == pytest.approx(0.0, abs=0.05)


def placed(values, transform, crs):
    rows, cols = values.shape
    x, y = transform.c + transform.a * (np.arange(cols) + 0.5), transform.f + transform.e * (np.arange(rows) + 0.5)
    image = DataArray(values.astype(np.float32), {"y": y, "x": x}, ("y", "x"))
    return image.rio.write_crs(crs).rio.write_transform(transform)


@pytest.mark.parametrize(
    ("transform", "crs"),
    [(Affine(2e-4, 0, 11.0, 0, -1.5e-4, 47.0), "EPSG:4326"), (Affine(30, 0, 0, 0, 30, 0), "EPSG:3031")],
    ids=["degrees", "south up"],
)
@pytest.mark.parametrize("matcher", ["nuth_kaab", "nuth_kaab:classic"])
def test_any_grid_will_do(transform, crs, matcher):
    terrain = elevations((150, 180), seed=3)
    # What is at target pixel (row, col) is at (row - 0.3, col + 0.6) in the reference.
    ref, tgt = placed(terrain(0.0, 0.0), transform, crs), placed(terrain(-0.3, 0.6) + 5.0, transform, crs)
    fit = tgt.coreg.match(ref, matcher=matcher)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((0.6, -0.3), abs=0.005)
    assert fit.shift.dz == pytest.approx(-5.0, abs=0.02)


def test_pixels_of_other_sizes_meet_on_one_lattice(both):
    coarse = both.tgt.coarsen(y=2, x=2).mean()
    coarse = coarse.rio.write_crs("EPSG:32633").rio.write_transform(Affine(40, 0, 500000, 0, -40, 5400000))
    fit = coarse.coreg.match(both.ref, matcher="nuth_kaab", where=both.stable)
    assert (off(fit.shift) < [0.3, 0.3, 0.05]).all()


def flat_like(image, values):
    return image.copy(data=np.broadcast_to(np.asarray(values, np.float32), image.shape).copy())


@pytest.mark.parametrize(
    ("change", "options", "status"),
    [
        (lambda b: (flat_like(b.tgt, 5.0), flat_like(b.tgt, 7.0)), {}, Status.FLAT),
        (lambda b: (b.tgt, b.ref), {"where": shapely.box(0, 0, 1, 1)}, Status.MASKED),
    ],
    ids=["constant", "all masked"],
)
def test_what_terrain_does_not_determine_is_named(both, change, options, status):
    tgt, ref = change(both)
    fit = tgt.coreg.match(ref, matcher="nuth_kaab", errors="return", **options)
    assert fit.status is status
    assert fit.shift_or_none is None
    assert np.isnan(fit.points.dx).all()
    assert np.isinf(fit.points.cov[0].diagonal()).all()
    with pytest.raises(xcoreg.MatchError, match="no trustworthy match"):
        tgt.coreg.match(ref, matcher="nuth_kaab", **options)


def test_a_limit_is_respected(both):
    fit = both.tgt.coreg.match(both.ref, matcher="nuth_kaab", max_shift=0.2, errors="return")
    assert fit.status is Status.TOO_FAR
    assert fit.shift_or_none is None


def test_slopes_of_one_aspect_determine_one_axis(both):
    rng = np.random.default_rng(1)
    ridge = 40 * np.sin(np.arange(240) / 9)[None, :]
    ref, tgt = (flat_like(both.tgt, ridge + rng.normal(0, 0.5, both.tgt.shape)) for _ in range(2))
    fit = tgt.coreg.match(ref, matcher="nuth_kaab", errors="return")
    assert fit.status is Status.UNCONSTRAINED
    assert fit.points.dx[0] == pytest.approx(0.0, abs=0.5)
    assert np.isnan(fit.points.dy[0])
    assert np.isinf(fit.points.cov[0, 1, 1])


def test_a_constant_offset_is_found_on_flat_ground(both):
    fit = flat_like(both.tgt, 5.0).coreg.match(flat_like(both.tgt, 7.0), matcher="vertical")
    assert fit.shift.dz == 2.0


def test_models_apart_do_not_overlap(both):
    away = both.tgt.assign_coords(x=both.tgt.x + 1e5)
    with pytest.raises(xcoreg.NoOverlap):
        away.rio.write_transform(Affine(20, 0, 600000, 0, -20, 5400000)).coreg.match(both.ref, matcher="nuth_kaab")


@pytest.mark.parametrize("matcher", ["nuth_kab", ["nuth_kaab", "phase"], "deramp:7", []])
def test_unknown_matchers_are_refused(both, matcher):
    with pytest.raises(xcoreg.OptionError):
        both.tgt.coreg.match(both.ref, matcher=matcher)


def test_a_fit_is_printed_and_saved(both, tmp_path):
    fit = both.tgt.coreg.match(both.ref, matcher="nuth_kaab")
    fit.save(tmp_path / "fit.json")
    assert xcoreg.load_fit(tmp_path / "fit.json") == fit
    assert "dz=-2.0" in repr(fit)
    assert fit.points.to_dataframe()["sigma_z"][0] == pytest.approx(fit.shift.sigma_z)


@pytest.mark.skipif(not (DATA / "dem_srtm_shifted").is_dir(), reason="the elevation models are not here")
@pytest.mark.parametrize("matcher", ["nuth_kaab", "nuth_kaab:classic"])
def test_the_known_shift_of_srtm(matcher):
    ref, tgt = (
        xcoreg.open_raster(DATA / "dem_srtm_shifted" / f"srtm_{name}.tif") for name in ("ref", "blurred_and_shifted")
    )
    fit = tgt.coreg.match(ref, matcher=matcher)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((3.0, 5.0), abs=0.01)


def test_one_place_will_do(both):
    fit = both.tgt.coreg.match(both.ref, matcher="nuth_kaab", at=(502000.0, 5398000.0), window=120, where=both.stable)
    assert fit.quality.dh_count < 120**2
    assert (off(fit.shift) < [0.3, 0.3, 0.1]).all()


def test_an_offset_alone_claims_nothing_of_places(both):
    shift = both.tgt.coreg.match(both.ref, matcher="vertical").shift
    assert (shift.dx, shift.dy) == (0.0, 0.0)
    assert np.isnan(shift.cov).any()
    assert shift.sigma_z > 0


def test_options_of_images_are_refused(both):
    for option in ({"windows": 3}, {"contrast": "any"}):
        with pytest.raises(xcoreg.OptionError, match=next(iter(option))):
            both.tgt.coreg.match(both.ref, matcher="nuth_kaab", **option)
