"""Paths, outputs that appear complete or not at all, and temporary folders of programs that were killed."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


def test_web_addresses_carry_their_settings():
    path = gdal_path("https://host/a.tif?sig=1&x=2")
    assert path.startswith("/vsicurl?list_dir=no&empty_dir=yes&max_retry=4&retry_delay=0.5&url=https%3A%2F%2Fhost")
    assert path.endswith("sig%3D1%26x%3D2")


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
