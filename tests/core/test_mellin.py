import numpy as np
import pytest
from scipy import ndimage

from xcoreg.core.mellin import Similarity, first_guess, turn_image

SIZE = 128
SEEN = np.ones((SIZE, SIZE), bool)


def scene(seed, size=3 * SIZE):
    rng = np.random.default_rng(seed)
    return sum(s * ndimage.gaussian_filter(rng.standard_normal((size, size)), s) for s in (1.0, 3.0, 8.0))


def turned(image, degrees, scale, move):
    """Middle of an image whose content lies, about the centre, at scale * turn(p) + move (col, row)."""
    matrix = Similarity(np.radians(degrees), scale).matrix
    back = np.linalg.inv(matrix)[::-1, ::-1]
    middle = (np.array(image.shape) - 1) / 2
    out = ndimage.affine_transform(image, back, middle - back @ (middle + move[::-1]), order=3)
    edge = (image.shape[0] - SIZE) // 2
    return out[edge : edge + SIZE, edge : edge + SIZE].astype(np.float32)


@pytest.mark.parametrize(("degrees", "scale"), [(10.0, 1.0), (45.0, 0.8), (90.0, 1.3), (180.0, 1.0)])
def test_rotation_scale_and_shift_are_found(degrees, scale):
    image, move = scene(1), np.array([12.0, -18.0])
    tgt, ref = turned(image, 0.0, 1.0, np.zeros(2)), turned(image, degrees, scale, move)
    found = first_guess(tgt, ref, SEEN, SEEN)
    assert found.log10_chance < -20
    assert (np.degrees(found.angle) - degrees + 180) % 360 - 180 == pytest.approx(0, abs=1)
    assert found.scale == pytest.approx(scale, rel=0.02)
    np.testing.assert_allclose(found.move, move, atol=1.5)


def test_other_places_are_an_accident():
    tgt, ref = (turned(scene(seed), 0.0, 1.0, np.zeros(2)) for seed in (2, 3))
    assert first_guess(tgt, ref, SEEN, SEEN).log10_chance > -4


def test_turning_knows_what_lies_outside():
    image = scene(4, SIZE).astype(np.float32)
    _, seen = turn_image(image, SEEN, Similarity(np.radians(45), 1.0).matrix)
    assert not seen[0, 0]
    assert seen[SIZE // 2, SIZE // 2]
    assert 0.75 < seen.mean() < 0.85
