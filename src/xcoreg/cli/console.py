"""How a command reports: messages for people on stderr, data for programs on stdout, and the exit code."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, MappingProxyType
from typing import Any

import click

from xcoreg.cli.defaults import describe_defaults
from xcoreg.cli.paths import check_outputs
from xcoreg.cli.words import in_shell_words, with_shell_command
from xcoreg.errors import CoregError, CoregWarning, GridError, MatchError, NotGeoreferenced, OptionError

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


def failure_of(error: Exception, options: Mapping[str, str] = MappingProxyType({})) -> Failure:
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
        text = in_shell_words(text, options)
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
        self.options: dict[str, str] = {}  # of the command: as Python spells them, as the shell does
        self.preset: str | None = None

    @property
    def progress(self) -> bool:
        """Whether to show progress: a bar on a terminal, a line every tenth of the work in pipes."""
        return not self.quiet

    @property
    def is_terminal(self) -> bool:
        """Whether a person is likely to see stderr."""
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
            self.warn(in_shell_words(str(message), self.options))
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


# Functions in Python that take or release locks: interrupted between that and their end, these stay locked for ever.
_LOCKING = {"__enter__", "__exit__", "acquire", "release", "_optional_lock", "acquire_context"}
_OF_LOCKS = ("contextlib", "dask.utils", "xarray.backends.locks", "xarray.backends.file_manager")


def _must_not_be_interrupted(frame: FrameType | None) -> bool:
    """Whether a destructor runs, where the interpreter ignores exceptions, or a lock is being taken or released.

    Compiled modules that are interrupted while they load print what they like, and may be unusable.
    """
    depth = 0
    while frame is not None:
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__")
        # Farther up, entering and leaving may be long work.
        if name == "__del__" or (depth < 4 and name in _LOCKING and module in _OF_LOCKS):
            return True
        if frame.f_code.co_qualname.startswith("ExtensionFileLoader."):
            return True
        frame, depth = frame.f_back, depth + 1
    return False


class _Interrupt:
    """Raises KeyboardInterrupt, a little later where that would be lost or leave a lock locked."""

    def __init__(self) -> None:
        self.again = threading.Timer(0.0, _send_to_main_thread)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.again.cancel()
        if not _must_not_be_interrupted(frame):
            raise KeyboardInterrupt
        self.again = threading.Timer(0.05, _send_to_main_thread, [number])
        self.again.daemon = True
        self.again.start()


def _send_to_main_thread(number: int) -> None:
    if hasattr(signal, "pthread_kill"):  # which wakes a thread that waits; not on Windows
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let Ctrl+C, and SIGTERM as schedulers send it, end a command so that unfinished outputs are cleared away."""
    before: dict[int, Any] = {}
    interrupt = _Interrupt()
    with suppress(ValueError):  # not in the main thread
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        interrupt.again.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


class ConsoleCommand(click.Command):
    """A command whose function gets a :class:`Console` as `console`, and whose errors become one sentence each.

    examples : Commands with a comment, which end the help.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """End the help with the examples, as they are typed."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"{' ' * formatter.current_indent}{line}\n" for line in self.examples))

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the arguments; a file of defaults or a preset that cannot be used is bad input."""
        try:
            return super().make_context(*args, **extra)
        except CoregError as error:
            raise failure_of(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command's function; any error leaves as a :class:`Failure`."""
        console = Console(verbose=ctx.params.pop("verbose", False), quiet=ctx.params.pop("quiet", False))
        defaults = describe_defaults(ctx, ctx.params.pop("config", None))
        if defaults:
            console.print("defaults", defaults)
        console.preset = ctx.params.pop("preset", None)
        console.options = {param.name or "": param.opts[0] for param in self.params if param.opts[0][:2] == "--"}
        ctx.params["console"] = console
        try:
            with console.library_messages(), _interrupted_by_signals():
                check_outputs(self.params, ctx.params)
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
            raise failure_of(error, console.options) from error
