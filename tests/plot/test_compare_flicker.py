import numpy as np
import pytest
import rioxarray  # noqa: F401
from affine import Affine
from scipy.ndimage import gaussian_filter, shift
from xarray import DataArray

pytest.importorskip("matplotlib")
pytest.importorskip("PIL.Image")

from xcoreg.errors import NoOverlap, OptionError
from xcoreg.plot import save_flicker

SCENE = gaussian_filter(np.random.default_rng(2).normal(size=(200, 200)), 2) * 1000


def image(values, left=0.0):
    array = DataArray(values, dims=("y", "x")).rio.write_crs("EPSG:32633")
    return array.rio.write_transform(Affine(10, 0, 300000 + left, 0, -10, 5900000))


def test_two_frames_show_reference_and_target(tmp_path):
    from PIL import Image

    moved = shift(SCENE, (0, 3), order=3)
    save_flicker(tmp_path / "a.gif", image(moved), image(SCENE), image(moved, left=-30.0))
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 2
        first = np.asarray(gif.convert("L"), float)
        gif.seek(1)
        second = np.asarray(gif.convert("L"), float)
    half = first.shape[1] // 2
    inside = slice(100, -60)
    change = [np.abs(first - second)[inside, part].mean() for part in (slice(60, half - 20), slice(half + 40, -20))]
    assert change[0] > 4 * change[1]  # before it jumps, after it stands


def test_only_gif_flickers():
    with pytest.raises(OptionError, match=r"\.gif"):
        save_flicker("a.png", image(SCENE), image(SCENE), image(SCENE))


def test_images_without_overlap_are_refused(tmp_path):
    with pytest.raises(NoOverlap, match="share no valid pixel"):
        save_flicker(tmp_path / "a.gif", image(SCENE, 1e5), image(SCENE), image(SCENE, 1e5), at=(401000.0, 5899000.0))
