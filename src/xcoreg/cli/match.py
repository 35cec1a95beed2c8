"""The commands match, shift, apply and demo; matching of two files, for these and the commands of fields.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import xcoreg
from xcoreg import presets
from xcoreg.cli import options as shared
from xcoreg.cli.console import Console, ConsoleCommand
from xcoreg.cli.paths import OutputFile, OutputFolder
from xcoreg.core.matches import describe_counts, encode_column
from xcoreg.errors import MatchError, MissingDependency, NoOverlap

if TYPE_CHECKING:  # --help must not wait for these
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.tiepoints import TiePoints

Images = tuple[Any, Any]  # reference and target
FactsOf = Callable[[Any], Iterator[tuple[str, str]]]  # of a Coregistration


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg match ref.tif tgt.tif > fit.json                 # shift, uncertainty and quality",
        "xcoreg match ref.tif tgt.tif --where scl:SCL.tif --report report.html",
    ],
)
@shared.pair_arguments
@shared.match_options
@shared.console_options
def match(ref: str, tgt: str, console: Console, **options: Any) -> None:
    """Measure the shift of TGT against REF and write it to stdout as JSON.

    The JSON is a fit file too, as `xcoreg apply` takes it.
    """
    fit = match_files(ref, tgt, options, console)
    print_fit(fit, console)
    click.echo(_fit_json(fit))


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg shift ref.tif tgt.tif fixed.tif                  # pixels untouched, the transform moves",
        "xcoreg shift ref.tif tgt.tif fixed.tif --preset sentinel2-l2a --align-grid --resampling cubic",
    ],
)
@shared.correct_arguments
@shared.match_options
@shared.swipe_option
@shared.write_options
@shared.console_options
def shift(ref: str, tgt: str, out: str, console: Console, **options: Any) -> None:
    """Match TGT with REF by one shift and write the corrected TGT to OUT.

    The transform moves and no pixel changes, unless --align-grid or --like ask for another grid. OUT may be any raster
    format that GDAL writes.
    """
    correct_with(match_files, ref, tgt, out, options, console)


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg apply fit.json clouds.tif clouds_fixed.tif --resampling nearest --like ref.tif",
        "xcoreg apply series/stack.json 20200105_nir.tif nir.tif   # by the date in its name, or --date",
    ],
)
@click.argument("fit", type=click.Path())
@shared.image_argument
@click.argument("out", type=OutputFile())
@click.option("--date", metavar="NAME", help="Of a FIT of xcoreg stack: which date IMAGE is.  [default: by its name]")
@shared.image_nodata_option
@shared.write_options
@shared.console_options
def apply(fit: str, image: str, out: str, console: Console, nodata: float | None, **options: Any) -> None:
    """Correct IMAGE by the saved FIT and write it to OUT. FIT may be a stack of dates.

    IMAGE may be another band, a mask, or a product of another pixel size or CRS of the same scene. Resample masks
    with --resampling nearest.
    """
    output, date = shared.OutputOptions.pop_from(options, out), options.pop("date")
    output.check(image)
    loaded = xcoreg.coregister.load_fit_of(fit, image, date)
    if loaded.ok and loaded.model is not None:
        label, text = (
            ("model", xcoreg.results.text.model_in_words(loaded)) if loaded.is_field else ("shift", str(loaded.shift))
        )
        console.print(label, text)
    output.write(image, loaded, nodata)
    console.print("wrote", out)


@click.command(
    cls=ConsoleCommand,
    examples=[
        "xcoreg demo                                             # into the folder xcoreg_demo",
        "xcoreg demo --out try --verbose",
    ],
)
@click.option(
    "--out", default="xcoreg_demo", show_default=True, metavar="DIR", type=OutputFolder(), help="Folder of the outputs."
)
@shared.console_options
def demo(console: Console, out: str) -> None:
    """Match and correct the pair of real images that comes with xcoreg, and plot it before and after.

    Writes the corrected GeoTIFF, the fit, a figure and a page to swipe into a folder; those of an earlier run are
    replaced.
    """
    folder = Path(out)
    shared.make_folder(folder, "--out")
    ref_path, tgt_path = (str(xcoreg.datasets.path(name)) for name in xcoreg.datasets.NAMES)
    ref, tgt = xcoreg.open_raster(ref_path), xcoreg.open_raster(tgt_path)
    fit = xcoreg.match(tgt, ref, progress=console.is_terminal)
    shared.OutputOptions(folder / "corrected.tif", overwrite=True).write(tgt_path, fit)
    fixed = xcoreg.open_raster(str(folder / "corrected.tif"))
    residual = xcoreg.match(fixed, ref, progress=console.is_terminal)
    fit.save(folder / "fit.json")
    _print_demo(fit, residual)
    console.detail(fit.summary())
    figures = _plot_demo(folder, (tgt, ref, fixed), fit, console)
    for name in ("corrected.tif", "fit.json", *figures):
        click.echo(f"{'wrote':<18}{folder / name}")
    console.print("next", "your own: xcoreg shift ref.tif tgt.tif fixed.tif --report report.html --swipe swipe.html")


def correct_with(
    find: Callable[..., Coregistration], ref: str, tgt: str, out: str, options: dict[str, Any], console: Console
) -> None:
    """Match two files, by a function of this module, and write the corrected target."""
    output = shared.OutputOptions.pop_from(options, out)
    output.check(tgt)
    nodata, swipe, bands = options["nodata"], options.get("swipe"), (options["band"], options["ref_band"])
    fit = find(ref, tgt, options, console)
    print_fit(fit, console)
    output.write(tgt, fit, nodata)
    console.print("wrote", out)
    if swipe:
        target, reference, corrected = (xcoreg.open_raster(path) for path in (tgt, ref, out))
        xcoreg.plot.swipe(target, reference, corrected, swipe, fit=fit, band=bands[0], ref_band=bands[1])
        console.print("swipe", swipe)


def match_files(ref: str, tgt: str, options: dict[str, Any], console: Console) -> Coregistration:
    """Match two files by one shift and write what the options ask for; `debug` files even without a match."""
    folder = options.pop("debug")
    files = shared.ResultFiles.pop_from(options, (ref, tgt))
    images, chosen = _open_pair(ref, tgt, options, console)
    try:
        fit = xcoreg.match(images[1], images[0], progress=console.is_terminal, **chosen)
    except (MatchError, NoOverlap) as error:
        points = getattr(error, "points", None)
        _print_windows(points, console)
        if folder:
            _write_debug(folder, images, chosen, points, console)
        raise
    if folder:
        _write_debug(folder, images, chosen, fit.points, console)
    files.write(fit, images, console)
    return fit


def match_files_locally(ref: str, tgt: str, options: dict[str, Any], console: Console) -> Coregistration:
    """Match two files by a field of shifts and write what else the options of :data:`local_options` ask for."""
    files = shared.ResultFiles.pop_from(options, (ref, tgt))
    images, chosen = _open_pair(ref, tgt, options, console)
    try:
        fit = xcoreg.match_local(images[1], images[0], progress=console.progress, **chosen)
    except MatchError as error:
        _print_windows(error.points, console)
        raise
    files.write(fit, images, console)
    return fit


def find_points(ref: str, tgt: str, options: dict[str, Any], console: Console) -> TiePoints:
    """Find the tie points of two files; a model is fitted only where a fit, a report or a field is asked for."""
    if any(options.get(name) for name in shared.RESULT_FILES if name != "gcps"):
        return match_files_locally(ref, tgt, options, console).points
    files = shared.ResultFiles.pop_from(options, (ref, tgt))
    images, chosen = _open_pair(ref, tgt, options, console)
    points = xcoreg.tie_points(images[1], images[0], progress=console.progress, **chosen)
    if "gcps" in files.paths and points.ok.any():
        xcoreg.coregister.write_gcps(tgt, points, files.paths["gcps"])
        console.print("gcps", files.paths["gcps"])
    return points


def read_reference(path: str) -> Any:
    """Open the reference of an elevation model: another one, or a vector file of points of known height."""
    if not xcoreg.coregister.is_vector(path):
        return xcoreg.open_raster(path)
    return xcoreg.csv_files.read_vectors(path, "points of known height")


def _open_pair(ref: str, tgt: str, options: dict[str, Any], console: Console) -> tuple[Images, dict[str, Any]]:
    """Open the images, a target without a transform rectified as it is matched; leave out options not given."""
    chosen = {name: value for name, value in options.items() if value is not None}
    reference = read_reference(ref) if options.get("matcher") else xcoreg.open_raster(ref)
    if console.preset:
        images = {"band": xcoreg.open_raster(tgt), "ref_band": reference}
        bands = presets.bands_of(console.preset, images, chosen)
        chosen |= bands
        if bands:
            found = ", ".join(f"--{name.replace('_', '-')} {band}" for name, band in bands.items())
            console.print("defaults", f"{found} from the preset {console.preset}")
    target = xcoreg.coregister.rectified_to(xcoreg.open_raster(tgt), reference, nodata=options.get("nodata"))
    if console.preset and "window" in chosen:
        fitting = presets.without_large_window(console.preset, chosen, target.coreg.grid, reference.coreg.grid)
        if fitting != chosen:
            console.print(
                "defaults", "the overlap is too small for the window of the preset: default window and spacing"
            )
        chosen = fitting
    return (reference, target), chosen


def _write_debug(folder: str, images: Images, options: dict[str, Any], points: Any, console: Console) -> None:
    from xcoreg.cli.debug import write_debug  # draws with matplotlib and writes with geopandas

    for path in write_debug(folder, images, options, points):
        console.print("debug", str(path))


def _fit_lines(fit: Coregistration) -> Iterator[tuple[str, str]]:
    q = fit.quality
    if fit.is_field:
        yield "model", xcoreg.results.text.model_in_words(fit)
        yield "points", describe_counts(fit.points.status)
        rmse = f"RMSE {q.rmse_before:.3f} px before, {q.rmse_after:.3f} px after"
        yield "check", f"{rmse}; CE90 {q.ce90_before:.3f} px before, {q.ce90_after:.3f} px after, at check points"
    else:
        yield "shift", str(fit.shift)
        ssim = f"similarity (SSIM) {q.ssim_before:.3f} before, {q.ssim_after:.3f} after"
        yield "quality", f"reliability {q.reliability:.0f} %, {ssim}, {q.n_ok} of {q.n_windows} windows agree"


def print_fit(fit: Coregistration, console: Console, lines: FactsOf = _fit_lines) -> None:
    """Print a fit in a few lines, or all of its summary when verbose."""
    if console.verbose:
        console.detail(fit.summary())
        return
    for label, text in lines(fit):
        console.print(label, text)
    for text in fit.quality.warnings:
        console.warn(text)


def _print_windows(points: TiePoints | None, console: Console) -> None:
    if points is not None and len(points) and console.verbose:
        columns = ["x", "y", "size", "dcol", "drow", "score", "reliability", "status"]
        console.detail(points.to_dataframe()[columns].to_string(index=False, float_format="%.3f"))


def _fit_json(fit: Coregistration) -> str:
    """All about a fit as a fit file: first the answer, one line per number, then one line per entry."""
    names = ("reliability", "score", "ssim_before", "ssim_after", "n_windows", "n_ok")
    numbers = {} if fit.shift_or_none is None else fit.shift.numbers()
    numbers |= {name: getattr(fit.quality, name) for name in names}
    answer = {"ok": fit.ok, "status": fit.status.name} | {name: encode_column(one) for name, one in numbers.items()}
    lines = [f'"answer": {json.dumps(answer, allow_nan=False, indent=2)}']
    lines += [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in fit.to_dict().items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _print_demo(fit: Coregistration, residual: Coregistration) -> None:
    quality, shift = fit.quality, fit.shift
    unit = xcoreg.results.text.UNITS.get(shift.unit, shift.unit)
    rows = {
        "shift": str(shift),
        "length": f"{shift.length:.2f} {unit}, angle {shift.angle:.1f}° from North",
        "residual shift": str(residual.shift),
        "similarity (SSIM)": f"{quality.ssim_before:.3f} before, {quality.ssim_after:.3f} after",
        "reliability": f"{quality.reliability:.0f} %, {quality.n_ok} of {quality.n_windows} windows agree",
    }
    for name, text in rows.items():
        click.echo(f"{name:<18}{text}")


def _plot_demo(folder: Path, images: tuple[Any, Any, Any], fit: Coregistration, console: Console) -> list[str]:
    """Write a figure and a page that show the pair before and after; without matplotlib neither."""
    try:
        figure = xcoreg.plot.plot_before_after(*images, fit=fit)
        figure.supxlabel(xcoreg.datasets.ATTRIBUTION, fontsize=9, x=0.99, ha="right")
        xcoreg.plot.save_figure(figure, folder / "before_after.png")
        xcoreg.plot.swipe(*images, folder / "swipe.html", fit=fit)
    except MissingDependency as error:
        console.warn(f"no figure: {error}")
        return []
    return ["before_after.png", "swipe.html"]
