import numpy as np
import pytest
from scipy import ndimage

from xcoreg.core import structure
from xcoreg.core.matches import Status, symmetric
from xcoreg.core.phase import modes_for
from xcoreg.core.structure import channels, structure_match, structure_scout

SIZE, MARGIN = 128, 12
MOVE = np.array([[5.0, -3.0], [-7.0, 2.0], [4.0, 9.0], [0.0, -6.0]])
ALL = np.ones((len(MOVE), SIZE, SIZE), bool)


def patches(rng, size):
    """Overlapping patches of ground, as fields and roofs are, and some texture: labels and texture."""
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), int)
    for label in range(1, 120):
        (row, col), turn, side = rng.uniform(0, size, 2), rng.uniform(0, np.pi), rng.uniform(4, 18)
        along, across = (np.cos(turn + at) * (x - col) + np.sin(turn + at) * (y - row) for at in (0, np.pi / 2))
        labels[(np.abs(along) < side) & (np.abs(across) < side / 2)] = label
    return labels, ndimage.gaussian_filter(rng.standard_normal((size, size)), 1.5)


def cut(image, move=(0.0, 0.0)):
    """Window moved by whole pixels (col, row)."""
    row, col = MARGIN + int(move[1]), MARGIN + int(move[0])
    return image[row : row + SIZE, col : col + SIZE]


def renderings(kind, seed=0):
    """Windows of targets that look different, and of references, with the corrections MOVE."""
    tgt, ref = [], []
    for at, move in enumerate(MOVE):
        rng = np.random.default_rng([seed, at])
        labels, texture = patches(rng, SIZE + 2 * MARGIN)
        level = rng.standard_normal((2, labels.max() + 1))
        first = level[0][labels] + 2 * texture
        other = {
            "inverted": -first,
            "tone": np.sin(1.5 * first),
            "other reflectance": level[1][labels] + 0 * texture,
            "radar": np.exp(0.7 * level[1][labels]) * np.sqrt(rng.gamma(4, 0.25, labels.shape)),
        }[kind]
        first, other = (ndimage.gaussian_filter(one, 0.6) for one in (first, other))
        ref.append(cut(first + 0.05 * rng.standard_normal(first.shape), move))
        tgt.append(cut(other + 0.02 * rng.standard_normal(first.shape)))
    return np.array(tgt, np.float32), np.array(ref, np.float32)


def errors(matches, move=-MOVE):
    return np.hypot(matches.dcol - move[:, 0], matches.drow - move[:, 1])


@pytest.mark.parametrize(
    ("kind", "limit"), [("inverted", 0.15), ("tone", 0.25), ("other reflectance", 0.6), ("radar", 1.0)]
)
def test_images_that_look_different_are_matched(kind, limit):
    matches = structure_match(*renderings(kind), ALL, ALL)
    assert matches.ok.all()
    assert errors(matches).max() < limit
    sigma = np.sqrt(np.trace(matches.cov, axis1=1, axis2=2))
    assert (errors(matches) < 4 * sigma + 0.1).all()


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("kind", ["inverted", "tone", "other reflectance"])
def test_stripes_of_the_sensor_do_not_answer(kind, axis):
    """Columns or rows of pixels that differ from their neighbours alike in both images say that nothing has moved."""
    tgt, ref = renderings(kind)
    stripes = np.random.default_rng(3).standard_normal((len(MOVE), SIZE))
    striped = [one + one.std() * np.expand_dims(stripes, axis).astype(np.float32) for one in (tgt, ref)]
    matches = structure_match(*striped, ALL, ALL)
    assert matches.ok.all()
    assert errors(matches).max() < 0.6
    assert (structure_scout(*striped, ALL, ALL) == np.rint(-MOVE)).all()


def test_the_scout_finds_the_whole_pixels():
    found = structure_scout(*renderings("inverted"), ALL, ALL)
    np.testing.assert_allclose(found, -MOVE)


def test_a_masked_half_is_no_obstacle():
    tgt, ref = renderings("tone")
    seen = ALL.copy()
    seen[:, :, : SIZE // 2] = False
    tgt[~seen] = 1e6
    matches = structure_match(tgt, ref, seen, ALL)
    assert matches.ok.sum() >= 3
    assert errors(matches)[matches.ok].max() < 0.6


@pytest.mark.parametrize(("rival", "wider"), [(0, False), (0.9, True)])
def test_a_peak_with_rivals_three_pixels_away_is_as_uncertain_as_all(rival, wider):
    modes = modes_for(64, 64)
    power = np.exp(-(((np.hypot(modes.fx, modes.fy)) / 0.1) ** 2))
    summed = (power * (1 + 2 * rival * np.cos(6 * np.pi * modes.fx))).astype(np.complex64)[None]
    turns = 2 * np.pi * modes.fx.astype(float), 2 * np.pi * modes.fy.astype(float)
    hessian = symmetric(*(np.vecdot(summed.real, a * b) for a, b in ((turns[0],) * 2, turns, (turns[1],) * 2)))
    cov = 0.04 * np.eye(2)[None]
    found = structure._widened_by_lobe(cov, hessian, modes, summed)[0]
    assert (found[0, 0] > 2 * cov[0, 0, 0]) == wider
    assert found[1, 1] < 2 * cov[0, 1, 1]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_tenth_of_a_radar_window_is_too_little(seed):
    tgt, ref = renderings("radar", seed)
    seen = np.zeros_like(ALL)
    seen[:, 44:84, 44:84] = True
    matches = structure_match(tgt, ref, seen, ALL)
    assert not (matches.ok & (errors(matches) > 1)).any()
    assert np.isin(matches.status, (Status.FLAT, Status.UNCONSTRAINED)).any()


def test_other_places_are_refused():
    tgt, ref = renderings("inverted")[0], renderings("inverted", seed=9)[1]
    assert not structure_match(tgt, ref, ALL, ALL).ok.any()


def test_one_blob_is_refused():
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    rng = np.random.default_rng(1)
    pair = [5 * np.exp(-((x - at) ** 2 + y**2) / 50) + 0.05 * rng.standard_normal(x.shape) for at in (0, 9)]
    tgt, ref = (one[None].astype(np.float32) for one in pair)
    assert structure_match(tgt, ref, ALL[:1], ALL[:1]).status[0] != Status.OK


def test_swapped_images_negate_the_answer():
    tgt, ref = renderings("other reflectance")
    forth, back = structure_match(tgt, ref, ALL, ALL), structure_match(ref, tgt, ALL, ALL)
    np.testing.assert_allclose(forth.dcol, -back.dcol, atol=1e-3)
    np.testing.assert_allclose(forth.drow, -back.drow, atol=1e-3)


def test_no_window_depends_on_the_others_of_a_batch():
    tgt, ref = renderings("tone")
    together = structure_match(tgt, ref, ALL, ALL)
    alone = structure_match(tgt[2:3], ref[2:3], ALL[:1], ALL[:1])
    assert (together.dcol[2], together.drow[2]) == (alone.dcol[0], alone.drow[0])


def test_channels_do_not_know_what_is_bright():
    image = renderings("tone")[1][:1]
    first, second = (channels(one, ALL[:1], 1.0)[0] for one in (image, 300 - 7 * image))
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_flat_windows_say_so():
    flat = np.full((1, SIZE, SIZE), 3.0, np.float32)
    assert structure_match(flat, flat, ALL[:1], ALL[:1]).status[0] == Status.FLAT
