"""The command batch: many scenes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

import xcoreg
from xcoreg.cli.console import Console, ConsoleCommand, Failure, NoMatch
from xcoreg.cli.options import F, console_options, creation_options, local_options, match_options, write_options
from xcoreg.errors import OptionError

_MASKS = ("where", "ref_where")
# Options of the commands for one scene that a batch has too.
_SHARED = ("band", "ref_band", "window", "max_shift", "contrast", "matcher", "nodata", "ref_nodata", *_MASKS)
_WARP, _SHIFT = ("spacing", "model", "filters"), ("windows", "geometry")
_WRITE = ("align_grid", "like", "resampling", "vertical", "driver", "co")


def _some_of(decorator: Callable[..., Any], names: tuple[str, ...]) -> Callable[[F], F]:
    """Take some of the options that a decorator adds, without their defaults."""
    known: list[click.Option] = decorator(lambda: None).__dict__["__click_params__"]
    chosen = [option for option in known if option.name in names]
    for option in chosen:
        option.default, option.show_default = None, False

    def decorate(function: F) -> F:
        function.__dict__.setdefault("__click_params__", []).extend(chosen)
        return function

    return decorate


@click.command(cls=ConsoleCommand)
@click.argument("jobs", nargs=-1, required=True)
@click.option("--ref", metavar="REF", help="Reference of all targets that have none of their own.")
@click.option("--out", required=True, metavar="DIR", type=click.Path(file_okay=False), help="Folder of the outputs.")
@click.option(
    "--verb",
    type=click.Choice(["shift", "warp"]),
    default="shift",
    show_default=True,
    help="One shift for each image, or a field of shifts.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes on this machine.  [default: scene after scene]")
@click.option("--scheduler", metavar="ADDRESS", help="Address of a dask scheduler, such as tcp://host:8786.")
@click.option("--memory", metavar="SIZE", help="Memory of each worker, such as 2GB.")
@click.option("--report/--no-report", default=False, help="Write a page of maps and figures for every scene.")
@click.option("--retry", is_flag=True, help="Try refused scenes again; failed ones always are.")
@click.option(
    "--manifest", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True, help="Format of the table."
)
@_some_of(write_options, _WRITE)
@_some_of(match_options, _SHIFT)
@_some_of(local_options, _WARP)
@_some_of(local_options, _SHARED)
@console_options
def batch(jobs: tuple[str, ...], out: str, console: Console, **options: Any) -> None:
    """Correct many scenes: JOBS are targets, a pattern of targets in quotes, or a CSV table (target, reference, name).

    DIR gets NAME.tif for every scene, scenes/NAME.json with timing and quality, scenes/NAME.fit.json, manifest.csv and
    index.html. Run the same command again to continue where it stopped: finished scenes are not repeated. Exit codes:
    0 all corrected, 3 some refused (no trustworthy match), 1 some failed.
    """
    workers, scheduler = options.pop("workers"), options.pop("scheduler")
    if workers is not None and scheduler is not None:
        raise OptionError("--workers and --scheduler both choose who does the work: give one of them")
    creation = creation_options(options.pop("co") or ())
    chosen = {name: value for name, value in options.items() if value is not None}

    print_scene = partial(_print_scene, console=console)
    try:
        found = xcoreg.batch(
            jobs[0] if len(jobs) == 1 else list(jobs),
            out,
            workers=workers or scheduler,
            progress=console.progress or print_scene,
            creation=creation,
            **chosen,
        )
    except KeyboardInterrupt:
        console.warn(f"interrupted: finished scenes are complete in {out}; run the same command again to continue")
        raise
    records, counts = found.records, found.counts()
    console.print("scenes", f"{len(records)}, {len(records) - found.n_new} of them done before")
    console.print("wrote", str(Path(out) / "index.html"))
    if console.progress:  # there was a bar instead of a line per scene
        for record in records:
            if record["status"] != "done":
                print_scene(record)
    if counts.get("failed"):
        raise Failure(f"{counts['failed']} of {len(records)} scenes failed: run the same command again to retry them")
    if counts.get("refused"):
        raise NoMatch(f"{counts['refused']} of {len(records)} scenes were refused, the others are corrected")


def _print_scene(record: dict[str, Any], console: Console) -> None:
    """Print a scene in one line, and its warnings when verbose."""
    if record["status"] == "done":
        seconds = record["seconds"]["total"]
        shift = f"dcol={record['dcol']:+.3f}, drow={record['drow']:+.3f} px, " if "dcol" in record else ""
        console.print("done", f"{record['name']}: {shift}{record['model']}, {seconds:.1f} s")
    else:
        console.print(record["status"], f"{record['name']}: {record['reason']}")
    for text in record.get("warnings", ()):
        console.detail(f"          {text}")
