"""What comes from data is never run: not in pages, not in tables, not in XML; and two runs do not share a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

import xcoreg
from xcoreg.batches.page import write_page
from xcoreg.csv_files import from_plain_cell, plain_cell
from xcoreg.errors import CoregError, OptionError
from xcoreg.files import locked
from xcoreg.georef import GCPs, read_gcps, save_gcps

BAD = "<script>alert(1)</script>"


def _leaves(tree, at=()):
    """Places of all texts and numbers, the first of each list, and one for a new key in each dictionary."""
    if isinstance(tree, dict):
        yield (*at, BAD)
        for key in tree:
            yield from _leaves(tree[key], (*at, key))
    elif isinstance(tree, list):
        for i in range(min(len(tree), 1)):
            yield from _leaves(tree[i], (*at, i))
    else:
        yield at


def _put(tree, at):
    for part in at[:-1]:
        tree = tree[part]
    tree[at[-1]] = BAD


def test_no_text_of_a_fit_file_is_run_by_a_page(small_fit, tmp_path):
    good, path, taken = json.dumps(small_fit.to_dict()), tmp_path / "fit.json", 0
    everywhere = json.loads(good)
    for at in _leaves(json.loads(good)):
        tree = json.loads(good)
        _put(tree, at)
        path.write_text(json.dumps(tree))
        try:
            xcoreg.load_fit(path)
        except CoregError:  # a text where a number belongs
            continue
        taken += 1
        if at[-1] != "crs_wkt":  # which a page needs
            _put(everywhere, at)
    assert taken > 10
    path.write_text(json.dumps(everywhere))
    shown = xcoreg.load_fit(path)
    repr(shown), shown.summary()
    shown.report(tmp_path / "report.html", title=BAD)
    for text in (shown._repr_html_(), (tmp_path / "report.html").read_text()):
        assert BAD not in text
        assert "&lt;script&gt;" in text


def test_names_of_dates_are_escaped(small_scene, tmp_path):
    stack = xcoreg.match_stack({BAD: small_scene.ref, "b" + BAD: small_scene.tgt, "c": small_scene.tgt}, window=64)
    stack = replace(stack, options={BAD: BAD}, kinds=(BAD,), quality=replace(stack.quality, warnings=(BAD,)))
    stack.report(tmp_path / "report.html", title=BAD)
    for text in (stack._repr_html_(), (tmp_path / "report.html").read_text()):
        assert BAD not in text
        assert "&lt;script&gt;" in text


def test_units_and_names_of_crs_are_escaped(small_scene, small_fit, tmp_path):
    wkt = small_scene.tgt.rio.crs.to_wkt().replace("metre", BAD).replace("WGS 84 / UTM", BAD)
    replace(small_fit, crs_wkt=wkt).report(tmp_path / "report.html")
    assert BAD not in (tmp_path / "report.html").read_text()
    image = small_scene.tgt.assign_attrs(long_name=BAD, units=BAD)
    assert BAD not in xcoreg.plot.swipe(image.rename(BAD), small_scene.ref, image).html


def test_records_of_batches_are_escaped(tmp_path):
    record = {"name": BAD, "status": "done", "reason": BAD, "output": BAD, "model": BAD, "target": BAD}
    row = dict.fromkeys(["dcol", "drow", "sigma_col", "sigma_row", "rmse_before", "rmse_after", "ssim_before",
                         "ssim_after", "reliability", "n_ok", "n_windows", "seconds_total"], 1.0)  # fmt: skip
    for status in ("done", "failed"):
        write_page([record | {"status": status}], [row], tmp_path / "index.html")
        assert BAD not in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\t=1", "'=1"])
def test_formulas_become_text(text, tmp_path):
    assert plain_cell(text) == f"'{text}"
    assert from_plain_cell(plain_cell(text)) == text
    assert (plain_cell("-1.5"), plain_cell("a=1"), plain_cell(-1.5), from_plain_cell("'a")) == (
        "-1.5",
        "a=1",
        -1.5,
        "'a",
    )
    if text == text.strip():
        points = GCPs([0.0], [1.0], [600005.0], [4999985.0], crs=32633, id=(text,), info=(text,))
        path = save_gcps(points, tmp_path / "a.csv")
        assert read_gcps(path).id == (text,)
        assert pd.read_csv(path, comment="#")["id"][0].startswith("'")


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_entities_in_xml_are_refused(small_scene, tmp_path):
    path = xcoreg.write_raster(small_scene.tgt, tmp_path / "a.tif")
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 99}">' for n in range(9))
    band = "<PAMRasterBand band='1'><CategoryNames>&e8;</CategoryNames></PAMRasterBand>"
    aux = f"<!DOCTYPE a [{lines}]><PAMDataset>{band}</PAMDataset>"
    (tmp_path / "a.tif.aux.xml").write_text(aux)
    with pytest.warns(xcoreg.errors.CoregWarning, match="entities"):
        xcoreg.open_raster(path)


def test_a_folder_is_locked_by_one_process_that_lives(tmp_path):
    code = "import sys, pathlib, xcoreg.files as f\nwith f.locked(pathlib.Path(sys.argv[1])): print('in', flush=True); "
    code += "input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    with pytest.raises(OptionError, match=f"in use by process {other.pid} on"), locked(tmp_path):
        pass
    other.kill()
    other.communicate()
    with locked(tmp_path):
        assert [one.name for one in tmp_path.iterdir()] == [".xcoreg.lock"]
    assert [*tmp_path.iterdir()] == []
