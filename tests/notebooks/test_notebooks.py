"""Each notebook runs from top to bottom, warnings being errors; none carries outputs into the repository.

The cells run in this process, as a kernel would run them: one namespace, the last expression of a cell shown. So no
kernel has to be installed or started; `nox -s docs` runs them in a real one.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
import types
import warnings
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
EXTRAS = ("matplotlib", "distributed", "geopandas", "folium", "zarr")
SHOWN = ("_repr_html_", "_repr_png_", "_repr_svg_")


def cells(path, kind="code"):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def show(value, out):
    """Ask a value for all it offers to a notebook."""
    if value is not None:
        out.write(repr(value))
        for name in SHOWN:
            getattr(value, name, lambda: None)()


def run(source, namespace, name, out):
    tree = ast.parse(source, name)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if last is not None:
        show(eval(compile(last, name, "eval"), namespace), out)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("notebook")  # dask and pickle look names up where they were defined
    monkeypatch.setitem(sys.modules, "notebook", module)
    for missing in EXTRAS:
        if missing in "".join(cells(path)) or missing == "matplotlib":
            pytest.importorskip(missing)
    with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
        for number, source in enumerate(cells(path), 1):
            run(source, vars(module), f"{path.stem}, cell {number}", out)
    assert any(character.isdigit() for character in out.getvalue())  # its answer
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_outputs_are_stripped(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_asks_one_question(path):
    titles = [line for text in cells(path, "markdown") for line in text.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    assert titles[0].startswith(f"# {path.stem.split('_')[0]} · ")


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 6
