"""From the options of a command to a fit, and from a fit to what programs read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xcoreg.cli.inputs import open_image, polygon, use_only
from xcoreg.errors import MatchError

if TYPE_CHECKING:
    from xcoreg.cli.job import Talk
    from xcoreg.points import TiePoints
    from xcoreg.result import Coregistration

__all__ = ["Matched", "match_files", "report"]


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
    from xcoreg.io.paths import check_output

    save_fit, debug = options.pop("save_fit"), options.pop("debug")
    if save_fit:
        check_output(save_fit, inputs=(ref, tgt, *_files_of(options)))
    images = open_image(ref), open_image(tgt)
    chosen = {name: value for name, value in options.items() if value is not None}
    for side, image in zip(("ref_", ""), images, strict=True):
        crs = image.rio.crs
        for name, read in ((f"{side}footprint", polygon), (f"{side}where", use_only)):
            if name in chosen:
                chosen[name] = read(chosen[name], crs, f"--{name.replace('_', '-')}")
    try:
        fit = match(images[1], images[0], progress=talk.progress, **chosen)
    except MatchError as error:
        _tell_windows(error.points, talk)
        if debug:
            _write_debug(debug, images, chosen, error.points, talk)
        raise
    if debug:
        _write_debug(debug, images, chosen, fit, talk)
    if save_fit:
        fit.save(save_fit)
        talk.say("fit", str(save_fit))
    return Matched(fit, images[1], images[0])


def _files_of(options: dict[str, Any]) -> list[str]:
    names = ("where", "ref_where", "footprint", "ref_footprint")
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
