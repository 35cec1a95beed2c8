"""The command line: one group, served as `xcoreg` and as `rio coreg`; argument parsing over the same functions."""

from __future__ import annotations

import click

from xcoreg.cli.batch import batch
from xcoreg.cli.common import keep_memory
from xcoreg.cli.demo import demo
from xcoreg.cli.fields import dem, points, warp
from xcoreg.cli.georef import georef, locate
from xcoreg.cli.info import info
from xcoreg.cli.match import apply, match, shift

__all__ = ["cli", "main"]


@click.group(name="coreg", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xcoreg")
def cli() -> None:
    """Move one georeferenced raster onto another, to a small fraction of a pixel.

    The reference stays where it is, the target moves: x_ref = x_tgt + dx.

    Exit codes: 0 done, 2 bad usage or input, 3 no trustworthy match (with the reason), 1 any other error.
    """


for command in (match, shift, warp, points, apply, batch, dem, info, georef, locate, demo):
    cli.add_command(command)


def main() -> None:
    """Serve as the program `xcoreg`.

    Examples
    --------
    >>> sorted(cli.commands)
    ['apply', 'batch', 'dem', 'demo', 'georef', 'info', 'locate', 'match', 'points', 'shift', 'warp']
    """
    keep_memory()
    cli(prog_name="xcoreg")
