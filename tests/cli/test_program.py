"""The program as a shell sees it."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))


def shell(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def script(name):
    path = SCRIPTS / name
    if not path.exists():
        pytest.skip(f"xcoreg is not installed here: {path} is missing")
    return path


def test_it_is_served_by_its_own_name():
    result = shell(script("xcoreg"), "--help")
    assert result.returncode == 0
    for command in ("match", "shift", "apply", "info", "demo"):
        assert command in result.stdout


def test_it_is_served_by_rio(images):
    result = shell(script("rio"), "coreg", "info", images.ref, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["crs"] == "EPSG:32633"


def test_python_runs_it_as_a_module_and_the_exit_code_is_passed_on(tmp_path):
    result = shell(sys.executable, "-m", "xcoreg", "info", tmp_path / "nowhere.tif")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_stdout_holds_nothing_but_data(images):
    result = shell(sys.executable, "-m", "xcoreg", "match", images.ref, images.tgt, "--verbose")
    assert json.loads(result.stdout)["answer"]["ok"] is True


def test_help_loads_no_heavy_module():
    heavy = {"matplotlib", "geopandas", "distributed", "scipy", "rasterio", "dask"}
    code = "import sys, xcoreg.cli; print(*sorted(name for name in sys.modules if '.' not in name))"
    bare = set(shell(sys.executable, "-c", "import sys, xcoreg; print(*sys.modules)").stdout.split())
    loaded = set(shell(sys.executable, "-c", code).stdout.split())
    assert loaded & heavy <= bare  # what the package itself needs is not the program's doing
