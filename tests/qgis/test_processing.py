"""The plugin for QGIS: its commands are those of the program, its parameters those of QGIS's API (here a stub)."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from xcoreg.cli import cli
from xcoreg.core.matches import Status

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "qgis" / "xcoreg_processing"
CLASSES = (
    "RasterLayer",
    "File",
    "FileDestination",
    "FolderDestination",
    "RasterDestination",
    "Number",
    "Enum",
    "Boolean",
)
CLASSES += ("String",)


class Parameter:
    File, Folder, Integer, Double = 0, 1, 0, 1

    def __init__(self, name, label, *rest):
        self.name, self.label, self.rest = name, label, rest


class Algorithm:
    def __init__(self):
        self.parameters = {}

    def addParameter(self, parameter):
        self.parameters[parameter.name] = parameter

    def parameterAsRasterLayer(self, values, name, context):
        return types.SimpleNamespace(source=lambda: values[name])

    def parameterAsOutputLayer(self, values, name, context):
        return values[name]

    parameterAsFileOutput = parameterAsString = parameterAsOutputLayer
    parameterAsInt = parameterAsDouble = parameterAsEnum = parameterAsBoolean = parameterAsOutputLayer


class Feedback:
    def __init__(self, stop=False):
        self.lines, self.shares, self.stop = [], [], stop

    def pushInfo(self, text):
        self.lines.append(text)

    def setProgress(self, share):
        self.shares.append(share)

    def isCanceled(self):
        return self.stop


@pytest.fixture
def plugin(monkeypatch):
    """The modules of the plugin, over a stub of QGIS."""
    core = types.ModuleType("qgis.core")
    core.QgsProcessingAlgorithm, core.QgsProcessingException = Algorithm, type("Failed", (Exception,), {})
    for name in CLASSES:
        setattr(core, f"QgsProcessingParameter{name}", type(name, (Parameter,), {}))
    added = []
    registry = types.SimpleNamespace(addProvider=added.append, removeProvider=added.remove)
    core.QgsApplication = types.SimpleNamespace(processingRegistry=lambda: registry)
    core.QgsProcessingProvider = type("Provider", (), {"addAlgorithm": lambda self, one: added.append(one)})
    gui = types.ModuleType("qgis.PyQt.QtGui")
    gui.QIcon = str
    plain = {name: types.ModuleType(name) for name in ("qgis", "qgis.PyQt")}
    for name, module in (plain | {"qgis.core": core, "qgis.PyQt.QtGui": gui}).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(PLUGIN.parent))
    monkeypatch.setenv("XCOREG_PROGRAM", f"{sys.executable} -m xcoreg")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "xcoreg_processing"]:
        monkeypatch.delitem(sys.modules, name)
    found = importlib.import_module("xcoreg_processing.algorithms")
    yield types.SimpleNamespace(algorithms=found, added=added, package=sys.modules["xcoreg_processing"], failed=core)
    for name in [name for name in sys.modules if name.partition(".")[0] == "xcoreg_processing"]:
        del sys.modules[name]


def test_the_provider_offers_every_algorithm(plugin):
    one = plugin.package.classFactory(None)
    one.initGui()
    provider = plugin.added[0]
    provider.loadAlgorithms()
    assert provider.id() == "xcoreg"
    assert Path(provider.icon()).exists()
    assert [alg.name() for alg in plugin.added[1:]] == ["shift", "warp", "points", "dem", "apply", "batch"]
    one.unload()
    assert provider not in plugin.added


def test_every_option_is_one_of_the_command(plugin):
    for kind in plugin.algorithms.ALGORITHMS:
        algorithm = kind().createInstance()
        algorithm.initAlgorithm()
        command = cli.get_command(None, algorithm.name())
        flags = {flag: param for param in command.params for flag in param.opts}
        for option in algorithm.options:
            assert option.name in algorithm.parameters
            if option.flag:
                assert option.flag in flags, (algorithm.name(), option.flag)
            choices = getattr(flags.get(option.flag) and flags[option.flag].type, "choices", None)
            if option.kind == "choice":
                assert set(option.choices) - {""} <= set(choices)
        places = [param.name for param in command.params if param.param_type_name == "argument"]
        assert len(places) == sum(not one.flag and one.kind != "words" for one in algorithm.options)
        assert algorithm.displayName()
        assert algorithm.shortHelpString()


def test_an_image_is_corrected_to_the_same_bytes_as_by_the_program(plugin, tmp_path):
    from click.testing import CliRunner

    import xcoreg

    ref, tgt = (str(xcoreg.datasets.path(name)) for name in ("sentinel2_ref", "sentinel2_tgt"))
    algorithm, feedback = plugin.algorithms.Shift(), Feedback()
    out = str(tmp_path / "by_qgis.tif")
    values = {"REF": ref, "TGT": tgt, "OUT": out, "PRESET": 3, "RESAMPLING": 0, "ALIGN": True}
    assert algorithm.processAlgorithm(values, None, feedback)["OUT"] == out
    words = ["shift", ref, tgt, str(tmp_path / "by_shell.tif"), "--preset", "landsat-c2", "--align-grid"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert Path(out).read_bytes() == (tmp_path / "by_shell.tif").read_bytes()
    assert any("dx=-6." in line for line in feedback.lines)


def files_of(folder):
    """Bytes of the results in a folder, by name; not the tables and pages, which say how long it took."""
    found = [one for one in sorted(folder.rglob("*")) if one.suffix in (".tif", ".csv", ".html") or "fit" in one.name]
    return {one.name: one.read_bytes() for one in found if one.name not in ("manifest.csv", "index.html")}


# Values of the dialog, and what one types for the same.
PAIR = {"REF": "ref.tif", "TGT": "tgt.tif"}
CALLS = {
    "shift": (
        PAIR | {"ALIGN": True, "RESAMPLING": 3, "SWIPE": "O/s.html", "FIT": "O/fit.json", "OUT": "O/a.tif"},
        "--align-grid --resampling cubic --swipe O/s.html --save-fit O/fit.json ref.tif tgt.tif O/a.tif",
    ),
    "warp": (
        PAIR | {"SPACING": 48.0, "WINDOW": 64, "MODEL": 2, "LIKE": "ref.tif", "OUT": "O/b.tif"},
        "--spacing 48 --window 64 --model affine --like ref.tif ref.tif tgt.tif O/b.tif",
    ),
    "points": (
        PAIR | {"SPACING": 64.0, "WINDOW": 64, "MORE": "--columns arosics", "OUT": "O/p.csv"},
        "--spacing 64 --window 64 --columns arosics ref.tif tgt.tif O/p.csv",
    ),
    "dem": (
        {"REF": "low.tif", "TGT": "high.tif", "WHERE": "mask.tif", "EXCLUDE": True, "OUT": "O/d.tif"},
        "--stable mask.tif --exclude low.tif high.tif O/d.tif",
    ),
    "apply": (
        {"FIT": "fit.json", "IMAGE": "tgt.tif", "LIKE": "ref.tif", "RESAMPLING": 1, "OUT": "O/e.tif"},
        "--like ref.tif --resampling nearest fit.json tgt.tif O/e.tif",
    ),
    "batch": (
        {"JOBS": "tgt.tif", "REF": "ref.tif", "VERB": 0, "OUT": "O"},
        "--ref ref.tif --verb shift --out O tgt.tif",
    ),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with a pair of images, a fit of it, a pair of elevation models and a mask."""
    import xcoreg

    folder = tmp_path_factory.mktemp("images")
    scene = xcoreg.simulate.pair((200, 220), shift=(1.4, -0.6), seed=7)
    heights = xcoreg.simulate.dem_pair((160, 180), shift=(6.0, -4.0, 1.5), glaciers=0.1, seed=7)
    made = {"ref": scene.ref, "tgt": scene.tgt, "low": heights.ref, "high": heights.tgt}
    made["mask"] = (heights.stable == 0).astype("uint8").rio.write_crs(heights.ref.rio.crs)
    for name, image in made.items():
        xcoreg.write_raster(image, folder / f"{name}.tif")
    scene.tgt.coreg.match(scene.ref).save(folder / "fit.json")
    return folder


@pytest.mark.parametrize("name", CALLS)
def test_every_algorithm_writes_the_same_bytes_as_the_program(plugin, images, monkeypatch, name):
    from click.testing import CliRunner

    def run_here(words, *_):  # what command.run starts as a process, in this one
        done = CliRunner().invoke(cli, list(words))
        assert done.exit_code == 0, done.output

    monkeypatch.chdir(images)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    values, typed = CALLS[name]
    kind = next(one for one in plugin.algorithms.ALGORITHMS if one.command == (name,))
    by_dialog, by_shell = (images / f"{name}_{how}" for how in ("dialog", "shell"))
    by_dialog.mkdir()
    by_shell.mkdir()
    monkeypatch.setattr(plugin.algorithms.command, "run", run_here)
    kind().processAlgorithm({key: in_folder(one, by_dialog) for key, one in values.items()}, None, Feedback())
    run_here([name, *(in_folder(one, by_shell) for one in typed.split())])
    assert files_of(by_dialog)
    assert files_of(by_dialog) == files_of(by_shell)


def in_folder(value, folder):
    """Value of a dialog with the folder of outputs for O."""
    return re.sub(r"^O(?=/|$)", folder.name, value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("code", "reason"),
    [(2, r"cannot be used: no\.tif does not exist"), (3, r"no trustworthy match: no\.tif"), (1, "xcoreg failed")],
)
def test_a_failure_names_its_reason(plugin, tmp_path, monkeypatch, code, reason):
    script = tmp_path / "program.py"
    script.write_text(
        "import sys\nprint('matching   40 % of 9 windows after 3 s', file=sys.stderr)\n"
        f"print('Error: no.tif does not exist', file=sys.stderr)\nsys.exit({code})\n"
    )
    monkeypatch.setenv("XCOREG_PROGRAM", f"{sys.executable} {script}")
    values = {"REF": "no.tif", "TGT": "no.tif", "OUT": str(tmp_path / "o.tif")}
    feedback = Feedback()
    with pytest.raises(plugin.failed.QgsProcessingException, match=reason):
        plugin.algorithms.Shift().processAlgorithm(values, None, feedback)
    assert feedback.shares == [40.0]


def test_a_missing_program_names_the_cure(plugin, monkeypatch):
    monkeypatch.setenv("XCOREG_PROGRAM", "/no/such/program")
    with pytest.raises(RuntimeError, match="pip install xcoreg"):
        plugin.algorithms.command.run(["info"], print)


def test_words_of_a_command(plugin):
    options = plugin.algorithms.Warp.options
    values = {
        "REF": "-a.tif",
        "TGT": "b c.tif",
        "OUT": "o.tif",
        "SPACING": 90.0,
        "MORE": "--contrast any",
        "ALIGN": True,
    }
    words = plugin.algorithms.command.arguments(("warp",), options, values)
    assert words == ["warp", "--spacing", "90", "--align-grid", "--contrast", "any", "--overwrite", "--", "-a.tif",
                     "b c.tif", "o.tif"]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "share"),
    [("matching   30 % of 500 windows after 4 s", 30.0), ("done      a: x, 1.0 s (70 %)", 70.0),
     ("quality   reliability 96 %, 4 of 4", None), ("wrote     x.tif", None)],
)  # fmt: skip
def test_progress_is_read_from_the_messages(plugin, line, share):
    assert plugin.algorithms.command.share_of(line) == share


def test_the_description_is_complete():
    text = (PLUGIN / "metadata.txt").read_text(encoding="utf-8")
    for key in ("name", "qgisMinimumVersion", "description", "about", "version", "author", "email", "repository"):
        assert re.search(rf"^{key}=\S", text, re.MULTILINE), key
    assert "hasProcessingProvider=yes" in text
    for path in PLUGIN.glob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))  # the Python of QGIS 3.16


def test_the_style_has_a_symbol_for_every_status():
    style = ET.parse(ROOT / "src" / "xcoreg" / "results" / "tie_points.qml").getroot()
    categories = {one.get("value"): one.get("symbol") for one in style.iter("category")}
    assert set(categories) == set(Status.__members__)
    assert set(categories.values()) <= {one.get("name") for one in style.iter("symbol")}


QGIS = shutil.which("qgis_process.bin") or shutil.which("qgis_process")  # Debian's script gives an option it has not


@pytest.mark.slow
@pytest.mark.skipif(QGIS is None, reason="needs QGIS")
@pytest.mark.parametrize("name", CALLS)
def test_qgis_itself_writes_the_same_bytes(images, tmp_path, name):
    home = tmp_path / "home"
    plugins = home / "profiles" / "default" / "python" / "plugins"
    plugins.mkdir(parents=True)
    shutil.copytree(PLUGIN, plugins / PLUGIN.name)
    environment = os.environ | {
        "HOME": str(home), "QGIS_CUSTOM_CONFIG_PATH": str(home), "XDG_RUNTIME_DIR": str(home),
        "QT_QPA_PLATFORM": "offscreen", "SOURCE_DATE_EPOCH": "1700000000",
        "XCOREG_PROGRAM": f"{sys.executable} -m xcoreg",
    }  # fmt: skip
    environment.pop("PYTHONPATH", None)  # of the tests, not of QGIS

    def call(*words):
        done = subprocess.run(words, cwd=images, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    values, typed = CALLS[name]
    by_qgis, by_shell = (images / f"{name}_{how}" for how in ("qgis", "shell_too"))
    by_qgis.mkdir()
    by_shell.mkdir()
    call(QGIS, "plugins", "enable", PLUGIN.name)
    given = {key: in_folder(one, by_qgis) for key, one in values.items()}
    call(QGIS, "run", f"xcoreg:{name}", "--", *(f"{key}={one}" for key, one in given.items()))
    call(sys.executable, "-m", "xcoreg", name, *(in_folder(one, by_shell) for one in typed.split()))
    assert files_of(by_qgis)
    assert files_of(by_qgis) == files_of(by_shell)
