"""The program as a shell sees it."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from xcoreg.cli import COMMANDS

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


def modules_of(*arguments):
    """Modules that a call of the program has loaded at its end."""
    script = f"""
import atexit, sys
atexit.register(lambda: print("modules:", *sorted(sys.modules), file=sys.stderr))
from xcoreg.cli import main
sys.argv = ["xcoreg", *{arguments!r}]
main()
"""
    return set(shell(sys.executable, "-c", script).stderr.rpartition("modules:")[2].split())


def test_help_loads_click_and_two_modules_of_xcoreg():
    loaded = modules_of("--help")
    assert {name for name in loaded if name.startswith("xcoreg")} == {"xcoreg", "xcoreg.cli"}
    assert loaded & {"numpy", "scipy", "xarray", "pandas", "pyarrow", "rasterio", "dask", "matplotlib"} == set()


@pytest.mark.parametrize("command", ["match", "shift", "warp", "dem", "points", "apply", "batch", "locate", "demo"])
def test_help_of_a_command_reads_no_image(command):
    assert modules_of(command, "--help") & {"scipy", "xarray", "pandas", "rasterio", "dask", "matplotlib"} == set()


def test_every_command_is_in_the_table_and_has_help(run):
    listed = run("--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in listed
        assert "Usage: coreg" in run(name, "--help").stdout


def test_an_unknown_command_is_bad_usage(run):
    result = run("mathc")
    assert result.exit_code == 2
    assert "No such command" in result.stderr
