"""A few simulated scenes and their reference, as files."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from xcoreg.io.write import write_raster
from xcoreg.simulate import pair

SHIFTS = {"a": (0.4, -0.3), "b": (1.25, 0.5), "c": (-2.0, 1.5)}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Three targets a, b, c of 256 x 256 px and their reference, never to be changed."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, shift in SHIFTS.items():
        both = pair((256, 256), shift=shift, snr_db=30.0, seed=5)
        write_raster(both.tgt, folder / f"{name}.tif")
    write_raster(both.ref, folder / "ref.tif")
    return folder


@pytest.fixture
def scenes(made, tmp_path):
    """A copy of them that a test may change, and a place for outputs."""
    folder = tmp_path / "in"
    shutil.copytree(made, folder)
    targets = [folder / f"{name}.tif" for name in SHIFTS]
    places = {"folder": folder, "ref": folder / "ref.tif", "targets": targets, "out": tmp_path / "out"}
    return SimpleNamespace(**places, shifts=SHIFTS, files_of=files_of)


def files_of(folder):
    """Bytes of the images and fits in a folder: what has to be the same after any interruption."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if is_output(path)}


def is_output(path):
    return path.is_file() and path.name.endswith((".tif", ".fit.json"))
