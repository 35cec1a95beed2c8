"""The options that several commands share, stated once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["band_option", "creation_options", "local_options", "match_options", "talk_options", "write_options"]

F = TypeVar("F", bound="Callable[..., Any]")
CONTRASTS = ("same", "reversed", "any")
MODELS = ("auto", "translation", "affine", "polynomial2", "polynomial3", "piecewise", "spline")
RESAMPLING = ("nearest", "bilinear", "cubic", "lanczos")


def band_option(name: str, text: str) -> Callable[[F], F]:
    """Make an option that takes a band: its number, from 1, or its name.

    Parameters
    ----------
    name : str
        Of the option, with its dashes.
    text : str
        Help.

    Returns
    -------
    decorator
    """
    return click.option(name, metavar="BAND", callback=_band, help=text)


def _band(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    return int(value) if value is not None and value.isdecimal() else value


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip() not in ("", "none"))


def _stack(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):  # click lists them in the order of the source
            function = decorator(function)
        return function

    return decorate


talk_options = _stack(
    click.option("-v", "--verbose", is_flag=True, help="Tell every interim result."),
    click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors."),
)

_shared = (
    band_option("--band", "Band of the target to match: number from 1, or name.  [default: first]"),
    band_option("--ref-band", "Band of the reference to match."),
    click.option("--max-shift", type=float, help="Largest shift looked for, target px.  [default: 0.4 of a window]"),
    click.option(
        "--contrast",
        type=click.Choice(CONTRASTS),
        default="same",
        show_default=True,
        help="Is what is bright in one image bright in the other? 'any' tries both.",
    ),
    click.option("--nodata", type=float, help="Nodata value of the target (nan and -inf too)."),
    click.option("--ref-nodata", type=float, help="Nodata value of the reference."),
    click.option("--footprint", metavar="WKT|FILE", help="Known footprint of the target: WKT in its CRS, or vectors."),
    click.option("--ref-footprint", metavar="WKT|FILE", help="Known footprint of the reference."),
    click.option("--where", metavar="FILE", help="Use the target only here: raster mask (0 = leave out) or vectors."),
    click.option("--ref-where", metavar="FILE", help="Use the reference only here."),
    click.option("--save-fit", type=click.Path(dir_okay=False), help="Keep the result as JSON, for apply."),
    click.option(
        "--report", type=click.Path(dir_okay=False), metavar="HTML", help="Write a page with maps, tables and pictures."
    ),
)

match_options = _stack(
    click.option(
        "--window", type=int, help="Side of a window, matching px.  [default: 256, or what the overlap holds]"
    ),
    click.option("--windows", type=int, default=9, show_default=True, help="How many windows to match."),
    click.option("--at", type=float, nargs=2, metavar="X Y", help="Centre of the window, in the CRS of the target."),
    *_shared,
    click.option("--debug", type=click.Path(file_okay=False), metavar="DIR", help="Write footprints and figures here."),
)

local_options = _stack(
    click.option("--spacing", type=float, help="Distance of windows, target px.  [default: 200, less if small]"),
    click.option("--window", type=int, help="Side of a window, matching px.  [default: 256, less if small]"),
    click.option(
        "--model",
        type=click.Choice(MODELS),
        default="auto",
        show_default=True,
        help="Model of the field; auto chooses by the error at withheld tie points.",
    ),
    click.option(
        "--filters",
        metavar="NAMES",
        callback=_names,
        help="Outlier filters, in order: reliability,ssim,neighbours,model (default), some of them, or none.",
    ),
    click.option("--points", metavar="FILE", help="Match at these points, or use these tie points, instead of a grid."),
    *_shared,
    click.option("--field", type=click.Path(dir_okay=False), help="Write the field as GeoTIFF: dx, dy and its sigma."),
    click.option(
        "--gcps",
        type=click.Path(dir_okay=False),
        help="Write TGT with the tie points as ground control points: a GeoTIFF, or a .vrt that refers to TGT.",
    ),
)

write_options = _stack(
    click.option("--align-grid", is_flag=True, help="Resample once onto the pixel lattice of the reference."),
    click.option("--like", metavar="RASTER", help="Resample once onto exactly the grid of this raster."),
    click.option("--resampling", type=click.Choice(RESAMPLING), default="cubic", show_default=True),
    click.option(
        "--vertical/--no-vertical",
        default=None,
        help="Add the fit's vertical correction, if it has one, to the values.  [default: where these may be heights]",
    ),
    click.option("--driver", help="GDAL's name of the output format.  [default: by the suffix of OUT]"),
    click.option("--co", multiple=True, metavar="KEY=VALUE", help="Creation option of the format; may be repeated."),
    click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Replace an existing OUT."),
)


def creation_options(pairs: tuple[str, ...]) -> dict[str, str]:
    """Turn `KEY=VALUE` pairs into a dictionary with lower-case keys.

    Parameters
    ----------
    pairs : tuple of str

    Returns
    -------
    dict of str

    Raises
    ------
    OptionError
        When a pair has no key or no equals sign.

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
