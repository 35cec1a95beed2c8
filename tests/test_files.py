"""Paths, outputs that appear complete or not at all, and temporary folders of programs that were killed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import xcoreg
from xcoreg.errors import OptionError
from xcoreg.files import (
    check_output,
    gdal_path,
    local_path,
    make_temporary_folder,
    new_file,
    remove_stale_folders,
    same_file,
)


@pytest.fixture(scope="module")
def scene_fit():
    scene = xcoreg.simulate.pair((256, 256), shift=(0.5, 0.3), seed=2)
    return scene.tgt.coreg.match(scene.ref)


def test_web_addresses_carry_their_settings():
    path = gdal_path("https://host/a.tif?sig=1&x=2")
    assert path.startswith("/vsicurl?list_dir=no&empty_dir=yes&connecttimeout=30&low_speed_limit=1&low_speed_time=30&")
    assert path.endswith("&max_retry=4&retry_delay=0.5&url=https%3A%2F%2Fhost%2Fa.tif%3Fsig%3D1%26x%3D2")


def test_what_is_local(tmp_path):
    assert local_path("a/b.tif") is not None
    assert local_path("s3://bucket/a.tif") is None
    odd = tmp_path / "NETCDF:odd.nc"
    odd.write_text("")
    assert local_path(odd) == odd


def test_same_file_through_a_link(tmp_path):
    (tmp_path / "a.tif").write_text("")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    assert same_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert not same_file(tmp_path / "a.tif", tmp_path / "c.tif")


def test_outputs_that_cannot_be(tmp_path):
    source = tmp_path / "a.tif"
    source.write_text("")
    for path, options, sentence in (
        (source, {"inputs": (source,)}, "is the input itself: give another path"),
        (tmp_path, {}, "it is a folder"),
        (tmp_path / "no" / "b.tif", {}, "there is no folder"),
        (source, {"overwrite": False}, "exists: give another path"),
        ("https://host/a.tif", {}, "give a local path"),
    ):
        with pytest.raises(OptionError, match=sentence):
            check_output(path, **options)


def test_read_only_outputs_are_refused_even_for_root(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("")
    path.chmod(0o444)
    with pytest.raises(OptionError, match="the file is read-only"):
        check_output(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_replaced(tmp_path, scene_fit):
    pipe = tmp_path / "fit.json"
    os.mkfifo(pipe)
    for write in (check_output, scene_fit.save, scene_fit.points.save):
        with pytest.raises(OptionError, match="a device or a pipe, not a file"):
            write(pipe if write != scene_fit.points.save else pipe.rename(tmp_path / "points.csv"))
        pipe = next(iter(tmp_path.iterdir()))
        assert pipe.is_fifo()


def test_a_read_only_fit_is_not_replaced(tmp_path, scene_fit):
    path = tmp_path / "fit.json"
    path.write_text("mine")
    path.chmod(0o444)
    with pytest.raises(OptionError, match="read-only"):
        scene_fit.save(path)
    assert path.read_text() == "mine"


_FORKED = """
import os, sys, warnings
import xcoreg
warnings.simplefilter("ignore")  # Python itself warns of forks beside threads
folder = sys.argv[1]
image = xcoreg.simulate.pair((600, 600), seed=1).tgt
xcoreg.write_raster(image, f"{folder}/a.tif")
lazy = image.chunk(200)
xcoreg.write_raster(lazy, f"{folder}/c.tif")
child = os.fork()
if child == 0:
    xcoreg.write_raster(image, f"{folder}/b.tif")
    xcoreg.write_raster(lazy, f"{folder}/d.tif")
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_writes_after_its_parent(tmp_path):
    """Threads of GDAL and dask do not live in the child, which would wait for them for ever."""
    done = subprocess.run([sys.executable, "-c", _FORKED, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError("no")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OptionError, match="is not writable"):
        check_output(tmp_path / "a.tif")


def test_nothing_is_left_of_a_failure(tmp_path):
    def fail(place):
        place.write_text("half")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), new_file(tmp_path / "a.tif") as place:
        fail(place)
    assert list(tmp_path.iterdir()) == []


def test_sidecars_move_along(tmp_path):
    with new_file(tmp_path / "a.bsq") as place:
        place.write_text("data")
        place.with_suffix(".hdr").write_text("header")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bsq", "a.hdr"]


def test_the_goal_is_untouched_until_the_end(tmp_path):
    goal = tmp_path / "a.tif"
    goal.write_text("old")
    with new_file(goal) as place:
        place.write_text("new")
        assert goal.read_text() == "old"
    assert goal.read_text() == "new"


KILLED = """
import os, signal, sys
from pathlib import Path
from xcoreg.files import make_temporary_folder
for name in sys.argv[2:]:
    (make_temporary_folder(Path(sys.argv[1], name)) / name).write_text("half")
os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
"""


def leave(folder, *names):
    """Let a program die in the middle of some outputs."""
    subprocess.run([sys.executable, "-c", KILLED, folder, *names], check=False)


def test_what_a_killed_program_left_vanishes_when_the_goal_is_written_again(tmp_path):
    leave(tmp_path, "a.tif", "b.tif")
    assert len(list(tmp_path.glob(".xcoreg-*"))) == 2
    with new_file(tmp_path / "a.tif") as place:
        place.write_text("whole")
    assert (tmp_path / "a.tif").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 2  # what was left of b.tif is none of its business
    assert remove_stale_folders(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_rooms_in_use_and_strangers_stay(tmp_path):
    room = make_temporary_folder(tmp_path / "a.tif")
    stranger = tmp_path / ".xcoreg-something"
    stranger.mkdir()
    elsewhere = tmp_path / ".xcoreg-01234567-89abcdef-1-x"  # of another machine
    elsewhere.mkdir()
    assert remove_stale_folders(tmp_path) == 0
    assert room.is_dir()
    assert stranger.is_dir()
    assert elsewhere.is_dir()
    assert remove_stale_folders(tmp_path / "nowhere") == 0
