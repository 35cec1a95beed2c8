"""The jobs of the project: `nox -l` lists them, `nox -s tests` runs one."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["tests", "minimal", "slow", "types", "lint"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
BENCHMARKS = [
    "acceptance",
    "accuracy",
    "batch",
    "breaks",
    "compare",
    "cubes",
    "dem",
    "dem_kinds",
    "ellipses",
    "fields",
    "georef",
    "kinds",
    "matching",
    "moving",
    "orthorectification",
    "presets",
    "real",
    "resampling",
    "scaling",
    "sensors",
    "series",
    "small",
    "speed",
    "structure",
    "unlike",
    "warping",
    "yields",
]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run every test and doctest with all extras installed."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def minimal(session: nox.Session) -> None:
    """Run the tests with the base dependencies alone; what needs an extra is skipped."""
    session.install(".", "pytest>=8", "hypothesis>=6.100")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests of interpolation with compiled loops: the same bits as without."""
    session.install(".[fast]", "pytest>=8", "hypothesis>=6.100")
    session.run("python", "-m", "pytest", "tests/warp", "tests/core", *session.posargs, env={"XCOREG_FAST": "1"})


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that the others leave out: wider sweeps over what those protect as well."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "-m", "slow", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try thousands of odd inputs of each entry; XCOREG_FUZZ is their number."""
    session.install(".[test]")
    env = {"XCOREG_FUZZ": os.environ.get("XCOREG_FUZZ", "2000")}
    session.run("python", "-m", "pytest", "tests/fuzz", *session.posargs, env=env)


def _lowest() -> list[str]:
    """Every package of the base, the extras and the tests at the lowest version that pyproject.toml declares."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = ("vector", "plot", "distributed", "zarr", "netcdf", "explore", "test")
    every = project["dependencies"] + [one for name in names for one in extras[name]]
    return [re.sub(r"\[.*\]", "", one).replace(">=", "==") for one in every if ">=" in one]


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that are declared, on the oldest Python."""
    session.install("--only-binary", ":all:", *_lowest(), "pyparsing<3.3")  # which old matplotlib calls by old names
    session.install("--no-deps", ".")
    # Among themselves old libraries use what newer ones announce to drop, old dask says that a cluster is there, and
    # old netCDF4 that it was built with another numpy.
    silent = ("ignore::DeprecationWarning", "ignore:Running on a single-machine:UserWarning")
    silent += ("ignore:numpy.ndarray size changed:RuntimeWarning",)
    quiet = [word for one in silent for word in ("-W", one)]
    session.run("python", "-m", "pytest", *quiet, *session.posargs)


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """Run the tests with the newest versions, pre-releases among them, on the newest Python."""
    session.install("--pre", "--upgrade", "--upgrade-strategy", "eager", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install(".[test]", "mypy>=1.13", "basedpyright>=1.20")
    session.run("mypy", *session.posargs)
    code = Path(session.create_tmp()).resolve() / "user_code.py"  # the README, as users check theirs
    session.run("python", "tests/docs/user_code.py", str(code))
    session.run("mypy", "--strict", "--ignore-missing-imports", "--follow-imports=silent", str(code))
    session.run("basedpyright", str(code))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and spelling."""
    session.install("ruff>=0.9", "codespell>=2.3")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, all or those named, into benchmarks/report/; `-- --quick breaks` runs fewer cases.

    Large scenes are stored in $XCOREG_BENCH_CACHE. AROSICS takes part where GDAL's headers and a compiler are found.
    """
    session.install(".[bench]", "xdem", "scikit-learn")
    if config := shutil.which("gdal-config"):
        gdal = session.run(config, "--version", external=True, silent=True)
        session.install("setuptools>=77", "wheel", "numpy>=2")
        tried = ("--no-build-isolation", f"gdal=={str(gdal).strip()}", "arosics")
        session.run("python", "-m", "pip", "install", "--quiet", *tried, success_codes=[0, 1])
    options = [arg for arg in session.posargs if arg not in BENCHMARKS]
    for name in [arg for arg in session.posargs if arg in BENCHMARKS] or BENCHMARKS:
        report = [] if options else ["--out", f"benchmarks/report/{name}.md"]
        session.run("python", f"benchmarks/{name}.py", *options, *report)
    if not options:
        session.run("python", "benchmarks/page.py")


@nox.session
def regress(session: nox.Session) -> None:
    """Time the parts of the work and save the times; `-- --benchmark-compare` compares them with those saved last.

    `-- --against COMMIT` measures that commit first, on the same machine within the same minutes, and fails where the
    least processor time of a part has grown by a quarter.
    """
    args = list(session.posargs)
    run = ("python", "-m", "pytest")
    session.install(".[bench]")
    if "--against" in args:
        at = args.index("--against")
        _, commit = args[at : at + 2]
        del args[at : at + 2]
        tree = Path(session.create_tmp()).resolve() / "before"
        shutil.rmtree(tree, ignore_errors=True)
        session.run("git", "archive", "--format=zip", f"--output={tree}.zip", commit, external=True)
        shutil.unpack_archive(f"{tree}.zip", tree)
        session.install("--force-reinstall", "--no-deps", str(tree))
        with session.chdir("benchmarks/regressions"):  # what that commit cannot do yet fails, and is not compared
            session.run(*run, "--benchmark-save=before", *args, success_codes=[0, 1])
        session.install("--force-reinstall", "--no-deps", ".")
        args += ["--benchmark-compare", "--benchmark-compare-fail=min:25%", "--benchmark-group-by=name"]
    with session.chdir("benchmarks/regressions"):
        session.run(*run, "--benchmark-autosave", *args)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html, warnings being errors; notebooks are run."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel; try the wheel in an empty environment, outside of the source tree."""
    session.install("build")
    out = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--outdir", str(out), ".")
    file = max(out.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    megabytes = file.stat().st_size / 1e6
    session.log(f"{file.name}: {megabytes:.2f} MB")
    if megabytes >= 4:
        session.error("the wheel has to stay below 4 MB")
    script = Path("tests/wheel/base_install.py").resolve()
    session.install(str(file))
    with session.chdir(out):
        session.run("python", str(script))
        session.install(f"xcoreg[plot] @ {file.as_uri()}")
        session.run("xcoreg", "demo", "--out", str(out / "demo"))


@nox.session
def qgis(session: nox.Session) -> None:
    """Pack the plugin for QGIS into qgis/dist/xcoreg_processing.zip, with the version of xcoreg."""
    source, out = Path("qgis/xcoreg_processing").resolve(), Path("qgis/dist").resolve()
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    out.mkdir(exist_ok=True)
    with zipfile.ZipFile(out / "xcoreg_processing.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.iterdir()):
            if file.suffix in (".py", ".svg", ".txt"):
                text = file.read_text(encoding="utf-8")
                text = (
                    re.sub(r"^version=.*$", f"version={version}", text, flags=re.M) if file.suffix == ".txt" else text
                )
                archive.writestr(f"{source.name}/{file.name}", text)
        archive.write("LICENSE", f"{source.name}/LICENSE")
        archive.write("src/xcoreg/results/tie_points.qml", f"{source.name}/tie_points.qml")
    session.log(f"{out / 'xcoreg_processing.zip'}")
