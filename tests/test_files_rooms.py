"""Rooms of programs that are no more."""

from __future__ import annotations

import subprocess
import sys

from xcoreg.files import make_room, new_file, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from xcoreg.files import make_room
for name in sys.argv[2:]:
    (make_room(Path(sys.argv[1], name)) / name).write_text("half")
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
    assert sweep(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_rooms_in_use_and_strangers_stay(tmp_path):
    room = make_room(tmp_path / "a.tif")
    stranger = tmp_path / ".xcoreg-something"
    stranger.mkdir()
    elsewhere = tmp_path / ".xcoreg-01234567-89abcdef-1-x"  # of another machine
    elsewhere.mkdir()
    assert sweep(tmp_path) == 0
    assert room.is_dir()
    assert stranger.is_dir()
    assert elsewhere.is_dir()
    assert sweep(tmp_path / "nowhere") == 0
