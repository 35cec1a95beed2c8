"""Targets georeferenced by control points alone, from file to file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

import xcoreg
from xcoreg.georef import GCPs, attach_gcps, transform_points

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def with_gcps(images, tmp_path_factory):
    with rasterio.open(images.tgt) as file:
        col, row = (axis.ravel() for axis in np.meshgrid(*[np.linspace(0.0, 319.0, 5)] * 2))
        lonlat = transform_points(file.crs, 4326, *(file.transform @ (col + 0.5, row + 0.5)))
    gcps = GCPs(col, row, *lonlat, crs=4326)
    return str(attach_gcps(images.tgt, gcps, tmp_path_factory.mktemp("with_gcps") / "with_gcps.tif"))


def test_shift_and_apply_interpolate_once(run, images, with_gcps, tmp_path):
    for name, target in (("plain.tif", images.tgt), ("out.tif", with_gcps)):
        made = run(
            "shift", images.ref, target, tmp_path / name, "--like", images.ref, "--save-fit", tmp_path / "fit.json"
        )
        assert made.exit_code == 0, made.stderr
    assert json.loads((tmp_path / "fit.json").read_text())["shift"]["dx"] == pytest.approx(3.57, abs=0.3)
    with rasterio.open(tmp_path / "plain.tif") as one, rasterio.open(tmp_path / "out.tif") as two:
        assert (one.transform, one.crs) == (two.transform, two.crs)
        inner = (slice(20, -20), slice(20, -20))
        off = one.read(1)[inner].astype(float) - two.read(1)[inner]
        assert np.std(off) < 0.02 * np.std(one.read(1)[inner])
    assert run("apply", tmp_path / "fit.json", with_gcps, tmp_path / "again.tif", "--like", images.ref).exit_code == 0
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "out.tif").read_bytes()


def test_warp_and_match(run, images, with_gcps, tmp_path):
    assert run("warp", images.ref, with_gcps, tmp_path / "w.tif", "--spacing", 64, "--window", 64).exit_code == 0
    answer = json.loads(run("match", images.ref, with_gcps, "-q").stdout)["answer"]
    assert (answer["dcol"], answer["drow"]) == pytest.approx((images.dcol, images.drow), abs=0.03)


def test_a_reference_has_to_have_a_transform(run, images, with_gcps, tmp_path):
    made = run("shift", with_gcps, images.tgt, tmp_path / "o.tif")
    assert made.exit_code == 2
    assert "reference has no transform, only ground control points" in made.stderr
    assert "xcoreg georef rectify" in made.stderr


@pytest.mark.parametrize("command", [["info"], ["georef", "rectify"], ["shift"]], ids=" ".join)
def test_exchanged_corners_are_named(run, tmp_path, command):
    scene = xcoreg.simulate.pair((128, 128), shift=(1.0, 2.0), seed=1)
    ref = xcoreg.write_raster(scene.ref, tmp_path / "ref.tif")
    plain = xcoreg.write_raster(scene.tgt, tmp_path / "plain.tif")
    gcps = GCPs([0, 127, 127, 0], [0, 0, 127, 127], [0, 1270, 0, 1270], [0, 0, -1270, -1270], crs=32633)
    bowtie = attach_gcps(plain, gcps, tmp_path / "bowtie.tif")
    paths = {"info": [bowtie], "georef": [bowtie, tmp_path / "out.tif"], "shift": [ref, bowtie, tmp_path / "out.tif"]}
    done = run(*command, *paths[command[0]])
    assert done.exit_code == (0 if command == ["info"] else 2)
    assert "is singular, at 1, 2, 3, 4: they may be exchanged" in done.stderr
    assert not (tmp_path / "out.tif").exists()
