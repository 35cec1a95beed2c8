"""The options that several commands share, and the files they name: checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import xcoreg
from xcoreg.cli.console import Console
from xcoreg.cli.defaults import config_option, preset_option
from xcoreg.cli.paths import OutputFile, OutputFolder
from xcoreg.errors import OptionError, require

if TYPE_CHECKING:  # --help must not wait for these
    from xcoreg.results.coregistration import Coregistration

F = TypeVar("F", bound=Callable[..., Any])
MODELS = ("auto", "translation", "affine", "polynomial2", "polynomial3", "piecewise", "spline", "lines")
RESULT_FILES = ("save_fit", "report", "field", "gcps", "swipe")
_CONTRASTS = ("same", "reversed", "any")
_MATCHERS = ("auto", "phase", "structure")
GEOMETRIES = ("shift", "similarity", "affine", "homography", "auto")
_FILE = OutputFile()
_FIGURES = ("debug.*", "footprint_*", "overlap.geojson", "windows.geojson", "window_*", "surface_*")


def group_options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Join several click decorators into one; the help lists them in this order."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def band_option(name: str, text: str) -> Callable[[F], F]:
    """Make an option that takes a band: its number, from 1, or its name."""
    return click.option(name, metavar="BAND", callback=_band, help=text)


def resampling_option(default: str = "auto") -> Callable[[F], F]:
    """Make the option that chooses the interpolation kernel."""
    kinds: tuple[str, ...] = ("nearest", "bilinear", "cubic", "cubic_spline", "lanczos")
    text = "Interpolation kernel."
    if default == "auto":
        kinds = (default, *kinds, "average", "mode", "min", "q1", "med", "q3", "max")
        text = "Interpolation kernel; auto is cubic, and nearest for classes."
    return click.option("--resampling", type=click.Choice(kinds), default=default, show_default=True, help=text)


def _band(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    return int(value) if value is not None and value.isdecimal() else value


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip() not in ("", "none"))


# Paths complete in the shell; addresses and GDAL names are no files and are taken as they are.
image_path = click.Path(readable=False)
pair_arguments = group_options(click.argument("ref", type=image_path), click.argument("tgt", type=image_path))
image_argument = click.argument("image", type=image_path)
correct_arguments = group_options(pair_arguments, click.argument("out", type=OutputFile()))
overwrite_option = click.option(
    "--overwrite/--no-overwrite", default=False, show_default=True, help="Replace an existing OUT."
)
target_nodata_option = click.option("--nodata", type=float, help="Nodata value of the target (nan and -inf too).")
image_nodata_option = click.option("--nodata", type=float, help="Nodata value of IMAGE (nan and -inf too).")
reference_nodata_option = click.option("--ref-nodata", type=float, help="Nodata value of the reference.")
swipe_option = click.option(
    "--swipe", type=_FILE, metavar="HTML", help="Write a page to compare the images: swipe, flicker, zoom."
)
fit_option = click.option("--save-fit", type=_FILE, help="Save the fit as JSON, for xcoreg apply.")
format_options = group_options(
    click.option("--driver", help="GDAL's name of the output format.  [default: by the suffix of OUT]"),
    click.option("--co", multiple=True, metavar="KEY=VALUE", help="Creation option of the format; may be repeated."),
    overwrite_option,
)

console_options = group_options(
    config_option,
    click.option("-v", "--verbose", is_flag=True, help="Print interim results too."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
)

window_option = click.option(
    "--window", type=int, help="Side of a window, px.  [default: 256, less if the overlap is small]"
)
matcher_option = click.option(
    "--matcher",
    type=click.Choice(_MATCHERS),
    default="auto",
    show_default=True,
    help="Compare intensities (phase), directions of edges (structure: radar, maps, other bands), or edges where "
    "intensities find nothing.",
)
_shared = group_options(
    preset_option,
    band_option("--band", "Band of the target to match: number from 1, or name.  [default: first]"),
    band_option("--ref-band", "Band of the reference to match.  [default: first]"),
    click.option("--max-shift", type=float, help="Largest shift to search, target px.  [default: 0.4 of a window]"),
    click.option(
        "--contrast",
        type=click.Choice(_CONTRASTS),
        default="same",
        show_default=True,
        help="Whether what is bright in one image is bright in the other; 'any' tries both.",
    ),
    matcher_option,
    target_nodata_option,
    reference_nodata_option,
    click.option(
        "--footprint",
        type=image_path,
        metavar="WKT|FILE",
        help="Valid area of the target: WKT, or vectors.",
    ),
    click.option("--ref-footprint", type=image_path, metavar="WKT|FILE", help="Valid area of the reference."),
    click.option(
        "--where",
        type=image_path,
        metavar="FILE",
        help="Match only here: mask, quality layer (scl:FILE) or polygons.",
    ),
    click.option("--ref-where", type=image_path, metavar="FILE", help="Match only here in the reference: the same."),
    fit_option,
    click.option("--report", type=_FILE, metavar="HTML", help="Write a page with maps, tables and figures."),
)

match_options = group_options(
    window_option,
    click.option("--windows", type=int, default=9, show_default=True, help="Number of windows to match."),
    click.option("--at", type=float, nargs=2, metavar="X Y", help="Centre of the window, in the CRS of the target."),
    click.option(
        "--geometry",
        type=click.Choice(GEOMETRIES),
        default="shift",
        show_default=True,
        help="What is measured of the whole image: a shift, or rotation, scale and more; auto takes the simplest.",
    ),
    _shared,
    click.option("--debug", type=OutputFolder(*_FIGURES), metavar="DIR", help="Write footprints and figures here."),
)

local_options = group_options(
    click.option("--spacing", type=float, help="Distance between windows, target px.  [default: 200, less if small]"),
    window_option,
    click.option(
        "--model",
        type=click.Choice(MODELS),
        default="auto",
        show_default=True,
        help="Model of the field; auto chooses by the error at check points.",
    ),
    click.option(
        "--filters",
        metavar="NAMES",
        callback=_names,
        help="Outlier filters, in this order.  [default: reliability,ssim,neighbours,model; none: no filter]",
    ),
    click.option(
        "--terrain",
        type=image_path,
        metavar="FILE",
        help="Heights: allow for shifts in proportion to them (a poor DEM).",
    ),
    click.option(
        "--points",
        type=image_path,
        metavar="FILE",
        help="Match at these points, or use these tie points, instead of a grid.",
    ),
    _shared,
    click.option("--field", type=_FILE, help="Write the field as GeoTIFF: dx, dy and their standard deviation."),
    click.option(
        "--gcps", type=_FILE, help="Write TGT with the tie points as ground control points: GeoTIFF, or VRT over TGT."
    ),
)

write_options = group_options(
    click.option("--align-grid", is_flag=True, help="Resample once, onto the pixel lattice of the reference."),
    click.option("--like", type=image_path, metavar="RASTER", help="Resample once, onto the grid of this raster."),
    resampling_option(),
    click.option(
        "--vertical/--no-vertical",
        default=None,
        help="Add the vertical correction of the fit to the values.  [default: to bands of heights]",
    ),
    click.option(
        "--force", is_flag=True, help="Correct an image outside of the fit, or one that is corrected already."
    ),
    format_options,
)


def creation_options(pairs: tuple[str, ...]) -> dict[str, str]:
    """Turn `KEY=VALUE` pairs into a dictionary with lower-case keys.

    Examples
    --------
    >>> creation_options(("COMPRESS=zstd", "PREDICTOR=2"))
    {'compress': 'zstd', 'predictor': '2'}
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise OptionError(f"--co {pair!r} is not KEY=VALUE: write for example --co COMPRESS=DEFLATE")
        options[key.lower()] = value
    return options


def make_folder(folder: Path, option: str) -> None:
    """Make a folder that an option names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot make the folder {folder}: {error.strerror}"
        raise OptionError(f"{reason}; give another one with {option}") from error


@dataclass(frozen=True)
class OutputOptions:
    """The output that `write_options` describe: path, grid, kernel, vertical correction and format."""

    path: Path
    align_grid: bool = False
    like: str | None = None
    resampling: str = "auto"
    driver: str | None = None
    creation: dict[str, str] | None = None
    overwrite: bool = False
    vertical: bool | int | str | None = None
    force: bool = False

    @classmethod
    def pop_from(cls, options: dict[str, Any], path: str) -> OutputOptions:
        """Take the options of the output out of those of a command."""
        names = ("align_grid", "like", "resampling", "driver", "overwrite", "vertical", "force")
        chosen = {name: options.pop(name) for name in names}
        return cls(Path(path), creation=creation_options(options.pop("co")), **chosen)

    def check(self, image: str, *, heights: bool = False) -> None:
        """Refuse an output that cannot hold an image, before any work."""
        if self.align_grid and self.like:
            raise OptionError("--align-grid and --like name two output grids: choose one")
        xcoreg.coregister.check_format(self.path, self.driver, self.creation, image, heights=heights)

    def write(self, image: str, fit: Coregistration, nodata: float | None = None) -> None:
        """Correct an image by a fit and write it."""
        grid = {name: getattr(self, name) for name in ("align_grid", "like", "resampling", "vertical", "force")}
        form: dict[str, Any] = {"driver": self.driver, "creation": self.creation, "overwrite": self.overwrite}
        xcoreg.coregister.correct_file(image, fit, self.path, nodata=nodata, **grid, **form)


@dataclass(frozen=True)
class ResultFiles:
    """Files that a command writes besides the image, by option; the target; stable terrain, for elevations."""

    paths: dict[str, str]
    target: str
    where: Any = None

    @classmethod
    def pop_from(cls, options: dict[str, Any], images: tuple[str, str]) -> ResultFiles:
        """Take the options of these files out of those of a command, and refuse what cannot be drawn."""
        paths = {name: options.pop(name) for name in RESULT_FILES if options.get(name)}
        for name in RESULT_FILES:
            options.pop(name, None)
        if {"report", "swipe"} & paths.keys():
            require("matplotlib", extra="plot")
        return cls(paths, images[1], options.get("where"))

    def write(self, fit: Coregistration, images: tuple[Any, Any], console: Console) -> None:
        """Write them; images are reference and target."""
        raster = images[0] if hasattr(images[0], "rio") else None  # points of known height cannot be drawn
        writers: dict[str, Callable[[str], Any]] = {
            "save_fit": fit.save,
            "report": partial(fit.report, target=images[1], reference=raster, where=self.where),
            "field": partial(xcoreg.coregister.write_field, fit),
            "gcps": partial(xcoreg.coregister.write_gcps, self.target, fit.points),
        }
        for name, path in self.paths.items():
            if name in writers:  # the others need the corrected image
                writers[name](path)
                console.print(name.removeprefix("save_"), path)
