import re

import numpy as np
import pytest
import rioxarray
from affine import Affine
from scipy.ndimage import gaussian_filter
from xarray import DataArray

pytest.importorskip("matplotlib")

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.errors import NoOverlap
from xcoreg.plot import plot_before_after
from xcoreg.plot.style import save_figure
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

GRID = Affine(10, 0, 300000, 0, -10, 5900000)
# Content that lies 2 rows low and 3 columns left is put right by 3 columns and -2 rows.
MOVED = Affine(10, 0, 300030, 0, -10, 5900020)
FIELD = gaussian_filter(np.random.default_rng(8).normal(size=(300, 300)), 1.5) * 1000 + 500


def image(values, transform=GRID):
    return DataArray(values, dims=("y", "x")).rio.write_crs("EPSG:32633").rio.write_transform(transform)


REF, TGT = image(FIELD[20:220, 20:220]), image(FIELD[18:218, 23:223])
FIXED = image(TGT.values, MOVED)


@pytest.fixture(scope="module")
def figure():
    return plot_before_after(TGT, REF, FIXED)


def shown(figure, number):
    return np.asarray(figure.axes[number].images[0].get_array())


def numbers(figure, number):
    return [float(text) for text in re.findall(r"\d\.\d+", figure.axes[number].get_title())]


def test_after_is_grey_and_before_is_not(figure):
    before, after = shown(figure, 0), shown(figure, 3)
    assert np.abs(before[..., 0] - before[..., 1]).mean() > 0.1
    assert np.abs(after[..., 0] - after[..., 1]).mean() < 2e-3


def test_the_gain_is_given_in_numbers(figure):
    (rms_before, r_before), (rms_after, r_after) = numbers(figure, 2), numbers(figure, 5)
    assert rms_before > 0.1 > 10 * rms_after
    assert r_before < 0.8 < r_after == 1.0


def test_the_shift_is_in_the_title(figure):
    assert "dx=+30.00 m, dy=+20.00 m (dcol=+3.000, drow=-2.000 px)" in figure.get_suptitle()


def test_the_axes_are_map_coordinates(figure):
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert 300030 <= left < right <= 302000
    assert 5898020 <= bottom < top <= 5900000
    assert right - left == pytest.approx(top - bottom)


def test_before_and_after_have_one_contrast(figure):
    # The reference is the same in both rows, and so is the stretch of the target: its values only move.
    assert np.array_equal(shown(figure, 0)[..., 0], shown(figure, 3)[..., 0])
    before, after = np.sort(shown(figure, 0)[..., 1], axis=None), np.sort(shown(figure, 3)[..., 1], axis=None)
    assert np.abs(before - after).mean() < 0.02


def test_it_can_be_written(figure, tmp_path):
    save_figure(figure, tmp_path / "a.png", dpi=40)
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_place_and_size_can_be_given():
    figure = plot_before_after(TGT, REF, FIXED, at=(301000.0, 5899000.0), size=40)
    assert figure.axes[0].images[0].get_extent() == pytest.approx([300800, 301200, 5898800, 5899200])


def test_a_resampled_image_takes_its_shift_from_the_fit():
    shift = Shift(30.0, 20.0, ((0.01, 0), (0, 0.01)), (10, 0, 0, -10))
    points = TiePoints(*[[]] * 9)
    fit = Coregistration(Translation(30, 20), points, Quality(), Status.OK, shift, "EPSG:32633", GRID, (200, 200))
    figure = plot_before_after(TGT, REF, FIXED.isel(y=slice(0, 150)), fit=fit)
    assert "dx=+30.00±0.10 m" in figure.get_suptitle()


def test_without_fit_a_resampled_image_shows_no_shift():
    figure = plot_before_after(TGT, REF, image(FIXED.values[:150], MOVED))
    assert "dx" not in figure.get_suptitle()


def test_a_reference_of_coarser_pixels():
    coarse = REF.coarsen(y=2, x=2).mean()
    coarse = image(coarse.values, Affine(20, 0, 300000, 0, -20, 5900000))
    figure = plot_before_after(TGT, coarse, FIXED)
    assert numbers(figure, 5)[1] > max(numbers(figure, 2)[1], 0.95)


def test_dask_data_gives_the_same_figure(figure):
    pytest.importorskip("dask")
    lazy = plot_before_after(*(one.chunk(y=64, x=64) for one in (TGT, REF, FIXED)))
    assert np.array_equal(shown(lazy, 3), shown(figure, 3))


def test_bands_can_be_chosen():
    many = DataArray(np.stack([np.zeros_like(FIXED.values), FIXED.values]), dims=("band", "y", "x"))
    many = many.assign_coords(band=[1, 2]).rio.write_crs("EPSG:32633")
    figure = plot_before_after(many.rio.write_transform(GRID), REF, many.rio.write_transform(MOVED), band=2)
    assert numbers(figure, 5)[1] == 1.0


def test_nothing_in_common_is_an_error():
    far = image(REF.values, Affine(10, 0, 900000, 0, -10, 5900000))
    with pytest.raises(NoOverlap, match="share no valid pixel"):
        plot_before_after(TGT, far, FIXED)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # rioxarray and affine 3
def test_the_gain_is_seen_on_a_real_pair(data_dir):
    folder = data_dir / "s2_s2_germany"
    ref, tgt = (rioxarray.open_rasterio(next(folder.glob(f"{name}_*.tif"))) for name in ("ref", "tgt"))
    a, b, c, d, e, f = tuple(tgt.rio.transform())[:6]
    moved = Affine(a, b, c - 6.5, d, e, f - 18.1)
    figure = plot_before_after(tgt, ref, image(tgt.values[0], moved).rio.write_nodata(0))
    (rms_before, r_before), (rms_after, r_after) = numbers(figure, 2), numbers(figure, 5)
    assert rms_after < 0.6 * rms_before
    assert r_after > r_before + 0.1
