"""The command stack: all dates of a time series, adjusted together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg.cli import options as shared
from xcoreg.cli.batch import some_of
from xcoreg.cli.console import Console, ConsoleCommand, NoMatch
from xcoreg.cli.paths import OutputFolder, check_new
from xcoreg.errors import OptionError, require

if TYPE_CHECKING:  # --help must not wait for these
    from xcoreg.results.stack import StackFit

_MATCH = ("band", "ref_band", "window", "max_shift", "contrast", "nodata", "ref_nodata", "where", "ref_where")
_WARP = ("spacing", "model")
_WRITE = ("align_grid", "like", "resampling", "driver", "co", "force", "overwrite")


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg stack 2019*.tif 2020*.tif --out series            # the mean of the dates stays in place",
        "xcoreg stack *.tif --ref ortho.tif --out series --report  # onto a reference, with a page of figures",
    ],
)
@click.argument("images", nargs=-1, required=True, type=shared.image_path)
@click.option(
    "--out", required=True, metavar="DIR", type=OutputFolder("stack.html", "stack.json"), help="Folder of the outputs."
)
@click.option(
    "--ref", metavar="REF", type=shared.image_path, help="Image that has its place; else the mean of the dates stays."
)
@click.option("--datum", metavar="NAME", help="What stays in place instead: mean, or the name of a date.")
@click.option("--fields", is_flag=True, help="Measure a field of shifts for each date, not one shift.")
@click.option("--spacing", type=float, help="With --fields: distance between windows, px.  [default: half of a window]")
@click.option("--model", type=click.Choice(shared.MODELS[:-1]), help="With --fields: model of each.  [default: auto]")
@click.option("--pairs", type=click.Choice(["auto", "all"]), help="Which pairs of dates to match.  [default: auto]")
@click.option("--max-pairs", type=click.IntRange(1), help="Pairs to match at most.  [default: 8 for each date]")
@click.option(
    "--extend",
    metavar="JSON",
    type=shared.image_path,
    help="Earlier stack of some of these dates: only new pairs are matched.",
)
@click.option("--images/--no-images", "write", default=True, help="Write the corrected dates, or the stack alone.")
@click.option("--report/--no-report", default=False, help="Write a page of tables and figures.")
@some_of(shared.write_options, _WRITE)
@some_of(shared.local_options, _MATCH)
@shared.console_options
def stack(images: tuple[str, ...], out: str, console: Console, **options: Any) -> None:
    """Match all dates of a time series with each other and correct them together.

    IMAGES are files of one place on any grids. DIR gets NAME.tif for every date, stack.json with every pair and every
    correction, and stack.html with --report. Without --align-grid and --like only transforms move. Exit codes: 0 all
    dates corrected, 3 some have no trustworthy correction.
    """
    folder, ref = Path(out), options.pop("ref")
    report, write = options.pop("report"), options.pop("write")
    output = {name: options.pop(name) for name in _WRITE}
    if report:
        require("matplotlib.figure", extra="plot")
    goals = _goals((*images, ref, options["extend"]), images, folder, output) if write else {}
    shared.make_folder(folder, "--out")
    found = _measure(images, ref, options, console)
    found.save(folder / "stack.json")
    _print_stack(found, console)
    if report:
        found.report(folder / "stack.html")
        console.print("wrote", str(folder / "stack.html"))
    creation = shared.creation_options(output.pop("co") or ())
    chosen = {name: value for name, value in output.items() if value is not None}
    for (image, goal), name in zip(goals.items(), found.names, strict=False):
        if found.dates[found.position(name)].status.ok:
            xcoreg.coregister.correct_file(image, found.fit(name), goal, creation=creation, **chosen)
            console.print("wrote", str(goal))
    console.print("wrote", str(folder / "stack.json"))
    if found.refused:
        raise NoMatch(f"{len(found.refused)} of {len(found.names)} dates have no trusted correction, the others have")


def _measure(images: tuple[str, ...], ref: str | None, options: dict[str, Any], console: Console) -> StackFit:
    """Match the dates as the options say."""
    fields, earlier = options.pop("fields"), options.pop("extend")
    chosen = {name: value for name, value in options.items() if value is not None}
    needless = [name for name in _WARP if name in chosen and not fields]
    if needless:
        raise OptionError(f"--{needless[0]} belongs to fields of shifts: add --fields")
    if earlier is not None:
        if fields:
            raise OptionError("--extend and --fields do not go together: fields are matched again")
        return xcoreg.extend_stack(xcoreg.load_stack(earlier), images, ref, progress=console.progress, **chosen)
    verb: Any = xcoreg.match_stack_local if fields else xcoreg.match_stack
    return verb(images, ref, progress=console.progress, **chosen)  # type: ignore[no-any-return]


def _goals(inputs: Any, images: tuple[str, ...], folder: Path, output: dict[str, Any]) -> dict[str, Path]:
    """Output of every image, by its name; checked before any work."""
    goals = {image: folder / f"{Path(image).stem}.tif" for image in images}
    if len(set(goals.values())) < len(images):
        raise OptionError("several images have one name, and so would their outputs: correct them one folder at a time")
    if folder.exists():
        for goal in goals.values():
            check_new(goal, inputs, bool(output["overwrite"]))
    return goals


def _print_stack(found: StackFit, console: Console) -> None:
    if console.verbose:
        console.detail(found.summary())
        return
    quality = found.quality
    console.print("stack", repr(found).removeprefix("StackFit(").removesuffix(")"))
    if quality.triangles:
        console.print("triangles", f"{quality.triangles}, median {quality.triangle_median:.3f} px")
    for one in found.refused:
        console.print("refused", f"{one.name}: {one.reason}")
