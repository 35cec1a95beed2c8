import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import rioxarray  # noqa: F401
from affine import Affine
from scipy.ndimage import gaussian_filter
from xarray import DataArray

pytest.importorskip("matplotlib")
pytest.importorskip("PIL.Image")

from xcoreg.core.matches import Status
from xcoreg.errors import OptionError
from xcoreg.report.html import choose_windows
from xcoreg.report.sections import answer
from xcoreg.report.write import write_report
from xcoreg.results.details import Details

GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900000.0)
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Checks that elements nest, and collects what a test asks for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def images():
    scene = gaussian_filter(np.random.default_rng(1).normal(size=(1000, 1000)), 2) * 3000 + 5000
    array = DataArray(scene.astype("float32"), dims=("y", "x")).rio.write_crs("EPSG:32633")
    return array.rio.write_transform(Affine(*GRID))


@pytest.fixture(scope="module")
def scene():
    return images()


def test_the_page_needs_nothing_but_itself(fit, tmp_path, scene):
    fit.report(tmp_path / "r.html", scene, scene)
    page = read(tmp_path / "r.html")
    links = [value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href")]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert not page.attributes("script")
    assert not page.attributes("link")
    assert "http" not in re.sub(r"data:image[^\"]*", "", (tmp_path / "r.html").read_text(encoding="utf-8"))
    assert (tmp_path / "r.html").stat().st_size < 5e6


def test_the_answer_and_both_errors_are_reported(fit, tmp_path):
    fit.report(tmp_path / "r.html")
    text = read(tmp_path / "r.html").text
    q = fit.quality
    assert (
        f"the median residual is {q.median_before:.2f} px before the correction and {q.median_after:.3f} px after it"
        in text
    )
    assert f"RMSE, radial 1.25 px 0.029 px 12.5 m {10 * q.rmse_after:.3g} m" in text
    assert "polynomial of order 2" in text
    assert "no shift makes the images correlate above chance" in text
    assert "spacing 80" in text
    assert "EPSG:32633" in text


def test_every_figure_has_a_text(fit, tmp_path, scene):
    fit.report(tmp_path / "r.html", scene, scene)
    figures = read(tmp_path / "r.html").attributes("img")
    assert len(figures) == 8 + 4 * 4  # maps and charts; four windows of two pairs
    assert all(len(figure["alt"]) > 15 for figure in figures)


def test_without_images_there_are_no_windows(fit, tmp_path):
    fit.report(tmp_path / "r.html")
    page = read(tmp_path / "r.html")
    assert len(page.attributes("img")) == 8
    assert "Before and after" not in page.text


def test_windows_are_improved_ones_and_some_of_the_worst(fit):
    points = fit.points
    gain = np.where(points.ok, np.nan_to_num(points.ssim_after - points.ssim_before) + np.nan_to_num(points.score), -9)
    chosen = choose_windows(fit, 4)
    check = fit.details.assessment.check
    left = dict(zip(check.window.tolist(), np.hypot(check.dx, check.dy) / 10, strict=True))
    improved = [one.window for one in chosen if one.why == "improved"]
    worst = [one for one in chosen if one.why == "large residual"]
    assert worst[0].residual == pytest.approx(max(left.values()))
    rest = set(points.window[points.ok].tolist()) - set(improved) - {one.window for one in worst}
    by_window = dict(zip(points.window.tolist(), gain, strict=True))
    assert min(by_window[one] for one in improved) >= max(by_window[one] for one in rest)
    assert len({one.window for one in chosen}) == len(chosen) == 15


def test_one_shift_is_reported_too(field, tmp_path, scene):
    fit = dataclasses.replace(field(kind="translation", withheld=False), details=Details())
    fit.report(tmp_path / "r.html", scene, scene, title="A <b> shift")
    page = read(tmp_path / "r.html")
    assert "A <b> shift" in page.text
    assert "geotransform after" in page.text
    assert "Models compared" not in page.text
    assert "Before and after" in page.text


def test_a_failure_is_reported_with_its_reason(fit, tmp_path, scene):
    failed = dataclasses.replace(fit, model=None, shift_or_none=None, status=Status.NO_PEAK)
    failed.report(tmp_path / "r.html", scene, scene)
    text = read(tmp_path / "r.html").text
    assert "No trustworthy match was found: no shift makes" in text
    assert "is moved back" not in text


def test_warnings_and_options_are_escaped(fit, tmp_path):
    quality = dataclasses.replace(fit.quality, warnings=("few <points>",))
    odd = dataclasses.replace(fit, quality=quality, details=Details(options={"note": "<script> a & b"}))
    odd.report(tmp_path / "r.html")
    page = read(tmp_path / "r.html")
    assert "few <points>" in page.text
    assert "a & b" in page.text
    assert not page.attributes("script")


def test_paths_are_opened(fit, tmp_path, scene):
    scene.rio.to_raster(tmp_path / "a.tif")
    write_report(fit, tmp_path / "r.html", tmp_path / "a.tif", str(tmp_path / "a.tif"), windows=1)
    assert len(read(tmp_path / "r.html").attributes("img")) == 8 + 4


def test_what_cannot_be_used_is_refused(fit, tmp_path):
    with pytest.raises(OptionError, match="target= is a list"):
        fit.report(tmp_path / "r.html", [1, 2])
    with pytest.raises(OptionError, match="cannot write"):
        fit.report(tmp_path / "nowhere" / "r.html")


def test_a_correction_that_changes_nothing_is_reported(fit):
    quality = dataclasses.replace(fit.quality, rmse_before=0.1, rmse_after=0.1)
    assert any("does not reduce the residuals" in line for line in answer(dataclasses.replace(fit, quality=quality)))


def test_the_side_where_the_target_lies_is_named(fit):
    # corrected to the east and north, so it lay west and south
    assert "south-west of the reference" in answer(fit)[0]
