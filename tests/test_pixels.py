"""Images without any georeference: matched in pixels, where both have none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from xarray import DataArray

import xcoreg
from xcoreg.cli import cli
from xcoreg.errors import NotGeoreferenced, OptionError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SHIFT = (2.4, -1.3)


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((256, 256), shift=SHIFT, seed=1)


@pytest.fixture(scope="module")
def photos(scene):
    """The pair as photographs: target, reference."""
    return tuple(DataArray(one.values, dims=("y", "x")) for one in (scene.tgt, scene.ref))


@pytest.fixture(scope="module")
def files(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name, image in zip(("tgt", "ref"), photos, strict=True):
        for suffix, driver in (("png", "PNG"), ("tif", "GTiff")):
            size = {"height": 256, "width": 256, "count": 1, "dtype": "uint16"}
            with rasterio.open(folder / f"{name}.{suffix}", "w", driver=driver, **size) as file:
                file.write(image.values, 1)
    return folder


def run(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_a_shift_is_labelled_as_pixels_everywhere(photos):
    fit = photos[0].coreg.match(photos[1])
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx(SHIFT, abs=0.02)
    assert (fit.shift.dx, fit.shift.dy) == (fit.shift.dcol, -fit.shift.drow)
    assert fit.shift.unit == "pixel"
    assert " px" in repr(fit)
    assert " m" not in str(fit.shift)
    assert "no georeference" in fit.to_dict()["crs_wkt"]


def test_files_of_the_command_line(files):
    result = run("match", files / "ref.png", files / "tgt.png")
    assert result.exit_code == 0
    fit = json.loads(result.stdout)
    assert "no georeference" in fit["crs_wkt"]
    assert fit["shift"]["unit"] == "pixel"


def test_a_field_in_pixels(photos):
    fit = photos[0].coreg.match_local(photos[1], spacing=48, window=64)
    assert np.median(fit.points.dcol[fit.points.ok]) == pytest.approx(SHIFT[0], abs=0.02)


def test_pixels_are_interpolated_onto_the_reference_and_gain_no_georeference(photos):
    target, reference = photos
    out = target.coreg.shift_to(reference, like=reference, nodata=0)
    inner = np.s_[20:-20, 20:-20]
    before = np.abs(target.values[inner].astype(float) - reference.values[inner]).mean()
    assert np.abs(out.values[inner].astype(float) - reference.values[inner]).mean() < before / 5
    assert set(out.coords) == set()
    assert "grid_mapping" not in out.encoding
    assert set(target.coreg.warp_to(reference, spacing=48, window=64, model="affine", nodata=0).coords) == set()


def test_there_is_no_transform_to_move(photos, files):
    with pytest.raises(OptionError, match=r"no transform that could be moved.*like=reference"):
        photos[0].coreg.shift_to(photos[1])
    result = run("shift", files / "ref.tif", files / "tgt.tif", files / "out.tif")
    assert (result.exit_code, "--like" in result.output) == (2, True)
    assert not (files / "out.tif").exists()
    done = run("shift", files / "ref.tif", files / "tgt.tif", files / "out.tif", "--like", files / "ref.tif")
    assert done.exit_code == 0


@pytest.mark.parametrize("lacking", ["target", "reference"])
def test_one_georeference_is_not_enough(scene, photos, lacking):
    target = photos[0] if lacking == "target" else scene.tgt
    reference = photos[1] if lacking == "reference" else scene.ref
    with pytest.raises(NotGeoreferenced, match=rf"{lacking} has no CRS: set it with da\.rio\.write_crs"):
        xcoreg.match(target, reference)


def test_a_fit_in_pixels_is_for_images_without_a_georeference(scene, photos):
    fit = photos[0].coreg.match(photos[1])
    with pytest.raises(OptionError, match=r"fit is in pixels .* match it again"):
        scene.tgt.coreg.apply(fit)
    with pytest.raises(NotGeoreferenced, match="no CRS"):
        photos[0].coreg.apply(scene.tgt.coreg.match(scene.ref))
