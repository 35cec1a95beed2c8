"""`match_local` between elevation models: blocks, their table, models of places and heights."""

from __future__ import annotations

import dask
import numpy as np
import pytest

import xcoreg
from xcoreg.core.matches import Status
from xcoreg.simulate import DemNoise, Mosaic, dem_pair

CALM = DemNoise(0.3, 0.0, 5.0, 0.0)
RAMP = Mosaic(tiles=(1, 1), sigma=(0.0, 0.0, 0.0), ramp=(6.0, -4.0, 5.0))
BLOCKS = {"spacing": 50, "window": 50}


@pytest.fixture(scope="module")
def ramp():
    return dem_pair((250, 300), noise=CALM, mosaic=RAMP, glaciers=0.1, seed=2)


@pytest.fixture(scope="module")
def fit(ramp):
    return ramp.tgt.coreg.match_local(ramp.ref, matcher="nuth_kaab", where=ramp.stable, **BLOCKS)


def missed(fit, both):
    """Errors (3, rows, cols) of the model at the places of the target, m."""
    x, y = np.meshgrid(both.tgt.x, both.tgt.y)
    return np.stack([*fit.model.predict(x, y), fit.model.predict_dz(x, y)]) - both.field


def test_ramps_of_all_three_are_found(fit, ramp):
    assert fit.ok
    assert fit.is_field
    assert fit.has_dz
    assert (np.sqrt((missed(fit, ramp) ** 2).mean((1, 2))) < [0.25, 0.25, 0.05]).all()


def test_heights_after_are_better_than_before(fit):
    q = fit.quality
    assert q.dh_nmad_after < 0.35 < q.dh_nmad_before
    assert abs(q.dh_median_after) < 0.05


def test_each_block_has_its_row(fit):
    points = fit.points
    assert len(points) == 5 * 6
    ok = points.ok
    assert ok.sum() > 20
    assert (points.count[ok] > 100).all()
    assert (points.nmad_after[ok] < points.nmad_before[ok]).mean() > 0.95
    assert (points.cov_z[ok, 2] > 0).all()
    assert {"dz", "sigma_z", "count", "nmad_after", "status"} <= set(points.to_dataframe().columns)


def test_the_mean_shift_has_a_height(fit, ramp):
    assert [fit.shift.dx, fit.shift.dy, fit.shift.dz] == pytest.approx(list(ramp.shift), abs=0.6)
    assert np.isfinite(fit.shift.cov3).all()


def test_a_fit_is_saved_to_the_last_digit(fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    again = xcoreg.load_fit(tmp_path / "fit.json")
    assert again == fit
    assert again.model.predict_dz(502000.0, 5398000.0) == fit.model.predict_dz(502000.0, 5398000.0)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_answers_do_not_depend_on_schedulers_or_chunks(fit, ramp, scheduler):
    with dask.config.set(scheduler=scheduler):
        again = ramp.tgt.chunk(x=70, y=110).coreg.match_local(
            ramp.ref.chunk(x=90, y=64), matcher="nuth_kaab", where=ramp.stable, **BLOCKS
        )
    assert again.points == fit.points
    assert again.model.to_dict() == fit.model.to_dict()


@pytest.mark.parametrize("matcher", ["vertical", "vertical:mean", "deramp", ["vertical", "deramp"]])
def test_offsets_of_blocks_make_a_field_of_heights(matcher):
    both = dem_pair((200, 250), shift=(0, 0, 1), noise=CALM, mosaic=Mosaic((1, 1), (0, 0, 0), (0, 0, 6.0)), seed=5)
    fit = both.tgt.coreg.match_local(both.ref, matcher=matcher, **BLOCKS)
    assert not fit.is_field
    assert fit.model.dz_constant is None
    error = missed(fit, both)
    assert (error[:2] == 0).all()
    assert np.sqrt((error[2] ** 2).mean()) < 0.12


@pytest.mark.parametrize("matcher", ["nuth_kaab:classic", ["nuth_kaab", "deramp"]])
def test_other_solutions_work_in_blocks(ramp, matcher):
    fit = ramp.tgt.coreg.match_local(ramp.ref, matcher=matcher, where=ramp.stable, spacing=80, window=80)
    assert (np.sqrt((missed(fit, ramp) ** 2).mean((1, 2))) < [1.2, 1.2, 0.3]).all()


def test_the_phase_matcher_reads_elevation_models_too(ramp):
    fit = ramp.tgt.coreg.match_local(ramp.clean, matcher="phase", spacing=60, window=64)
    assert fit.ok
    assert not fit.has_dz
    assert np.sqrt((missed(fit, ramp)[:2] ** 2).mean()) < 1.0


def test_blocks_that_say_nothing_are_left_out_with_a_reason():
    both = dem_pair((200, 250), noise=CALM, seed=6)
    ref, tgt = both.ref.copy(deep=True), both.tgt.copy(deep=True)
    ref[:50, :50] = np.nan
    ref[:50, 50:100] = 700.0
    tgt[:50, 50:100] = 701.0
    where = both.stable.copy(deep=True)
    where[100:150, :50] = 0
    fit = tgt.coreg.match_local(ref, matcher="nuth_kaab", where=where, **BLOCKS)
    status = fit.points.status.reshape(4, 5)
    assert status[0, 0] == Status.NO_DATA
    assert status[0, 1] == Status.FLAT
    assert status[2, 0] == Status.MASKED
    lost = ~np.isin(fit.points.status, (Status.OK, Status.OUTLIER))
    assert np.isnan(fit.points.dx[lost]).all()
    assert np.isinf(fit.points.cov[lost, 0, 0]).all()
    assert fit.ok


@pytest.mark.parametrize("length", [12.0, 25.0])
def test_noise_that_blocks_share_is_not_followed(length):
    both = dem_pair((300, 400), shift=(9, -5, 2), noise=DemNoise(0.3, 2.0, length, 0.0), seed=7)
    fit = both.tgt.coreg.match_local(both.ref, matcher="nuth_kaab", **BLOCKS)
    assert fit.model.dz_constant == pytest.approx(2.0, abs=3 * fit.shift.cov_z[2] ** 0.5)
    assert 0.1 < fit.shift.cov_z[2] ** 0.5 < 0.8
    assert any("as errors do that neighbours share" in text for text in fit.quality.warnings)
    followed = both.tgt.coreg.match_local(both.ref, matcher="nuth_kaab", model="piecewise", **BLOCKS)
    assert followed.model.dz_constant is None


def test_a_scene_without_relief_raises_the_reason():
    both = dem_pair((120, 150), noise=CALM, seed=6)
    flat = both.tgt.copy(data=np.full(both.tgt.shape, 3.0, np.float32))
    with pytest.raises(xcoreg.MatchError, match="flat"):
        flat.coreg.match_local(flat + 1, matcher="nuth_kaab", **BLOCKS)
    fit = flat.coreg.match_local(flat + 1, matcher="nuth_kaab", errors="return", **BLOCKS)
    assert fit.status is Status.FLAT
    assert fit.model is None


def test_places_of_ones_own_are_used(ramp):
    places = np.array([[502000.0, 5398000.0], [504000.0, 5397000.0], [503000.0, 5396500.0]])
    fit = ramp.tgt.coreg.match_local(ramp.clean, matcher="nuth_kaab", points=places, window=80, model="translation")
    assert len(fit.points) == 3
    assert fit.points.x == pytest.approx(places[:, 0], abs=20)
    assert fit.model.dz_constant == pytest.approx(-2.0, abs=1.5)


@pytest.mark.slow
@pytest.mark.parametrize(("block", "limit"), [(125, 1.25), (250, 1.35)])
def test_a_mosaic_comes_near_to_what_the_truth_leaves(block, limit):
    from xcoreg.core.sampling import sample

    both = dem_pair((985, 1332), mosaic=Mosaic(), seed=1)
    fit = both.tgt.coreg.match_local(both.ref, matcher="nuth_kaab", spacing=block, window=block)
    rows, cols = np.mgrid[:985, :1332].astype(float)
    out, known = sample(both.tgt.values, None, rows + both.field[1] / 20, cols - both.field[0] / 20, "cubic")
    left = (both.ref.values - out - both.field[2])[known]
    floor = 1.4826 * np.median(np.abs(left - np.median(left)))
    assert fit.quality.dh_nmad_after < limit * floor
