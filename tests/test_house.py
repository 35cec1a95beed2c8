"""The rules of the house, read from the syntax trees by benchmarks/house.py, and what a bare `import xcoreg` costs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xcoreg.simulate import pair

ROOT = Path(__file__).resolve().parent.parent
SPEC = importlib.util.spec_from_file_location("house", ROOT / "benchmarks" / "house.py")
house = sys.modules["house"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(house)

# The six layers of the house, ground first. A module may import its own package and the layers below.
LAYERS = (
    ("errors", "files", "csv_files", "core"),
    ("georef", "results", "filters", "presets"),
    ("lazy", "raster", "io", "simulate", "datasets", "masks"),
    ("matching", "warp", "coregister", "stack"),
    ("plot", "report"),
    ("accessor", "arosics", "cli", "batches"),
    ("__init__", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Within a layer only these may import each other, in this direction.
DRAWN = {
    ("files", "errors"),
    ("csv_files", "errors"),
    ("csv_files", "files"),
    ("results", "georef"),
    ("filters", "results"),
    ("raster", "lazy"),
    ("io", "raster"),
    ("io", "lazy"),
    ("datasets", "io"),
    ("masks", "io"),
    ("masks", "raster"),
    ("coregister", "matching"),
    ("coregister", "warp"),
    ("stack", "matching"),
    ("stack", "warp"),
    ("report", "plot"),
    ("__main__", "cli"),
    # `import xcoreg` imports nothing by itself: the front uses its public names, imported when they are asked for.
    ("accessor", "__init__"),
    ("cli", "__init__"),
    ("cli", "arosics"),
}

BUDGETS = {
    "files": 235,
    "lines": 53_600,
    "docstring / code": 0.45,
    "code lines a file, most": 300,
    "code lines a function, most": 50,
    "share of imports and __all__": 0.12,
    "late imports": 20,
}
IMPORT_BUDGET = 12  # modules of xcoreg itself; there are 3 while names wait until they are asked for

# Packages of the extras: the base install works without.
OPTIONAL = {"matplotlib", "geopandas", "pyogrio", "pyarrow", "distributed", "zarr", "netCDF4", "folium"}

COMPILED = "xcoreg.core.compiled"  # the one module with numba, imported where the extra is installed

# Words that tell a remote-sensing engineer nothing, wherever a name is made of them: get_kept, KeptBlocks.
FORBIDDEN = {"util", "utils", "misc", "helper", "helpers", "tell", "told", "kept", "held", "doubt", "doubts", "verdict"}
FORBIDDEN |= {"trial", "trials", "rooms", "whole", "look", "talk"}

# Modules with names for users, who read them from __all__.
PUBLIC = ("__init__", "accessor", "arosics", "coregister", "datasets", "errors", "filters", "georef", "masks", "plot")
PUBLIC += ("presets", "simulate", "stack")

SOURCES = [house.read(path) for path in sorted(house.SRC.rglob("*.py"))]
every_source = pytest.mark.parametrize("source", SOURCES, ids=[source.name for source in SOURCES])


def package_of(source):
    return source.path.relative_to(house.SRC).parts[0].removesuffix(".py")


def may_import(package, other):
    """Whether the other package is in a layer below, or in the same layer with an edge drawn to it."""
    return LEVEL.get(other, len(LAYERS)) < LEVEL[package] or (package, other) in DRAWN


def upward(package, imports):
    """Imports that climb; a late import by one of the stairs is allowed."""
    return [
        f"line {one.line}: {package} imports {one.package}, which is in no layer below it"
        for one in imports
        if one.package not in (None, package)
        and not may_import(package, one.package)
        and not (one.late and (package, one.package) in house.STAIRS)
    ]


def foreign_to_core(imports, name=""):
    allowed = {"numpy", "scipy", *sys.stdlib_module_names, *({"numba"} if name == COMPILED else ())}
    return [
        f"line {one.line}: {one.name}"
        for one in imports
        if not (one.package == "core" if one.package else one.name.split(".")[0] in allowed)
    ]


def words_of(name):
    """Split a name into its words: get_kept -> get, kept; KeptBlocks -> kept, blocks; look_up is one."""
    return {word.lower() for word in re.findall(r"look_up|[A-Z]?[a-z]+|[A-Z]+", name)}


def has_all(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


@every_source
def test_every_package_has_a_layer(source):
    assert package_of(source) in LEVEL, f"{package_of(source)} is in no layer of tests/test_house.py: give it one"


@every_source
def test_imports_go_down_only(source):
    assert upward(package_of(source), source.imports) == []


def test_no_package_is_in_a_cycle():
    assert house.cycles(house.package_graph(SOURCES, house.STAIRS)) == []


def test_no_module_is_in_a_cycle():
    assert house.cycles(house.module_graph(SOURCES)) == []


@every_source
def test_dask_is_known_to_lazy_alone(source):
    if package_of(source) != "lazy":
        assert [one for one in source.imports if one.name.split(".")[0] == "dask"] == []


@pytest.mark.parametrize("source", [one for one in SOURCES if package_of(one) == "core"], ids=lambda one: one.name)
def test_core_imports_numpy_scipy_and_core_alone(source):
    assert foreign_to_core(source.imports, source.name) == []


@every_source
def test_optional_packages_are_imported_when_they_are_needed(source):
    """By `errors.require`, which names the extra to install."""
    at_once = [one.name for one in source.imports if not one.late and not one.typing]
    assert [name for name in at_once if name.split(".")[0] in OPTIONAL] == []


@pytest.fixture(scope="module")
def measures():
    return house.measures()


@pytest.mark.parametrize("name", BUDGETS)
def test_the_house_stays_small(measures, name):
    assert measures[name] <= BUDGETS[name]


def test_a_shift_takes_a_short_way(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    calls = importlib.import_module("calls")
    images = pair(calls.SHAPE, shift=(1.25, -0.5), seed=1)
    counts = calls.counts(calls.record(lambda: images.tgt.coreg.shift_to(images.ref)))
    assert counts["files"] <= 43
    assert counts["changes"] <= 148


@every_source
def test_files_stay_short(source):
    assert len(source.code) <= BUDGETS["code lines a file, most"]


@every_source
def test_functions_stay_short(source):
    limit = BUDGETS["code lines a function, most"]
    assert [row for row in house.function_lengths(source) if row[1] > limit] == []


@every_source
def test_names_are_words_of_the_field(source):
    assert [one for one in house.names_given(source.path) if words_of(one[1]) & FORBIDDEN] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_modules_name_what_they_offer(name):
    file, package = house.SRC / f"{name}.py", house.SRC / name / "__init__.py"
    assert has_all(file if file.exists() else package)


# --- the checks above must themselves be able to fail ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "statement"),
    [
        ("results", "from xcoreg.warp import apply"),
        ("results", "from xcoreg import warp"),
        ("results", "from . import warp"),
        ("results", "from .warp import apply"),
        ("results", "import xcoreg.warp as w"),
        ("georef", "def f():\n    from xcoreg.warp import apply"),
        ("matching", "from xcoreg.warp.apply import apply"),
        ("lazy", "from xcoreg.raster.bands import to_band"),
        ("georef", "def f():\n    return import_module('xcoreg.warp')"),
        ("results", "if TYPE_CHECKING:\n    from xcoreg.warp import apply"),
        ("results", "from xcoreg.plot import plot_fit"),
        ("warp", "import xcoreg"),
    ],
)
def test_an_upward_import_is_seen(package, statement):
    assert len(upward(package, house.imports_of(statement, ["xcoreg"]))) == 1


def test_a_downward_import_and_a_stair_are_allowed():
    assert upward("warp", house.imports_of("from xcoreg.georef import gsd\nimport numpy", ["xcoreg"])) == []
    assert upward("results", house.imports_of("def plot():\n    from xcoreg.plot import plot_fit", ["xcoreg"])) == []


@pytest.mark.parametrize("name", ["xarray", "rasterio.warp", "dask.array", "xcoreg.errors", "xcoreg.georef"])
def test_a_stranger_in_core_is_seen(name):
    assert len(foreign_to_core(house.imports_of(f"import {name}", ["xcoreg", "core"]))) == 1


def test_core_may_import_its_own_modules():
    statements = (
        "import numpy as np\nfrom scipy import fft\nfrom xcoreg.core.phase import surface\nfrom .phase import x"
    )
    assert foreign_to_core(house.imports_of(statements, ["xcoreg", "core"])) == []


def test_a_cycle_is_seen():
    assert house.cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_docstrings_comments_and_blank_lines_are_not_code(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('def f():\n    """One.\n\n    Two.\n    """\n    # why\n\n    return (\n        1\n    )\n')
    source = house.read(path, tmp_path)
    assert (house.function_lengths(source), len(source.docs)) == ([("f", 4)], 4)


@pytest.mark.parametrize("name", ["kept_blocks", "KeptBlocks", "tell", "_look", "held_out"])
def test_a_forbidden_name_is_seen(name):
    assert words_of(name) & FORBIDDEN


def test_names_of_files_classes_functions_and_parameters_are_read(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("class A:\n    def f(self, x):\n        y = lambda z: z\n")
    assert {name for _, name in house.names_given(path)} == {"module", "A", "f", "self", "x", "z"}


# --- what `import xcoreg` costs -------------------------------------------------------------------------------------


def newly_imported(*before: str) -> list[str]:
    """Modules that `import xcoreg` adds to those that are there already."""
    names = ", ".join(["sys", *before])
    script = f"import {names}; known = set(sys.modules); import xcoreg; print(*set(sys.modules) - known)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return sorted(run.stdout.split())


@pytest.mark.parametrize("package", ["matplotlib", "geopandas", "distributed"])
def test_import_stays_light(package):
    assert not [name for name in newly_imported() if name.partition(".")[0] == package]


def test_import_is_quick():
    """No budget of seconds: they would be those of the machine. What is loaded is counted instead."""
    modules = newly_imported("rioxarray")
    assert [name for name in modules if name.partition(".")[0] != "xcoreg"] == []
    assert 0 < len(modules) <= IMPORT_BUDGET
