import numpy as np
import pytest

from xcoreg.core.changes import change_weights, displaced_share, share_removed, windows_with_changes
from xcoreg.core.quality import Cells, smooth


def drawn(n=6, size=64, noise=0.05, seed=0):
    """Textured windows and their noisy twins."""
    rng = np.random.default_rng(seed)
    scene = smooth(rng.standard_normal((n, size, size)).astype(np.float32), 1.5)
    scene /= scene.std()
    return tuple(scene + noise * rng.standard_normal(scene.shape).astype(np.float32) for _ in range(2))


def everywhere(image):
    return np.ones((1, *image.shape[1:]), bool)


@pytest.mark.parametrize("size", [64, 256])
def test_noise_is_no_change(size):
    ref, tgt = drawn(size=size)
    assert not windows_with_changes(Cells.of(ref, tgt, everywhere(ref))).any()


@pytest.mark.parametrize("corner", [(20, 20), (22, 18), (50, 3)])
def test_a_cloud_is_a_change_in_its_window_alone(corner):
    ref, tgt = drawn()
    tgt[2, corner[0] : corner[0] + 8, corner[1] : corner[1] + 8] += 2
    assert np.flatnonzero(windows_with_changes(Cells.of(ref, tgt, everywhere(ref)))).tolist() == [2]


def test_a_cloud_loses_its_weight_and_the_rest_keeps_it():
    ref, tgt = drawn()
    tgt[:, 20:30, 30:40] += 2
    weight = change_weights(ref - tgt, ref + tgt, np.ones((1, 64, 64), np.float32))
    assert weight[:, 22:28, 32:38].max() < 0.05
    clear = np.ones((64, 64), bool)
    clear[16:34, 26:44] = False
    assert weight[:, clear].mean() > 0.99


def test_calm_water_does_not_make_the_land_suspect():
    ref, tgt = drawn(noise=0.2)
    ref[:, :, :30], tgt[:, :, :30] = 0.01 * ref[:, :, :30], 0.01 * tgt[:, :, :30]
    weight = change_weights(ref - tgt, ref + tgt, np.ones((1, 64, 64), np.float32))
    assert weight[:, :, 36:].mean() > 0.95


def test_what_is_hidden_needs_no_weight():
    ref, tgt = drawn()
    mask = np.ones((1, 64, 64), np.float32)
    mask[:, :, :32] = 0
    weight = change_weights((ref - tgt) * mask, (ref + tgt) * mask, mask)
    assert weight[:, :, 40:].mean() > 0.99


def test_removed_is_the_share_of_energy():
    difference = np.array([[[3.0, 1.0]], [[0.0, 0.0]]])
    assert share_removed(difference, np.array([[[0.0, 1.0]], [[0.5, 0.5]]])) == pytest.approx([0.9, 1.0])


def _bent(change):
    """Share of a difference that displaced blocks explain, of windows with a seam, leaning blocks or a field."""
    rng, side = np.random.default_rng(7), 256
    yy, xx = np.mgrid[:side, :side].astype(float)
    angles, phases = rng.uniform(0, 2 * np.pi, (2, 60))
    waves = 2 * np.pi * rng.uniform(0.02, 0.15, 60)

    def scene(dx):
        across, down = np.cos(angles) * waves, np.sin(angles) * waves
        return sum(np.cos(a * (xx + dx) + d * yy + p) for a, d, p in zip(across, down, phases, strict=True))

    move = {
        "field": 0.6 * np.sin(2 * np.pi * xx / 400),
        "leaning": np.where((xx % 64 < 24) & (yy % 64 < 24), 1.0, 0.0),
        "seam": np.where(xx > 150, 1.2, 0.0),
    }.get(change, 0 * xx)
    ref, tgt = scene(0 * xx), scene(move)
    if change == "cloud":
        tgt[60:140, 80:200] += 5
    noise = rng.normal(size=(2, side, side)) * 0.05
    difference, both = ((ref + noise[0] - tgt)[None], (ref + tgt + noise[1])[None])
    weight = change_weights(difference.astype(np.float32), both.astype(np.float32), np.ones((1, 1, 1), np.float32))
    return displaced_share(difference.astype(np.float32), both.astype(np.float32), 1 - weight)[0]


def test_a_field_within_a_window_is_no_change():
    assert _bent("field") > 0.7


@pytest.mark.parametrize("change", ["leaning", "seam", "cloud", "nothing"])
def test_what_has_changed_or_leans_is_no_field(change):
    assert _bent(change) < 0.4


def test_small_windows_and_none_have_no_field():
    images = np.random.default_rng(0).normal(size=(3, 2, 32, 32)).astype(np.float32)
    assert (displaced_share(*images) == 0).all()
    assert displaced_share(*images[:, :0]).shape == (0,)
