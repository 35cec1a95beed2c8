import numpy as np
import pytest
from affine import Affine

from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Matches, Status
from xcoreg.errors import OptionError
from xcoreg.matching.options import check_options
from xcoreg.matching.scene import prepare
from xcoreg.matching.windows import WindowMatches, match_windows, to_points

PLACES = np.array([[300800.0, 5899200.0], [301600.0, 5898600.0], [301200.0, 5898900.0]])
NOWHERE = np.zeros((3, 2))


@pytest.fixture(scope="module")
def scene(plain):
    return prepare(plain.tgt, plain.ref, check_options({}))


def returning(*answers):
    """A matcher that gives one answer for all windows, another one at each call."""
    left = list(answers)

    def match(tgt, ref, tgt_valid, ref_valid):
        dcol, drow = left.pop(0)
        return np.full(len(ref), dcol), np.full(len(ref), drow)

    return match


def test_corrections_are_found_in_map_units(scene):
    windows = match_windows(scene, PLACES, 96, NOWHERE, phase_match)
    assert windows.matches.ok.all()
    assert windows.dx == pytest.approx(np.full(3, 7.0), abs=0.1)
    assert windows.dy == pytest.approx(np.full(3, 12.0), abs=0.1)


def test_the_arithmetic_of_seed_000(scene):
    total = (0.357885632465, 0.433837319984 - 2)
    windows = match_windows(scene, PLACES, 96, NOWHERE, returning(total, (0.357885632465, 0.433837319984)))
    assert windows.dx == pytest.approx(np.full(3, 3.578856324660592), abs=2e-9)
    assert windows.dy == pytest.approx(np.full(3, 15.661626799963415), abs=2e-9)


def test_the_reference_is_cut_again_at_the_answer(scene):
    seen = []

    def match(tgt, ref, tgt_valid, ref_valid):
        seen.append(ref.copy())
        step = 0.0 if len(seen) > 1 else 4.0
        return np.full(len(ref), step), np.zeros(len(ref))

    match_windows(scene, PLACES, 96, NOWHERE, match)
    assert len(seen) == 2
    moved, still = seen[1][:, :, :-4], seen[0][:, :, 4:]
    assert moved - moved.mean((1, 2), keepdims=True) == pytest.approx(
        still - still.mean((1, 2), keepdims=True), abs=1e-2
    )


def test_a_small_answer_is_final(scene):
    windows = match_windows(scene, PLACES, 96, NOWHERE, returning((0.4, -0.3)))  # a second call would find no answer
    assert windows.dx == pytest.approx(np.full(3, 4.0))
    assert windows.dy == pytest.approx(np.full(3, 3.0))


def test_an_answer_that_never_settles_is_not_trusted(scene):
    windows = match_windows(scene, PLACES, 96, NOWHERE, lambda tgt, *_: (np.full(len(tgt), 3.0), np.zeros(len(tgt))))
    assert (windows.matches.status == Status.NOT_CONVERGED).all()


def test_a_guess_is_where_the_search_begins(scene):
    guess = np.tile([30.0, -20.0], (3, 1))
    windows = match_windows(scene, PLACES, 96, guess, returning((0.25, 0.5)))
    assert windows.dx == pytest.approx(np.full(3, 32.5))
    assert windows.dy == pytest.approx(np.full(3, -25.0))


def test_matchers_get_batches_of_windows(scene):
    def match(tgt, ref, tgt_valid, ref_valid):
        assert tgt.shape == ref.shape == tgt_valid.shape == ref_valid.shape == (3, 50, 50)
        assert (tgt.dtype, ref.dtype, tgt_valid.dtype, ref_valid.dtype) == (np.float32, np.float32, bool, bool)
        assert np.isfinite(ref).all()
        return Matches(np.zeros(3), np.zeros(3))

    assert match_windows(scene, PLACES, 50, NOWHERE, match).matches.ok.all()


@pytest.mark.parametrize(
    "answer", [None, [1, 2], ([0.0], [0.0]), ("a", "b"), (np.zeros(3), np.zeros(3), np.zeros(3)), Matches([1.0], [2.0])]
)
def test_an_answer_that_cannot_be_used_is_reported(scene, answer):
    with pytest.raises(OptionError, match="the matcher's answer cannot be used"):
        match_windows(scene, PLACES, 50, NOWHERE, lambda *_: answer)


def test_errors_of_a_matcher_are_its_own(scene):
    with pytest.raises(ZeroDivisionError):
        match_windows(scene, PLACES, 50, NOWHERE, lambda *_: 1 / 0)


def test_a_window_without_an_answer_is_not_cut_again(scene):
    def match(ref, *_):
        return np.array([np.nan, 0.2, 0.3][: len(ref)]), np.zeros(len(ref))

    windows = match_windows(scene, PLACES, 50, NOWHERE, match)
    assert windows.matches.status.tolist() == [Status.NO_PEAK, Status.OK, Status.OK]
    assert np.isnan(windows.dx[0])


def test_rows_are_replaced_in_place():
    windows = WindowMatches.unmatched(np.arange(4.0), np.arange(4.0), 32)
    index = np.array([3, 1])
    windows.replace_rows(index, Matches([30.0, 10.0], [0.0, 0.0]), np.array([300.0, 100.0]), np.zeros(2))
    assert windows.matches.status.tolist() == [Status.NO_DATA, 0, Status.NO_DATA, 0]
    assert windows.matches.dcol[[1, 3]].tolist() == [10.0, 30.0]
    assert windows.dx[[1, 3]].tolist() == [100.0, 300.0]


def test_points_lie_at_the_centres_of_windows(scene):
    points = to_points([match_windows(scene, PLACES, 50, NOWHERE, returning((0.5, -0.25)))], scene)
    assert np.abs(points.x - PLACES[:, 0]).max() <= 5
    assert points.col == pytest.approx((points.x - 300000) / 10 - 0.5)
    assert points.row == pytest.approx((5900040 - points.y) / 10 - 0.5)
    assert points.dcol == pytest.approx(np.full(3, 0.5))
    assert points.drow == pytest.approx(np.full(3, -0.25))
    assert (points.size == 50).all()


def test_points_are_in_pixels_of_the_target(plain, make_image):
    coarse = make_image(np.ones((80, 86)), Affine(30, 0, 300000, 0, -30, 5900040), nodata=None)
    scene = prepare(plain.tgt, coarse, check_options({}))
    cov = np.tile(np.diag([0.01, 0.04]), (3, 1, 1))
    windows = match_windows(
        scene, PLACES, 20, NOWHERE, lambda tgt, *_: (np.full(len(tgt), 0.5), np.full(len(tgt), 0.1), cov)
    )
    points = to_points([windows], scene)
    # The lattices are thirds of a pixel apart at most, and the matcher's step is 0.5 coarse pixels.
    assert np.abs(points.dcol - 1.5).max() <= 1.5 + 1e-6
    assert points.cov[0] == pytest.approx(np.diag([0.01, 0.04]) * 900)
    assert (points.size == 60).all()


def test_rounds_are_put_together_in_their_order(scene):
    first = match_windows(scene, PLACES, 50, NOWHERE, returning((0.5, 0.0)))
    second = match_windows(scene, PLACES[:1], 100, NOWHERE[:1], returning((0.25, 0.0)))
    points = to_points([first, second], scene)
    assert points.size.tolist() == [50, 50, 50, 100]
    assert points.dcol == pytest.approx([0.5, 0.5, 0.5, 0.25])
    assert points.window.tolist() == [0, 1, 2, 3]
