"""How a command talks and how it ends: people read stderr, programs read stdout and the exit code."""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from xcoreg.errors import CoregError, CoregWarning, GridError, MatchError, NotGeoreferenced, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BadInput", "Failure", "Job", "NoMatch", "Talk", "failure_of", "with_cure"]

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
