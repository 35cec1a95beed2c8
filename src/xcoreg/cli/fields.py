"""The commands warp and points: fields of shifts.

The command dem: elevation models, put right in x, y and z.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xcoreg.cli.common import MODELS, Job, band_option, local_options, talk_options, write_options
from xcoreg.cli.inputs import Delivery
from xcoreg.cli.match import KEPT, apart, find_points, match_files, match_files_locally, tell_result
from xcoreg.errors import MatchError, OptionError
from xcoreg.files import check_output
from xcoreg.matching.masks import outside
from xcoreg.results.tables import check_suffix

if TYPE_CHECKING:
    from xcoreg.cli.common import Talk
    from xcoreg.results.coregistration import Coregistration


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
    goal = Path(out)
    check_output(goal, inputs=(ref, tgt))
    if goal.exists() and not overwrite:
        raise OptionError(f"the output {goal} exists already: add --overwrite to replace it")
    check_suffix(goal)
    apart({"OUT": out, **{name: options[name] for name in KEPT}})
    found, _ = find_points(ref, tgt, options, talk)
    if not found.ok.any():
        counts = ", ".join(f"{n} {name}" for name, n in found.counts().items())
        raise MatchError(f"no window could be matched: {counts}", found)
    found.save(goal, columns=columns)
    talk.say("points", ", ".join(f"{n} {name}" for name, n in found.counts().items()))
    talk.say("wrote", out)


_LOCAL = ("model", "field", "table")
_SMALLEST = 16  # px
_FILE = click.Path(dir_okay=False)


@click.command(cls=Job)
@click.argument("ref")
@click.argument("tgt")
@click.argument("out", type=click.Path())
@click.option(
    "--matcher",
    default="nuth_kaab",
    show_default=True,
    metavar="NAMES",
    help="nuth_kaab, vertical or deramp; several, separated by commas, are estimated together. Variants follow a "
    "colon: nuth_kaab:classic, vertical:mean, deramp:2.",
)
@click.option(
    "--stable",
    "--where",
    "where",
    metavar="FILE",
    help="Ground that has not changed: raster mask (0 = leave out) or outlines, in any CRS.",
)
@click.option("--exclude", is_flag=True, help="FILE of --stable tells what has changed, such as glaciers.")
@click.option("--block", "--spacing", "spacing", type=float, help="Side of blocks, target px, to match one by one.")
@click.option("--model", type=click.Choice(MODELS), help="Model of the blocks' corrections.  [default: auto]")
@band_option("--band", "Band of the target that holds elevations: number from 1, or name.  [default: first]")
@band_option("--ref-band", "Band of the reference that holds elevations.")
@click.option("--max-shift", type=float, help="Largest horizontal shift believed, target px.")
@click.option("--nodata", type=float, help="Nodata value of the target (nan and -inf too).")
@click.option("--ref-nodata", type=float, help="Nodata value of the reference.")
@click.option("--save-fit", type=_FILE, help="Keep the result as JSON, for apply.")
@click.option("--report", type=_FILE, metavar="HTML", help="Write a page: differences before and after, blocks.")
@click.option("--field", type=_FILE, help="Write the field of the blocks as GeoTIFF.")
@click.option("--table", type=_FILE, help="Write what each block tells: .csv, .gpkg, .geojson, .parquet or .shp.")
@write_options
@talk_options
def dem(ref: str, tgt: str, out: str, talk: Talk, exclude: bool, table: str | None, **options: Any) -> None:
    """Find what brings the elevations TGT onto REF, in x, y and z, and write TGT, corrected, to OUT.

    One shift and one offset for all, unless --matcher asks for a tilt or --block for a field. Without --align-grid and
    --like one shift moves the transform and pixels are not interpolated, only raised. Integers become floating point.
    """
    delivery = Delivery.take(out, options)
    _check(options, exclude, table)
    delivery.check(ref, tgt)
    apart({"OUT": out, "table": table, **{name: options[name] for name in KEPT if name in options}})
    fit, nodata = _estimate(ref, tgt, options, talk, exclude), options["nodata"]
    tell_heights(fit, talk)
    if table:
        fit.points.save(table)
        talk.say("table", table)
    heights = fit.has_dz if delivery.vertical is None else delivery.vertical
    replace(delivery, vertical=heights).write(tgt, fit, nodata)
    talk.say("wrote", out)


def _check(options: dict[str, Any], exclude: bool, table: str | None) -> None:
    """Refuse options that do not go together, before any work."""
    if exclude and options["where"] is None:
        raise OptionError("--exclude needs --stable with a mask or outlines of what has changed")
    asked = [f"--{name}" for name in _LOCAL if options.get(name)]
    if options["spacing"] is None and (asked or table):
        raise OptionError(f"{', '.join(asked) or '--table'} belongs to blocks: add --block with their side")
    if options["spacing"] is not None and not options["spacing"] >= _SMALLEST:
        raise OptionError(f"--block {options['spacing']:g} is no side of blocks: give at least {_SMALLEST} target px")
    if table:
        check_output(table, inputs=tuple(one for one in (options["where"],) if one))
        check_suffix(Path(table))


def _estimate(ref: str, tgt: str, options: dict[str, Any], talk: Talk, exclude: bool) -> Coregistration:
    """Match, by blocks or as one."""
    names = [name.strip() for name in options.pop("matcher").split(",") if name.strip()]
    options["matcher"] = names[0] if len(names) == 1 else names
    if exclude:
        options["where"] = outside(options["where"])
    spacing = options["spacing"]
    if spacing is None:
        options |= {"debug": None}
        return match_files(ref, tgt, options, talk).fit
    options["model"] = options["model"] or "auto"
    return match_files_locally(ref, tgt, options, talk).fit


def tell_heights(fit: Coregistration, talk: Talk) -> None:
    """Tell what was found: a few lines, or every interim result when verbose.

    Parameters
    ----------
    fit : Coregistration
    talk : Talk
    """
    if talk.verbose:
        talk.detail(fit.summary())
        return
    if fit.is_field:
        talk.say("model", repr(fit.model))
    if len(fit.points) > 1:
        talk.say("blocks", ", ".join(f"{n} {name}" for name, n in fit.points.counts().items()))
    talk.say("mean" if fit.is_field else "shift", str(fit.shift))
    q = fit.quality
    if q.dh_count and math.isfinite(q.dh_nmad_after):
        talk.say(
            "heights",
            f"NMAD {q.dh_nmad_before:.3f} m before, {q.dh_nmad_after:.3f} m after; median {q.dh_median_before:+.3f} m "
            f"before, {q.dh_median_after:+.3f} m after; {q.dh_count} pixels",
        )
    for text in q.warnings:
        talk.warn(text)
