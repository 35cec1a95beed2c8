"""The sections of a report on elevation models."""

from __future__ import annotations

import re

import numpy as np
import pytest
from affine import Affine
from xarray import DataArray

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.report.sections import height_answer, is_elevation
from xcoreg.report.write import write_report
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

pytest.importorskip("matplotlib")

GRID = Affine(20, 0, 5e5, 0, -20, 5.1e6)
LINEAR = (20.0, 0.0, 0.0, -20.0)
TRUTH = (12.0, -7.0, -2.5)


def dem(dx=0.0, dy=0.0, dz=0.0):
    x, y = np.meshgrid(5e5 + 20 * (np.arange(90) + 0.5), 5.1e6 - 20 * (np.arange(70) + 0.5))
    heights = 900 + 150 * np.sin((x + dx - 5e5) / 240) * np.cos((y + dy - 5.1e6) / 190) - dz
    return DataArray(heights, dims=("y", "x")).rio.write_crs("EPSG:32633").rio.write_transform(GRID)


def make_fit(status=Status.OK, quality=None, dz=TRUTH[2]):
    points = TiePoints([0], [35], [45], [5.009e5], [5.0993e6], *([value] for value in (12, -7, 0.6, 0.35)))
    numbers = {"dh_count": 6300, "dh_median_before": -2.4, "dh_median_after": 0.01}
    numbers |= {"dh_nmad_before": 5.1, "dh_nmad_after": 0.12, "n_windows": 1, "n_ok": 1}
    shift = Shift(*TRUTH[:2], dz=dz, linear=LINEAR)
    quality = Quality(**numbers) if quality is None else quality
    grid = tuple(GRID)[:6], (70, 90)
    return Coregistration(Translation(*TRUTH[:2], dz), points, quality, status, shift, "EPSG:32633", *grid)


def page_of(fit, tmp_path, *images, **options):
    return write_report(fit, tmp_path / "r.html", *images, **options).read_text()


def test_heights_are_described():
    lines = height_answer(make_fit())
    assert lines[0] == "Its heights are 2.5 m too high: -2.500 m is added."
    assert "5.100 m before and 0.120 m after" in lines[1]


@pytest.mark.parametrize("fit", [make_fit(status=Status.FLAT), make_fit(dz=0.0, quality=Quality())])
def test_nothing_is_reported_where_nothing_is_known(fit):
    assert height_answer(fit) == []


def test_images_are_no_elevations():
    assert is_elevation(make_fit())
    assert not is_elevation(make_fit(dz=0.0, quality=Quality(n_windows=9)))


def test_differences_are_compared_on_the_stable_terrain(tmp_path):
    text = page_of(make_fit(), tmp_path, dem(*TRUTH), dem(), where=lambda x, y: x < 5.012e5)
    assert "Differences of elevation" in text
    assert "where the mask is true" in text
    assert re.search(r"NMAD, elsewhere</th>", text)
    before, after = re.search(r">NMAD</th>\s*<td>([\d.]+) m</td>\s*<td>([\d.]+) m", text).groups()
    assert float(before) > 3
    assert float(after) < 0.05
    assert text.count("data:image/png") == 6  # two maps, heights, aspect, slopes, variogram
    assert "windows agree" not in text.partition("In numbers")[0]


def test_without_images_the_recorded_differences_are_shown(tmp_path):
    text = page_of(make_fit(), tmp_path)
    assert "on 6300 pixels" in text
    assert "5.100 m" in text
    assert "data:image/png" not in text


def test_a_fit_that_is_not_trusted_shows_no_differences(tmp_path):
    text = page_of(make_fit(status=Status.FLAT), tmp_path, dem(*TRUTH), dem())
    assert "Differences of elevation" not in text
    assert "No trustworthy match" in text


def test_blocks_have_a_map_for_each_component(tmp_path):
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[10:70:20, 10:90:20])
    n = row.size
    place = 5e5 + 20 * (col + 0.5), 5.1e6 - 20 * (row + 0.5)
    moves = np.full(n, 12.0), np.full(n, -7.0), np.full(n, 0.6), np.full(n, 0.35)
    status = np.where(np.arange(n) == 4, Status.FLAT, Status.OK)
    columns = {"dz": np.full(n, -2.5), "size": np.full(n, 20), "status": status, "crs_wkt": "EPSG:32633"}
    points = TiePoints(np.arange(n), row, col, *place, *moves, **columns)
    fit = make_fit()
    blocked = Coregistration(
        fit.model, points, fit.quality, fit.status, fit.shift, fit.crs_wkt, fit.transform, fit.shape
    )
    text = page_of(blocked, tmp_path)
    assert text.count(f"{n - 1} of {n} blocks are trusted") == 3
