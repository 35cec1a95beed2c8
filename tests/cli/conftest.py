"""A simulated pair as files, and a way to run the program."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from xcoreg.cli import cli
from xcoreg.simulate import pair

SHIFT = (0.357, -1.566)  # dcol, drow: dx +3.57 m, dy +15.66 m on the 10 m grid


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Two GeoTIFFs of 320 x 320 px with the known correction SHIFT, never to be changed."""
    folder = tmp_path_factory.mktemp("images")
    both = pair((320, 320), shift=SHIFT, snr_db=30.0, seed=3)
    for name, image in (("ref", both.ref), ("tgt", both.tgt)):
        image.rio.to_raster(folder / f"{name}.tif", compress="deflate", tiled=True, blockxsize=128, blockysize=128)
    return SimpleNamespace(ref=str(folder / "ref.tif"), tgt=str(folder / "tgt.tif"), dcol=SHIFT[0], drow=SHIFT[1])


@pytest.fixture(scope="session")
def fit_file(images, tmp_path_factory):
    """The fit of the pair, as the program keeps it."""
    path = tmp_path_factory.mktemp("fit") / "fit.json"
    result = CliRunner().invoke(cli, ["match", images.ref, images.tgt, "--save-fit", str(path)])
    assert result.exit_code == 0, result.stderr
    return str(path)


@pytest.fixture
def run():
    """Run the program in this process."""

    def call(*arguments):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def make_tif(tmp_path):
    """Write a GeoTIFF of some values; profile entries may be overridden, None leaves one out."""

    def make(name, values, **profile):
        values = np.atleast_3d(np.asarray(values).T).T  # (band, row, col)
        defaults = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 300000, 0, -10, 5900040)}
        options = {key: value for key, value in (defaults | profile).items() if value is not None}
        path = tmp_path / name
        shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]}
        with rasterio.open(path, "w", driver="GTiff", dtype=values.dtype, **shape, **options) as out:
            out.write(values)
        return str(path)

    return make
