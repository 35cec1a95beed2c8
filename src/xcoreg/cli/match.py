"""The commands match, shift and apply.

From the options of a command to a fit, and from a fit to what programs read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xcoreg import coregister
from xcoreg.cli.common import Job, match_options, talk_options, write_options
from xcoreg.cli.demo import write_debug
from xcoreg.cli.inputs import Delivery, open_image, polygon
from xcoreg.core.matches import encode_column
from xcoreg.coregister import match_local, tie_points
from xcoreg.errors import MatchError, NoOverlap, OptionError, require
from xcoreg.files import check_output
from xcoreg.io.stores import write_gcps
from xcoreg.matching.masks import read_mask
from xcoreg.results.coregistration import load_fit
from xcoreg.warp.field_raster import write_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from xcoreg.cli.common import Talk
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints


@dataclass(frozen=True)
class Matched:
    """Two images and the fit between them."""

    fit: Coregistration
    tgt: Any
    ref: Any


def match_files(ref: str, tgt: str, options: dict[str, Any], talk: Talk) -> Matched:
    """Match two files as the options of :data:`xcoreg.cli.common.match_options` say.

    Parameters
    ----------
    ref, tgt : str
        Path, URL or GDAL name.
    options : dict
        One value per option; None stands for the default.
    talk : Talk
        Hears interim results and the reason of a failure.

    Returns
    -------
    Matched

    Raises
    ------
    MatchError
        When there is no trustworthy answer; with `debug`, footprints and windows are written all the same.
    """
    debug = options.pop("debug")
    keep = Keeping.take(options, (ref, tgt))
    images, chosen = _opened(ref, tgt, options)
    try:
        fit = coregister.match(images[1], images[0], progress=talk.progress, **chosen)
    except (MatchError, NoOverlap) as error:
        points = getattr(error, "points", None)
        _tell_windows(points, talk)
        if debug:
            _write_debug(debug, images, chosen, points, talk)
        raise
    if debug:
        _write_debug(debug, images, chosen, fit, talk)
    matched = Matched(fit, images[1], images[0])
    keep.write(matched, talk)
    return matched


def match_files_locally(ref: str, tgt: str, options: dict[str, Any], talk: Talk) -> Matched:
    """Match two files window by window as the options of :data:`xcoreg.cli.common.local_options` say.

    Parameters
    ----------
    ref, tgt, options, talk
        As for :func:`match_files`.

    Returns
    -------
    Matched

    Raises
    ------
    MatchError
        When there is no trustworthy answer.
    """
    keep = Keeping.take(options, (ref, tgt))
    images, chosen = _opened(ref, tgt, options)
    try:
        fit = match_local(images[1], images[0], progress=talk.progress, **chosen)
    except MatchError as error:
        _tell_windows(error.points, talk)
        raise
    matched = Matched(fit, images[1], images[0])
    keep.write(matched, talk)
    return matched


def find_points(ref: str, tgt: str, options: dict[str, Any], talk: Talk) -> Any:
    """Find the tie points of two files, as a fit without a model where none is to be kept or reported.

    Parameters
    ----------
    ref, tgt, options, talk
        As for :func:`match_files_locally`.

    Returns
    -------
    points : TiePoints
    target : DataArray or Dataset
    """
    if any(options[name] for name in KEPT if name != "gcps"):
        matched = match_files_locally(ref, tgt, options, talk)
        return matched.fit.points, matched.tgt

    keep = Keeping.take(options, (ref, tgt))
    images, chosen = _opened(ref, tgt, options)
    found = tie_points(images[1], images[0], progress=talk.progress, **chosen)
    if "gcps" in keep.goals and found.ok.any():
        write_gcps(tgt, found, keep.goals["gcps"])
        talk.say("gcps", keep.goals["gcps"])
    return found, images[1]


@dataclass(frozen=True)
class Keeping:
    """Files that a result leaves besides the image.

    Parameters
    ----------
    goals : dict of str
        Path by option: `save_fit` (JSON), `report` (a page), `field` (a raster), `gcps` (the target with them).
    target : str
        Path of the target.
    where : optional
        Ground that counts in differences of elevation.
    """

    goals: dict[str, str]
    target: str
    where: Any = None

    @classmethod
    def take(cls, options: dict[str, Any], images: tuple[str, str]) -> Keeping:
        """Take the options that concern these files out of the dictionary, and refuse files that cannot be written."""
        goals = {name: options.pop(name) for name in KEPT if options.get(name)}
        for name in KEPT:
            options.pop(name, None)
        for goal in goals.values():
            check_output(goal, inputs=(*images, *_files_of(options)))
        apart(goals)
        if "report" in goals:
            # Before the work: the page needs pictures.
            require("matplotlib", extra="plot")
        return cls(goals, images[1], options.get("where"))

    def write(self, matched: Matched, talk: Talk) -> None:
        """Write them."""
        fit = matched.fit
        writers: dict[str, Callable[[str], Any]] = {
            "save_fit": fit.save,
            "report": partial(fit.report, target=matched.tgt, reference=matched.ref, where=self.where),
            "field": partial(write_field, fit),
            "gcps": partial(write_gcps, self.target, fit.points),
        }
        for name, goal in self.goals.items():
            writers[name](goal)
            talk.say(name.removeprefix("save_"), goal)


KEPT = ("save_fit", "report", "field", "gcps")


def apart(goals: dict[str, Any]) -> None:
    """Refuse two outputs in one file.

    Parameters
    ----------
    goals : dict
        Paths by the name of their option.

    Raises
    ------
    OptionError

    Examples
    --------
    >>> apart({"OUT": "a.tif", "save_fit": "a.json", "report": None})
    """
    seen: dict[Path, str] = {}
    for name, goal in goals.items():
        if goal is None:
            continue
        shown, path = name if name.isupper() else f"--{name.replace('_', '-')}", Path(goal).absolute()
        if path in seen:
            raise OptionError(f"{shown} and {seen[path]} are the same file, {goal}: give two names")
        seen[path] = shown


def _opened(ref: str, tgt: str, options: dict[str, Any]) -> tuple[tuple[Any, Any], dict[str, Any]]:
    """Open the images, and what the options name; leave out options that were not given."""
    images = open_image(ref), open_image(tgt)
    chosen = {name: value for name, value in options.items() if value is not None}
    for side, image in zip(("ref_", ""), images, strict=True):
        crs = image.rio.crs
        footprint, where = f"{side}footprint", f"{side}where"
        if footprint in chosen:
            chosen[footprint] = polygon(chosen[footprint], crs, f"--{footprint.replace('_', '-')}")
        if isinstance(chosen.get(where), str):
            chosen[where] = read_mask(chosen[where], f"--{where.replace('_', '-')}")
    return images, chosen


def _files_of(options: dict[str, Any]) -> list[str]:
    names = ("where", "ref_where", "footprint", "ref_footprint", "points")
    return [str(getattr(options[name], "places", options[name])) for name in names if options.get(name)]


def _tell_windows(points: TiePoints | None, talk: Talk) -> None:
    if points is not None and len(points) and talk.verbose:
        columns = ["x", "y", "size", "dcol", "drow", "score", "reliability", "status"]
        talk.detail(points.to_dataframe()[columns].to_string(index=False, float_format="%.3f"))


def _write_debug(folder: str, images: tuple[Any, Any], options: dict[str, Any], found: Any, talk: Talk) -> None:
    for path in write_debug(folder, *images, options, found):
        talk.say("debug", str(path))


def report(fit: Coregistration) -> dict[str, Any]:
    """Everything a program may want to know about a fit, as plain JSON types.

    Parameters
    ----------
    fit : Coregistration

    Returns
    -------
    dict
        `answer` first: the shift in map units and target pixels, its uncertainty and quality; then all that
        :meth:`Coregistration.save` writes, so that the text is a fit file too.
    """
    shift, quality = fit.shift_or_none, fit.quality
    answer: dict[str, Any] = {"ok": fit.ok, "status": fit.status.name}
    if shift is not None:
        (sx, sy), (sc, sr) = shift.sigma, shift.sigma_px
        answer |= {"dx": shift.dx, "dy": shift.dy, "sigma_x": sx, "sigma_y": sy, "unit": shift.unit}
        answer |= {"dcol": shift.dcol, "drow": shift.drow, "sigma_col": sc, "sigma_row": sr}
        answer |= {"length": shift.length, "angle": shift.angle}
    names = ("reliability", "score", "ssim_before", "ssim_after", "n_windows", "n_ok")
    answer |= {name: getattr(quality, name) for name in names}
    return {"answer": {key: encode_column(value) for key, value in answer.items()}, **fit.to_dict()}


def tell_result(fit: Coregistration, talk: Talk) -> None:
    """Tell a result: a few lines, or every interim result when verbose.

    Parameters
    ----------
    fit : Coregistration
    talk : Talk
    """
    if talk.verbose:
        talk.detail(fit.summary())
        return
    quality = fit.quality
    if fit.model is not None and fit.model.kind != "translation":
        _tell_field(fit, talk)
        return
    talk.say("shift", str(fit.shift))
    talk.say(
        "quality",
        f"reliability {quality.reliability:.0f} %, similarity (SSIM) {quality.ssim_before:.3f} before, "
        f"{quality.ssim_after:.3f} after, {quality.n_ok} of {quality.n_windows} windows agree",
    )
    for text in quality.warnings:
        talk.warn(text)


def _tell_field(fit: Coregistration, talk: Talk) -> None:
    """Tell how a field was found: its model, its tie points, and how far off withheld ones are."""
    quality = fit.quality
    talk.say("model", repr(fit.model))
    talk.say("points", ", ".join(f"{n} {name}" for name, n in fit.points.counts().items()))
    talk.say(
        "withheld",
        f"RMSE {quality.rmse_before:.3f} px before, {quality.rmse_after:.3f} px after; "
        f"CE90 {quality.ce90_before:.3f} px before, {quality.ce90_after:.3f} px after",
    )
    for text in quality.warnings:
        talk.warn(text)


def _pretty(data: dict[str, Any]) -> str:
    """JSON with one line per entry, and the answer, which people read too, with one line per number."""
    lines = (json.dumps(value, allow_nan=False, indent=2 if key == "answer" else None) for key, value in data.items())
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {line}" for key, line in zip(data, lines, strict=True)) + "\n}"


@click.command(cls=Job)
@click.argument("ref")
@click.argument("tgt")
@match_options
@talk_options
def match(ref: str, tgt: str, talk: Talk, **options: Any) -> None:
    """Find the shift of TGT against REF and write it to stdout as JSON.

    The JSON is a fit file at the same time: what `apply` takes.
    """
    fit = match_files(ref, tgt, options, talk).fit
    tell_result(fit, talk)
    click.echo(_pretty(report(fit)))


@click.command(cls=Job)
@click.argument("ref")
@click.argument("tgt")
@click.argument("out", type=click.Path())
@match_options
@write_options
@talk_options
def shift(ref: str, tgt: str, out: str, talk: Talk, **options: Any) -> None:
    """Find the shift of TGT against REF and write TGT, corrected, to OUT.

    The transform moves and every pixel stays as it is, unless --align-grid or --like ask for another grid. OUT may
    be any raster format that GDAL writes.
    """
    delivery = Delivery.take(out, options)
    delivery.check(ref, tgt)
    apart({"OUT": out, **{name: options[name] for name in ("save_fit", "report")}})
    nodata = options["nodata"]
    fit = match_files(ref, tgt, options, talk).fit
    tell_result(fit, talk)
    delivery.write(tgt, fit, nodata)
    talk.say("wrote", out)


@click.command(cls=Job)
@click.argument("fit", type=click.Path())
@click.argument("image")
@click.argument("out", type=click.Path())
@click.option("--nodata", type=float, help="Nodata value of the image (nan and -inf too).")
@write_options
@talk_options
def apply(fit: str, image: str, out: str, talk: Talk, nodata: float | None, **options: Any) -> None:
    """Correct IMAGE by the fit kept in FIT and write it to OUT.

    IMAGE may be another band, a mask, or a product of another pixel size or CRS of the same scene. Resample masks
    with --resampling nearest.
    """
    delivery = Delivery.take(out, options)
    delivery.check(image, fit)
    loaded = load_fit(fit)
    if loaded.ok and loaded.model is not None:
        field = loaded.model.kind != "translation"
        talk.say("model" if field else "shift", repr(loaded.model) if field else str(loaded.shift))
    delivery.write(image, loaded, nodata)
    talk.say("wrote", out)
