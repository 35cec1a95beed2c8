"""Many at once: threads that match and apply, and public objects that travel between processes."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import xcoreg
from xcoreg.errors import OptionError


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((128, 120), shift=(1.3, -0.8), seed=7)


def test_twenty_threads_give_what_one_gives(scene, tmp_path):
    tgt = xcoreg.open_raster(xcoreg.write_raster(scene.tgt, tmp_path / "tgt.tif"), chunks=64)

    def work(at):
        fit = xcoreg.match(tgt, scene.ref)
        path = xcoreg.write_raster(xcoreg.apply(tgt, fit, like=scene.ref), tmp_path / f"{at}.tif")
        return fit.shift.dx, path.read_bytes()

    alone = work("alone")
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(work, range(20))) == {alone}


def test_public_objects_pickle(scene):
    fit = scene.tgt.coreg.match(scene.ref)
    field = scene.tgt.coreg.match_local(scene.ref, window=48, spacing=40)
    gcps = xcoreg.GCPs([0.0, 9, 0, 9], [0.0, 0, 9, 9], [12, 12.1, 12, 12.1], [50, 50, 49.9, 49.9], crs=4326)
    corners = xcoreg.Corners((12.0, 50.0), (12.1, 50.0), (12.1, 49.9), (12.0, 49.9))
    for one in (fit, field, fit.shift, fit.quality, field.points, field.model, gcps, xcoreg.fit_gcps(gcps), corners):
        again = pickle.loads(pickle.dumps(one))
        assert repr(again) == repr(one)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(field)).points.dx, field.points.dx)


def test_a_long_batch_opens_no_more_files_and_its_second_run_does_nothing(scene, tmp_path):
    tgt, ref = (str(xcoreg.write_raster(getattr(scene, name), tmp_path / f"{name}.tif")) for name in ("tgt", "ref"))
    rows = [{"target": tgt, "reference": ref, "name": f"s{n}"} for n in range(12)]
    opened = []

    def count(_record):
        opened.append(len([*Path("/proc/self/fd").iterdir()]) if os.path.isdir("/proc/self/fd") else 0)  # noqa: PTH112

    done = xcoreg.batch(rows, tmp_path / "out", window=64, windows=1, progress=count)
    assert done.ok
    assert max(opened[4:]) <= opened[0] + 8  # files that xarray holds open are few, however many scenes
    assert xcoreg.batch(rows, tmp_path / "out", window=64, windows=1).n_new == 0


def test_a_batch_replaces_no_table_and_no_mask(scene, tmp_path):
    tgt = str(xcoreg.write_raster(scene.tgt, tmp_path / "tgt.tif"))
    (tmp_path / "out").mkdir()
    table = tmp_path / "out" / "manifest.csv"
    table.write_text(f"target,reference\n{tgt},{tgt}\n")
    with pytest.raises(OptionError, match="would replace an input"):
        xcoreg.batch(table, tmp_path / "out")
    mask = xcoreg.write_raster((scene.tgt > 0).astype("u1"), tmp_path / "out" / "tgt.tif")
    with pytest.raises(OptionError, match="would replace an input"):
        xcoreg.batch([tgt], tmp_path / "out", ref=tgt, where=str(mask))
    assert table.read_text().startswith("target")
