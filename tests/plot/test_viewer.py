"""Pages to look at a scene: they hold the images, need nothing else, and show what is there."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest

from xcoreg.errors import NoOverlap, OptionError
from xcoreg.plot import animate, plot_points, plot_window, swipe
from xcoreg.plot.canvas import canvas_of, paint
from xcoreg.plot.maps import axis_names
from xcoreg.plot.style import SignedScale
from xcoreg.plot.viewer import view_scene
from xcoreg.raster.raster import make_raster
from xcoreg.simulate import pair

image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def scene():
    found = pair((300, 320), shift=(2.5, -1.5), seed=4)
    fit = found.tgt.coreg.match(found.ref)
    return found.tgt, found.ref, found.tgt.coreg.apply(fit), fit


def data_of(page):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.DOTALL)[1]
    return json.loads(text)


def pixels(source):
    return np.asarray(image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("L")).astype(float)


def test_the_page_needs_nothing_but_itself(scene, tmp_path):
    page = swipe(*scene[:3], tmp_path / "s.html", fit=scene[3])
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert text == page.html
    assert not re.search(r"(src|href)=[\"']", text)
    assert "http" not in re.sub(r"data:image[^\"]*", "", text)
    assert [layer["name"] for layer in data_of(page)["layers"]] == ["reference", "target before", "target after"]


def test_the_images_agree_after_the_correction_and_not_before(scene):
    reference, before, after = (pixels(layer["src"])[10:-10, 10:-10] for layer in data_of(swipe(*scene[:3]))["layers"])
    assert np.corrcoef(reference.ravel(), after.ravel())[0, 1] > 0.97
    assert np.corrcoef(reference.ravel(), before.ravel())[0, 1] < 0.9


def test_a_scene_is_shown_as_large_as_asked_and_no_finer_than_it_is(scene):
    page = data_of(swipe(*scene[:3], size=100))
    assert max(page["width"], page["height"]) == 100
    assert page["boxes"] == []  # a detail of 320 px would be larger than the scene
    assert canvas_of([make_raster(scene[1], name="reference")], 1000).step == pytest.approx(10.0)


def test_details_lie_where_they_belong():
    found = pair((700, 700), shift=(0.0, 0.0), seed=2)
    page = data_of(swipe(found.tgt, found.ref, found.tgt, size=350))
    assert len(page["boxes"]) == 4
    (x, y, side), layer = page["boxes"][3], page["layers"][0]
    coarse, fine = pixels(layer["src"]), pixels(layer["details"][3])
    part = coarse[round(y) : round(y + side), round(x) : round(x + side)]
    assert side == pytest.approx(160)
    shrunk = fine.reshape(160, 2, 160, 2).mean(axis=(1, 3))
    other = pixels(layer["details"][0]).reshape(160, 2, 160, 2).mean(axis=(1, 3))
    assert np.corrcoef(part.ravel(), shrunk.ravel())[0, 1] > 0.9  # half a pixel is lost to rounding
    assert np.corrcoef(part.ravel(), other.ravel())[0, 1] < 0.5


def test_windows_and_arrows_lie_on_the_canvas(scene):
    page, fit = data_of(swipe(*scene[:3], fit=scene[3])), scene[3]
    good = [mark for mark in page["marks"] if mark[5]]
    assert len(good) == fit.points.ok.sum()
    moves = np.array([[mark[2], mark[3]] for mark in good])
    assert np.allclose(moves, [fit.shift.dcol, fit.shift.drow], atol=0.1)  # rows grow downwards, as in the image
    assert set(page["frames"]) == {"target", "reference"}


def test_text_cannot_break_the_page(scene):
    raster = make_raster(scene[1], name="reference")
    page = view_scene([raster], ["</script><b>"], fit=None, size=60, title="<i>")
    assert data_of(page)["layers"][0]["name"] == "</script><b>"
    assert "<b>" not in page.html
    assert "<i>" not in page.html


def test_degrees_are_shown_in_metres(scene):
    tgt = scene[0].rio.reproject("EPSG:4326")
    raster = make_raster(tgt, name="target")
    canvas = canvas_of([raster], 200)
    values, valid = paint(raster, canvas)
    assert canvas.step == pytest.approx(16, rel=0.2)
    assert valid.mean() > 0.8
    assert values[valid].std() > 0


def test_images_far_apart_and_wrong_names_are_refused(scene, tmp_path):
    far = scene[1].assign_coords(x=scene[1].x + 90_000)
    far = far.rio.write_transform(far.rio.transform(recalc=True))
    with pytest.raises(NoOverlap):
        swipe(scene[0], far, scene[2])
    with pytest.raises(OptionError, match=r"ends in \.html"):
        swipe(*scene[:3], tmp_path / "s.png")
    with pytest.raises(OptionError, match=r"ends in \.gif"):
        animate(tmp_path / "s.png", *scene[:3])


def test_an_animation_blinks_before_and_after(scene, tmp_path):
    path = animate(tmp_path / "s.gif", *scene[:3], size=160)
    with image.open(path) as file:
        assert file.n_frames >= 3
        assert max(file.size) <= 180


def test_a_map_offline_holds_images_and_points(scene):
    page = data_of(scene[3].explore(scene[0], scene[1], offline=True))
    assert [layer["name"] for layer in page["layers"]] == ["reference", "target"]
    assert data_of(scene[3].explore(offline=True))["layers"] == []


def test_images_and_footprints_lie_over_the_map(scene):
    pytest.importorskip("folium")
    page = scene[3].explore(scene[0], scene[1], scene[2], tiles=None).get_root().render()
    assert page.count("L.imageOverlay(") == 3
    assert re.search(r'"overlap"\s*:', page)
    assert page.count("L.geoJson(") == 3


def test_points_are_coloured_by_any_column(scene):
    figure = plot_points(scene[3].points, column="reliability")
    assert figure.axes[1].get_ylabel() == "reliability, %"
    signed = plot_points(scene[3].points, column="dcol")
    bar = signed.axes[1]
    assert bar.get_ylabel().startswith("dcol, target px (right) - 2.5")
    assert bar.get_ylim()[0] == -bar.get_ylim()[1]
    with pytest.raises(OptionError, match="did you mean 'reliability'"):
        plot_points(scene[3].points, column="reliabilty")


def test_a_window_is_shown_as_it_was_matched(scene):
    fit = scene[3]
    cuts, surface = plot_window(fit, scene[0], scene[1], window=1)
    assert cuts.get_suptitle().startswith("window 1")
    col, row = re.findall(r"=([-+]\d+\.\d+)", surface.axes[1].get_title())
    assert (float(col), float(row)) == (pytest.approx(fit.shift.dcol, abs=0.2), pytest.approx(fit.shift.drow, abs=0.2))
    with pytest.raises(OptionError, match="no window 99"):
        plot_window(fit, scene[0], scene[1], window=99)


def test_axes_have_names_units_and_the_crs():
    assert axis_names("EPSG:32633") == ("easting, m (EPSG:32633)", "northing, m")
    assert axis_names("EPSG:4326") == ("longitude, ° (EPSG:4326)", "latitude, °")
    assert axis_names(None) == ("x (no CRS)", "y")


def test_signed_colours_diverge_about_zero():
    around = SignedScale.of(np.array([-3.0, 0.0, 1.0]))
    assert (around.middle, around.text) == (0.0, "")
    assert around.top == pytest.approx(3.0, rel=0.1)
    far = SignedScale.of(np.linspace(-19.4, -18.4, 50))
    assert far.text == " + 18.9"
    assert far.top == pytest.approx(0.5, rel=0.1)
