"""How a command talks and how it ends: people read stderr, programs read stdout and the exit code.

How the program's own process holds memory; as a library, xcoreg leaves that to whoever uses it.

The options that several commands share, stated once.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xcoreg.errors import CoregError, CoregWarning, GridError, MatchError, NotGeoreferenced, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


# Options as the library's messages spell them, for Python: the shell writes --max-shift for max_shift=.
_KEYWORD = re.compile(
    r"\b((?:ref_)?(?:band|nodata|where|footprint)|windows?|at|max_shift|contrast|align_grid|like|resampling|driver"
    r"|overwrite|spacing|model|filters|points|matcher)=([\w'(+-]?)"
)
# The cures of the library's messages are Python's; rio comes with rasterio.
_EDIT = {
    "control points": "xcoreg georef rectify FILE OUT",
    "RPCs": "xcoreg georef rectify FILE OUT",
    "CRS": "rio edit-info --crs EPSG:CODE FILE",
    "transform": "rio edit-info --transform '[a, b, c, d, e, f]' FILE",
}
_BAD_INPUT = (OptionError, GridError, FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)


class Failure(click.ClickException):
    """Any error, as one sentence for people and an exit code for programs."""

    exit_code = 1
    title = "Error"

    def show(self, file: Any = None) -> None:
        """Write the sentence to stderr."""
        click.echo(f"{self.title}: {self.format_message()}", file=file, err=True)


class BadInput(Failure):
    """An option or an input that cannot be used."""

    exit_code = 2


class NoMatch(Failure):
    """No trustworthy match, with the reason."""

    exit_code = 3
    title = "No trustworthy match"


def with_cure(text: str) -> str:
    """Add to a message about a missing georeference what cures it in the shell.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> with_cure("target has no CRS")
    'target has no CRS; in the shell: rio edit-info --crs EPSG:CODE FILE'
    """
    missing = next((key for key in ("control points", "RPCs", "CRS") if key in text), "transform")
    return f"{text}; in the shell: {_EDIT[missing]}"


def failure_of(error: Exception) -> Failure:
    """Turn an error into one sentence and an exit code.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    Failure
        Exit code 2 for input that cannot be used, 3 for no trustworthy match, 1 for any other error.

    Examples
    --------
    >>> [failure_of(error).exit_code for error in (MatchError("flat"), OptionError("band 9 of 3"), RuntimeError("?"))]
    [3, 2, 1]
    """
    text = " ".join(str(error).split())
    if "previous exception" in text and error.__cause__ is not None:  # rasterio keeps GDAL's own words one step below
        hint = "an image cannot be read, it may be damaged" if "Read" in text else "the output cannot be written"
        text = f"{hint}: {error.__cause__}"
    if isinstance(error, CoregError):
        text = _KEYWORD.sub(lambda found: f"--{found[1].replace('_', '-')}{' ' * bool(found[2])}{found[2]}", text)
    if isinstance(error, NotGeoreferenced):
        text = with_cure(text)
    if isinstance(error, MatchError):
        return NoMatch(text.removeprefix("no trustworthy match: "))
    if isinstance(error, _BAD_INPUT):
        return BadInput(text)
    if isinstance(error, MemoryError):
        return Failure(f"out of memory {text}".rstrip())
    if isinstance(error, OSError | CoregError):
        return Failure(text)
    return Failure(f"{type(error).__name__}: {text} (this may be a bug: --verbose shows where)")


class Talk:
    """Everything a command says to people, on stderr.

    Parameters
    ----------
    verbose : bool
        Tell interim results too, and all warnings.
    quiet : bool
        Tell nothing but errors.

    Examples
    --------
    >>> Talk(quiet=True).say("wrote", "out.tif")
    """

    def __init__(self, *, verbose: bool = False, quiet: bool = False) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.last_warning = ""

    @property
    def progress(self) -> bool:
        """Whether a progress bar is welcome: somebody is watching."""
        return not self.quiet and sys.stderr.isatty()

    def say(self, label: str, text: str) -> None:
        """Tell one result under a short label."""
        if not self.quiet:
            click.echo(f"{label:<10}{text}", err=True)

    def detail(self, text: str) -> None:
        """Tell an interim result, lines as they are, to those who asked for it."""
        if self.verbose and not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Tell what may surprise."""
        self.last_warning = text
        if not self.quiet:
            click.echo(f"Warning: {text}", err=True)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Pass on the library's log (when verbose) and its warnings while a command runs."""
        log, handler = logging.getLogger("xcoreg"), _ToTalk(self)
        level = log.level
        log.addHandler(handler)
        if self.verbose:
            log.setLevel(logging.INFO)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = self._show_warning
                warnings.simplefilter("default")
                for kind in (DeprecationWarning, PendingDeprecationWarning):  # for developers of the libraries below
                    warnings.simplefilter("ignore", kind)
                yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)

    def _show_warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, CoregWarning):
            self.warn(str(message))
        else:
            self.detail(f"{category.__name__}: {message}")


class _ToTalk(logging.Handler):
    def __init__(self, talk: Talk) -> None:
        super().__init__(logging.INFO)
        self.talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.talk.warn(record.getMessage())
        else:
            self.talk.detail(record.getMessage())


class Job(click.Command):
    """A command whose function gets a :class:`Talk` as `talk` and whose errors become one sentence each."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command's function; any error leaves as a :class:`Failure`."""
        talk = Talk(verbose=ctx.params.pop("verbose", False), quiet=ctx.params.pop("quiet", False))
        ctx.params["talk"] = talk
        try:
            with talk.listening():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            if not talk.last_warning.startswith("interrupted"):  # or the command has said more than is known here
                talk.warn("interrupted: outputs that were not finished are not there")
            raise
        except Exception as error:  # the border to the shell: whatever it is, say it and set the code
            if not isinstance(error, (CoregError, *_BAD_INPUT)):
                talk.detail(traceback.format_exc())
            raise failure_of(error) from error
