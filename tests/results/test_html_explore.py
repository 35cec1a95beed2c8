import dataclasses
import sys

import pytest

from xcoreg.errors import MissingDependency, NotGeoreferenced


def test_the_map_shows_every_window_where_it_lies(fit):
    pytest.importorskip("folium")
    page = fit.explore(tiles=None).get_root().render()
    assert page.count("L.circleMarker(") == 144
    assert page.count("L.polyline(") == 112
    assert "OK (112)" in page
    assert "NO_PEAK (19)" in page
    (south, west), (north, east) = fit.explore(tiles=None).get_bounds()
    assert 52.4 < south < north < 53.4  # EPSG:32633, x 300 to 310 km, y 5890 to 5900 km
    assert 12.0 < west < east < 12.3


def test_arrows_are_exaggerated_as_asked(fit):
    pytest.importorskip("folium")
    little = fit.explore(tiles=None, exaggerate=0).get_root().render()
    assert little.count("L.polyline(") == 112


def test_without_folium_the_extra_is_named(fit, monkeypatch):
    monkeypatch.setitem(sys.modules, "folium", None)
    with pytest.raises(MissingDependency, match=r"pip install 'xcoreg\[explore\]'"):
        fit.explore()


def test_without_a_crs_there_is_no_map(fit):
    pytest.importorskip("folium")
    with pytest.raises(NotGeoreferenced, match="no CRS"):
        dataclasses.replace(fit, crs_wkt=None).explore()
