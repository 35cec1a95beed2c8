"""The rules of the house, read from the syntax trees, and what a bare `import xcoreg` costs."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SRC = Path(__file__).resolve().parent.parent / "src" / "xcoreg"

# The six layers of the house, ground first. A module may import its own package and the layers below.
LAYERS = (
    ("errors", "files", "core"),
    ("georef", "results", "filters"),
    ("lazy", "raster", "io", "simulate", "datasets"),
    ("matching", "warp", "coregister"),
    ("plot", "report"),
    ("accessor", "cli", "batches"),
    ("__init__", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Within a layer only these may import each other, in this direction.
DRAWN = {
    ("files", "errors"),
    ("results", "georef"),
    ("filters", "results"),
    ("raster", "lazy"),
    ("io", "raster"),
    ("io", "lazy"),
    ("datasets", "io"),
    ("coregister", "matching"),
    ("coregister", "warp"),
    ("report", "plot"),
    ("cli", "batches"),
    ("__main__", "__init__"),
    ("accessor", "__init__"),  # `import xcoreg`, whose names are imported when they are first asked for
}

# Methods that hand a result to a layer above because users look for them there. Each must be a late import.
STAIRS = {("results", "plot"), ("results", "report"), ("results", "warp")}

LONGEST_FILE = 300  # lines of code: docstrings, comments and blank lines do not count
LONGEST_FUNCTION = 50
IMPORT_BUDGET = 12  # modules of xcoreg itself; there are 3 while names wait until they are asked for

MODULES = sorted(SRC.rglob("*.py"))
IDS = [path.relative_to(SRC).as_posix() for path in MODULES]
every_module = pytest.mark.parametrize("path", MODULES, ids=IDS)


@dataclass(frozen=True)
class Import:
    """One imported module, by its full dotted name, and where the statement stands."""

    name: str
    line: int
    late: bool

    @property
    def room(self) -> str | None:
        """The part of xcoreg that is meant ("core", "warp", ...), or None for other packages."""
        parts = self.name.split(".")
        if parts[0] != "xcoreg":
            return None
        return parts[1] if len(parts) > 1 else "__init__"


def room_of(path: Path, root: Path = SRC) -> str:
    return path.relative_to(root).parts[0].removesuffix(".py")


def package_of(path: Path, root: Path = SRC) -> list[str]:
    return ["xcoreg", *path.relative_to(root).parts[:-1]]


def names_of(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Dotted names a node imports: statements, and import_module / require with a literal name."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        # "from xcoreg import warp" means the module warp, "from xcoreg.warp import apply" does too
        yield from ((f"{module}.{alias.name}" if module == "xcoreg" else module) for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in {"import_module", "require", "__import__"} and isinstance(node.args[0].value, str):
            yield node.args[0].value


def imports_of(source: str, package: list[str]) -> list[Import]:
    found = []

    def visit(node: ast.AST, late: bool) -> None:
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        line = getattr(node, "lineno", 0)
        found.extend(Import(name, line, late) for name in names_of(node, package))
        for child in ast.iter_child_nodes(node):
            visit(child, late)

    visit(ast.parse(source), late=False)
    return found


def imports_in(path: Path) -> list[Import]:
    return imports_of(path.read_text(encoding="utf-8"), package_of(path))


def may_import(package: str, other: str) -> bool:
    """Whether the other package lies in a layer below, or beside this one and drawn so."""
    level = LEVEL.get(other, len(LAYERS))
    return level < LEVEL[package] or (package, other) in DRAWN


def upward(room: str, imports: list[Import]) -> list[str]:
    """Imports that climb; a late import by one of the named stairs is allowed."""
    return [
        f"line {one.line}: {room} imports {one.room}, which is no layer below it"
        for one in imports
        if one.room not in (None, room)
        and not may_import(room, one.room)
        and not (one.late and (room, one.room) in STAIRS)
    ]


def foreign_to_core(imports: list[Import]) -> list[str]:
    allowed = {"numpy", "scipy", *sys.stdlib_module_names}
    return [
        f"line {one.line}: {one.name}"
        for one in imports
        if not (one.room == "core" if one.room else one.name.split(".")[0] in allowed)
    ]


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: no blank line, no comment."""
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {line for tok in tokens if tok.type not in skip for line in range(tok.start[0], tok.end[0] + 1)}


def docstring_lines(tree: ast.Module) -> set[int]:
    """Numbers of the lines that docstrings take."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds) and ast.get_docstring(node, clean=False)]
    return {line for node in nodes for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}


def function_lengths(source: str) -> list[tuple[str, int]]:
    """Every function with its lines of code, without docstring, comments and blank lines."""
    code = code_lines(source)
    lengths = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
            lengths.append((node.name, len(lines)))
    return lengths


def has_all(tree: ast.Module) -> bool:
    return any(
        isinstance(target, ast.Name) and target.id == "__all__"
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )


PUBLIC = (
    "__init__.py",
    "accessor.py",
    "coregister.py",
    "datasets.py",
    "errors.py",
    "filters.py",
    "georef/__init__.py",
    "plot/__init__.py",
    "simulate/__init__.py",
)


@every_module
def test_every_package_has_a_layer(path):
    assert room_of(path) in LEVEL, f"{room_of(path)} is in no layer of tests/test_house.py: give it one"


@every_module
def test_imports_go_down_only(path):
    assert upward(room_of(path), imports_in(path)) == []


@every_module
def test_dask_is_known_to_lazy_alone(path):
    if room_of(path) != "lazy":
        assert [one for one in imports_in(path) if one.name.split(".")[0] == "dask"] == []


@pytest.mark.parametrize("path", sorted((SRC / "core").rglob("*.py")), ids=lambda path: path.name)
def test_core_imports_numpy_scipy_and_core_alone(path):
    assert foreign_to_core(imports_in(path)) == []


@every_module
def test_files_stay_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(code_lines(source) - docstring_lines(ast.parse(source))) <= LONGEST_FILE


@every_module
def test_functions_stay_short(path):
    long = [row for row in function_lengths(path.read_text(encoding="utf-8")) if row[1] > LONGEST_FUNCTION]
    assert long == []


@pytest.mark.parametrize("path", [SRC / name for name in PUBLIC], ids=PUBLIC)
def test_public_modules_name_what_they_offer(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert has_all(tree)


# --- the checks above must themselves be able to fail ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "statement"),
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
def test_an_upward_import_is_seen(room, statement):
    assert len(upward(room, imports_of(statement, ["xcoreg"]))) == 1


def test_a_downward_import_and_a_stair_are_allowed():
    assert upward("warp", imports_of("from xcoreg.georef import gsd\nimport numpy", ["xcoreg"])) == []
    assert upward("results", imports_of("def plot():\n    from xcoreg.plot import plot_fit", ["xcoreg"])) == []


@pytest.mark.parametrize("name", ["xarray", "rasterio.warp", "dask.array", "xcoreg.errors", "xcoreg.georef"])
def test_a_stranger_in_core_is_seen(name):
    assert len(foreign_to_core(imports_of(f"import {name}", ["xcoreg", "core"]))) == 1


def test_core_may_use_its_own_rooms():
    statements = (
        "import numpy as np\nfrom scipy import fft\nfrom xcoreg.core.status import Status\nfrom .status import Status"
    )
    assert foreign_to_core(imports_of(statements, ["xcoreg", "core"])) == []


def test_docstrings_comments_and_blank_lines_are_not_code():
    source = 'def f():\n    """One.\n\n    Two.\n    """\n    # why\n\n    return (\n        1\n    )\n'
    assert function_lengths(source) == [("f", 4)]


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
