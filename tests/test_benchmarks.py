"""The benchmark programs: all are listed, all can be asked for help, and the page of results shows their reports."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]
BENCHMARKS = HERE / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="installed without the benchmarks")


def programs():
    """Those that take the arguments every benchmark takes."""
    return sorted(path.stem for path in BENCHMARKS.glob("*.py") if "= arguments(" in path.read_text(encoding="utf-8"))


def test_there_are_programs():
    assert {"compare", "scaling", "batch", "accuracy"} <= set(programs())


def test_nox_runs_every_program():
    tree = ast.parse((HERE / "noxfile.py").read_text(encoding="utf-8"))
    found = [node.value for node in tree.body if isinstance(node, ast.Assign) and "BENCHMARKS" in ast.unparse(node)]
    assert ast.literal_eval(found[0]) == programs()


def test_the_readme_lists_every_program():
    rows = re.findall(r"^\| `(\w+)\.py`", (BENCHMARKS / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(rows) == programs()


# One process for all: what they import is imported once.
_HELP = """
import runpy, sys
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as done:
        print(path, done.code)
"""


def test_every_program_tells_how_it_is_used():
    paths = [str(BENCHMARKS / f"{name}.py") for name in programs()]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    done = subprocess.run(
        [sys.executable, "-c", _HELP, *paths], capture_output=True, text=True, env=environment, check=True
    )
    assert [line for line in done.stdout.splitlines() if line.endswith(".py 0")] == [f"{path} 0" for path in paths]
    assert done.stdout.count("--quick") >= len(paths)


def test_regressions_are_a_project_of_their_own():
    folder = BENCHMARKS / "regressions"
    assert (folder / "pytest.ini").exists()
    assert not list(folder.glob("test_*.py"))
    told = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("bench_*.py"))
    for part in ("import", "read_windows", "matcher", "scout", "refine", "robust_fit", "warp_tile", "batch"):
        assert f"def bench_{part}(" in told


def test_reports_name_the_machine_and_nobody():
    for path in (BENCHMARKS / "report").glob("*.json"):
        told = json.loads(path.read_text(encoding="utf-8"))
        assert re.search(r"commit \w+.*Python 3.*numpy.*GDAL.*CPUs.*GiB", told["machine"])
        assert told["machine"] in path.with_suffix(".md").read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(tmp|home|work|root|opt)/", json.dumps(told))


def among_the_benchmarks(code):
    """Run a few lines where the modules of the benchmarks can be imported; what they print last, as JSON."""
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_the_page_of_results_shows_the_reports():
    code = "import page; text = page.PAGE.read_text(encoding='utf-8'); print(int(page.fill(text) == text))"
    assert among_the_benchmarks(code), "run `python benchmarks/page.py`"


_ATTEMPTS = """
import json, sys
from process import attempt
busy = "sum(range(10**6)); print('done'); x = bytearray(10**8)"
late = "import signal; print('waiting', flush=True); signal.pause()"  # for ever
jobs = {"fine": (busy, 0.0), "broken": ("raise ValueError('no such scene')", 0.0), "late": (late, 1.0)}
runs = {name: attempt(sys.executable, "-c", code, patience=patience) for name, (code, patience) in jobs.items()}
print(json.dumps({name: run._asdict() for name, run in runs.items()}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are weighed where there is wait4")
def test_a_program_that_fails_or_hangs_is_told_so():
    told = among_the_benchmarks(_ATTEMPTS)
    fine = told["fine"]
    assert (fine["text"], fine["trouble"]) == ("done\n", "")
    assert fine["processor"] > 0
    assert fine["seconds"] > 0
    assert 100 < fine["megabytes"] < 300
    assert told["broken"]["trouble"] == "ValueError: no such scene"
    assert told["late"]["trouble"] == "stopped after 1 s"
    assert told["late"]["seconds"] >= 1


_MISSING = """
import json
from pathlib import Path
import rivals
from compare import row
from contests import Contest, Entry
rivals.MODULES["nobody"] = "a_module_that_is_not_there"
contest = Contest("global", "", {}, (Entry("nobody"),), lambda out, told: {})
print(json.dumps([rivals.version("nobody"), row(contest, contest.entries[0], Path(), None)]))
"""


def test_a_program_that_is_not_installed_has_a_line():
    assert among_the_benchmarks(_MISSING) == [None, {"program": "nobody", "remark": "not installed"}]


def test_every_job_of_the_comparison_is_known():
    code = "import json, rivals; print(json.dumps({job: list(each) for job, each in rivals.JOBS.items()}))"
    jobs = among_the_benchmarks(code)
    assert set(jobs) == {"global", "shift", "local", "warp", "dem", "blocks", "batch"}
    assert all(names[0] == "xcoreg" for names in jobs.values())
    assert {"AROSICS", "xDEM", "cv2 ECC", "cv2.phaseCorrelate", "scikit-image"} <= {
        name for names in jobs.values() for name in names
    }
