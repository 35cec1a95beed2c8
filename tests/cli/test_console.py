import logging
import os
import signal
import sys
import threading
import warnings

import click
import pytest
from click.testing import CliRunner
from dask.utils import SerializableLock

from xcoreg.cli import console
from xcoreg.cli.console import ConsoleCommand
from xcoreg.cli.options import console_options
from xcoreg.errors import LowSupport, MatchError, NoOverlap, NotGeoreferenced, OptionError


def run(body, *arguments):
    @click.command(cls=ConsoleCommand)
    @console_options
    def command(console):
        body(console)

    return CliRunner().invoke(command, arguments)


def failing(error):
    def body(console):
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MatchError("flat"), 3),
        (OptionError("no"), 2),
        (NoOverlap("no"), 2),
        (NotGeoreferenced("no"), 2),
        (FileNotFoundError("no"), 2),
        (PermissionError("no"), 2),
        (OSError("disk"), 1),
        (ValueError("no"), 1),
        (KeyError("no"), 1),
        (MemoryError(), 1),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    assert run(failing(error)).exit_code == code


def test_an_error_is_one_sentence_on_stderr():
    result = run(failing(OptionError("band 9 was asked for,\n  there are 3")))
    assert result.stderr == "Error: band 9 was asked for, there are 3\n"
    assert result.stdout == ""


def test_a_refusal_has_its_own_title():
    assert run(failing(MatchError("flat: try another window"))).stderr == (
        "No trustworthy match: flat: try another window\n"
    )


def test_options_are_spelled_as_the_shell_does():
    error = OptionError("window=900 is too large: pass max_shift=, ref_where= or contrast='any'; (at=(3, 4))")
    output = run(failing(error)).stderr
    assert output == (
        "Error: --window 900 is too large: pass --max-shift, --ref-where or --contrast 'any'; (--at (3, 4))\n"
    )


def test_a_bug_names_its_type_and_verbose_shows_where():
    assert "KeyError: 'x' (this may be a bug" in run(failing(KeyError("x"))).stderr
    assert "Traceback" not in run(failing(KeyError("x"))).stderr
    assert "Traceback" in run(failing(KeyError("x")), "--verbose").stderr


def test_quiet_prints_errors_only():
    def body(console):
        console.print("shift", "1 m")
        console.warn("careful")
        raise OptionError("no")

    assert run(body).stderr == "shift     1 m\nWarning: careful\nError: no\n"
    assert run(body, "-q").stderr == "Error: no\n"


def test_warnings_of_the_library_are_printed_and_others_when_verbose():
    def body(console):
        warnings.warn("2 windows", LowSupport, stacklevel=1)
        warnings.warn("odd tag", RuntimeWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert run(body).stderr == "Warning: 2 windows\n"
    assert run(body, "-v").stderr == "Warning: 2 windows\nRuntimeWarning: odd tag\n"


def test_the_log_is_printed_when_verbose():
    def body(console):
        logging.getLogger("xcoreg").info("window at 3, 4")

    assert run(body).stderr == ""
    assert run(body, "-v").stderr == "window at 3, 4\n"
    assert logging.getLogger("xcoreg").handlers == []


def test_usage_errors_stay_those_of_click():
    result = run(lambda console: None, "--no-such-option")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_verbose_does_not_bury_an_explained_error_under_a_traceback():
    assert "Traceback" not in run(failing(OptionError("band 9 of 3")), "--verbose").stderr


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        ("target has no CRS", "--crs"),
        ("target has no transform", "--transform"),
        ("target has no transform, only ground control points", "xcoreg georef rectify"),
        ("target has no transform, only RPCs", "xcoreg georef rectify"),
    ],
)
def test_the_cure_fits_what_is_missing(message, cure):
    assert cure in run(failing(NotGeoreferenced(message))).stderr


@pytest.fixture
def usual_signals():
    """Handlers as in a shell; what runs in the background of one ignores Ctrl+C."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {one: signal.signal(one, handler) for one, handler in usual.items()}
    yield usual
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_is_not_lost(number, usual_signals):
    """The interpreter ignores what is raised there, and a command that should end would go on."""

    class Closing:
        def __del__(self):
            os.kill(os.getpid(), number)
            sum(range(1000))

    def work(console):
        Closing()
        threading.Event().wait(60)
        console.print("went", "on")

    result = run(work)
    assert {one: signal.getsignal(one) for one in usual_signals} == usual_signals
    assert "interrupted: unfinished outputs were not written" in result.output
    assert "went" not in result.output


class Sending:
    """A lock that sends a signal as soon as it is taken, or before it is released."""

    def __init__(self, number, when):
        self.number, self.when, self.lock = number, when, threading.Lock()

    def send(self, when):
        if when == self.when:
            os.kill(os.getpid(), self.number)
            sum(range(1000))

    def acquire(self, *args, **options):
        taken = self.lock.acquire(*args, **options)
        self.send("acquire")
        return taken

    def release(self):
        self.send("release")
        self.lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *args):
        self.release()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["acquire", "release"])
def test_a_signal_leaves_no_lock_locked(number, when, usual_signals):
    """Clean-up would wait for it for ever: xarray writes NetCDF under locks of dask."""
    inner = Sending(number, when)
    lock = SerializableLock()
    lock.lock = inner

    def work(console):
        with lock:
            if when == "acquire":
                threading.Event().wait(60)
        threading.Event().wait(60)
        console.print("went", "on")

    result = run(work)
    assert "interrupted: unfinished outputs were not written" in result.output
    assert "went" not in result.output
    assert inner.lock.acquire(timeout=0.01)


def test_a_compiled_module_that_loads_is_not_interrupted():
    """Its own code may swallow the interrupt, print it in many lines, and leave a module that is half made."""

    class ExtensionFileLoader:
        def exec_module(self):
            return console._must_not_be_interrupted(sys._getframe())

    ExtensionFileLoader.exec_module.__code__ = ExtensionFileLoader.exec_module.__code__.replace(
        co_qualname="ExtensionFileLoader.exec_module"
    )
    assert ExtensionFileLoader().exec_module()
    assert not console._must_not_be_interrupted(sys._getframe())
