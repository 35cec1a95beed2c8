"""The command batch: many scenes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xcoreg.batches.run import batch as run
from xcoreg.cli.common import (
    Failure,
    Job,
    NoMatch,
    creation_options,
    local_options,
    match_options,
    talk_options,
    write_options,
)
from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xcoreg.cli.common import Talk

    F = TypeVar("F", bound=Callable[..., Any])

# Options of the commands for one scene that serve here, too.
_MATCHING = ("band", "ref_band", "window", "max_shift", "contrast", "nodata", "ref_nodata", "where", "ref_where")
_WARP, _SHIFT = ("spacing", "model", "filters"), ("windows",)
_WRITING = ("align_grid", "like", "resampling", "driver", "co")


def _shared(decorator: Callable[..., Any], names: tuple[str, ...]) -> Callable[[F], F]:
    """Take some of the options that a decorator adds; none has a default of its own here."""
    known: list[click.Option] = decorator(lambda: None).__dict__["__click_params__"]
    chosen = [option for option in known if option.name in names]
    for option in chosen:
        option.default, option.show_default = None, False

    def decorate(function: F) -> F:
        function.__dict__.setdefault("__click_params__", []).extend(chosen)
        return function

    return decorate


@click.command(cls=Job)
@click.argument("jobs", nargs=-1, required=True)
@click.option("--ref", metavar="REF", help="The reference of all targets that have none of their own.")
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
@click.option("--memory", metavar="SIZE", help="What each of the workers may hold, such as 2GB.")
@click.option("--report/--no-report", default=False, help="Write a page of maps and pictures for every scene.")
@click.option("--retry", is_flag=True, help="Try again what was refused. What failed otherwise always is.")
@click.option("--manifest", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@_shared(write_options, _WRITING)
@_shared(match_options, _SHIFT)
@_shared(local_options, _WARP)
@_shared(local_options, _MATCHING)
@talk_options
def batch(jobs: tuple[str, ...], out: str, talk: Talk, **options: Any) -> None:
    """Correct many scenes: JOBS are targets, a pattern of targets in quotes, or a CSV table (target, reference, name).

    DIR gets NAME.tif for every scene, scenes/NAME.json with timing and quality, scenes/NAME.fit.json, manifest.csv and
    index.html. Run the same command again to go on where it stopped: what is done is not done again. Exit codes: 0 all
    corrected, 3 some refused (no trustworthy match), 1 some failed.
    """
    workers, scheduler = options.pop("workers"), options.pop("scheduler")
    if workers is not None and scheduler is not None:
        raise OptionError("--workers and --scheduler each say who does the work: choose one")
    creation = creation_options(options.pop("co") or ())
    chosen = {name: value for name, value in options.items() if value is not None}
    told = _Told(talk)
    pairs = jobs[0] if len(jobs) == 1 else list(jobs)
    try:
        found = run(
            pairs, out, workers=workers or scheduler, progress=talk.progress or told, creation=creation, **chosen
        )
    except KeyboardInterrupt:
        talk.warn(f"interrupted: finished scenes are whole in {out}; the same command goes on from here")
        raise
    counts = found.counts()
    talk.say("scenes", f"{len(found.records)}, {len(found.records) - found.n_new} of them done before")
    talk.say("wrote", str(Path(out) / "index.html"))
    if talk.progress:
        for record in found.records:
            told(record, bad_only=True)
    if counts.get("failed"):
        raise Failure(f"{counts['failed']} of {len(found.records)} scenes failed: the same command tries them again")
    if counts.get("refused"):
        raise NoMatch(f"{counts['refused']} of {len(found.records)} scenes were refused, the others are corrected")


class _Told:
    """Tells every scene in one line."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def __call__(self, record: dict[str, Any], bad_only: bool = False) -> None:
        if record["status"] != "done":
            self.talk.say(record["status"], f"{record['name']}: {record['reason']}")
        elif not bad_only:
            seconds = record["seconds"]["total"]
            moved = f"dcol={record['dcol']:+.3f}, drow={record['drow']:+.3f} px, " if "dcol" in record else ""
            self.talk.say("done", f"{record['name']}: {moved}{record['model']}, {seconds:.1f} s")
        for text in record.get("warnings", ()):
            if not bad_only:
                self.talk.detail(f"          {text}")
