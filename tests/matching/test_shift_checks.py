import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Matches, Status
from xcoreg.core.structure import half_peaks
from xcoreg.coregister import match
from xcoreg.georef import vector_to_pixel
from xcoreg.matching import acceptance, shift
from xcoreg.matching.acceptance import (
    halves_confirm,
    intensities_confirm,
    locked_to_pixel_grid,
    quarters_disagree,
    shows_slopes,
)
from xcoreg.matching.options import check_options
from xcoreg.matching.result import BY_EDGES
from xcoreg.matching.scene import prepare
from xcoreg.matching.windows import match_windows
from xcoreg.simulate import Acquisition, Texture, pair, similarity

CENTRE = np.array([[301500.0, 5898540.0]])
ALL = np.ones(1, bool)
make = check_options({}).match_function


def matched(both, size=192, at=CENTRE):
    scene = prepare(both.tgt, both.ref, check_options({}))
    windows = match_windows(scene, np.reshape(at, (1, 2)), size, np.zeros((1, 2)), phase_match)
    move = np.array(vector_to_pixel(scene.linear, windows.dx[0], windows.dy[0]))
    return scene, windows, move


@pytest.fixture(scope="module")
def shifted():
    return matched(pair((300, 300), shift=(0.7, -1.2), seed=1))


def test_quarters_agree_under_one_shift(shifted):
    scene, windows, move = shifted
    assert quarters_disagree(scene, windows, ALL, move, make) is None


@pytest.mark.parametrize(("degrees", "scale"), [(0.7, 1.0), (0.0, 1.01)])
def test_quarters_contradict_under_rotation_and_scale(degrees, scale):
    turn = similarity((300, 300), degrees=degrees, scale=scale, shift=(0.7, -1.2))
    scene, windows, move = matched(pair((300, 300), shift=turn, seed=1))
    quarters = quarters_disagree(scene, windows, ALL, move, make)
    assert quarters.size == 96
    # The corners of a square of 96 px move by so much.
    dcol, drow = vector_to_pixel(scene.linear, quarters.dx, quarters.dy)
    arm = 48 * np.sqrt(2) * np.hypot(np.radians(degrees), scale - 1)
    assert np.median(np.hypot(dcol - move[0], drow - move[1])) == pytest.approx(arm, rel=0.25)


def test_small_windows_have_no_quarters():
    scene, windows, move = matched(pair((300, 300), shift=(0.7, -1.2), seed=1), 64)
    assert quarters_disagree(scene, windows, ALL, move, make) is None


def test_coarser_pixels_agree_with_true_answers(shifted):
    scene, windows, _ = shifted
    assert not locked_to_pixel_grid(scene, windows, ALL, make)


@pytest.mark.parametrize(("image", "window", "coarse"), [(130, 64, 40), (130, 100, 50), (70, 64, None)])
def test_windows_too_small_for_coarser_pixels_grow_within_the_image(image, window, coarse):
    scene, windows, _ = matched(pair((image, image), shift=(0.7, -1.2), seed=1), window, at=(300700, 5899340))
    sizes = []

    def refuse(limit):
        def match(tgt, *_):
            sizes.append(tgt.shape[-1])
            return Matches(np.full(1, 5.0), np.zeros(1), cov=1e-4 * np.eye(2)[None], status=np.zeros(1))

        return match

    assert locked_to_pixel_grid(scene, windows, ALL, refuse) == (coarse is not None)
    assert sizes == ([] if coarse is None else [coarse])


def test_peaks_confirm_what_they_show_clearly(shifted):
    scene, windows, move = shifted
    peaks = check_options({}).peaks
    assert quarters_disagree(scene, windows, ALL, move, None, peaks) is None  # nothing is matched
    assert not locked_to_pixel_grid(scene, windows, ALL, None, peaks)
    turned, windows, move = matched(pair((300, 300), shift=similarity((300, 300), degrees=0.7), seed=1))
    assert quarters_disagree(turned, windows, ALL, move, make, peaks) is not None


def test_without_inliers_the_checks_pass(shifted):
    scene, windows, move = shifted
    assert quarters_disagree(scene, windows, ~ALL, move, make) is None
    assert not locked_to_pixel_grid(scene, windows, ~ALL, make)


@pytest.mark.parametrize("seed", range(3))
def test_a_target_resampled_from_coarser_pixels_is_right_or_refused(seed):
    both = pair((300, 300), shift=(0.36, -1.57), seed=seed, tgt=Acquisition(resampled_from=2))
    fit = match(both.tgt, both.ref, errors="return")
    if fit.ok:
        assert abs(fit.shift.dcol - 0.36) < 0.1
        assert abs(fit.shift.drow + 1.57) < 0.1


@pytest.mark.parametrize("votes", list(itertools.product((-1, 0, 1), repeat=4)))
def test_half_of_the_votes_decide_as_all_do(votes, monkeypatch):
    """Windows disagree (-1), have no answer (0) or agree (1): a majority of answers against it rejects a shift."""
    asked = []

    def count(images, moves, make):
        asked.append(len(moves))
        return [(sum(vote < 0 for vote in moves), sum(vote > 0 for vote in moves))]

    monkeypatch.setattr(acceptance, "_disagreements", count)
    found = acceptance._mostly_disagree(lambda part: ((), votes[part]), 4, None)
    assert found == (2 * votes.count(-1) > votes.count(-1) + votes.count(1))
    assert asked == ([2] if votes[:2] == (1, 1) else [2, 2])


@pytest.mark.parametrize("seed", [0, 2])
def test_a_small_window_of_edges_is_believed_where_intensities_peak_there_too(seed, monkeypatch):
    monkeypatch.setattr(shift, "halves_confirm", lambda *_: False)
    both = pair((64, 64), shift=(2.3, -1.6), snr_db=30, texture=Texture(exponent=1.5), seed=seed)
    values = both.tgt.values.astype(float)
    folded = both.tgt.copy(data=(1000 + np.abs(values - np.quantile(values, 0.35))).astype(both.tgt.dtype))
    assert not match(folded, both.ref, matcher="phase", errors="return").ok
    assert not match(folded, both.ref, matcher="structure", errors="return").ok
    fit = match(folded, both.ref)
    assert fit.quality.warnings[-1] == BY_EDGES
    assert np.hypot(fit.shift.dcol - 2.3, fit.shift.drow + 1.6) < 0.1


def test_halves_confirm_what_both_of_them_show(shifted):
    scene, windows, _ = shifted
    assert halves_confirm(scene, windows, ALL)
    assert not halves_confirm(scene, windows, ~ALL)
    assert not halves_confirm(scene, replace(windows, dx=windows.dx + 30), ALL)  # 3 px further


@pytest.mark.parametrize(("corner", "confirmed"), [((64, 128), True), ((64, 64), False)])
def test_half_of_a_window_that_shows_another_place_confirms_nothing(corner, confirmed):
    """Of a window whose lower part differs the left and right halves still agree; of one quarter alone nothing does."""
    both = pair((128, 128), shift=(2.3, -1.6), snr_db=20, seed=3)
    other = pair((128, 128), snr_db=20, seed=4)
    values = other.tgt.values.copy()
    values[: corner[0], : corner[1]] = both.tgt.values[: corner[0], : corner[1]]
    ok = np.ones((1, 128, 128), bool)
    off = half_peaks(np.float32(values[None]), np.float32(both.ref.values[None]), ok, ok)[0] - (2.3, -1.6)
    near = np.hypot(*off.T) < 1.5
    assert (near[:2].all() or near[2:].all()) == confirmed


def intensities(windows, move, **changes):
    """Windows at the same places whose highest peak of intensities lies a move (px) away."""
    names = {"reliability": 60.0, "status": np.int8(Status.UNCONSTRAINED)} | changes
    matches = replace(windows.matches, **{name: np.full(1, value) for name, value in names.items()})
    return [replace(windows, dx=windows.dx + 10 * move, matches=matches)]


def test_intensities_confirm_edges_at_one_place_only(shifted):
    scene, windows, _ = shifted
    assert intensities_confirm(scene, windows, ALL, intensities(windows, 0.8))
    assert not intensities_confirm(scene, windows, ALL, intensities(windows, 1.2))
    assert not intensities_confirm(scene, windows, ALL, [])
    elsewhere = [replace(one, x=one.x + 10) for one in intensities(windows, 0.0)]
    assert not intensities_confirm(scene, windows, ALL, elsewhere)


@pytest.mark.parametrize("changes", [{"reliability": 20.0}, {"status": Status.AMBIGUOUS}, {"status": Status.FLAT}])
def test_intensities_that_fit_elsewhere_as_well_confirm_nothing(shifted, changes):
    scene, windows, _ = shifted
    assert not intensities_confirm(scene, windows, ALL, intensities(windows, 0.0, **changes))


def few_fields(seed, size=256):
    """Radar of one look, and an optical image, of eighteen fields: windows of half the side hold too few of them."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[: size + 24, : size + 24]
    level = np.zeros((2, *x.shape))
    for _ in range(18):
        (row, col), turn, side = rng.uniform(0, len(x), 2), rng.uniform(0, np.pi), rng.uniform(5, 30)
        along, across = (np.cos(turn + at) * (x - col) + np.sin(turn + at) * (y - row) for at in (0, np.pi / 2))
        level[:, (np.abs(along) < side) & (np.abs(across) < side / 2)] = rng.standard_normal((2, 1))
    radar = np.exp(0.5 * ndimage.gaussian_filter(level[1], 0.6)) * np.sqrt(rng.gamma(1, 1, x.shape))
    optical = ndimage.gaussian_filter(level[0], 0.6) + 0.05 * rng.standard_normal(x.shape)
    return np.float32(radar[12:-12, 12:-12]), np.float32(optical[15:-9, 8:-16])


@pytest.mark.parametrize("seed", [0, 19])
def test_a_window_of_all_of_the_image_is_believed_after_smaller_ones(seed, make_image):
    fit = match(*(make_image(one, nodata=None) for one in few_fields(seed)), matcher="structure")
    assert fit.points.ok.sum() == 2
    assert np.hypot(fit.shift.dcol - 4, fit.shift.drow + 3) < 0.5


def relief(seed, size=192):
    rng = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(2 * size)[:, None], np.fft.rfftfreq(2 * size))
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((2 * size, 2 * size))) * radius**-2
    heights = ndimage.gaussian_filter(np.fft.irfft2(spectrum), 1.5)[:size, :size]
    slopes = np.gradient(heights)
    return heights / slopes[0].std(), *(one / slopes[0].std() for one in slopes)


@pytest.mark.parametrize("kind", ["heights", "other side"])
@pytest.mark.parametrize("seed", range(4))
def test_edges_of_slopes_are_no_edges_of_relief(kind, seed, make_image):
    heights, down, across = relief(seed)
    shown = make_image(np.float32({"heights": heights, "other side": down}[kind]), nodata=None)
    lit = make_image(np.float32(across / np.hypot(1, across)), nodata=None)
    scene = prepare(shown, lit, check_options({}))
    windows = match_windows(scene, np.array([scene.overlap.centroid.coords[0]]), 192, np.zeros((1, 2)), phase_match)
    assert shows_slopes(scene, windows, ALL)
    assert not match(shown, lit, errors="return").ok


def test_other_images_show_no_slopes(make_image):
    tgt, ref = (make_image(one, nodata=None) for one in few_fields(2))
    scene = prepare(tgt, ref, check_options({}))
    windows = match_windows(scene, np.array([scene.overlap.centroid.coords[0]]), 192, np.zeros((1, 2)), phase_match)
    assert not shows_slopes(scene, windows, ALL)


@pytest.mark.parametrize(("sigma", "status"), [(0.05, Status.OK), (0.5, Status.UNCONSTRAINED)])
def test_two_vague_windows_of_intensities_are_no_answer(sigma, status):
    both = pair((300, 300), shift=(0.7, -1.2), seed=1)
    options = check_options({})
    scene = prepare(both.tgt, both.ref, options)
    windows = match_windows(scene, CENTRE + np.array([[-600.0, 0.0], [600.0, 0.0]]), 128, np.zeros((2, 2)), phase_match)
    cov = np.tile(sigma**2 * np.eye(2), (2, 1, 1))
    vague = replace(windows, matches=replace(windows.matches, cov=cov))
    assert shift._accept([vague], options, scene).status is status
