import numpy as np
import pytest

pytest.importorskip("matplotlib")

from xcoreg.plot import plot_surface, plot_windows, save_figure


def test_the_composite_is_of_before_and_after():
    ref = np.random.default_rng(1).normal(size=(32, 32))
    valid = np.ones(ref.shape, bool)
    figure = plot_windows((np.roll(ref, 2, axis=1), valid), (ref, valid), (ref, valid))
    before, after = (np.asarray(figure.axes[i].images[0].get_array()) for i in (3, 4))
    assert np.abs(before[..., 0] - before[..., 1]).mean() > 0.2
    assert np.abs(after[..., 0] - after[..., 1]).max() < 5e-3


def test_windows_with_missing_pixels_can_be_drawn(tmp_path):
    values, valid = np.ones((16, 16)), np.zeros((16, 16), bool)
    figure = plot_windows((values, valid), (values, valid), (values, valid))
    save_figure(figure, tmp_path / "a.png", dpi=40)
    assert (tmp_path / "a.png").stat().st_size > 1_000
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert all(np.ptp(image) == 0 for image in shown[:5])  # grey, whatever the values are
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown[5])).all()


@pytest.mark.parametrize("shape", [(32, 32), (31, 45)])
def test_the_pixel_of_a_shift_lies_at_that_shift(shape):
    surface = np.zeros(shape)
    surface[shape[0] // 2 - 2, shape[1] // 2 + 3] = 1.0
    image = plot_surface(surface, (3.0, -2.0)).axes[0].images[0]
    left, right, bottom, top = image.get_extent()
    row, col = np.unravel_index(np.argmax(image.get_array()), shape)
    assert left + (col + 0.5) * (right - left) / shape[1] == pytest.approx(3.0)
    assert top + (row + 0.5) * (bottom - top) / shape[0] == pytest.approx(-2.0)


def test_the_peak_is_marked_and_named():
    figure = plot_surface(np.random.default_rng(0).normal(size=(64, 64)), (4.25, -7.5))
    close = figure.axes[1]
    assert close.get_title() == "peak at dcol=+4.250, drow=-7.500 px"
    assert close.lines[-1].get_xydata().tolist() == [[4.25, -7.5]]


def test_a_peak_beyond_the_border_can_be_drawn(tmp_path):
    surface = np.arange(256.0).reshape(16, 16)
    figure = plot_surface(surface, (-8.4, 9.0))
    save_figure(figure, tmp_path / "a.png", dpi=40)
    assert (tmp_path / "a.png").stat().st_size > 1_000
    along_columns, along_rows = (line.get_ydata() for line in figure.axes[2].lines[:2])
    np.testing.assert_array_equal(along_columns, surface[15])
    np.testing.assert_array_equal(along_rows, surface[:, 0])
