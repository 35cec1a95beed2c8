"""The command demo: match and correct the bundled pair of real Sentinel-2 crops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg.cli.console import ConsoleCommand
from xcoreg.cli.options import OutputOptions, console_options
from xcoreg.errors import MissingDependency, OptionError

if TYPE_CHECKING:
    from xcoreg.cli.console import Console
    from xcoreg.results.coregistration import Coregistration


@click.command(cls=ConsoleCommand)
@click.option("--out", default="xcoreg_demo", show_default=True, metavar="DIR", help="Folder of the outputs.")
@console_options
def demo(console: Console, out: str) -> None:
    """Match and correct the pair of real images that comes with xcoreg, and plot it before and after.

    Writes the corrected GeoTIFF, the fit and a figure into a folder, replacing those of an earlier run.
    """
    folder = Path(out)
    make_folder(folder, "--out")
    ref_path, tgt_path = (str(xcoreg.datasets.path(name)) for name in xcoreg.datasets.NAMES)
    ref, tgt = xcoreg.open_raster(ref_path), xcoreg.open_raster(tgt_path)
    fit = xcoreg.match(tgt, ref, progress=console.progress)
    OutputOptions(folder / "corrected.tif", overwrite=True).write(tgt_path, fit)
    fixed = xcoreg.open_raster(str(folder / "corrected.tif"))
    residual = xcoreg.match(fixed, ref, progress=console.progress)
    fit.save(folder / "fit.json")
    _print_results(fit, residual)
    console.detail(fit.summary())
    figures = _plot(folder / "before_after.png", (tgt, ref, fixed), fit, console)
    for name in ("corrected.tif", "fit.json", *figures):
        click.echo(f"{'wrote':<18}{folder / name}")


def make_folder(folder: Path, option: str) -> None:
    """Make a folder that an option names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot make the folder {folder}: {error.strerror}; give another one with {option}"
        ) from error


def _print_results(fit: Coregistration, residual: Coregistration) -> None:
    quality, shift = fit.quality, fit.shift
    rows = {
        "shift": str(shift),
        "length": f"{shift.length:.2f} {shift.unit}, angle {shift.angle:.1f}° from North",
        "residual shift": str(residual.shift),
        "similarity (SSIM)": f"{quality.ssim_before:.3f} before, {quality.ssim_after:.3f} after",
        "reliability": f"{quality.reliability:.0f} %, {quality.n_ok} of {quality.n_windows} windows agree",
    }
    for name, text in rows.items():
        click.echo(f"{name:<18}{text}")


def _plot(path: Path, images: tuple[Any, Any, Any], fit: Coregistration, console: Console) -> list[str]:
    try:
        figure = xcoreg.plot.plot_before_after(*images, fit=fit)
        figure.supxlabel(xcoreg.datasets.ATTRIBUTION, fontsize=9, x=0.99, ha="right")
        xcoreg.plot.save_figure(figure, path)
    except MissingDependency as error:
        console.warn(f"no figure: {error}")
        return []
    return [path.name]
