"""From the options of a command to a fit, and from a fit to what programs read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg.cli.inputs import open_image, polygon, use_only
from xcoreg.errors import MatchError, NoOverlap, OptionError, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from xcoreg.cli.job import Talk
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints

__all__ = ["KEPT", "Keeping", "Matched", "apart", "find_points", "match_files", "match_files_locally", "report"]


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
    from xcoreg.matching.shift import match

    debug = options.pop("debug")
    keep = Keeping.take(options, (ref, tgt))
    images, chosen = _opened(ref, tgt, options)
    try:
        fit = match(images[1], images[0], progress=talk.progress, **chosen)
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
    from xcoreg.matching.field import match_local

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
    from xcoreg.matching.field import tie_points

    keep = Keeping.take(options, (ref, tgt))
    images, chosen = _opened(ref, tgt, options)
    found = tie_points(images[1], images[0], progress=talk.progress, **chosen)
    if "gcps" in keep.goals and found.ok.any():
        from xcoreg.io.stores import write_gcps

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
        from xcoreg.files import check_output

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
        from xcoreg.io.stores import write_gcps
        from xcoreg.warp.field_raster import write_field

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
    from xcoreg.warp.rectify import needs_rectifying, on_map

    images = open_image(ref), open_image(tgt)
    if needs_rectifying(images[1]):  # by control points or RPCs: the answer is told on a map
        images = images[0], on_map(open_image(tgt, chunks="auto"), images[0], nodata=options.get("nodata"))
    chosen = {name: value for name, value in options.items() if value is not None}
    for side, image in zip(("ref_", ""), images, strict=True):
        crs = image.rio.crs
        for name, read in ((f"{side}footprint", polygon), (f"{side}where", use_only)):
            if name in chosen:
                chosen[name] = read(chosen[name], crs, f"--{name.replace('_', '-')}")
    return images, chosen


def _files_of(options: dict[str, Any]) -> list[str]:
    names = ("where", "ref_where", "footprint", "ref_footprint", "points")
    return [str(getattr(options[name], "places", options[name])) for name in names if options.get(name)]


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
    from xcoreg.core.matches import encode_column

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
