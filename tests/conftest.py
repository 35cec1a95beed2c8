"""Fixtures shared by all tests: the real images, programs to be stopped, work that is counted, a fit of a field.

No test looks at a clock: another one may run beside it, or ten.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest

from xcoreg import georef, simulate
from xcoreg.core.matches import Status
from xcoreg.core.models import assess_model
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.details import Assessment, CheckPoints, Details, TriedModel
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("SOURCE_DATE_EPOCH", "1600000000")  # outputs of two runs can be compared
hypothesis.settings.register_profile("no clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("no clock")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_dir() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real images, $XCOREG_DATA or ../shared/data beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("XCOREG_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real test images are not at {folder}: set XCOREG_DATA to their folder")
    return folder


# What programs to be stopped begin with. `stay` says that its line has been reached, and does not go on before stdin
# ends: when the test wants it, or is no more. Jobs in the background inherit that interrupts are ignored: not these.
STAY = """
import os, signal

def stay():
    os.write(1, b"here\\n")
    os.read(0, 1)

signal.signal(signal.SIGINT, signal.default_int_handler)
"""


class Stopped(NamedTuple):
    """How a program that was sent a signal has ended."""

    code: int
    said: str


class Program:
    """A program in Python that calls `stay()` at the place where it is to be stopped."""

    def __init__(self, code: str, *arguments: object) -> None:
        """Start it, and wait until it is there."""
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", STAY + code, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        line = self.process.stdout.readline()
        if line != "here\n":
            self.process.kill()
            raise AssertionError(f"ended before it was to be stopped: {line}{self.process.communicate()[1]}")

    def stop(self, number: int) -> Stopped:
        """Send a signal, let go whatever has survived it, and wait for the end."""
        self.process.send_signal(number)
        _, said = self.process.communicate()  # closes stdin
        return Stopped(self.process.returncode, said)


@pytest.fixture
def program():
    """Start programs that are stopped at a known place; none outlives the test."""
    started = []

    def start(code, *arguments):
        started.append(Program(code, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


class Effort(NamedTuple):
    """What some work takes on any machine: calls of functions, and megabytes at the peak."""

    calls: int
    megabytes: float


def effort_of(work: Callable[[], Any]) -> Effort:
    """Count the calls of functions, Python's and others, and the memory of numpy and Python; in this thread alone."""
    calls = 0

    def count(frame, event, function):
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    tracemalloc.start()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Effort(calls, peak / 1e6)


@pytest.fixture
def effort():
    """Measure work by what it does: speed that does not depend on what else the machine has to do."""
    return effort_of


GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900000.0)


def make_field(side=12, kind="polynomial2", grid=GRID, crs="EPSG:32633", withheld=True):
    """Make a fit by hand: about one pixel over 1000 x 1000 px, smooth, noisy, with windows of every verdict."""
    rng = np.random.default_rng(3)
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[50 : 950 : side * 1j, 50 : 950 : side * 1j])
    u, v, n = col / 500 - 1, row / 500 - 1, row.size
    dcol, drow = 1 + 0.5 * u + 0.3 * v * v + rng.normal(0, 0.02, n), -0.5 + 0.4 * u * v + rng.normal(0, 0.02, n)
    status = np.zeros(n, int)
    status[1::7], status[3::11] = Status.NO_PEAK, Status.OUTLIER
    dcol[status == Status.NO_PEAK] = drow[status == Status.NO_PEAK] = np.nan
    linear = georef.linear_of(grid)
    x, y = georef.pixel_to_map(grid, col, row)
    dx, dy = georef.vector_to_map(linear, dcol, drow)
    cov = georef.cov_to_map(linear, np.tile(np.eye(2) * 4e-4, (n, 1, 1)))
    points = TiePoints(
        np.arange(n), row, col, x, y, dx, dy, dcol, drow, cov, status=status, size=np.full(n, 64), crs_wkt=crs
    )
    good = points.take(points.ok)
    choice = assess_model(kind, good.x, good.y, good.dx, good.dy, good.cov)
    check = CheckPoints(good.window, choice.residual_dx, choice.residual_dy)
    left = np.hypot(*georef.vector_to_pixel(linear, choice.residual_dx, choice.residual_dy))
    before = np.hypot(good.dcol, good.drow)
    errors = {}
    for name, values in (("before", before), ("after", left)):
        errors[f"median_{name}"], errors[f"ce90_{name}"] = np.percentile(values, [50, 90])
        errors[f"rmse_{name}"] = np.sqrt(np.mean(values**2))
    quality = Quality(reliability=92.0, n_windows=n, n_ok=len(good), n_check=len(good), **errors)
    shift = Shift(good.dx.mean(), good.dy.mean(), np.eye(2) * 0.01, linear)
    models = tuple(TriedModel(**row) for row in choice.table)
    details = Details(options={"spacing": 80}, assessment=Assessment(models, check)) if withheld else Details()
    return Coregistration(choice.model, points, quality, Status.OK, shift, crs, grid, (1000, 1000), details)


@pytest.fixture
def field():
    """Make fits of fields."""
    return make_field


@pytest.fixture
def fit():
    """Give one fit of a field."""
    return make_field()


@pytest.fixture(scope="session")
def small_scene() -> Any:
    """A pair of images of 128 px."""
    return simulate.pair((128, 128), shift=(1.3, -0.8), seed=7)


@pytest.fixture(scope="session")
def small_fit(small_scene: Any) -> Coregistration:
    """Their fit."""
    return small_scene.tgt.coreg.match(small_scene.ref)
