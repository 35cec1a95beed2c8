import numpy as np
import pytest

from xcoreg.errors import OptionError
from xcoreg.simulate import pair


@pytest.mark.parametrize("window", [(128, 64), (64, 128), [96, 48]])
def test_a_rectangular_window_finds_the_shift(window):
    scene = pair((260, 260), shift=(0.7, -5.2), seed=3)
    shift = scene.tgt.coreg.match(scene.ref, window=tuple(window)).shift
    assert np.hypot(shift.dcol - 0.7, shift.drow + 5.2) < 0.01


def test_only_the_rectangle_counts():
    """Rows outside of it show another place: a square window is lost, the rectangle is not."""
    scene, other = pair((200, 200), shift=(1.2, 0.4), seed=3), pair((200, 200), seed=8)
    target = scene.tgt.copy()
    target[:70] = other.tgt[:70]
    target[130:] = other.tgt[130:]
    middle = float(scene.tgt.x[100]), float(scene.tgt.y[100])
    fit = target.coreg.match(scene.ref, at=middle, window=(160, 50))
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((1.2, 0.4), abs=0.02)


@pytest.mark.parametrize("window", [(8, 64), (64, 64, 64), (160, 16), (64.5, 64)])
def test_other_sides_are_refused(window):
    scene = pair((200, 200), seed=3)
    with pytest.raises(OptionError, match="window is"):
        scene.tgt.coreg.match(scene.ref, window=window)


def test_a_strip_holds_a_long_window():
    scene = pair((80, 400), shift=(1.2, 0.4), seed=5)
    assert scene.tgt.coreg.match(scene.ref, window=(256, 64)).shift.dcol == pytest.approx(1.2, abs=0.02)
    with pytest.raises(OptionError, match=r"at most window=\(400, 80\)"):
        scene.tgt.coreg.match(scene.ref, window=(256, 150))
