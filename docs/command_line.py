"""Write every option of every command as a page: `api/_commands.md`, which `api/cli.md` includes; run by conf.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from xcoreg.cli import cli

GOAL = Path(__file__).resolve().parent / "api" / "_commands.md"


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its name; those of a group after it."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def section(path: tuple[str, ...], command: click.Command) -> str:
    """One command: usage, what it does, a table of its options, examples."""
    ctx = click.Context(command, info_name=f"xcoreg {' '.join(path)}")
    usage = " ".join(command.collect_usage_pieces(ctx))
    text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    text = re.sub(r"(?<![\w`-])--[a-z][a-z-]*", r"`\g<0>`", text)  # or two dashes would become one long one
    rows = [param.get_help_record(ctx) for param in command.params if param.param_type_name == "option"]
    table = [
        f"| `{_cell(names)}` | {_cell(words).replace('--', '&#45;&#45;')} |" for names, words in filter(None, rows)
    ]
    examples = "\n".join(getattr(command, "examples", ()))
    return "\n".join(
        [
            f"### `xcoreg {' '.join(path)}`\n",
            f"```text\nxcoreg {' '.join(path)} {usage}\n```\n",
            f"{text}\n",
            "| option | meaning |\n|---|---|",
            *table,
            f"\n```text\n{examples}\n```\n",
        ]
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def write() -> None:
    """Write the page."""
    GOAL.write_text("\n".join(section(*one) for one in commands()), encoding="utf-8")


if __name__ == "__main__":
    write()
