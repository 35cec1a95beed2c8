"""The command demo: the whole job on the bundled pair of real Sentinel-2 crops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xcoreg.cli.delivery import Delivery
from xcoreg.cli.inputs import open_image
from xcoreg.cli.job import Job
from xcoreg.cli.options import talk_options
from xcoreg.errors import MissingDependency, OptionError

if TYPE_CHECKING:
    from xcoreg.cli.job import Talk
    from xcoreg.results.coregistration import Coregistration

__all__ = ["demo"]


@click.command(cls=Job)
@click.option("--out", default="xcoreg_demo", show_default=True, metavar="DIR", help="Folder for what is written.")
@talk_options
def demo(talk: Talk, out: str) -> None:
    """Match and correct a real pair that comes with xcoreg, and draw it before and after.

    Writes the corrected GeoTIFF, the fit and a picture into a folder, replacing those of an earlier run.
    """
    from xcoreg import datasets

    folder = _made(Path(out))
    ref_path, tgt_path = (str(datasets.path(name)) for name in datasets.NAMES)
    ref, tgt = open_image(ref_path), open_image(tgt_path)
    fit = match(tgt, ref, progress=talk.progress)
    Delivery(folder / "corrected.tif", overwrite=True).write(tgt_path, fit)
    fixed = open_image(str(folder / "corrected.tif"))
    again = match(fixed, ref, progress=talk.progress)
    fit.save(folder / "fit.json")
    _tell(fit, again)
    talk.detail(fit.summary())
    drawn = _draw(folder / "before_after.png", (ref, tgt, fixed), fit, talk)
    for name in ("corrected.tif", "fit.json", *drawn):
        click.echo(f"{'wrote':<18}{folder / name}")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {folder}: {error.strerror}; name another one with --out") from error
    return folder


def _tell(fit: Coregistration, again: Coregistration) -> None:
    quality, shift = fit.quality, fit.shift
    rows = {
        "shift": str(shift),
        "length": f"{shift.length:.2f} {shift.unit}, angle {shift.angle:.1f}° from North" if shift else "",
        "left afterwards": str(again.shift),
        "similarity (SSIM)": f"{quality.ssim_before:.3f} before, {quality.ssim_after:.3f} after",
        "reliability": f"{quality.reliability:.0f} %, {quality.n_ok} of {quality.n_windows} windows agree",
    }
    for name, text in rows.items():
        click.echo(f"{name:<18}{text}")


def _draw(path: Path, images: tuple[Any, Any, Any], fit: Coregistration, talk: Talk) -> list[str]:
    try:
        from xcoreg.datasets import ATTRIBUTION
        from xcoreg.plot import plot_before_after, save_figure

        figure = plot_before_after(*images, fit=fit)
        figure.supxlabel(ATTRIBUTION, fontsize=9, x=0.99, ha="right")
        save_figure(figure, path)
    except MissingDependency as error:
        talk.warn(f"no picture: {error}")
        return []
    return [path.name]
