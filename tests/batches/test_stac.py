"""STAC items as scenes."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from xcoreg.batches.pairs import read_pairs
from xcoreg.batches.run import batch
from xcoreg.errors import OptionError
from xcoreg.results.reading import load_fit


def item(name="S2A 33/UUU", href="./a.tif", **more):
    assets = {
        "B08": {"href": href, "type": "image/tiff; application=geotiff", "eo:bands": [{"common_name": "nir"}]},
        "thumbnail": {"href": "t.png", "type": "image/png", "roles": ["thumbnail"]},
    }
    return {"type": "Feature", "id": name, "assets": assets | more.pop("assets", {}), "links": [], **more}


RED = {"red": {"href": "s3://bucket/red.tif"}}


@pytest.fixture
def write(scenes):
    def make(name, content):
        (scenes.folder / name).write_text(json.dumps(content))
        return scenes.folder / name

    return make


def test_a_collection_in_a_file_is_corrected(scenes, write):
    items = [item(), item("b", str(scenes.targets[1]))]
    done = batch(write("items.json", {"type": "FeatureCollection", "features": items}), scenes.out, ref=scenes.ref)
    assert done.counts() == {"done": 2}
    assert [record["name"] for record in done.records] == ["S2A-33-UUU", "b"]
    assert (scenes.out / "S2A-33-UUU.tif").exists()


@pytest.mark.parametrize("name", ["B08", "nir"])
def test_an_asset_is_chosen_by_key_or_common_name(scenes, write, name):
    path = write("item.json", item(assets=RED))
    assert read_pairs(path, scenes.ref, asset=name)[0].target == str(scenes.targets[0])
    assert read_pairs(path, scenes.ref, asset="red")[0].target == "s3://bucket/red.tif"


def test_several_images_need_a_choice(scenes, write):
    path = write("item.json", item(assets=RED))
    with pytest.raises(OptionError, match="several images: choose with asset= from B08, red"):
        read_pairs(path, scenes.ref)
    with pytest.raises(OptionError, match="no asset 'green'"):
        read_pairs(path, scenes.ref, asset="green")


def test_items_in_memory_and_the_reference_as_an_item(scenes, write):
    pystac = SimpleNamespace(to_dict=lambda: item(links=[{"rel": "self", "href": "https://host/c/item.json"}]))
    pairs = read_pairs([pystac, item("two", "https://host/b.tif")], write("ref.json", item("r", "ref.tif")))
    assert [pair.target for pair in pairs] == ["https://host/c/a.tif", "https://host/b.tif"]
    assert {pair.reference for pair in pairs} == {str(scenes.ref)}


@pytest.mark.parametrize(("content", "sentence"), [({"type": "Catalog"}, "but Catalog"), ([1], "but None")])
def test_other_json_is_refused(scenes, write, content, sentence):
    with pytest.raises(OptionError, match=sentence):
        read_pairs(write("x.json", content), scenes.ref)
    (scenes.folder / "x.json").write_text("{")
    with pytest.raises(OptionError, match="cannot be read as JSON"):
        read_pairs(scenes.folder / "x.json", scenes.ref)


def test_a_folder_without_rasters_is_refused(scenes, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="holds no raster"):
        read_pairs(tmp_path / "empty", scenes.ref)


def test_a_folder_gives_its_rasters_but_no_outputs(scenes):
    pairs = read_pairs(str(scenes.folder), scenes.ref, out=scenes.out)
    assert [pair.name for pair in pairs] == ["a", "b", "c", "ref"]
    inside = scenes.folder / "out"
    batch(scenes.targets[:1], inside, ref=scenes.ref)
    assert len(read_pairs(str(scenes.folder), scenes.ref, out=inside)) == 4


def test_the_page_has_thumbnails_errors_and_a_table_to_sort(scenes):
    batch(scenes.targets[:2], scenes.out, ref=scenes.ref)
    page = (scenes.out / "index.html").read_text()
    assert page.count('class="thumb"') == 2
    assert " ± " in page
    assert "sortable" in page
    assert "<script>" in page
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(scenes.out / "scenes" / "b.png") as file:
            values = file.read()
    before, after = values[:, :, :120].astype(float), values[:, :, 124:].astype(float)
    fringes = [abs(one[0] - one[1]).mean() for one in (before, after)]  # red minus cyan
    assert fringes[1] < 0.5 * fringes[0]


def test_a_preset_chooses_window_and_band(scenes):
    done = batch(scenes.targets[:1], scenes.out, ref=scenes.ref, preset="landsat-c2")
    assert done
    assert load_fit(scenes.out / "scenes" / "a.fit.json").details.options["window"] == 128
    with pytest.raises(OptionError, match="did you mean"):
        batch(scenes.targets[:1], scenes.out, ref=scenes.ref, preset="landsat")
