"""Programs stopped while they write: the output is absent, or the old one stays, and the next run clears up."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest

from xcoreg.coregister import correct_file, match
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.results.reading import load_fit
from xcoreg.simulate import pair

HELD = """
import sys
from xcoreg import coregister
from xcoreg.cli import main

write = coregister.write_raster

def hold(block):
    if block[0, 0, -1] == 7:  # the last block: the others are on the disk
        stay()
    return block

def held(image, *args, **options):
    image = image.chunk(y=256, x=256)
    return write(image.copy(data=image.data.map_blocks(hold, dtype=image.dtype)), *args, **options)

coregister.write_raster = held
sys.argv = ["xcoreg", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A target of 1024 x 1024 px whose last block ends with a 7, and a fit of it."""
    folder = tmp_path_factory.mktemp("scene")
    both = pair((1024, 1024), shift=(0.5, 0.5), seed=1)
    match(both.tgt, both.ref).save(folder / "fit.json")
    pixels = np.full((1, 1024, 1024), 3, "uint16") + (np.arange(1024) % 3).astype("uint16")
    pixels[0, 768, 1023] = 7
    image = both.tgt.expand_dims(band=[1]).copy(data=pixels)
    write_raster(image, folder / "tgt.tif")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize(("name", "number"), [
    ("cog.tif", signal.SIGKILL), ("cog.tif", signal.SIGTERM), ("a.zarr", signal.SIGKILL), ("a.zarr", signal.SIGINT),
])  # fmt: skip
def test_a_writer_that_is_stopped_leaves_no_half_file(made, program, tmp_path, name, number):
    if name == "a.zarr":
        pytest.importorskip("zarr")
    driver, out = "COG" if name == "cog.tif" else "Zarr", tmp_path / name
    writer = program(HELD, "apply", made / "fit.json", made / "tgt.tif", out, "--driver", driver)
    assert [path.name.startswith(".xcoreg") for path in tmp_path.iterdir()] == [True]
    code, said = writer.stop(number)
    assert code != 0
    assert not out.exists()
    if number != signal.SIGKILL:
        assert "interrupted: unfinished outputs were not written" in said
        assert "Traceback" not in said
        assert list(tmp_path.iterdir()) == []
    correct_file(str(made / "tgt.tif"), load_fit(made / "fit.json"), out, driver=driver)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(open_raster(out).squeeze(), open_raster(made / "tgt.tif").squeeze())
