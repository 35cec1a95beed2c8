"""The commands warp and points: fields of shifts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xcoreg.cli.delivery import Delivery
from xcoreg.cli.estimate import KEPT, apart, find_points, match_files_locally
from xcoreg.cli.job import Job
from xcoreg.cli.moving import tell_result
from xcoreg.cli.options import local_options, talk_options, write_options
from xcoreg.errors import MatchError, OptionError

if TYPE_CHECKING:
    from xcoreg.cli.job import Talk

__all__ = ["points", "warp"]


@click.command(cls=Job)
@click.argument("ref")
@click.argument("tgt")
@click.argument("out", type=click.Path())
@local_options
@write_options
@talk_options
def warp(ref: str, tgt: str, out: str, talk: Talk, **options: Any) -> None:
    """Find the field of shifts of TGT against REF and write TGT, warped, to OUT.

    TGT is interpolated once: onto its own grid, unless --align-grid or --like ask for another one.
    """
    delivery = Delivery.take(out, options)
    delivery.check(ref, tgt)
    apart({"OUT": out, **{name: options[name] for name in KEPT}})
    nodata = options["nodata"]
    fit = match_files_locally(ref, tgt, options, talk).fit
    tell_result(fit, talk)
    delivery.write(tgt, fit, nodata)
    talk.say("wrote", out)


@click.command(cls=Job)
@click.argument("ref")
@click.argument("tgt")
@click.argument("out", type=click.Path())
@local_options
@click.option(
    "--columns",
    type=click.Choice(["xcoreg", "arosics"]),
    default="xcoreg",
    show_default=True,
    help="Names of the columns: these, or those of AROSICS' tables.",
)
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Replace an existing OUT.")
@talk_options
def points(ref: str, tgt: str, out: str, talk: Talk, columns: str, overwrite: bool, **options: Any) -> None:
    """Find tie points between TGT and REF and write them to OUT.

    The suffix of OUT tells the format: .gpkg, .geojson, .parquet, .shp or .csv. Windows that failed are in the table,
    too, with the reason in the column status.
    """
    from xcoreg.files import check_output
    from xcoreg.results.tables import check_suffix

    goal = Path(out)
    check_output(goal, inputs=(ref, tgt))
    if goal.exists() and not overwrite:
        raise OptionError(f"the output {goal} exists already: add --overwrite to replace it")
    check_suffix(goal)
    apart({"OUT": out, **{name: options[name] for name in KEPT}})
    spacing = round(options["spacing"]) if options["spacing"] else None
    found, target = find_points(ref, tgt, options, talk)
    if not found.ok.any():
        counts = ", ".join(f"{n} {name}" for name, n in found.counts().items())
        raise MatchError(f"no window could be matched: {counts}", found)
    grid = target.coreg.grid
    rows, cols = grid.shape
    found.save(goal, columns=columns, transform=tuple(grid.affine)[:6], shape=(rows, cols), spacing=spacing)
    talk.say("points", ", ".join(f"{n} {name}" for name, n in found.counts().items()))
    talk.say("wrote", out)
