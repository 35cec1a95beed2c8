import numpy as np
import pytest
import shapely

from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Matches, Status
from xcoreg.coregister import match
from xcoreg.errors import GridError, MatchError, OptionError
from xcoreg.matching import shift
from xcoreg.simulate import Acquisition, Product, pair, similarity

UTM = "EPSG:32633"


def off(fit, truth):
    """Largest error of a fit, px."""
    return max(abs(fit.shift.dcol - truth[0]), abs(fit.shift.drow - truth[1]))


@pytest.fixture(scope="module")
def fit(plain):
    return match(plain.tgt, plain.ref)


# --- properties ------------------------------------------------------------------------------------------------------


def test_the_shift_is_found(fit, plain):
    assert fit.ok
    assert fit.status is Status.OK
    assert off(fit, plain.shift) < 5 * max(fit.shift.sigma_px)


def test_several_windows_under_clouds(wide):
    fit = match(wide.tgt, wide.ref)
    assert off(fit, wide.shift) < 5 * max(fit.shift.sigma_px)
    assert fit.quality.n_ok >= 3


@pytest.mark.parametrize(("known", "count"), [(0.1, 5), (1e-6, 9)])
def test_windows_are_left_out_where_some_settle_the_shift(wide, known, count, monkeypatch):
    monkeypatch.setattr(shift, "SYSTEMATIC", known)
    fit = match(wide.ref, wide.ref + 0 * wide.ref, window=64)
    assert fit.quality.n_windows == count
    assert match(wide.ref, wide.ref + 0 * wide.ref, window=64, windows=8).quality.n_windows == 8


def test_swapping_negates(fit, plain):
    back = match(plain.ref, plain.tgt)
    assert fit.shift.dcol == pytest.approx(-back.shift.dcol, abs=2 * max(fit.shift.sigma_px))
    assert fit.shift.drow == pytest.approx(-back.shift.drow, abs=2 * max(fit.shift.sigma_px))


def test_gain_and_offset_change_nothing(fit, plain):
    bright = plain.tgt.copy(data=(3.0 * plain.tgt.values + 500).astype(np.uint16))
    assert off(match(bright, plain.ref), (fit.shift.dcol, fit.shift.drow)) < 1e-3


def test_correcting_twice_leaves_nothing(fit, plain):
    again = match(plain.tgt.coreg.apply(fit), plain.ref)
    assert off(again, (0.0, 0.0)) < 3 * max(fit.shift.sigma_px)


def test_three_images_close():
    rng = np.random.default_rng(3)
    one, two = (
        pair((160, 160), shift=shift, snr_db=np.inf, seed=5, product=Product(dtype="float32"))
        for shift in ((1.3, -2.6), (-3.1, 0.8))
    )
    a, b, c = (image + 0.002 * rng.standard_normal(image.shape) for image in (one.ref, one.tgt, two.tgt))
    ab, bc, ac = match(b, a).shift, match(c, b).shift, match(c, a).shift
    sigma = np.sqrt(np.square([ab.sigma_px, bc.sigma_px, ac.sigma_px]).sum(0))
    assert abs(ab.dcol + bc.dcol - ac.dcol) < 4 * sigma[0]
    assert abs(ab.drow + bc.drow - ac.drow) < 4 * sigma[1]


def test_whole_pixels_are_exact(plain, make_image):
    from affine import Affine

    moved = make_image(plain.ref.values, Affine(10, 0, 300050, 0, -10, 5900010))
    fit = match(moved, plain.ref)
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((-50, 30), abs=1e-3)


@pytest.mark.parametrize("shift", [(60.3, -41.6), (-0.5, 0.5), (12.0, 7.0)])
def test_near_and_far(shift):
    both = pair((300, 300), shift=shift, seed=6)
    assert off(match(both.tgt, both.ref), shift) < 0.02


@pytest.mark.parametrize("shape", [(221, 201), (64, 300), (40, 41), (24, 24)])
def test_any_size(shape):
    both = pair(shape, shift=(0.7, -1.2), seed=7)
    fit = match(both.tgt, both.ref)
    assert off(fit, (0.7, -1.2)) < 5 * max(fit.shift.sigma_px)


def test_equal_inputs_give_equal_answers(fit, plain):
    again = match(plain.tgt, plain.ref)
    assert again.shift == fit.shift


def test_uncertainty_holds_the_truth():
    inside = []
    for seed in range(8):
        both = pair((130, 130), shift=(1.37, 0.61), snr_db=15.0, seed=seed)
        shift = match(both.tgt, both.ref, at=(300650.0, 5899390.0), window=96).shift
        error = np.array([shift.dcol, shift.drow]) - both.shift
        inside.append(error @ np.linalg.inv(shift.cov_px) @ error)
    assert np.mean(inside) < 2 * 2.2  # chi-square of 16 degrees: 99.5 % below 2.1 times its mean
    assert np.mean(inside) > 2 * 0.25


# --- options ---------------------------------------------------------------------------------------------------------


def test_at_is_the_place_of_the_window(plain):
    fit = match(plain.tgt, plain.ref, at=(301100.0, 5898900.0), window=96)
    assert np.hypot(fit.points.x - 301100, fit.points.y - 5898900).max() < 10
    assert off(fit, plain.shift) < 5 * max(fit.shift.sigma_px)


def test_at_outside_the_overlap_is_refused(plain):
    with pytest.raises(OptionError, match=r"at=\(.*\) lies outside the overlap.*x 300000 to 302600"):
        match(plain.tgt, plain.ref, at=(290000.0, 5898900.0))


def test_a_given_window_size_is_used(plain):
    fit = match(plain.tgt, plain.ref, window=64)
    assert (fit.points.size == 64).all()


def test_a_window_larger_than_the_overlap_is_refused(plain):
    with pytest.raises(OptionError, match=r"window=400 is larger than the overlap of 260 x 240 px"):
        match(plain.tgt, plain.ref, window=400)


def test_an_image_of_a_few_pixels_is_refused(plain):
    with pytest.raises(GridError, match="matching needs at least"):
        match(plain.tgt[:1, :1], plain.ref[:1, :1])


@pytest.mark.parametrize("limit", [4.5, 6.0, 9.0, 30.0])
def test_max_shift_that_allows_the_shift(limit):
    both = pair((200, 200), shift=(4.2, 1.0), seed=2)
    assert off(match(both.tgt, both.ref, max_shift=limit), (4.2, 1.0)) < 0.01


@pytest.mark.parametrize("limit", [3.5, 4.1])
def test_max_shift_just_below_the_shift_is_reported(limit):
    both = pair((200, 200), shift=(4.2, 1.0), seed=2)
    fit = match(both.tgt, both.ref, max_shift=limit, errors="return")
    assert fit.status is Status.TOO_FAR
    assert set(fit.points.counts()) == {"TOO_FAR"}
    with pytest.raises(MatchError, match=rf"beyond max_shift \({limit:g} px\).*raise max_shift="):
        match(both.tgt, both.ref, max_shift=limit)


@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_max_shift_far_below_the_shift_gives_no_answer(limit):
    both = pair((200, 200), shift=(8.2, 1.0), seed=2)
    assert not match(both.tgt, both.ref, max_shift=limit, errors="return").ok


def test_max_shift_counts_target_pixels():
    both = pair((360, 360), shift=(9.0, -3.0), seed=2, ref=Acquisition(coarser=3))
    assert match(both.tgt, both.ref, max_shift=10).ok
    assert match(both.tgt, both.ref, max_shift=7, errors="return").status is Status.TOO_FAR


def test_contrast_reversed_in_one_image():
    both = pair((200, 200), shift=(1.7, -2.2), seed=4, tgt=Acquisition(gain=-1.0))
    for contrast in ("reversed", "any"):
        assert off(match(both.tgt, both.ref, contrast=contrast), (1.7, -2.2)) < 0.01


def test_a_typo_is_reported(plain):
    with pytest.raises(OptionError, match="there is no option 'max_shft': did you mean 'max_shift'"):
        match(plain.tgt, plain.ref, max_shft=3)


def test_progress_is_shown_on_stderr(plain, capsys):
    match(plain.tgt, plain.ref, progress=True)
    printed = capsys.readouterr()
    assert "matching" in printed.err
    assert printed.out == ""


def test_rounds_are_logged(plain, caplog):
    with caplog.at_level("INFO", logger="xcoreg"):
        match(plain.tgt, plain.ref)
    assert any("windows of" in record.getMessage() for record in caplog.records)


# --- a user's matcher ------------------------------------------------------------------------------------------------


def test_the_phase_matcher_as_a_function_is_the_same(fit, plain):
    same = match(plain.tgt, plain.ref, matcher=phase_match)
    assert off(same, (fit.shift.dcol, fit.shift.drow)) < 1e-3


def test_a_matcher_may_return_matches(plain):
    def whole(tgt, ref, tgt_valid, ref_valid):
        found = phase_match(tgt, ref, tgt_valid, ref_valid)
        return Matches(np.rint(found.dcol), np.rint(found.drow), status=found.status)

    fit = match(plain.tgt, plain.ref, matcher=whole)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((1.0, -1.0))


def test_a_matcher_may_return_a_tuple(plain):
    fit = match(plain.tgt, plain.ref, matcher=lambda tgt, *_: (np.full(len(tgt), 0.5), np.full(len(tgt), -0.25)))
    assert (fit.shift.dx, fit.shift.dy) == pytest.approx((5.0, 2.5))


def test_a_matcher_may_return_its_covariance(plain):
    def certain(tgt, *_):
        zero = np.zeros(len(tgt))
        return zero + 0.5, zero - 0.25, np.tile(np.diag([0.01, 0.04]), (len(tgt), 1, 1))

    fit = match(plain.tgt, plain.ref, matcher=certain, at=(301300.0, 5898840.0), window=96)
    assert fit.shift.sigma_px == pytest.approx((0.1, 0.2), rel=0.01)


@pytest.mark.parametrize("answer", [None, [0.0, 0.0], (np.zeros(99), np.zeros(99)), ("one", "two")])
def test_a_matcher_that_returns_something_else_is_reported(plain, answer):
    with pytest.raises(OptionError, match="the matcher's answer cannot be used"):
        match(plain.tgt, plain.ref, matcher=lambda *_: answer)


def test_a_matcher_that_finds_nothing_is_a_match_error(plain):
    def nothing(tgt, *_):
        return np.full(len(tgt), np.nan), np.zeros(len(tgt))

    with pytest.raises(MatchError, match="no trustworthy match"):
        match(plain.tgt, plain.ref, matcher=nothing)


# --- no answer -------------------------------------------------------------------------------------------------------


def refused(tgt, ref, **options):
    fit = match(tgt, ref, errors="return", **options)
    return fit.status if not fit.ok else None


@pytest.mark.parametrize("seed", range(3))
def test_unrelated_images_are_refused(seed):
    both = pair((260, 260), shift=None, seed=seed)
    assert refused(both.tgt, both.ref)


def test_noise_is_refused():
    both = pair((260, 260), snr_db=-np.inf, seed=1)
    assert refused(both.tgt, both.ref) is Status.NO_PEAK


def test_constant_images_are_flat(plain):
    flat = plain.tgt.copy(data=np.full(plain.tgt.shape, 900, np.uint16))
    assert refused(flat, plain.ref) is Status.FLAT


def test_clouds_over_everything_are_refused():
    both = pair((260, 260), shift=(0.7, -1.2), seed=2, tgt=Acquisition(clouds=1.0))
    assert refused(both.tgt, both.ref)


@pytest.mark.parametrize("seed", range(3))
def test_reversed_contrast_is_refused_by_intensities(seed):
    both = pair((200, 200), shift=(1.7, -2.2), seed=seed, tgt=Acquisition(gain=-1.0))
    assert refused(both.tgt, both.ref, matcher="phase")


@pytest.mark.parametrize("period", [8, 16, 24])
def test_repetitive_fields_are_refused(plain, period):
    rng, at = np.random.default_rng(1), 2 * np.pi * np.arange(300) / period
    wave = np.cos(at) + 0.5 * np.cos(2 * at + 1)
    field = 2000 + 300 * wave[:, None] * wave
    ref, tgt = (
        image.copy(data=(field[:240, at : at + 260] + 20 * rng.standard_normal((240, 260))).astype(np.uint16))
        for image, at in ((plain.ref, 0), (plain.tgt, period + 1))
    )
    assert refused(tgt, ref) is Status.AMBIGUOUS


@pytest.mark.parametrize(("degrees", "scale"), [(1.0, 1.0), (0.0, 1.02)])
def test_images_that_differ_by_more_than_a_shift_are_refused(degrees, scale):
    move = similarity((600, 600), degrees=degrees, scale=scale, shift=(0.7, -1.2))
    both = pair((600, 600), shift=move, seed=3)
    assert refused(both.tgt, both.ref)


def test_nothing_but_nodata_is_refused(plain):
    with pytest.raises(GridError, match="no valid pixel"):
        match(plain.tgt * 0, plain.ref)


def test_a_mask_that_excludes_everything_is_refused(plain):
    assert refused(plain.tgt, plain.ref, where=shapely.box(0, 0, 1, 1))


def test_failure_raises_with_the_windows(plain):
    both = pair((240, 260), shift=None, seed=9)
    with pytest.raises(MatchError, match="no trustworthy match") as caught:
        match(both.tgt, both.ref)
    assert len(caught.value.points) >= 1
    assert not caught.value.points.ok.any()


def test_a_returned_failure_cannot_be_applied(plain):
    both = pair((240, 260), shift=None, seed=9)
    fit = match(both.tgt, both.ref, errors="return")
    assert not fit
    assert fit.shift_or_none is None
    with pytest.raises(MatchError):
        both.tgt.coreg.apply(fit)
