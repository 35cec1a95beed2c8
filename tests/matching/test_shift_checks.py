import itertools

import numpy as np
import pytest

from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Matches
from xcoreg.coregister import match
from xcoreg.georef import vector_to_pixel
from xcoreg.matching import acceptance
from xcoreg.matching.acceptance import locked_to_pixel_grid, quarters_disagree
from xcoreg.matching.options import check_options
from xcoreg.matching.scene import prepare
from xcoreg.matching.windows import match_windows
from xcoreg.simulate import Acquisition, pair, similarity

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
