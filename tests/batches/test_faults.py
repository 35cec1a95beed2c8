"""Programs stopped in the middle: finished files are complete, others absent, and the next run continues."""

from __future__ import annotations

import signal

import pytest

from xcoreg.batches.run import batch

HELD = """
import sys
from xcoreg import coregister, files
from xcoreg.cli import main

copy = coregister.copy_moved

def held(source, goal, *more):  # stops with half of the second output on the disk
    if goal.name == "b.tif":
        with files.new_file(goal) as place:
            place.write_bytes(b"half")
            stay()
    return copy(source, goal, *more)

coregister.copy_moved = held
sys.argv = ["xcoreg", *sys.argv[1:]]
main()
"""


@pytest.fixture
def stop(scenes, program):
    """Run a batch as a program, and send it a signal in the middle of its second writing."""

    def run(number):
        call = ["batch", *scenes.targets, "--ref", scenes.ref, "--out", scenes.out]
        return program(HELD, *call).stop(number)

    return run


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_batch_that_is_stopped_goes_on(scenes, stop, number):
    code, output = stop(number)
    assert code != 0
    assert [path.name for path in scenes.out.glob("*.tif")] == ["a.tif"]
    if number == signal.SIGINT:
        assert "interrupted: finished scenes are complete" in output
        assert list(scenes.out.glob(".xcoreg*")) == []
        assert (scenes.out / "manifest.csv").read_text().count("\n") == 2
    found = batch(scenes.targets, scenes.out, ref=scenes.ref)
    assert (found.counts(), found.n_new) == ({"done": 3}, 2)
    assert list(scenes.out.glob(".xcoreg*")) == []
    uninterrupted = scenes.out.with_name("uninterrupted")
    batch(scenes.targets, uninterrupted, ref=scenes.ref)
    assert scenes.files_of(scenes.out) == scenes.files_of(uninterrupted)
