"""Figures, animation and report of stacks."""

from __future__ import annotations

import numpy as np
import pytest

import xcoreg
from xcoreg import CoregWarning, OptionError
from xcoreg.plot.stack import short_labels
from xcoreg.simulate import cube

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def made():
    return cube(6, (160, 160), clouds=0, strangers=(2,), seed=1).cube


@pytest.fixture(scope="module")
def stack(made):
    with pytest.warns(CoregWarning, match="not placed"):
        return made.coreg.match_stack()


def test_the_series_has_a_bar_for_every_placed_date(stack):
    axes = stack.plot().axes
    assert [one.get_ylabel() for one in axes] == ["dcol (right), px", "drow (down), px"]
    heights = axes[0].containers[0][0].get_ydata()
    assert heights[[0, 1, 3, 4, 5]] == pytest.approx(stack.shifts_px[[0, 1, 3, 4, 5], 0])


def test_residuals_and_network_show_every_pair(stack):
    image = stack.plot("residuals").axes[0].images[0].get_array()
    assert image.shape == (6, 6)
    assert (~image.mask).sum() == 2 * stack.pairs.accepted.sum()
    lines = stack.plot("network").axes[0].collections
    assert len(lines[2].get_segments()) == stack.pairs.accepted.sum()
    with pytest.raises(OptionError, match="series"):
        stack.plot("pie")


def test_an_animation_has_a_frame_for_every_date(made, stack, tmp_path):
    from PIL import Image

    with pytest.warns(CoregWarning, match="left out"):
        fixed = made.coreg.apply(stack)
    xcoreg.plot.save_animation(tmp_path / "a.gif", made, fixed, size=64)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5
        frames = [np.asarray((image.seek(at), image.convert("L"))[1]) < 250 for at in range(5)]
    # Frames have the same layout: the first row that both images cover does not move.
    assert len({int(np.argmax(one.mean(1) > 0.5)) for one in frames}) == 1
    with pytest.raises(OptionError, match="GIF"):
        xcoreg.plot.save_animation(tmp_path / "a.png", made, fixed)
    with pytest.raises(OptionError, match="other names"):
        xcoreg.plot.save_animation(tmp_path / "b.gif", made[:1], fixed[1:])


def test_the_report_names_every_date_and_escapes(stack, tmp_path):
    text = stack.report(tmp_path / "stack.html", title="a < b").read_text(encoding="utf-8")
    assert all(name in text for name in stack.names)
    assert "a &lt; b" in text
    assert text.count("<img") == 3
    assert "no shift makes the images correlate" in text


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["2016-02-02T07:06:17.302200667", "2016-02-04"], ["2016-02-02", "2016-02-04"]),
        (["2016-02-02T07:06:17", "2016-02-02T19:00"], ["2016-02-02 07:06", "2016-02-02 19:00"]),
        (["2016-02-02T07:06:17", "2016-02-02T07:06:18"], ["2016-02-02T07:06:17", "2016-02-02T07:06:18"]),
        (["S2A_MSIL2A_20190105T103421_N0211", "b"], ["\u202620190105T103421_N0211", "b"]),
    ],
)
def test_labels_are_as_short_as_they_can_be(names, labels):
    assert short_labels(names) == labels
