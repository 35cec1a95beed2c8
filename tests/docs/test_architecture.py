"""The page of the architecture names what is there: functions, files and layers."""

from __future__ import annotations

import importlib
import re

import pytest


@pytest.fixture(scope="module")
def docs(repo_dir):
    return repo_dir / "docs"


def test_every_function_of_the_diagram_exists(docs):
    names = re.findall(r">([a-z_]+(?:\.[a-z_]+)+)<", (docs / "_static" / "flow.svg").read_text(encoding="utf-8"))
    assert len(names) > 20
    for name in names:
        module, _, function = name.rpartition(".")
        if module == "tgt.coreg":
            module = "xcoreg.coregister"
        assert callable(getattr(importlib.import_module(f"xcoreg.{module.removeprefix('xcoreg.')}"), function)), name


def test_every_file_of_the_table_exists(docs, repo_dir):
    page = (docs / "architecture.md").read_text(encoding="utf-8")
    files = re.findall(
        r"`([a-z_]+(?:/[a-z_]*)*(?:\.py)?)`", page[page.index("I want to add") : page.index("Values, not")]
    )
    paths = [name for name in files if "/" in name or name.endswith(".py")]
    assert len(paths) > 10
    for name in paths:
        assert (repo_dir / "src" / "xcoreg" / name).exists() or (repo_dir / name).exists(), name


def test_every_package_is_drawn(docs, repo_dir):
    drawn = set(re.findall(r">([a-z]+)<", (docs / "_static" / "layers.svg").read_text(encoding="utf-8")))
    packages = {path.parent.name for path in (repo_dir / "src" / "xcoreg").glob("*/__init__.py")}
    assert packages <= drawn
