"""The plugin for QGIS: its commands are those of the program, its parameters those of QGIS's API (here a stub)."""

from __future__ import annotations

import ast
import importlib
import re
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
    assert any("dx=-6.4" in line for line in feedback.lines)


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
