"""`import xcoreg` imports nothing heavy, and `.coreg` is there as soon as xarray is."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import xarray as xr

HAS = "hasattr(xarray.DataArray, 'coreg') and hasattr(xarray.Dataset, 'coreg')"


def python(script, *options):
    return subprocess.run([sys.executable, *options, "-c", script], capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    "first",
    [
        "import xcoreg, xarray",
        "import xarray, xcoreg",
        "import xcoreg, xarray.backends, xarray",
        "import xcoreg, importlib; xarray = importlib.import_module('xarray')",
        "import xcoreg, importlib, xarray; importlib.reload(xarray)",
        "import xcoreg, importlib, xarray; importlib.reload(xcoreg)",
        "import xcoreg, importlib; importlib.reload(xcoreg); import xarray",
    ],
)
def test_the_accessor_is_there_whichever_is_imported_first(first):
    assert python(f"{first}; print({HAS})").stdout == "True\n"


def test_asking_whether_xarray_is_installed_does_not_use_up_the_finder():
    script = f"import xcoreg, importlib.util; importlib.util.find_spec('xarray'); import xarray; print({HAS})"
    assert python(script).stdout == "True\n"


def test_an_import_of_xarray_that_fails_can_be_repeated():
    script = f"""
import sys, xcoreg
sys.modules["pandas"] = None
try:
    import xarray
except ImportError:
    del sys.modules["pandas"]
import xarray
print({HAS})
"""
    assert python(script).stdout == "True\n"


def test_a_missing_xarray_is_an_ordinary_import_error():
    script = """
import sys
import xcoreg
sys.path[:] = []
try:
    import xarray
except ModuleNotFoundError as error:
    print(error)
"""
    assert python(script).stdout == "No module named 'xarray'\n"


def test_nothing_of_the_finder_is_left():
    script = """
import sys
before = list(sys.meta_path)
import xcoreg, xarray
loader = xarray.__spec__.loader
print(all(finder in before or "xcoreg" not in type(finder).__module__ for finder in sys.meta_path))
print(type(loader).__name__, loader is xarray.__loader__, "exec_module" in vars(loader))
"""
    assert python(script).stdout == "True\nSourceFileLoader True False\n"


def test_an_image_is_unpickled_with_its_accessor():
    image = pickle.dumps(xr.DataArray([[1.0]], dims=("y", "x")))
    assert python(f"import xcoreg, pickle; print(hasattr(pickle.loads({image!r}), 'coreg'))").stdout == "True\n"


def test_import_times_can_be_listed():
    rows = python("import xcoreg, xarray", "-X", "importtime").stderr
    assert {"xarray", "xcoreg"} <= {line.rpartition("|")[2].strip() for line in rows.splitlines()}


def test_import_loads_nothing_heavy():
    script = "import sys, xcoreg; print({'numpy', 'scipy', 'xarray', 'click'} & {*sys.modules} or None)"
    assert python(script).stdout == "None\n"


def test_a_first_match_loads_only_the_parts_of_scipy_that_it_uses():
    script = """
import sys, numpy as np, rioxarray, xarray, xcoreg
ground = np.random.default_rng(1).standard_normal((164, 164)).astype("float32")
for axis in (0, 1, 0, 1, 0, 1):
    ground = np.roll(ground, 1, axis) + 2 * ground + np.roll(ground, -1, axis)
x, y = np.arange(160) + 0.5, 160 - np.arange(160)
cuts = [ground[k : k + 160, k : k + 160] for k in (0, 2)]
ref, tgt = (xarray.DataArray(cut, {"y": y, "x": x}, ("y", "x")).rio.write_crs(32633) for cut in cuts)
before = set(sys.modules)
shift = xcoreg.match(tgt, ref).shift
print(round(shift.dcol), round(shift.drow))
parts = {f"scipy.{name}" for name in ("spatial", "linalg", "interpolate", "optimize")}
print(sorted(parts & (set(sys.modules) - before)))
"""
    assert python(script).stdout.split("\n")[:2] == ["2 2", "[]"]
