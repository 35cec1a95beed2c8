import numpy as np
import pytest

from xcoreg.core.fade import fade, fade_frame, slopes

INNER = (slice(None), slice(4, -4), slice(4, -4))


def test_what_is_not_seen_has_no_weight():
    seen = np.random.default_rng(0).random((3, 40, 30)) > 0.01
    weight = fade(seen).weight
    assert not weight[~seen].any()
    assert weight.dtype == np.float32


def test_three_pixels_away_weights_are_full():
    seen = np.ones((1, 32, 32), bool)
    seen[0, 16, 16] = False
    weight = fade(seen).weight[0]
    assert weight[16, 20] == pytest.approx(1, abs=1e-6)
    assert (np.diff(weight[16, 16:21]) > 0).all()


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (-1, 5)])
def test_a_frame_is_a_mask_without_holes(move):
    seen = np.zeros((1, 32, 40), bool)
    seen[0, max(move[1], 0) : 32 + min(move[1], 0), max(move[0], 0) : 40 + min(move[0], 0)] = True
    frame = fade_frame((32, 40), np.array([move]))
    across, plain = (part.weight[0, 16] for part in (frame, fade(seen)))
    assert across == pytest.approx(plain, abs=1e-6)


def test_frames_without_a_move_are_shared():
    assert fade_frame((8, 8), np.zeros((5, 2), np.intp)).weight.shape == (1, 8, 8)
    assert fade_frame((8, 8), np.eye(5, 2, dtype=np.intp)).weight.shape == (5, 8, 8)


@pytest.mark.parametrize("move", [(2, -3), (0, 0)])
def test_leans_of_frames_are_slopes_over_their_weights(move):
    frame = fade_frame((24, 31), np.array([move]))
    inside = frame.weight > 0
    for relative, slope in zip(frame[1:], slopes(frame.weight), strict=True):
        assert (relative * frame.weight)[inside] == pytest.approx(slope[inside], abs=1e-5)


def test_leans_around_holes_are_slopes_over_their_weights():
    seen = np.random.default_rng(1).random((2, 24, 31)) > 0.02
    margin = fade(seen)
    for relative, slope in zip(margin[1:], slopes(margin.weight), strict=True):
        assert relative * margin.weight == pytest.approx(np.where(margin.weight > 0, slope, 0), abs=1e-5)


def test_slopes_are_derivatives_per_pixel():
    cols, rows = np.meshgrid(np.arange(32.0), np.arange(48.0))
    wave = np.sin(2 * np.pi * (3 * cols / 32 + 2 * rows / 48))
    across, down = slopes(wave[None].astype(np.float32))
    turned = 2 * np.pi * np.cos(2 * np.pi * (3 * cols / 32 + 2 * rows / 48))
    assert np.abs(across[0] - 3 / 32 * turned).max() < 1e-5
    assert np.abs(down[0] - 2 / 48 * turned).max() < 1e-5
