"""Image files corrected by a fit: copied where only the transform changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xcoreg.batches.run import batch
from xcoreg.coregister import correct_file, match, moves_only
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.simulate import pair


@pytest.mark.parametrize(
    ("name", "options", "plain"),
    [
        ("out.TIF", {}, True),
        ("out.tif", {"driver": "gtiff"}, True),
        ("out.tif", {"driver": "COG"}, False),
        ("out.tif", {"applying": {"align_grid": False, "like": None}}, True),
        ("out.tif", {"applying": {"align_grid": True}}, False),
        ("out.tif", {"applying": {"like": "ref.tif"}}, False),
        ("out.tif", {"applying": {"resolution": 20.0}}, False),
        ("out.tif", {"creation": {"compress": "zstd"}}, False),
        ("out.nc", {}, False),
    ],
)
def test_only_a_plain_geotiff_is_copied(name, options, plain):
    assert moves_only(Path(name), **options) is plain


def test_a_geotiff_that_moves_keeps_its_bytes_and_others_their_pixels(scenes):
    scenes.out.mkdir()
    source = scenes.targets[0]
    fit = match(open_raster(source), open_raster(scenes.ref))
    copied = correct_file(str(source), fit, scenes.out / "a.tif")
    before, after = source.read_bytes(), copied.read_bytes()
    # Besides the two coordinates only the place of the directory, which tags have been added to at the end.
    assert sum(one != two for one, two in zip(before, after, strict=False)) <= 16 + 8
    assert len(before) < len(after) < len(before) + 5000
    written = correct_file(str(source), fit, scenes.out / "b.tif", creation={"compress": "lzw"})
    np.testing.assert_array_equal(open_raster(written), open_raster(source))
    assert open_raster(written).rio.transform().almost_equals(open_raster(copied).rio.transform(), 1e-6)
    onto = correct_file(str(source), fit, scenes.out / "c.tif", like=str(scenes.ref))
    assert open_raster(onto).rio.transform() == open_raster(scenes.ref).rio.transform()


def test_a_batch_of_envi_images_can_be_run_again_with_other_options(tmp_path):
    scene = pair((200, 200), shift=(1.5, -2.5), seed=4)
    ref, tgt = (str(write_raster(one, tmp_path / f"{name}.tif")) for name, one in (("r", scene.ref), ("t", scene.tgt)))
    for window in (128, 96):
        done = batch([tgt], tmp_path / "out", ref=ref, driver="ENVI", window=window)
        assert done.counts() == {"done": 1}
    assert sorted(path.suffix for path in (tmp_path / "out").glob("t.*")) == [".bsq", ".hdr", ".xml"]
