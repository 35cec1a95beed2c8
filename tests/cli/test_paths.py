"""No output of any command replaces an input, two outputs are two files: checked before any work, in one place."""

from __future__ import annotations

import os
import shutil

import click
import pytest
from click.testing import CliRunner

import xcoreg
from xcoreg.cli import COMMANDS, cli
from xcoreg.cli.paths import OutputFile, OutputFolder
from xcoreg.errors import OptionError

# The arguments of every command; {x} are files, OUT is what the command is to write.
_PAIR = ["ref.tif", "tgt.tif"]
LINES = {
    "shift": [*_PAIR, "OUT", "--overwrite", "--where", "scl:scl.tif"],
    "match": [*_PAIR, "--where", "scl:scl.tif"],
    "warp": [*_PAIR, "OUT", "--overwrite", "--points", "points.csv"],
    "dem": [*_PAIR, "OUT", "--overwrite", "--stable", "scl.tif"],
    "points": [*_PAIR, "OUT", "--overwrite"],
    "apply": ["fit.json", "tgt.tif", "OUT", "--like", "ref.tif", "--overwrite"],
    "locate": ["tgt.tif", "points.csv"],
    "georef gcps": ["points.csv", "OUT"],
    "georef attach": ["tgt.tif", "points.csv", "OUT", "--overwrite"],
    "georef rectify": ["tgt.tif", "OUT", "--gcps", "points.csv", "--like", "ref.tif", "--overwrite"],
    "georef auto": ["tgt.tif", "ref.tif", "OUT", "--overwrite"],
    "ortho": ["tgt.tif", "scl.tif", "OUT", "--overwrite", "--ref", "ref.tif"],
    "arosics global": [*_PAIR],
    "arosics local": [*_PAIR, "100"],
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths")
    scene = xcoreg.simulate.pair((96, 96), shift=(0.5, -0.5), seed=1)
    for name in ("ref", "tgt"):
        xcoreg.write_raster(getattr(scene, name), folder / f"{name}.tif")
    xcoreg.write_raster((scene.tgt > 0).astype("uint8"), folder / "scl.tif")
    scene.tgt.coreg.match(scene.ref).save(folder / "fit.json")
    (folder / "points.csv").write_text("x,y\n301000,5899000\n")
    return folder


@pytest.fixture
def files(samples, tmp_path, monkeypatch):
    shutil.copytree(samples, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command_of(words):
    found = cli
    for word in words.split():
        found = found.get_command(click.Context(found), word)
    return found


def outputs_of(words):
    return [param for param in command_of(words).params if isinstance(param.type, OutputFile)]


def run(*words):
    result = CliRunner().invoke(cli, list(words))
    return result.exit_code, result.output


def test_every_command_that_writes_is_here():
    groups = {"georef", "arosics"}
    every = {*COMMANDS} - groups | {f"{group} {name}" for group in groups for name in command_of(group).commands}
    assert {words for words in every if outputs_of(words)} == {*LINES}


@pytest.mark.parametrize("words", LINES)
def test_no_output_replaces_an_input(words, files):
    line = LINES[words]
    inputs = [one.removeprefix("scl:") for one in line if (files / one.removeprefix("scl:")).is_file()]
    before = {path: path.read_bytes() for path in files.iterdir()}
    for param in outputs_of(words):
        for goal in inputs:
            os.link(files / goal, files / "linked")
            for spelling in (goal, f"../{files.name}/{goal}", "linked"):
                if isinstance(param, click.Argument):
                    code, text = run(*words.split(), *(spelling if one == "OUT" else one for one in line))
                else:
                    rest = ("new.tif" if one == "OUT" else one for one in line)
                    code, text = run(*words.split(), *rest, param.opts[0], spelling)
                assert code == 2, text
                assert "input" in text, (param.name, goal)
            (files / "linked").unlink()
    assert {path: path.read_bytes() for path in files.iterdir()} == before


def test_two_outputs_are_two_files(files):
    (files / "sub").mkdir()
    code, text = run("shift", *_PAIR, "new.tif", "--save-fit", "sub/../new.tif")
    assert (code, "are the same file" in text) == (2, True)


def test_parts_of_inputs_are_inputs(files):
    xcoreg.write_raster(xcoreg.open_raster("tgt.tif"), "tgt2.bsq")
    shutil.copyfile("ref.tif", "source.tif")
    xcoreg.georef.attach_gcps(
        "source.tif", xcoreg.GCPs([0, 9, 0], [0, 0, 9], [0, 9, 0], [0, 0, -9], crs=32633), "v.vrt"
    )
    for line in (["ref.tif", "tgt2.bsq", "--save-fit", "tgt2.hdr"], ["v.vrt", "tgt.tif", "--report", "source.tif"]):
        code, text = run("match", *line)
        assert (code, "a part of the input" in text) == (2, True), text


def test_folders_of_figures_replace_no_input(files):
    (files / "d").mkdir()
    shutil.copyfile("scl.tif", "d/window_001.png")
    code, text = run("match", *_PAIR, "--where", "d/window_001.png", "--debug", "d")
    assert (code, "would replace the input" in text) == (2, True)
    assert {type(one.type) for one in command_of("match").params if one.name == "debug"} == {OutputFolder}


@pytest.mark.parametrize("goal", ["/dev/null", "d", "read_only.json", "no/such/folder.json"])
def test_what_cannot_be_replaced_is_refused_by_all(goal, files):
    (files / "d").mkdir()
    (files / "d" / "inside").write_text("x")
    (files / "read_only.json").touch()
    (files / "read_only.json").chmod(0o444)
    for words, line in LINES.items():
        for param in outputs_of(words):
            named = [] if isinstance(param, click.Argument) else [param.opts[0], goal]
            code, text = run(
                *words.split(), *((goal if not named else "new.tif") if one == "OUT" else one for one in line), *named
            )
            assert code == 2, text
            assert "cannot write" in text
    fit = xcoreg.load_fit("fit.json")
    with pytest.raises(OptionError, match="cannot write"):
        fit.save(goal)
    assert (files / "d" / "inside").exists()
    assert not os.path.isfile("/dev/null")  # noqa: PTH113


def test_an_existing_file_is_replaced_only_with_overwrite(files):
    (files / "new.tif").touch()
    code, text = run("shift", *_PAIR, "new.tif")
    assert (code, "--overwrite" in text) == (2, True)


def test_two_grids_cannot_be_asked_for(files):
    code, text = run("shift", *_PAIR, "new.tif", "--align-grid", "--like", "ref.tif")
    assert (code, "choose one" in text) == (2, True)
