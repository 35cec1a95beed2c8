"""A disk without room: nothing is left, and the message says why."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xcoreg.batches.run import batch
from xcoreg.files import DiskFull
from xcoreg.io.copy import copy_moved
from xcoreg.io.read import open_raster
from xcoreg.io.write import check_integrity, write_raster
from xcoreg.simulate import pair

LIMITED = """
import resource, sys
import numpy as np
import rioxarray
from pathlib import Path
from xarray import DataArray
from xcoreg.io.copy import copy_moved
from xcoreg.io.write import write_raster

folder = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 60000, (1200, 1200)).astype("uint16")
image = DataArray(noise, dims=("y", "x")).rio.write_crs("EPSG:32633")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
for name, options in (("a.tif", {}), ("b.tif", {"driver": "COG"}), ("c.bsq", {}), ("d.tif", {"compress": "none"})):
    try:
        write_raster(image, folder / name, **options)
        print("written", name)
    except (OSError, ValueError) as error:
        print(type(error).__name__, name)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes there")
def test_no_file_is_left_that_could_not_grow(tmp_path):
    run = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in run.stdout.splitlines()] == ["OptionError"] * 4, run.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(request, tmp_path):
    """A file system of 900 kB, or as much as is asked for, where such a thing can be made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={getattr(request, 'param', '900k')}", "tmpfs", folder]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_batch_tells_of_a_full_disk_and_goes_on_when_there_is_room(small_disk, tmp_path):
    both = pair((512, 512), shift=(0.5, 0.5), seed=1)
    paths = {name: write_raster(getattr(both, name), tmp_path / f"{name}.tif") for name in ("tgt", "ref")}
    # a copy without compression comes first
    found = batch([paths["tgt"]], small_disk / "out", ref=paths["ref"], align_grid=True, driver="COG")
    assert found.records[0]["status"] == "failed"
    assert "the disk is full" in found.records[0]["reason"]
    assert list((small_disk / "out").glob("*.tif")) == []
    assert batch([paths["tgt"]], small_disk / "out", ref=paths["ref"], align_grid=True)


FILLING = """
import os, sys
import numpy as np
import rioxarray
from pathlib import Path
from xarray import DataArray
from xcoreg.io.copy import copy_moved
from xcoreg.io.write import write_raster

folder = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 60000, (1600, 1600)).astype("uint16")
image = DataArray(noise, dims=("y", "x")).rio.write_crs("EPSG:32633")
image = image.assign_coords(y=-10.0 * np.arange(1600), x=10.0 * np.arange(1600))
for name in sys.argv[2:]:
    for each in (image, image.chunk(y=400, x=400)):
        try:
            write_raster(each, folder / name)
            print("written", name)
        except OSError as error:
            print(type(error).__name__, error, os.listdir(folder), os.statvfs(folder).f_bfree * 4096)
"""


@pytest.mark.parametrize("small_disk", ["3m"], indirect=True)
@pytest.mark.parametrize("name", ["a.nc", "a.zarr", "a.tif"])
def test_a_full_disk_is_told_and_its_room_given_back(small_disk, name):
    pytest.importorskip({"nc": "netCDF4", "zarr": "zarr", "tif": "rasterio"}[name.rpartition(".")[2]])
    run = subprocess.run([sys.executable, "-c", FILLING, small_disk, name], check=False, capture_output=True, text=True)
    told = f"DiskFull [Errno 28] the disk is full: '{small_disk}' [] {3 << 20}"
    assert run.stdout.splitlines() == [told, told], run.stderr
    assert list(small_disk.iterdir()) == []


def test_blocks_that_are_missing_are_seen(tmp_path):
    image = pair((600, 600), shift=(0, 0), seed=1).ref
    path = write_raster(image, tmp_path / "a.tif")
    check_integrity(path, "GTiff")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(OSError, match="the file is incomplete"):
        check_integrity(path, "GTiff")
    sparse = write_raster(open_raster(write_raster(image * 0, tmp_path / "b.tif")), tmp_path / "c.tif", sparse_ok=True)
    with pytest.raises(OSError, match="4 of 4 blocks are missing"):
        check_integrity(sparse, "GTiff")


@pytest.mark.parametrize("how", ["copied", "written"])
def test_a_moved_copy_that_finds_no_room_leaves_nothing(small_disk, tmp_path, how):
    scene = pair((700, 700), shift=(1.0, 1.0), seed=1)
    source = write_raster(scene.tgt, tmp_path / "tgt.tif", compress="none")
    write = {
        "copied": lambda goal: copy_moved(source, goal, scene.tgt.rio.transform()),
        "written": lambda goal: write_raster(open_raster(source), goal, compress="none"),
    }
    with pytest.raises(DiskFull, match="the disk is full"):
        write[how](small_disk / "out.tif")
    assert list(small_disk.iterdir()) == []
