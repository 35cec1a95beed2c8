"""The commands match, shift and apply."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from xcoreg.cli.delivery import Delivery
from xcoreg.cli.estimate import apart, match_files, report
from xcoreg.cli.job import Job
from xcoreg.cli.options import match_options, talk_options, write_options

if TYPE_CHECKING:
    from xcoreg.cli.job import Talk
    from xcoreg.results.coregistration import Coregistration

__all__ = ["apply", "match", "shift", "tell_result"]


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
    from xcoreg.results.coregistration import load_fit

    delivery = Delivery.take(out, options)
    delivery.check(image, fit)
    loaded = load_fit(fit)
    if loaded.ok and loaded.model is not None:
        field = loaded.model.kind != "translation"
        talk.say("model" if field else "shift", repr(loaded.model) if field else str(loaded.shift))
    delivery.write(image, loaded, nodata)
    talk.say("wrote", out)
