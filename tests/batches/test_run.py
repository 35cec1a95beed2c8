"""Many scenes: corrected, refused and failed, and what a second run does."""

from __future__ import annotations

import csv
import json
import os
import re

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from xcoreg.batches.run import batch
from xcoreg.errors import OptionError
from xcoreg.georef import GCPs, attach_gcps, transform_points
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.results.reading import load_fit
from xcoreg.simulate import pair


def spoil(path):
    """Cut a file in two: what an interrupted download leaves."""
    os.truncate(path, path.stat().st_size // 2)


def unlike(folder):
    """An image that has nothing to do with the others."""
    return write_raster(pair((256, 256), shift=(0, 0), seed=99).tgt, folder / "unlike.tif")


def test_every_scene_is_corrected(scenes):
    found = batch(scenes.targets, scenes.out, ref=scenes.ref)
    assert found
    assert found.counts() == {"done": 3}
    for record, (name, (dcol, drow)) in zip(found.records, scenes.shifts.items(), strict=True):
        assert (record["dcol"], record["drow"]) == (pytest.approx(dcol, abs=0.01), pytest.approx(drow, abs=0.01))
        fixed, before = open_raster(scenes.out / f"{name}.tif"), open_raster(scenes.folder / f"{name}.tif")
        assert float(fixed.x[0] - before.x[0]) == pytest.approx(10 * dcol, abs=0.1)
        assert np.array_equal(fixed, before)
        assert load_fit(scenes.out / "scenes" / f"{name}.fit.json").shift.dx == record["dx"]


def test_the_second_run_does_nothing(scenes):
    batch(scenes.targets, scenes.out, ref=scenes.ref)
    stamps = {path: path.stat().st_mtime_ns for path in scenes.out.rglob("*.*if*")}
    again = batch(scenes.targets, scenes.out, ref=scenes.ref)
    assert again.n_new == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.parametrize("lost", ["a.tif", "scenes/a.fit.json", "scenes/a.json"])
def test_incomplete_outputs_are_made_again(scenes, lost):
    batch(scenes.targets, scenes.out, ref=scenes.ref)
    complete = scenes.files_of(scenes.out)
    (scenes.out / lost).unlink()
    assert batch(scenes.targets, scenes.out, ref=scenes.ref).n_new == 1
    assert scenes.files_of(scenes.out) == complete


def test_a_changed_input_or_option_is_processed_again(scenes):
    batch(scenes.targets, scenes.out, ref=scenes.ref)
    os.utime(scenes.targets[0], (1, 1))
    assert batch(scenes.targets, scenes.out, ref=scenes.ref).n_new == 1
    assert batch(scenes.targets, scenes.out, ref=scenes.ref, window=128).n_new == 3
    spoil(scenes.out / "b.tif")
    assert batch(scenes.targets, scenes.out, ref=scenes.ref, window=128).n_new == 1


def test_one_bad_scene_does_not_stop_the_others(scenes):
    spoil(scenes.targets[0])
    scenes.targets.append(unlike(scenes.folder))
    found = batch(scenes.targets, scenes.out, ref=scenes.ref)
    assert found.counts() == {"done": 2, "refused": 1, "failed": 1}
    assert not found
    reasons = {record["name"]: record["reason"] for record in found.records}
    assert re.search(r"may be damaged.* a\.tif", reasons["a"])
    assert "no trustworthy match" in reasons["unlike"]
    assert sorted(path.name for path in scenes.out.glob("*.tif")) == ["b.tif", "c.tif"]
    # what failed is tried again, what was refused only when asked for
    assert batch(scenes.targets, scenes.out, ref=scenes.ref).n_new == 1
    assert batch(scenes.targets, scenes.out, ref=scenes.ref, retry=True).n_new == 2


def test_an_output_of_other_options_does_not_outlive_them(scenes):
    batch(scenes.targets, scenes.out, ref=scenes.ref)
    spoil(scenes.targets[0])
    batch(scenes.targets, scenes.out, ref=scenes.ref, align_grid=True)
    assert sorted(path.name for path in scenes.out.glob("*.tif")) == ["b.tif", "c.tif"]


def test_table_and_page_list_every_scene(scenes):
    spoil(scenes.targets[1])
    batch(scenes.targets, scenes.out, ref=scenes.ref)
    with (scenes.out / "manifest.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert [rows[name]["status"] for name in "abc"] == ["done", "failed", "done"]
    assert float(rows["c"]["dcol"]) == pytest.approx(-2.0, abs=0.01)
    assert float(rows["c"]["seconds_total"]) > 0
    page = (scenes.out / "index.html").read_text()
    links = re.findall('href="([^"]+)"', page)
    assert all((scenes.out / link).exists() for link in links)
    assert "2 corrected, 1 failed" in page
    assert "a.tif" in links


def test_the_table_as_parquet(scenes):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    spoil(scenes.targets[1])
    found = batch(scenes.targets, scenes.out, ref=scenes.ref, manifest="parquet")
    table = pandas.read_parquet(scenes.out / "manifest.parquet")
    assert list(table.status) == ["done", "failed", "done"]
    assert table.dcol[2] == found.records[2]["dcol"]


def test_fields_on_the_grid_of_the_reference_as_cog(scenes):
    how = {"verb": "warp", "window": 64, "spacing": 48, "like": "reference", "driver": "COG", "report": False}
    found = batch(scenes.targets[:1], scenes.out, ref=scenes.ref, creation={"blocksize": 128}, **how)
    assert found.records[0]["quality"]["rmse_after"] < 0.1
    with rasterio.open(scenes.out / "a.tif") as made, rasterio.open(scenes.ref) as ref:
        assert made.transform == ref.transform
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_a_page_for_every_scene(scenes):
    pytest.importorskip("matplotlib")
    assert batch(scenes.targets[:1], scenes.out, ref=scenes.ref, report=True)
    assert "Coregistration" not in (scenes.out / "index.html").read_text()
    assert "<h1>a" in (scenes.out / "scenes" / "a.html").read_text()


def test_masks_are_named_by_their_paths(scenes):
    where = write_raster(open_raster(scenes.ref) * 0, scenes.folder / "nowhere.tif")
    found = batch(scenes.targets[:1], scenes.out, ref=scenes.ref, ref_where=str(where))
    assert found.counts() == {"refused": 1}


def test_the_record_is_json_with_times_and_quality(scenes):
    batch(scenes.targets[:1], scenes.out, ref=scenes.ref)
    record = json.loads((scenes.out / "scenes" / "a.json").read_text())
    assert set(record["seconds"]) == {"match", "write", "total"}
    assert record["quality"]["n_ok"] >= 2
    assert record["target"] == str(scenes.targets[0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"verb": "move"}, "verb is 'move'"),
        ({"windw": 3}, "did you mean 'window'"),
        ({"progres": True}, "there is no option 'progres'"),
        ({"errors": "return"}, "errors= has no meaning"),
        ({"resampling": "best"}, "resampling='best' is unknown"),
        ({"align_grid": True, "like": "reference"}, "choose the output grid"),
        ({"driver": "VRT"}, "not a format that can be written"),
        ({"manifest": "xlsx"}, "manifest is 'xlsx'"),
        ({"memory": "1GB"}, "give workers= too"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_options_are_checked_before_any_work(scenes, options, sentence):
    with pytest.raises(OptionError, match=sentence):
        batch(scenes.targets, scenes.out, ref=scenes.ref, **options)


def test_an_input_is_never_replaced(scenes):
    with pytest.raises(OptionError, match="would replace an input"):
        batch(scenes.targets, scenes.folder, ref=scenes.ref)
    with pytest.raises(OptionError, match="give a folder in one that exists"):
        batch(scenes.targets, scenes.out / "deep" / "out", ref=scenes.ref)


def test_a_broken_record_is_no_record(scenes):
    batch(scenes.targets[:1], scenes.out, ref=scenes.ref)
    (scenes.out / "scenes" / "a.json").write_text('{"format": "xco')
    assert batch(scenes.targets[:1], scenes.out, ref=scenes.ref).n_new == 1


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_targets_with_control_points(scenes):
    with rasterio.open(scenes.targets[0]) as file:
        col, row = (axis.ravel() for axis in np.meshgrid(*[np.linspace(0.0, 255.0, 5)] * 2))
        places = transform_points(file.crs, 4326, *(file.transform @ (col + 0.5, row + 0.5)))
    placed = attach_gcps(scenes.targets[0], GCPs(col, row, *places, crs=4326), scenes.folder / "placed.tif")
    found = batch([scenes.targets[0], placed], scenes.out, ref=scenes.ref, like="reference")
    assert found.counts() == {"done": 2}
    plain, made = (open_raster(scenes.out / f"{name}.tif").values.astype(float) for name in ("a", "placed"))
    inside = (slice(None), slice(20, -20), slice(20, -20))
    assert np.abs(plain - made)[inside].mean() < 0.01 * plain[inside].std()


def test_images_on_the_web_are_tried_again_and_named_by_their_addresses(scenes, monkeypatch):
    monkeypatch.setattr("xcoreg.batches.scene._WAITS", (0.0,))
    tries = []

    def fail(path, **_):
        tries.append(path)
        raise RasterioIOError("/vsicurl?list_dir=no&max_retry=4&url=https%3A%2F%2Fhost%2Fx.tif, band 1: cut short")

    monkeypatch.setattr("xcoreg.batches.scene.open_raster", fail)
    found = batch(["https://host/x.tif"], scenes.out, ref=scenes.ref)
    assert len(tries) == 2
    assert "out of reach: https://host/x.tif, band 1: cut short" in found.records[0]["reason"]


def test_secrets_of_addresses_are_in_no_file(scenes, monkeypatch):
    def fail(path, **_):
        raise RasterioIOError(f"{path}: refused")

    monkeypatch.setattr("xcoreg.batches.scene._WAITS", ())
    monkeypatch.setattr("xcoreg.batches.scene.open_raster", fail)
    found = batch(["https://me:Secret1@host/x.tif?sig=Secret2"], scenes.out, ref=scenes.ref)
    assert found.records[0]["target"] == "https://host/x.tif?..."
    written = [path.read_text() for path in scenes.out.rglob("*") if path.is_file()]
    assert len(written) == 3
    assert "Secret" not in "".join(written)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.pop("status"),
        lambda record: record.update(status="fine"),
        lambda record: record.update(output=None),
        lambda record: record.update(name=["a"]),
        lambda record: record.update(quality=3),
        lambda record: record.pop("reason"),
    ],
)
def test_a_record_that_was_spoilt_costs_its_scene_alone(scenes, change):
    batch(scenes.targets[:2], scenes.out, ref=scenes.ref)
    path = scenes.out / "scenes" / "a.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    again = batch(scenes.targets[:2], scenes.out, ref=scenes.ref)
    assert (again.n_new, again.ok) == (1, True)
