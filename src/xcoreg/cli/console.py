"""How a command reports: messages for people on stderr, data for programs on stdout, and the exit code."""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from xcoreg.errors import CoregError, CoregWarning, GridError, MatchError, NotGeoreferenced, OptionError

# Options as the library's messages spell them, for Python: the shell writes --max-shift for max_shift=.
_KEYWORD = re.compile(
    r"\b((?:ref_)?(?:band|nodata|where|footprint)|windows?|at|max_shift|contrast|align_grid|like|resampling|driver"
    r"|overwrite|spacing|model|filters|points|matcher)=([\w'(+-]?)"
)
# The library's messages name a call in Python; these are the commands that do the same. `rio` comes with rasterio.
_SHELL_COMMANDS = {
    "control points": "xcoreg georef rectify FILE OUT",
    "RPCs": "xcoreg georef rectify FILE OUT",
    "CRS": "rio edit-info --crs EPSG:CODE FILE",
    "one exposure": "gdal_translate -b NUMBER FILE ONE.tif",
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


def with_shell_command(text: str) -> str:
    """Add the command that adds a georeference to a message that misses it."""
    missing = next((key for key in ("one exposure", "control points", "RPCs", "CRS") if key in text), "transform")
    return f"{text}; in the shell: {_SHELL_COMMANDS[missing]}"


def in_shell_words(text: str) -> str:
    """Spell the options in a message of the library as the shell does.

    Examples
    --------
    >>> in_shell_words("raise max_shift=, or pass force=True")
    'raise --max-shift, or pass --force'
    """
    text = text.replace("force=True", "--force")
    return _KEYWORD.sub(lambda found: f"--{found[1].replace('_', '-')}{' ' * bool(found[2])}{found[2]}", text)


def failure_of(error: Exception) -> Failure:
    """Turn an error into one sentence and an exit code: 2 bad input, 3 no trustworthy match, 1 any other error.

    Examples
    --------
    >>> [failure_of(error).exit_code for error in (MatchError("flat"), OptionError("band 9 of 3"), RuntimeError("?"))]
    [3, 2, 1]
    """
    text = " ".join(str(error).split())
    if "previous exception" in text and error.__cause__ is not None:  # rasterio: GDAL's own message is the cause
        hint = "an image cannot be read, it may be damaged" if "Read" in text else "the output cannot be written"
        text = f"{hint}: {error.__cause__}"
    if isinstance(error, CoregError):
        text = in_shell_words(text)
    if isinstance(error, NotGeoreferenced) or "bands of one exposure" in text:
        text = with_shell_command(text)
    if isinstance(error, MatchError):
        return NoMatch(text.removeprefix("no trustworthy match: "))
    if isinstance(error, _BAD_INPUT):
        return BadInput(text)
    if isinstance(error, MemoryError):
        return Failure(f"out of memory {text}".rstrip())
    if isinstance(error, OSError | CoregError):
        return Failure(text)
    return Failure(f"{type(error).__name__}: {text} (this may be a bug: --verbose shows where)")


class Console:
    """Prints what people read, on stderr: with `verbose` interim results too, with `quiet` errors only."""

    def __init__(self, *, verbose: bool = False, quiet: bool = False) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.last_warning = ""

    @property
    def progress(self) -> bool:
        """Whether to show a progress bar: stderr is a terminal."""
        return not self.quiet and sys.stderr.isatty()

    def print(self, label: str, text: str) -> None:
        """Print one result after a short label."""
        if not self.quiet:
            click.echo(f"{label:<10}{text}", err=True)

    def detail(self, text: str) -> None:
        """Print an interim result as it is, when verbose."""
        if self.verbose and not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.last_warning = text
        if not self.quiet:
            click.echo(f"Warning: {text}", err=True)

    @contextmanager
    def library_messages(self) -> Iterator[None]:
        """Print the library's warnings, and its log when verbose, while a command runs."""
        log, handler = logging.getLogger("xcoreg"), _ConsoleHandler(self)
        level = log.level
        log.addHandler(handler)
        if self.verbose:
            log.setLevel(logging.INFO)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = self._show_warning
                warnings.simplefilter("default")
                for kind in (DeprecationWarning, PendingDeprecationWarning):  # for developers of other libraries
                    warnings.simplefilter("ignore", kind)
                yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)

    def _show_warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, CoregWarning):
            self.warn(in_shell_words(str(message)))
        else:
            self.detail(f"{category.__name__}: {message}")


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.console.warn(record.getMessage())
        else:
            self.console.detail(record.getMessage())


class ConsoleCommand(click.Command):
    """A command whose function gets a :class:`Console` as `console`, and whose errors become one sentence each."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command's function; any error leaves as a :class:`Failure`."""
        console = Console(verbose=ctx.params.pop("verbose", False), quiet=ctx.params.pop("quiet", False))
        ctx.params["console"] = console
        try:
            with console.library_messages():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            if not console.last_warning.startswith("interrupted"):  # unless the command has said more
                console.warn("interrupted: unfinished outputs were not written")
            raise
        except Exception as error:  # nothing but an exit code and a sentence may reach the shell
            if not isinstance(error, (CoregError, *_BAD_INPUT)):
                console.detail(traceback.format_exc())
            raise failure_of(error) from error
