"""Turned images and images without a place: xcoreg match --geometry, xcoreg shift, xcoreg georef auto."""

import json

import numpy as np
import pytest
import rasterio

import xcoreg
from xcoreg.simulate import pair, similarity

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SHAPE = (360, 360)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a reference, a target that is turned by 15 degrees, and the same without a georeference."""
    folder = tmp_path_factory.mktemp("turned")
    both = pair(SHAPE, shift=similarity(SHAPE, degrees=15.0, shift=(20.0, -10.0)), snr_db=25, seed=8)
    both.ref.rio.to_raster(folder / "ref.tif")
    both.tgt.rio.to_raster(folder / "tgt.tif")
    values = both.tgt.values.squeeze()
    with rasterio.open(folder / "photo.png", "w", "PNG", *SHAPE[::-1], 1, dtype=values.dtype) as photo:
        photo.write(values, 1)
    return folder


def rest(folder, path):
    """Shift, m, that is left between an image and the reference."""
    fit = xcoreg.match(xcoreg.open_raster(str(path)), xcoreg.open_raster(str(folder / "ref.tif")))
    return np.hypot(fit.shift.dx, fit.shift.dy)


def test_match_writes_an_affine_fit(run, files):
    result = run("match", files / "ref.tif", files / "tgt.tif", "--geometry", "similarity")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["model"]["kind"] == "affine"


def test_one_shift_is_refused_with_the_cure(run, files):
    result = run("match", files / "ref.tif", files / "tgt.tif")
    assert result.exit_code == 3


def test_shift_moves_the_transform_of_a_copy(run, files, tmp_path):
    result = run("shift", files / "ref.tif", files / "tgt.tif", tmp_path / "out.tif", "--geometry", "auto")
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "out.tif") as made, rasterio.open(files / "tgt.tif") as source:
        np.testing.assert_array_equal(made.read(), source.read())
        turn = np.degrees(np.arctan2(made.transform.d, made.transform.a))
    assert abs(turn) == pytest.approx(15.0, abs=0.01)
    assert rest(files, tmp_path / "out.tif") < 0.3


def test_a_photo_is_placed(run, files, tmp_path):
    result = run(
        "georef",
        "auto",
        files / "photo.png",
        files / "ref.tif",
        tmp_path / "placed.tif",
        "--save-fit",
        tmp_path / "f.json",
    )
    assert result.exit_code == 0, result.stderr
    assert rest(files, tmp_path / "placed.tif") < 0.5
    assert xcoreg.load_fit(tmp_path / "f.json").ok
