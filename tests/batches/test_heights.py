"""Elevation models in a batch: heights are corrected, not only positions."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from xcoreg.batches.run import batch
from xcoreg.results.reading import load_fit

GRID = Affine(20, 0, 5e5, 0, -20, 5.1e6)


def write(path, dx=0.0, dy=0.0, dz=0.0):
    x, y = np.meshgrid(20.0 * np.arange(140), -20.0 * np.arange(130))
    u, v = x + dx, y + dy
    heights = 900 + 90 * np.sin(u / 240) * np.cos(v / 190) + 60 * np.cos((u - 2 * v) / 330) - dz
    profile = {"driver": "GTiff", "count": 1, "crs": "EPSG:32633", "transform": GRID, "dtype": "float32"}
    with rasterio.open(path, "w", width=140, height=130, **profile) as out:
        out.write(heights.astype("f4"), 1)
    return str(path)


@pytest.mark.parametrize("vertical", [None, False])
def test_heights_are_corrected_unless_vertical_is_false(tmp_path, vertical):
    ref, tgt = write(tmp_path / "ref.tif"), write(tmp_path / "tgt.tif", 8.0, -5.0, -3.0)
    done = batch([tgt], tmp_path / "out", ref=ref, matcher="nuth_kaab", vertical=vertical)
    assert done.counts() == {"done": 1}
    shift = load_fit(tmp_path / "out" / "scenes" / "tgt.fit.json").shift
    assert shift.dz == pytest.approx(-3, abs=0.05)
    with rasterio.open(tmp_path / "out" / "tgt.tif") as out, rasterio.open(tgt) as before:
        assert out.transform.c == pytest.approx(5e5 + 8, abs=0.2)
        raised = out.read(1) - before.read(1)
    assert raised == pytest.approx(np.full((130, 140), shift.dz if vertical is None else 0.0), abs=1e-3)
