"""Each block of code in the documentation runs as printed, and prints what the page says.

A page is one session in a folder of its own, which holds the bundled pair as `ref.tif` and `tgt.tif`. A `text` block
right after a `python` block is its output: words and counts have to be equal, other numbers to the last digit shown.
Commands of `sh` blocks that begin with `xcoreg` are run, too. What a page needs but need not show stands in a comment
`<!-- setup: ... -->`; a block whose first line says `# needs the network` is only compiled.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import sys
import types
import warnings
from pathlib import Path

import pytest

import xcoreg

ROOT = Path(__file__).resolve().parents[2]
BUILT = ("_build", "jupyter_execute", "notebooks", "decisions")
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if not set(path.relative_to(ROOT).parts[:-1]) & set(BUILT)
    and "report" not in path.parts
    and not path.name.startswith("_")
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$|^<!-- setup:\n(.*?)^-->$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
# What a page needs installed, by what is to be read in it.
EXTRAS = {
    "matplotlib": (".plot", ".report(", "report=True", "--report", "--swipe", "matplotlib"),
    "geopandas": (".gpkg", ".shp", "geopandas"),
    "folium": (".explore",),
    "distributed": ("distributed",),
    "zarr": (".zarr",),
    "netCDF4": (".nc",),
}
# Commands that download, build or wait, and what is told by placeholders.
NOT_RUN = ("xcoreg demo", "xcoreg --version")


def steps(path):
    """(language, code, line) of a page; setup comments count as Python."""
    text = path.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        language, code, setup = found.groups()
        yield language or "python", code or setup, text[: found.start()].count("\n") + 2


def same(printed, promised):
    if NUMBER.sub("#", printed.strip()) != NUMBER.sub("#", promised.strip()):
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(promised), strict=True)
    return all(abs(float(a) - float(b)) <= tolerance(b) for a, b in pairs)


def tolerance(promised):
    """One and a half units of the last digit, or 0.05 %: other processors add in another order. Counts are exact."""
    decimals = len(promised.partition(".")[2])
    return max(1.5 * 10.0**-decimals, 5e-4 * abs(float(promised))) if decimals else 0.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what pages may take for granted."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(xcoreg.datasets.path("sentinel2_ref"), "ref.tif")
    shutil.copy(xcoreg.datasets.path("sentinel2_tgt"), "tgt.tif")
    tgt = xcoreg.open_raster("tgt.tif")
    xcoreg.write_raster((tgt.squeeze() > 1600).astype("uint8").rio.write_crs(tgt.rio.crs), "clouds.tif")
    return tmp_path


def run_python(code, namespace, where):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\n" * (where[1] - 1) + code, str(where[0]), "exec"), namespace)
    return out.getvalue()


def run_commands(code):
    from click.testing import CliRunner

    from xcoreg.cli import cli

    for line in code.replace("\\\n", " ").splitlines():
        command, _, goal = line.partition("#")[0].partition(" > ")
        words = shlex.split(command)
        if not words or words[0] != "xcoreg" or line.startswith(NOT_RUN):
            continue
        ran = CliRunner().invoke(cli, words[1:])
        assert ran.exit_code == 0, f"{line}\n{ran.output}\n{ran.exception!r}"
        if goal:
            Path(goal.strip()).write_text(ran.stdout, encoding="utf-8")


README_NEEDS = """
import numpy as _n
from xcoreg.georef.gcps import GCPs as _G
from xcoreg.georef import attach_gcps as _a
_col, _row = (one.ravel() for one in _n.meshgrid([0, 390, 779], [0, 390, 779]))
_a("tgt.tif", _G(_col, _row, 337305 + 10 * _col, 5852695 - 10 * _row, crs="EPSG:32633"), "swath.tif")
from xcoreg import datasets as _d
from xcoreg.io.read import open_raster as _o
from xcoreg.io.write import write_raster as _w
_o("clouds.tif").pipe(_w, "clouds_20m.tif")
_r, _t = _d.sentinel2_pair()
_t.coreg.match(_r).save("fit.json")
"""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_block_runs_and_prints_what_the_page_says(path, folder, monkeypatch):
    page = list(steps(path))
    for package, signs in EXTRAS.items():
        if any(sign in code for language, code, _ in page if language in ("python", "sh") for sign in signs):
            pytest.importorskip(package)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    printed = None
    if path.name == "README.md":
        exec(README_NEEDS, vars(module))
    for language, code, line in page:
        if language == "python":
            if code.startswith("# needs the network"):
                compile(code, str(path), "exec")
                printed = None
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", xcoreg.CoregWarning)  # advice to users is no fault of a page
                warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
                printed = run_python(code, vars(module), (path, line))
        elif language == "text":
            assert printed is None or same(printed, code), f"{path.name}, line {line} printed:\n{printed}"
            printed = None
        elif language == "sh" and path.name != "README.md":  # there with placeholders; tests/test_readme.py has them
            run_commands(code)


# What stands for the placeholders of the README: elevations for `dem`, an image with control points for `georef`.
STANDS_FOR = {"REF": "ref.tif", "TGT": "tgt.tif", "IMAGE": "tgt.tif", "JOBS": "'tgt*.tif'", "DIR": "many"}
STANDS_FOR |= {"IMAGES": "ref.tif tgt.tif"}
INSTEAD = {"dem": {"REF": "ref_dem.tif", "TGT": "dem.tif"}, "georef": {"IMAGE": "swath.tif"}}
INSTEAD |= {"ortho": {"IMAGE": "raw.tif", "DEM": "1000"}}
COMMANDS_NEED = """
from xcoreg.simulate import dem_pair as _dem_pair
_dems = _dem_pair((128, 160), seed=1)
_w(_dems.ref, "ref_dem.tif")
_w(_dems.tgt, "dem.tif")
import numpy as _np, rasterio as _rasterio
from affine import Affine as _Affine
from xcoreg.georef import Terrain as _Terrain
from xcoreg.simulate import raw_scene as _raw_scene
_flat = _Terrain(_np.full((120, 120), 1000.0, "float32"), _Affine(60, 0, 280000, 0, -60, 5220000), "EPSG:32633")
_raw = _raw_scene(_flat, (150, 140), 15.0, correction=(2.0, -1.0), seed=4)
_shape = {"width": 140, "height": 150, "count": 1, "dtype": "float32"}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is no transform yet
    with _rasterio.open("raw.tif", "w", driver="GTiff", **_shape) as _file:
        _file.write(_raw.raw.values, 1)
        _file.rpcs = _rasterio.rpc.RPC(**_raw.rpcs.to_dict())
_pathlib.Path("points.csv").write_text("lon,lat\\n12.65,52.78\\n")
"""


def test_the_commands_of_the_readme_run(folder):
    pytest.importorskip("geopandas")
    names = {"_pathlib": __import__("pathlib"), "warnings": warnings}
    exec(README_NEEDS, names)
    exec(COMMANDS_NEED, names)
    lines = [
        line
        for language, code, _ in steps(ROOT / "README.md")
        if language == "sh"
        for line in code.splitlines()
        if line.startswith("xcoreg ")
    ]
    for number, line in enumerate(lines):
        words = STANDS_FOR | INSTEAD.get(line.split()[1], {}) | {"OUT": f"out{number}.tif"}
        run_commands(re.sub(r"\b[A-Z]{2,}\b", lambda found, words=words: words[found[0]], line.partition("#")[0]))
    assert len(lines) > 8


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for goal in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not goal.startswith(("http", "mailto")):
            # notebooks and reports of benchmarks are copied next to the pages when these are built
            built = goal.startswith(("notebooks/", "../notebooks/")) or (ROOT / "benchmarks" / goal).exists()
            assert (path.parent / goal).exists() or built, goal


def test_outputs_are_compared_not_only_printed():
    assert same("a 1.02 b", "a 1.01 b")
    assert not same("a 0.03 b", "a 0.01 b")
    assert not same("dx=-6.412", "dx=-6.401")
    assert not same("a 3 b", "a 2 b")
    assert not same("a b", "a c")
