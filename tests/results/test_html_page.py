"""What notebooks show: HTML that is well formed, small, and true."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from xcoreg.core.matches import Status
from xcoreg.results.html import map_svg
from xcoreg.results.tiepoints import TiePoints


def tree(page):
    return ET.fromstring(page.replace("&#9679;", "o"))


def test_a_field_is_shown_with_numbers_counts_and_a_map(fit):
    page = fit._repr_html_()
    assert tree(page).tag == "div"
    for text in ("112 of 144", "0.029", "19 NO_PEAK", "112 OK", "<svg"):
        assert text in page
    assert len(page) < 60_000


def test_the_map_has_an_arrow_for_each_trusted_window_and_a_dot_for_all(fit):
    figure = map_svg(fit.points)
    assert figure.count("<line") == 112
    assert figure.count("<circle") == 144


def test_arrows_point_along_the_correction_with_north_up():
    one = TiePoints([0, 1], [0, 0], [0, 1], [0.0, 100.0], [0.0, 100.0], [3.0, 3.0], [4.0, 4.0], [1, 1], [-1, -1])
    line = ET.fromstring(map_svg(one)).find("{*}line").attrib
    right, down = float(line["x2"]) - float(line["x1"]), float(line["y2"]) - float(line["y1"])
    assert right > 0 > down
    assert down / right == pytest.approx(-4 / 3, abs=0.02)


def test_the_first_rows_give_pixels_of_the_target_not_of_the_matching_grid(fit):
    page = fit._repr_html_()
    before_more = page.split("<details>")[0]
    assert "matching px" not in before_more


def test_names_of_users_cannot_break_the_page(fit):
    import dataclasses

    evil = dataclasses.replace(fit, quality=dataclasses.replace(fit.quality, warnings=("<script>",)))
    assert "<script>" not in evil._repr_html_()


def test_tie_points_show_counts_and_corrections(fit):
    page = fit.points._repr_html_()
    tree(page)
    assert "112 of 144 trusted" in page
    low, high = np.nanmin(fit.points.dcol[fit.points.ok]), np.nanmax(fit.points.dcol[fit.points.ok])
    assert f"{low:+.4g} to {high:+.4g} px" in page


def test_no_windows_make_no_map():
    empty = TiePoints(*([[]] * 9))
    assert map_svg(empty) == ""
    assert "0 of 0 trusted" in empty._repr_html_()


def test_refused_windows_name_the_reason_in_the_map():
    lost = TiePoints([0], [0], [0], [5.0], [6.0], *[[np.nan]] * 4, status=[Status.FLAT])
    assert "FLAT: no texture to match" in map_svg(lost)


def test_many_windows_are_thinned():
    n = 5000
    many = TiePoints(np.arange(n), *[np.arange(n, dtype=float)] * 8)
    assert map_svg(many).count("<line") <= 1500


def test_the_accessor_describes_the_image():
    import xarray as xr

    import xcoreg

    image = xcoreg.simulate.pair((40, 60), seed=1).tgt
    assert "40 x 60 px (rows x columns), EPSG:32633" in repr(image.coreg)
    assert "not georeferenced" in repr(xr.DataArray(np.zeros((4, 5)), dims=("y", "x")).coreg)


def test_arrows_end_within_the_frame():
    corners = np.array([[0.0, 100.0], [100.0, 100.0], [100.0, 0.0], [0.0, 0.0], [0.0, 100.0]])
    x, y = (part.ravel() for part in np.meshgrid([20.0, 50.0, 80.0], [20.0, 50.0, 80.0]))
    many = np.ones(9)
    points = TiePoints(np.arange(9), y, x, x, y, many, many, 2 * many, -0.5 * many)
    lines = ET.fromstring(map_svg(points, corners)).iter("{http://www.w3.org/2000/svg}line")
    ends = np.array([[float(line.get("x2")), float(line.get("y2"))] for line in lines])
    assert ends.min() > 10  # the margin around the frame
    assert ends.max() < 250
