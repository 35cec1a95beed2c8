"""Fields of shifts: many good tie points, none bad, whatever the field, the grids and the masks."""

import io
from dataclasses import replace

import dask
import numpy as np
import pytest
import shapely
from affine import Affine

import xcoreg
from xcoreg.core.matches import Status
from xcoreg.core.models import model_from_dict
from xcoreg.coregister import match_local, tie_points
from xcoreg.errors import LowSupport, MatchError, OptionError, TooFewTiePoints
from xcoreg.matching.quality import overlap_of
from xcoreg.results.tiepoints import TiePoints
from xcoreg.simulate import Acquisition, pair, similarity, smooth_field

SIDE = 600
GRID = {"spacing": 50, "window": 64}


def errors(points, truth):
    """Distance (target px) of every correction from the true field averaged over its window."""
    steps = np.linspace(-0.5, 0.5, 9) * points.size[0]
    dcol, drow = truth(points.row[:, None, None] + steps[:, None], points.col[:, None, None] + steps)
    return np.hypot(points.dcol - dcol.mean((1, 2)), points.drow - drow.mean((1, 2)))


@pytest.fixture(scope="module")
def field():
    return pair((SIDE, SIDE), shift=smooth_field((SIDE, SIDE), 2.0, seed=4), seed=5)


@pytest.fixture(scope="module")
def fit(field):
    return match_local(field.tgt, field.ref, **GRID)


def test_every_window_of_a_smooth_field_is_found(field, fit):
    assert fit.points.ok.mean() > 0.97
    off = errors(fit.points, field.truth)[fit.points.ok]
    assert np.sqrt((off**2).mean() / 2) < 0.02
    assert off.max() < 0.1


def test_the_model_predicts_the_field_between_the_windows(field, fit):
    rng = np.random.default_rng(0)
    row, col = rng.uniform(60, SIDE - 60, (2, 200))
    affine = field.tgt.coreg.grid.affine
    dx, dy = fit.model.predict(affine.c + affine.a * (col + 0.5), affine.f + affine.e * (row + 0.5))
    dcol, drow = field.truth(row, col)
    assert np.hypot(dx / 10 - dcol, dy / -10 - drow).max() < 0.15


def test_what_windows_share_is_in_what_the_model_predicts():
    """A pattern of the pixels pulls all windows of a field one way: no number of them averages that out."""
    truth, square = (0.45, -0.3), []
    for seed in range(6):
        images = pair((300, 300), shift=truth, snr_db=25, seed=seed)
        pattern = 0.05 * float(images.ref.std()) * np.random.default_rng(seed).standard_normal((300, 300))
        made = match_local(images.tgt + pattern, images.ref + pattern, **GRID)
        x, y = made.grid.affine @ (150, 150)
        dx, dy = made.model.predict(x, y)
        cov = made.model.predict_cov(x, y) / 100
        square += [(dx / 10 - truth[0]) ** 2 / cov[0, 0], (dy / -10 - truth[1]) ** 2 / cov[1, 1]]
        assert made.points.common[0] > 0
    assert np.mean(square) < 3


def test_windows_that_overlap_count_for_less():
    images = pair((300, 300), shift=(0.45, -0.3), snr_db=15, seed=1)
    apart, over = (match_local(images.tgt, images.ref, window=64, spacing=s, model="affine") for s in (64, 32))
    x, y = apart.grid.affine @ (150, 150)
    dense, sparse = (one.model.predict_cov(x, y)[0, 0] for one in (over, apart))
    assert 0.5 * sparse < dense < 1.5 * sparse  # four times the windows over the same pixels
    assert apart.model.overlap < 1.1
    assert over.model.overlap > 2.5
    assert model_from_dict(over.model.to_dict()) == over.model


def test_the_result_has_residuals_at_check_points(fit):
    quality = fit.quality
    assert quality.n_check == fit.points.ok.sum() == len(fit.details.assessment.check.dx)
    assert quality.rmse_after < 0.05 < quality.rmse_before
    assert quality.median_after <= quality.ce90_after < quality.ce90_before
    assert sum(row.chosen for row in fit.details.assessment.models) == 1


def test_the_shift_of_a_field_is_its_mean(fit):
    ok = fit.points.ok
    assert abs(fit.shift.dx - fit.points.dx[ok].mean()) < 3 * fit.shift.sigma[0] + 2


def test_a_constant_shift_is_a_translation():
    still = pair((400, 400), shift=(0.4, -0.3), seed=8)
    assert match_local(still.tgt, still.ref, **GRID).model.kind == "translation"


def test_a_fit_survives_its_file(fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    assert xcoreg.load_fit(tmp_path / "fit.json") == fit


def test_matching_again_after_the_warp_finds_nothing_left(field):
    fixed = field.tgt.coreg.warp_to(field.ref, **GRID)
    again = tie_points(fixed, field.ref, spacing=60, window=64)
    ok = again.ok
    assert ok.mean() > 0.9
    assert np.sqrt((np.hypot(again.dcol, again.drow)[ok] ** 2).mean()) < 0.05


@pytest.mark.parametrize(
    "shift",
    [
        (60.3, -41.2),
        similarity((SIDE, SIDE), degrees=1.0, scale=1.01),
        smooth_field((SIDE, SIDE), 12.0, seed=3, turns=0.6),
    ],
    ids=["far", "turned", "strong"],
)
def test_small_windows_find_large_shifts(shift):
    scene = pair((SIDE, SIDE), shift=shift, seed=2)
    points = tie_points(scene.tgt, scene.ref, spacing=70, window=64)
    full = np.isin(points.status, (Status.NO_DATA,), invert=True)
    assert points.ok[full].mean() > 0.9
    assert errors(points, scene.truth)[points.ok].max() < 0.5


def test_cloudy_windows_are_refused_and_clear_ones_accepted():
    cloudy = Acquisition(clouds=0.4)
    scene = pair((SIDE, SIDE), shift=smooth_field((SIDE, SIDE), 2.0, seed=4), seed=6, ref=cloudy, tgt=cloudy)
    points = tie_points(scene.tgt, scene.ref, **GRID)
    assert errors(points, scene.truth)[points.ok].max() < 0.5
    cloud = scene.ref_cloud.values | scene.tgt_cloud.values
    spots = zip(points.row.astype(int), points.col.astype(int), strict=True)
    free = np.array([not cloud[r - 31 : r + 33, c - 31 : c + 33].any() for r, c in spots])
    assert points.ok[free].mean() > 0.6


def test_unrelated_images_are_refused_with_the_counts():
    scene = pair((400, 400), shift=None, seed=1)
    with pytest.raises(MatchError, match="NO_PEAK") as caught:
        match_local(scene.tgt, scene.ref, **GRID)
    assert not caught.value.points.ok.any()
    assert not match_local(scene.tgt, scene.ref, errors="return", **GRID)


def test_masked_places_are_refused_and_say_so(field):
    west, south, east, north = field.tgt.rio.bounds()
    half = shapely.box(west, south, (west + east) / 2, north)
    points = tie_points(field.tgt, field.ref, where=half, **GRID)
    outside = points.x > (west + east) / 2
    assert (points.status[outside] == Status.MASKED).all()
    assert points.ok[~outside].mean() > 0.9


def test_the_order_of_chunks_and_threads_changes_nothing(field):
    one = tie_points(field.tgt, field.ref, **GRID)
    with dask.config.set(scheduler="synchronous"):
        assert tie_points(field.tgt.chunk({"y": 170, "x": 233}), field.ref, **GRID) == one
    with dask.config.set(num_workers=3):
        assert tie_points(field.tgt, field.ref, **GRID) == one


def test_another_crs_and_gsd_finds_the_same_field(make_pair):
    fine = Affine(5, 0, 300000, 0, -5, 5900040)
    target, reference = make_pair((700, 700), fine, shift=(13.0, -7.0), seed=3)
    points = tie_points(target, reference, spacing=120, window=64)
    assert points.ok.mean() > 0.9
    assert np.abs(points.dx[points.ok] - 13).max() < 2
    assert np.abs(points.dy[points.ok] + 7).max() < 2


def test_positions_of_ones_own_are_matched(field):
    affine = field.tgt.coreg.grid.affine
    wanted = np.array([[affine.c + 10 * c, affine.f - 10 * r] for r in (150, 300, 450) for c in (120, 260, 400, 500)])
    points = tie_points(field.tgt, field.ref, points=wanted, window=64)
    np.testing.assert_allclose(np.stack([points.x, points.y], -1), wanted, atol=10)
    assert errors(points, field.truth)[points.ok].max() < 0.1


def test_tie_points_made_elsewhere_are_not_matched_again(field, fit):
    moved = fit.points.take(fit.points.ok)
    again = match_local(field.tgt, field.ref, points=moved)
    np.testing.assert_array_equal(again.points.dx, moved.dx)
    assert again.model.kind == fit.model.kind


def test_max_shift_holds():
    scene = pair((400, 400), shift=(6.0, 0.0), seed=3)
    points = tie_points(scene.tgt, scene.ref, max_shift=3, **GRID)
    assert not points.ok.any()


def test_too_few_points_for_a_model_by_name_raise(field):
    centre = [[*field.tgt.coreg.grid.extent.geom.centroid.coords[0]]]
    with pytest.raises((TooFewTiePoints, MatchError)):
        match_local(field.tgt, field.ref, points=centre, model="affine", window=64)


def test_few_points_fall_back_to_a_simpler_model_and_warn(field):
    x, y = field.tgt.coreg.grid.extent.geom.centroid.coords[0]
    places = [[x + 600 * i, y + 300 * i] for i in (-2, -1, 0, 1, 2)]
    with pytest.warns(LowSupport):
        fit = match_local(field.tgt, field.ref, points=places, window=64)
    assert fit.model.kind == "translation"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": (0, 0)}, "points="),
        ({"windows": 4}, "spacing="),
        ({"spacing": 0}, "at least 1"),
        ({"spacing": 50, "points": [[0, 0]]}, "one of them"),
        ({"filters": "ssim"}, "list"),
        ({"filters": ["sim"]}, "reliability, ssim"),
        ({"model": "cubic"}, "polynomial3"),
        ({"spcing": 9}, "did you mean 'spacing'"),
    ],
)
def test_errors_about_options_name_the_cure(field, options, message):
    chosen = {"window": 64, **({} if "spacing" in options or "points" in options else {"spacing": 150}), **options}
    with pytest.raises(OptionError, match=message):
        match_local(field.tgt, field.ref, **chosen)


def test_a_progress_bar_stays_out_of_pipes(field, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    tie_points(field.tgt, field.ref, progress=True, **GRID)
    assert stream.getvalue() == ""


def test_filters_may_be_left_out_or_be_ones_own(field):
    plain = tie_points(field.tgt, field.ref, filters=[], **GRID)
    mine = tie_points(field.tgt, field.ref, filters=[lambda p: p.dx > np.nanmedian(p.dx)], **GRID)
    assert plain.counts()["OK"] > mine.counts()["OK"] > 0
    assert mine.counts()["OUTLIER"] == pytest.approx(len(plain) / 2, abs=2)


def test_a_window_half_empty_stands_where_it_has_data(field):
    holed = field.tgt.copy(deep=True)
    holed[:, 255:275] = 0
    points = tie_points(holed, field.ref, spacing=100, window=64, filters=[])
    near = np.flatnonzero((points.col > 230) & (points.col < 260))
    assert len(near)
    assert points.ok[near].all()
    assert (np.abs(points.col[near] % 1 - 0.5) > 1e-6).any()
    # The field averaged over the window is, to first order, the field at the centroid.
    dcol, drow = field.truth(points.row, points.col)
    assert np.hypot(points.dcol - dcol, points.drow - drow)[near].max() < 0.06


def test_a_window_half_under_clouds_stands_where_it_is_clear():
    steep = similarity((400, 400), degrees=0.6)
    scene = pair((400, 400), shift=steep, seed=3)
    cloudy = scene.tgt.copy(deep=True)
    cloudy[:, 220:] = np.random.default_rng(0).normal(3000, 50, (400, 180)).astype("uint16")
    points = tie_points(cloudy, scene.ref, points=[[302050.0, 5900040.0 - 10 * r] for r in (120, 200, 280)], window=128)
    assert points.ok.any()
    assert (points.col[points.ok] < 204 - 10).all()  # the window's centre is column 204.5
    dcol, drow = scene.truth(points.row, points.col)
    assert np.hypot(points.dcol - dcol, points.drow - drow)[points.ok].max() < 0.15


def test_a_single_window_is_no_field_and_named_so():
    both = pair((240, 240), shift=(0.7, -1.2), seed=1)
    with pytest.raises(TooFewTiePoints, match="too few tie points for a trustworthy field: 1 windows tried: 1 OK"):
        match_local(both.tgt, both.ref, spacing=5000, window=64)


def test_the_overlap_of_windows_is_that_of_their_pixels():
    col, row = (part.ravel() * 30.0 for part in np.meshgrid(np.arange(20), np.arange(20)))
    zero = np.zeros(400)
    points = TiePoints(np.arange(400), row, col, col, -row, zero, zero, zero, zero, size=np.full(400, 64))
    assert overlap_of(points) == pytest.approx(4, rel=0.15)
    assert overlap_of(replace(points, size=np.full(400, 30))) == 1
    assert overlap_of(replace(points, size=zero)) == 1
    assert overlap_of(replace(points, col=zero * np.nan)) == 1
    assert overlap_of(points.take(slice(0, 0))) == 1
