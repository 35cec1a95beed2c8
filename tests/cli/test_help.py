"""What people see before anything runs: help, examples, completion."""

from __future__ import annotations

import shlex

import click
import pytest
from click.shell_completion import ShellComplete

from xcoreg.cli import COMMANDS, cli


def every_command(group=cli, path=()):
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command


ALL = list(every_command())


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_help_ends_with_two_examples_that_parse(run, path, command):
    text = run(*path, "--help").output.rstrip()
    assert len(command.examples) == 2
    assert text.endswith("\n".join(f"  {line}" for line in command.examples))
    for line in command.examples:
        words = shlex.split(line.partition("#")[0].partition(">")[0])
        assert tuple(words[: len(path) + 1]) == ("xcoreg", *path)
        with command.make_context(path[-1], words[len(path) + 1 :]) as ctx:
            assert ctx.params


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        (["shift"], "file"),
        (["shift", "a.tif"], "file"),
        (["shift", "a.tif", "b.tif"], "file"),
        (["warp", "a.tif", "b.tif", "c.tif", "--like"], "file"),
        (["match", "a.tif", "b.tif", "--where"], "file"),
        (["batch"], "file"),
        (["batch", "a.tif", "--out"], "dir"),
        (["info"], "file"),
        (["georef", "rectify"], "file"),
        (["locate", "a.tif"], "file"),
    ],
)
def test_file_names_complete(typed, kind):
    items = ShellComplete(cli, {}, "xcoreg", "_XCOREG_COMPLETE").get_completions(typed, "x")
    assert [item.type for item in items] == [kind]


def test_presets_and_commands_complete():
    complete = ShellComplete(cli, {}, "xcoreg", "_XCOREG_COMPLETE").get_completions
    assert {item.value for item in complete([], "")} == set(COMMANDS)
    assert [item.value for item in complete(["match", "a", "b", "--preset"], "land")] == ["landsat-c2"]
