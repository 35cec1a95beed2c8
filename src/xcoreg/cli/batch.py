"""The command batch: many scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import xcoreg
from xcoreg.cli.console import Console, ConsoleCommand, Failure, NoMatch
from xcoreg.cli.defaults import preset_option
from xcoreg.cli.options import (
    F,
    console_options,
    creation_options,
    image_path,
    local_options,
    match_options,
    write_options,
)
from xcoreg.cli.paths import OutputFolder
from xcoreg.cli.words import in_shell_words
from xcoreg.errors import OptionError

_MASKS = ("where", "ref_where")
# Options of the commands for one scene that a batch has too.
_SHARED = ("band", "ref_band", "window", "max_shift", "contrast", "matcher", "nodata", "ref_nodata", *_MASKS)
_WARP, _SHIFT = ("spacing", "model", "filters"), ("windows", "geometry")
_FEW = 10  # scenes: of more, lines show which part is done
_WRITE = ("align_grid", "like", "resampling", "vertical", "driver", "co")


def some_of(decorator: Callable[..., Any], names: tuple[str, ...]) -> Callable[[F], F]:
    """Take some of the options that a decorator adds, without their defaults."""
    known: list[click.Option] = decorator(lambda: None).__dict__["__click_params__"]
    chosen = [option for option in known if option.name in names]
    for option in chosen:
        option.default, option.show_default = None, False

    def decorate(function: F) -> F:
        function.__dict__.setdefault("__click_params__", []).extend(chosen)
        return function

    return decorate


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg batch scenes --ref ref.tif --out corrected --workers 4         # all rasters of a folder",
        "xcoreg batch items.json --asset red --ref ref.tif --out corrected     # a STAC item collection",
    ],
)
@click.argument("jobs", nargs=-1, required=True, type=image_path)
@click.option(
    "--ref",
    type=image_path,
    metavar="REF",
    help="Reference of all targets that have none of their own.",
)
@click.option("--out", required=True, metavar="DIR", type=OutputFolder(), help="Folder of the outputs.")
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
@click.option("--adjust", is_flag=True, help="Match all targets with each other too, and adjust them together.")
@click.option("--retry", is_flag=True, help="Try refused and skipped scenes again; failed ones always are.")
@click.option("--asset", metavar="NAME", help="Asset of STAC items, by its key or the common name of its band.")
@preset_option
@click.option(
    "--manifest", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True, help="Format of the table."
)
@some_of(write_options, _WRITE)
@some_of(match_options, _SHIFT)
@some_of(local_options, _WARP)
@some_of(local_options, _SHARED)
@console_options
def batch(jobs: tuple[str, ...], out: str, console: Console, **options: Any) -> None:
    """Correct many scenes: JOBS are targets, a folder, a pattern in quotes, a CSV table or STAC items.

    The columns of the table are target, reference and name; STAC items are JSON, one or a collection. DIR gets
    NAME.tif for every scene, scenes/NAME.json with timing and quality, scenes/NAME.fit.json, manifest.csv and
    index.html. Run the same command again to continue where it stopped: finished scenes are not repeated. Scenes that
    do not overlap their reference are skipped. Exit codes: 0 all others corrected, 3 some refused (no trustworthy
    match) or none corrected, 1 some failed.
    """
    workers, scheduler = options.pop("workers"), options.pop("scheduler")
    if workers is not None and scheduler is not None:
        raise OptionError("--workers and --scheduler both choose who does the work: give one of them")
    creation = creation_options(options.pop("co") or ())
    chosen = {name: value for name, value in options.items() if value is not None}

    lines = SceneLines(console)
    if console.preset is not None:
        chosen["preset"] = console.preset
    try:
        found = xcoreg.batch(
            jobs[0] if len(jobs) == 1 else list(jobs),
            out,
            workers=workers or scheduler,
            progress=console.is_terminal or lines,
            creation=creation,
            **chosen,
        )
    except KeyboardInterrupt:
        console.warn(f"interrupted: finished scenes are complete in {out}; run the same command again to continue")
        raise
    records, counts = found.records, found.counts()
    if counts.keys() - {"done"}:
        found._write_page(lambda text: in_shell_words(text, console.options))
    console.print("scenes", f"{len(records)}, {len(records) - found.n_new} of them done before")
    console.print("wrote", str(Path(out) / "index.html"))
    if console.is_terminal:  # there was a bar instead of lines
        for record in records:
            if record["status"] != "done":
                lines.print_scene(record)
    if counts.get("failed"):
        raise Failure(f"{counts['failed']} of {len(records)} scenes failed: run the same command again to retry them")
    if counts.get("refused"):
        others = "are corrected" if not counts.get("skipped") else "are corrected or skipped"
        raise NoMatch(f"{counts['refused']} of {len(records)} scenes were refused, the others {others}")
    if not counts.get("done"):
        raise NoMatch(f"none of {len(records)} scenes overlaps its reference: check CRSs and paths")


class SceneLines:
    """Prints scenes as they end: those that were not corrected, and of the others one at every tenth of the work."""

    def __init__(self, console: Console) -> None:
        self.console, self.total, self.done = console, 1, 0

    def start(self, total: int) -> None:
        """Learn how many scenes there are to do."""
        self.total, self.done = max(total, 1), 0

    def __call__(self, record: dict[str, Any]) -> None:
        """Print a scene that was not corrected, or that ends a tenth of the work."""
        tenths = [10 * n // self.total for n in (self.done, self.done + 1)]
        self.done += 1
        share = f" ({100 * self.done // self.total} %)" if self.total > _FEW else ""
        if tenths[0] < tenths[1] or record["status"] != "done" or self.console.verbose:
            self.print_scene(record, share)

    def print_scene(self, record: dict[str, Any], share: str = "") -> None:
        """Print a scene in one line, and its warnings when verbose."""
        if record["status"] == "done":
            seconds = record["seconds"]["total"]
            shift = f"dcol={record['dcol']:+.3f}, drow={record['drow']:+.3f} px, " if "dcol" in record else ""
            self.console.print("done", f"{record['name']}: {shift}{record['model']}, {seconds:.1f} s{share}")
        else:
            reason = in_shell_words(record["reason"], self.console.options)
            self.console.print(record["status"], f"{record['name']}: {reason}{share}")
        for text in record.get("warnings", ()):
            self.console.detail(f"          {text}")
