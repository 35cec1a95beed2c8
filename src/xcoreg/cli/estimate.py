"""From the options of a command to a fit, and from a fit to what programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg.cli.inputs import open_image, polygon, use_only
from xcoreg.errors import MatchError, OptionError, require

if TYPE_CHECKING:
    from xcoreg.cli.job import Talk
    from xcoreg.points import TiePoints
    from xcoreg.result import Coregistration

__all__ = ["Keeping", "Matched", "find_points", "match_files", "match_files_locally", "report"]


@dataclass(frozen=True)
class Matched:
    """Two images and the fit between them."""

    fit: Coregistration
    tgt: Any
    ref: Any


def match_files(ref: str, tgt: str, options: dict[str, Any], talk: Talk) -> Matched:
    """Match two files as the options of :data:`xcoreg.cli.options.match_options` say.

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
    from xcoreg.engine import match

    debug = options.pop("debug")
    keep = Keeping.take(options, (ref, tgt))
    images, chosen = _opened(ref, tgt, options)
    try:
        fit = match(images[1], images[0], progress=talk.progress, **chosen)
    except MatchError as error:
        _tell_windows(error.points, talk)
        if debug:
            _write_debug(debug, images, chosen, error.points, talk)
        raise
    if debug:
        _write_debug(debug, images, chosen, fit, talk)
    matched = Matched(fit, images[1], images[0])
    keep.write(matched, talk)
    return matched


def match_files_locally(ref: str, tgt: str, options: dict[str, Any], talk: Talk) -> Matched:
    """Match two files window by window as the options of :data:`xcoreg.cli.options.local_options` say.

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
    from xcoreg.engine import match_local

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
    if options["save_fit"] or options["report"]:
        matched = match_files_locally(ref, tgt, options, talk)
        return matched.fit.points, matched.tgt
    from xcoreg.engine import tie_points

    Keeping.take(options, (ref, tgt))
    images, chosen = _opened(ref, tgt, options)
    return tie_points(images[1], images[0], progress=talk.progress, **chosen), images[1]


@dataclass(frozen=True)
class Keeping:
    """Files that a result leaves besides the image: the fit as JSON, and a page about it."""

    save_fit: str | None
    report: str | None

    @classmethod
    def take(cls, options: dict[str, Any], images: tuple[str, str]) -> Keeping:
        """Take the options that concern these files out of the dictionary, and refuse files that cannot be written."""
        from xcoreg.io.paths import check_output

        keep = cls(options.pop("save_fit"), options.pop("report"))
        goals = [goal for goal in (keep.save_fit, keep.report) if goal]
        for goal in goals:
            check_output(goal, inputs=(*images, *_files_of(options)))
        if len(goals) == 2 and Path(goals[0]).absolute() == Path(goals[1]).absolute():
            raise OptionError(f"--save-fit and --report are the same file, {goals[0]}: give two names")
        if keep.report:
            # Before the work: the page needs pictures.
            require("matplotlib", extra="plot")
        return keep

    def write(self, matched: Matched, talk: Talk) -> None:
        """Write them."""
        if self.save_fit:
            matched.fit.save(self.save_fit)
            talk.say("fit", str(self.save_fit))
        if self.report:
            matched.fit.report(self.report, target=matched.tgt, reference=matched.ref)
            talk.say("report", str(self.report))


def _opened(ref: str, tgt: str, options: dict[str, Any]) -> tuple[tuple[Any, Any], dict[str, Any]]:
    """Open the images, and what the options name; leave out options that were not given."""
    images = open_image(ref), open_image(tgt)
    chosen = {name: value for name, value in options.items() if value is not None}
    for side, image in zip(("ref_", ""), images, strict=True):
        crs = image.rio.crs
        for name, read in ((f"{side}footprint", polygon), (f"{side}where", use_only)):
            if name in chosen:
                chosen[name] = read(chosen[name], crs, f"--{name.replace('_', '-')}")
    return images, chosen


def _files_of(options: dict[str, Any]) -> list[str]:
    names = ("where", "ref_where", "footprint", "ref_footprint", "points")
    return [options[name] for name in names if options.get(name)]


def _tell_windows(points: TiePoints | None, talk: Talk) -> None:
    if points is not None and len(points) and talk.verbose:
        columns = ["x", "y", "size", "dcol", "drow", "score", "reliability", "status"]
        talk.detail(points.to_dataframe()[columns].to_string(index=False, float_format="%.3f"))


def _write_debug(folder: str, images: tuple[Any, Any], options: dict[str, Any], found: Any, talk: Talk) -> None:
    from xcoreg.cli.debug import write_debug

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
    from xcoreg.core.plain import encode_column

    shift, quality = fit.shift, fit.quality
    answer: dict[str, Any] = {"ok": fit.ok, "status": fit.status.name}
    if shift is not None:
        (sx, sy), (sc, sr) = shift.sigma, shift.sigma_px
        answer |= {"dx": shift.dx, "dy": shift.dy, "sigma_x": sx, "sigma_y": sy, "unit": shift.unit}
        answer |= {"dcol": shift.dcol, "drow": shift.drow, "sigma_col": sc, "sigma_row": sr}
        answer |= {"length": shift.length, "angle": shift.angle}
    names = ("reliability", "score", "ssim_before", "ssim_after", "n_windows", "n_ok")
    answer |= {name: getattr(quality, name) for name in names}
    return {"answer": {key: encode_column(value) for key, value in answer.items()}, **fit.to_dict()}
