"""The commands `xcoreg arosics global` and `local`: the flags of AROSICS' command line, for :mod:`xcoreg.arosics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from xcoreg.cli import configure_memory
from xcoreg.cli.console import Console, ConsoleCommand
from xcoreg.cli.options import F, group_options
from xcoreg.cli.paths import OutputFile


def _flag(flag: str, name: str, text: str, **how: Any) -> Callable[[F], F]:
    """Make one option under the flag of AROSICS; one that is not given is left to its default."""
    return click.option(flag, name, default=None, help=text, **how)


_pair = {"type": float, "nargs": 2}
_common = group_options(
    click.argument("ref"),
    click.argument("tgt"),
    _flag("-o", "path_out", "Output; 'auto' names it after both images.", type=OutputFile()),
    _flag("-fmt_out", "fmt_out", "GDAL's name of the output format.  [default: ENVI]"),
    _flag("-br", "r_b4match", "Band of the reference, from 1.", type=int),
    _flag("-bs", "s_b4match", "Band of the target, from 1.", type=int),
    _flag("-ws", "window_size", "Columns and rows of the windows, px.", type=int, nargs=2),
    _flag("-max_iter", "max_iter", "No effect: a shift is refined until it settles.", type=int),
    _flag("-max_shift", "max_shift", "Largest shift on each axis, px.  [default: 5]", type=float),
    _flag("-rsp_alg_deshift", "resamp_alg_deshift", "Kernel of the output.  [default: cubic]"),
    _flag("-rsp_alg_calc", "resamp_alg_calc", "No effect: windows are resampled by a Lanczos kernel."),
    _flag("-cor0", "data_corners_ref", "Corners of the reference: x0 y0 x1 y1 ..., in quotes."),
    _flag("-cor1", "data_corners_tgt", "Corners of the target: x0 y0 x1 y1 ..., in quotes."),
    _flag("-calc_cor", "calc_corners", "No effect: footprints take milliseconds.", type=int),
    _flag("-nodata", "nodata", "Nodata of the reference and of the target.", **_pair),
    _flag("-bin_ws", "binary_ws", "No effect: windows of any size transform fast.", type=int),
    _flag("-quadratic_win", "force_quadratic_win", "0: windows may be rectangles.", type=int),
    _flag("-mask_ref", "mask_baddata_ref", "Mask of the reference, true where it is bad.", type=click.Path()),
    _flag("-mask_tgt", "mask_baddata_tgt", "Mask of the target, true where it is bad.", type=click.Path()),
    _flag("-mp", "CPUs", "No effect: results do not depend on the number of workers.", type=int),
    _flag("-progress", "progress", "1: show a progress bar.", type=int),
    _flag("-ignore_errors", "ignore_errors", "1: end without an error where nothing can be trusted.", type=int),
    click.option("-v", "verbose", default=None, is_flag=False, flag_value="1", help="Print interim results too."),
    click.option("-q", "quiet", default=None, is_flag=False, flag_value="1", help="Print errors only."),
)


class _ArosicsCommand(ConsoleCommand):
    """AROSICS writes ``-v 1`` and ``-q 1`` where others write flags."""

    def invoke(self, ctx: click.Context) -> Any:
        for name in ("verbose", "quiet"):
            ctx.params[name] = str(ctx.params.get(name) or "0").lower() not in ("0", "false")
        return super().invoke(ctx)


def _options(given: dict[str, Any], console: Console) -> dict[str, Any]:
    """Options as the classes take them: what was given alone."""
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in ("data_corners_ref", "data_corners_tgt"):
        if name in chosen:
            numbers = [float(part) for part in chosen[name].replace(",", " ").split()]
            chosen[name] = list(zip(numbers[::2], numbers[1::2], strict=True))
    return chosen | {"q": not console.progress}


def _finish(job: Any, console: Console) -> None:
    """Match, correct where an output was asked for, and print the result."""
    if job.calculate_spatial_shifts() != "success":
        console.warn(f"no trustworthy match: {job.tracked_errors[-1]}")
        return
    console.print(
        "model" if job.fit.is_field else "shift", repr(job.fit.model) if job.fit.is_field else str(job.fit.shift)
    )
    if job.params["path_out"]:
        job.correct_shifts()
        console.print("wrote", job.path_out)


@click.group()
def arosics() -> None:
    """AROSICS' command line: the same flags, over xcoreg.

    Signs and units are those of AROSICS, too. `arosics-x` is the same program under a name of its own.
    """


@arosics.command(
    "global",
    cls=_ArosicsCommand,
    examples=[
        "xcoreg arosics global ref.tif tgt.tif -o out.tif -max_shift 10",
        "xcoreg arosics global ref.tif tgt.tif -o out.tif -wp 354223 5805559 -ws 256 256",
    ],
)
@_common
@_flag("-wp", "wp", "Centre of the window, x y in the CRS of the target.", **_pair)
@_flag("-align_grids", "align_grids", "1: output on the lattice of the reference.", type=int)
@_flag("-match_gsd", "match_gsd", "1: output with the pixel size of the reference.", type=int)
@_flag("-out_gsd", "out_gsd", "Pixel size of the output along x and y.", **_pair)
@_flag("-vo", "path_verbose_out", "No effect: plots are made where they are asked for.", type=click.Path())
def global_(ref: str, tgt: str, console: Console, **options: Any) -> None:
    """Match TGT with REF by one shift."""
    from xcoreg.arosics import COREG  # --help need not wait for it

    _finish(COREG(ref, tgt, **_options(options, console)), console)


@arosics.command(
    "local",
    cls=_ArosicsCommand,
    examples=[
        "xcoreg arosics local ref.tif tgt.tif 100 -o out.tif     # a point every 100 px",
        "xcoreg arosics local ref.tif tgt.tif 100 -o out.tif -max_points 500 -tieP_filter_level 2",
    ],
)
@_common
@click.argument("grid_res", type=float)
@_flag("-max_points", "max_points", "At most so many points, evenly spread.", type=int)
@_flag("-projectDir", "projectDir", "Folder of the outputs.", type=click.Path())
@_flag(
    "-tieP_filter_level", "tieP_filter_level", "0 none, 1 reliability, 2 similarity, 3 all.", type=click.IntRange(0, 3)
)
@_flag("-tieP_random_state", "tieP_random_state", "No effect: points are chosen evenly.", type=int)
@_flag("-min_reliability", "min_reliability", "Percent.  [default: 60]", type=float)
@_flag("-rs_max_outlier", "rs_max_outlier", "No effect: outliers are flagged by their residuals.", type=float)
@_flag("-rs_tolerance", "rs_tolerance", "No effect: outliers are flagged by their residuals.", type=float)
def local(ref: str, tgt: str, grid_res: float, console: Console, **options: Any) -> None:
    """Match TGT with REF by a field of shifts, from points GRID_RES px apart."""
    from xcoreg.arosics import COREG_LOCAL  # --help need not wait for it

    _finish(COREG_LOCAL(ref, tgt, grid_res, **_options(options, console)), console)


def main() -> None:
    """Serve as the program `arosics-x`."""
    configure_memory()
    arosics(prog_name="arosics-x")
