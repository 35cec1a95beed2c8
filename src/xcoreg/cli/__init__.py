"""The command line: one group, served as `xcoreg` and as `rio coreg`; argument parsing over the same functions.

A command's module is imported when the command is used, so that `xcoreg --help` need not wait for xarray and GDAL.
"""

from __future__ import annotations

import ctypes
import importlib
import os

import click

# Module and one line of help of each command, in the order of `xcoreg --help`.
COMMANDS = {
    "shift": ("match", "Match TGT with REF by one shift and write the corrected TGT."),
    "match": ("match", "Measure the shift of TGT against REF, as JSON on stdout."),
    "warp": ("fields", "Match TGT with REF by a field of shifts and write the warped TGT."),
    "dem": ("fields", "Align an elevation model with a reference in x, y and z."),
    "points": ("fields", "Write the tie points between TGT and REF as a table."),
    "apply": ("match", "Correct another band, mask or pixel size by a saved fit."),
    "stack": ("stack", "Match all dates of a time series with each other and correct them together."),
    "batch": ("batch", "Correct many scenes; resumable."),
    "info": ("info", "Describe an image: CRS, pixel size, corners, nodata, footprint."),
    "ortho": ("ortho", "Rectify a raw image with RPCs over a DEM, corrected against a reference."),
    "georef": ("georef", "Control points, world files, CRSs and rectification."),
    "locate": ("locate", "Find the points of a table in an image: columns, rows, values."),
    "arosics": ("arosics", "AROSICS' own command line: global and local, with its flags."),
    "demo": ("match", "Match and correct the pair of images that comes with xcoreg."),
}

# Parameters of mallopt(3) and their values: M_TRIM_THRESHOLD, free bytes at the end that go back to the system;
# M_MMAP_THRESHOLD, bytes of blocks that are mapped by themselves; M_ARENA_MAX, heaps for all threads.
_TRIM, _MAPPED, _HEAPS = (-1, 256 << 20), (-3, 32 << 20), (-8, 1)


def configure_memory() -> bool:
    """Let the C library reuse memory from one window to the next; True where it can (Linux).

    GDAL would cache blocks in a twentieth of the memory; a few consecutive windows need each: 64 MB, unless it is set.
    """
    os.environ.setdefault("GDAL_CACHEMAX", "64")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, no such library
        return False
    settings = [mallopt(*setting) for setting in (_TRIM, _MAPPED, _HEAPS)]  # all of them, whatever one returns
    return all(settings)


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002, D102
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002, D102
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"xcoreg.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002, D102
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    name="coreg", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="xcoreg")
def cli() -> None:
    """Sub-pixel coregistration of georeferenced rasters.

    The reference stays where it is, the target moves: x_ref = x_tgt + dx.

    Exit codes: 0 done, 2 bad usage or input, 3 no trustworthy match (with the reason), 1 any other error.
    """


def main() -> None:
    """Serve as the program `xcoreg`."""
    configure_memory()
    cli(prog_name="xcoreg")
