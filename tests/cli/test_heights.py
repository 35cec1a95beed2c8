"""`apply` with a fit that knows dz: heights are corrected, whichever way a file is written."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints


@pytest.fixture
def dz_fit(tmp_path):
    points = TiePoints([0], [0], [0], [0], [0], [10.0], [20.0], [1.0], [-2.0])
    shift = Shift(10.0, 20.0, dz=-2.5, linear=(10.0, 0.0, 0.0, -10.0))
    grid = (10, 0, 300000, 0, -10, 5900040), (6, 7)
    fit = Coregistration(Translation(10.0, 20.0, -2.5), points, Quality(), Status.OK, shift, "EPSG:32633", *grid)
    fit.save(tmp_path / "fit.json")
    return tmp_path / "fit.json"


@pytest.fixture
def dem(make_tif):
    heights = np.arange(42, dtype=np.int16).reshape(6, 7)
    heights[2, 3] = -32768
    return make_tif("dem.tif", heights, nodata=-32768)


def read(path):
    with rasterio.open(path) as image:
        return image.read(1), image.transform, image.nodata


@pytest.mark.parametrize("options", [[], ["--co", "compress=deflate"]], ids=["plain", "written"])
def test_integer_heights_are_raised_and_moved(run, dem, dz_fit, tmp_path, options):
    assert run("apply", dz_fit, dem, tmp_path / "out.tif", *options).exit_code == 0
    heights, transform, nodata = read(tmp_path / "out.tif")
    assert (heights.dtype, nodata) == (np.float32, -32768)
    assert (transform.c, transform.f) == (300010, 5900060)
    assert heights[2, 3] == -32768
    assert heights[0].tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("options", [["--no-vertical"], ["--resampling", "nearest"]])
def test_pixels_stay_where_they_are_no_heights(run, dem, dz_fit, tmp_path, options):
    assert run("apply", dz_fit, dem, tmp_path / "out.tif", *options).exit_code == 0
    heights, transform, _ = read(tmp_path / "out.tif")
    assert (heights.dtype, transform.c) == (np.int16, 300010)
    assert (heights == read(dem)[0]).all()


def test_a_missing_vertical_correction_is_refused(run, images, fit_file, tmp_path):
    done = run("apply", fit_file, images.tgt, tmp_path / "out.tif", "--vertical")
    assert done.exit_code == 2
    assert "no vertical correction" in done.stderr
