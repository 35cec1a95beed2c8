"""The recipe for conda says what pyproject.toml says: version, dependencies, extras, Python."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Names that differ between the two worlds.
CONDA = {"dask": "dask-core", "matplotlib": "matplotlib-base", "netCDF4": "netcdf4"}
ONLY_CONDA = {"python", "pandas"}  # pandas comes with xarray


def requirements(texts):
    """Names and least versions."""
    found = (re.match(r"([\w-]+)(?:\[\w+\])?\s*(?:>=([\d.]+))?", text).groups() for text in texts)
    return {CONDA.get(name, name): version for name, version in found}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def recipe():
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "conda" / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    variables = dict(re.findall(r'{% set (\w+) = "(.*?)" %}', text)) | {"PYTHON": "python"}
    text = re.sub(r"{%.*?%}", "", text)
    return yaml.safe_load(re.sub(r"{{ (\w+) }}", lambda found: variables[found[1]], text))


def test_version_and_python_are_the_same(recipe, project):
    assert recipe["package"]["version"] == project["version"]
    assert requirements(recipe["requirements"]["run"])["python"] == project["requires-python"].removeprefix(">=")


def test_dependencies_are_the_same(recipe, project):
    run = requirements(recipe["requirements"]["run"])
    assert {name: one for name, one in run.items() if name not in ONLY_CONDA} == requirements(project["dependencies"])


def test_extras_are_constrained_alike(recipe, project):
    extras = requirements(
        text for name, texts in project["optional-dependencies"].items() for text in texts
        if name in ("vector", "plot", "distributed", "zarr", "netcdf", "explore")
    )  # fmt: skip
    constrained = requirements(recipe["requirements"]["run_constrained"])
    assert set(constrained) <= set(extras)
    assert all(extras[name] == version for name, version in constrained.items())


def test_the_entry_points_are_the_same(recipe, project):
    assert recipe["build"]["entry_points"] == [f"{name} = {call}" for name, call in project["scripts"].items()]


def test_its_tests_name_what_there_is(recipe):
    """The commands that conda runs after building: their modules, programs and options exist."""
    pytest.importorskip("xcoreg")
    test = recipe["test"]
    for name in test["imports"]:
        __import__(name)
    programs = {line.split()[0] for line in test["commands"]}
    assert programs <= {"xcoreg", "arosics-x", "rio", "pip", "python"}
    code = next(line for line in test["commands"] if line.startswith("python -c"))
    exec(compile(code.split('"')[1], "recipe", "exec"), {})


def test_addresses_have_one_home(recipe, project):
    urls = project["urls"]
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} <= set(urls)
    about = recipe["about"]
    assert (about["home"], about["doc_url"], about["dev_url"]) == (
        urls["Homepage"], urls["Documentation"], urls["Source"])  # fmt: skip
    plugin = (ROOT / "qgis" / "xcoreg_processing" / "metadata.txt").read_text(encoding="utf-8")
    for key, name in {"homepage": "Homepage", "tracker": "Issues", "repository": "Source"}.items():
        assert f"\n{key}={urls[name]}\n" in plugin
    host = urls["Homepage"].partition("://")[2]
    assert re.search(rf"^email=\w+@{re.escape(host)}$", plugin, re.MULTILINE)


def test_pages_and_messages_invent_no_address(project):
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CITATION.cff", *(ROOT / "docs").rglob("*.md")]
    pages += [ROOT / "docs" / "conf.py", *(ROOT / "src").rglob("*.py"), *(ROOT / "qgis").rglob("*.*")]
    known = {*project["urls"].values()}
    found = [
        (path.name, url)
        for path in pages
        if path.suffix not in (".zip", ".pyc")
        for url in re.findall(
            r"https?://[^\s)>\"'`]*xcoreg[^\s)>\"'`]*|\w+@xcoreg[.\w]*", path.read_text(encoding="utf-8")
        )
        if url not in known and not url.endswith(".example")
    ]
    assert found == []
