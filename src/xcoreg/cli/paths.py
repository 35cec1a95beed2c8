"""Paths that commands write: the one check of all outputs of all commands, before any work."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

import xcoreg
from xcoreg.errors import OptionError


class OutputFile(click.Path):
    """A file that a command writes; all other texts that name a file are inputs."""

    def __init__(self) -> None:
        super().__init__(readable=False)


class OutputFolder(click.Path):
    """A folder that a command writes files into.

    patterns : Names of these files, as the shell would match them.
    """

    def __init__(self, *patterns: str) -> None:
        super().__init__(file_okay=False)
        self.patterns = patterns


def check_outputs(params: list[click.Parameter], values: dict[str, Any]) -> None:
    """Refuse outputs of a command that are inputs, the same file, or exist and are not to be replaced."""
    folders = [param for param in params if isinstance(param.type, OutputFolder)]
    files = [param for param in params if isinstance(param.type, OutputFile)]
    others = [param for param in params if param not in (*files, *folders) and not isinstance(param.type, click.Choice)]
    inputs = [path for param in others for path in _paths_in(values.get(param.name or ""))]
    found: dict[str, str] = {}
    for param in files:
        given = values.get(param.name or "")
        if given is None:
            continue
        label = (param.name or "").upper() if isinstance(param, click.Argument) else param.opts[0]
        goal = check_new(given, inputs, not (isinstance(param, click.Argument) and values.get("overwrite") is False))
        place = os.path.normcase(goal.resolve())
        if place in found:
            raise OptionError(f"{label} and {found[place]} are the same file, {given}: give two names")
        found[place] = label
    for param in folders:
        _check_folder(param, values.get(param.name or ""), inputs)


def check_new(path: str | Path, inputs: Any, overwrite: bool) -> Path:
    """Refuse an output that cannot be written, is an input, or exists and is not to be replaced."""
    goal = xcoreg.files.check_output(path, inputs=inputs)
    if goal.exists() and not overwrite:
        raise OptionError(f"the output {path} exists already: add --overwrite to replace it")
    return goal


def _check_folder(param: click.Parameter, folder: str | None, inputs: list[str]) -> None:
    """Refuse a folder in which an input would be replaced."""
    for path in map(Path, inputs) if folder is not None else ():
        written = any(fnmatch(path.name, pattern) for pattern in getattr(param.type, "patterns", ()))
        if written and xcoreg.files.same_file(path.parent, folder or ""):
            raise OptionError(f"{param.opts[0]} {folder} would replace the input {path}: give another folder")


def _paths_in(value: Any) -> list[str]:
    """Existing files that a value of an option names, with what stands before their path (scl:FILE) removed."""
    if isinstance(value, tuple | list):
        return [path for one in value for path in _paths_in(one)]
    texts = (value, value.partition(":")[2]) if isinstance(value, str) else ()
    return [text for text in texts if text and "\0" not in text and len(text) < 4096 and os.path.exists(text)]  # noqa: PTH110
