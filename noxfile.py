"""The jobs of the project: `nox -l` lists them, `nox -s tests` runs one."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["tests", "minimal", "types", "lint"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
BENCHMARKS = [
    "accuracy",
    "acceptance",
    "breaks",
    "dem",
    "fields",
    "georef",
    "matching",
    "real",
    "resampling",
    "speed",
    "warping",
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
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install(".[test]", "mypy>=1.13")
    session.run("mypy", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and spelling."""
    session.install("ruff>=0.9", "codespell>=2.3")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure accuracy, refusals, broken cases, real pairs and speed; `-- --quick breaks` takes a quick look."""
    session.install(".[plot]", "scikit-image", "opencv-python-headless")
    options = [arg for arg in session.posargs if arg.startswith("-")]
    for name in [arg for arg in session.posargs if not arg.startswith("-")] or BENCHMARKS:
        report = [] if options else ["--out", f"benchmarks/report/{name}.md"]
        session.run("python", f"benchmarks/{name}.py", *options, *report)


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
