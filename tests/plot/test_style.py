import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from xcoreg.errors import OptionError
from xcoreg.plot.style import checkerboard, contrast, new_figure, red_cyan, save_figure, stretch


def test_limits_leave_missing_pixels_out():
    values = np.append(np.arange(101.0), 1e6)
    assert contrast([(values, values < 1e6)])[:2] == (2.0, 98.0)


def test_limits_are_shared():
    low, high = np.zeros(100), np.full(100, 10.0)
    assert contrast([(low, low == 0), (high, high > 0)])[:2] == (0.0, 10.0)


@pytest.mark.parametrize(("value", "valid"), [(5.0, True), (5.0, False), (np.nan, True)])
def test_limits_of_nothing_can_still_be_used(value, valid):
    low, high, gamma = contrast([(np.full(4, value), np.full(4, valid))])
    assert high > low
    assert gamma == 1.0


def test_a_dark_image_is_brightened_to_a_middle_grey():
    values = np.random.default_rng(0).uniform(size=10_000) ** 2
    grey = stretch(values, values >= 0, *contrast([(values, values >= 0)]))
    assert np.median(grey) == pytest.approx(0.4, abs=0.001)


def test_stretch_clips_and_greys_out():
    values = np.array([-1.0, 2.0, 5.0, np.nan])
    grey = stretch(values, np.array([True, True, False, True]), 0.0, 4.0)
    assert grey.tolist() == [0.0, 0.5, 0.55, 0.55]


def test_agreement_is_grey_and_disagreement_is_not():
    rgb = red_cyan(np.array([[0.3, 0.1]]), np.array([[0.3, 0.9]]))
    assert rgb[0, 0].tolist() == [0.3, 0.3, 0.3]
    assert rgb[0, 1].tolist() == [0.9, 0.1, 0.1]


def test_checkerboard_shows_both_in_turn():
    board = checkerboard(np.ones((60, 60)), np.zeros((60, 60)), tiles=3)
    assert board[10, 10].tolist() == [0, 0, 0]
    assert board[10, 30].tolist() == [1, 1, 1]
    assert board[..., 1].mean() == pytest.approx(4 / 9)


def test_save_figure_writes_a_file(tmp_path):
    save_figure(new_figure(1, 1), tmp_path / "a.png", dpi=50)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_format_leaves_nothing(tmp_path):
    with pytest.raises(OptionError, match="cannot draw to"):
        save_figure(new_figure(1, 1), tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []


def test_pyplot_is_never_loaded():
    script = "import sys, xcoreg.plot as p; p.plot_surface.__doc__; f = p.style.new_figure(1, 1); f.subplots()"
    found = subprocess.run(
        [sys.executable, "-c", script + "; print('matplotlib.pyplot' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False"


def test_a_notebook_shows_a_figure_though_pyplot_does_not_know_of_it():
    import pickle

    figure = new_figure(2, 1)
    picture = figure._repr_png_()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == 180  # wide
    assert pickle.loads(pickle.dumps(figure))._repr_png_().startswith(b"\x89PNG")
