import dataclasses

import numpy as np
import pytest

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.shift import Shift
from xcoreg.results.text import dz_text, height_rows
from xcoreg.results.tiepoints import TiePoints

QUALITY = Quality(
    n_windows=1, n_ok=1, dh_count=1000, iterations=3, dh_nmad_before=3.361, dh_nmad_after=1.097,
    dh_median_before=-1.96, dh_median_after=0.008,
)  # fmt: skip


@pytest.fixture
def lifted():
    shift = Shift(9.2, 2.7, np.eye(2) * 0.01, (20.0, 0.0, 0.0, -20.0), -2.0, cov_z=(0.0, 0.0, 0.0025))
    points = TiePoints([0], [50.0], [50.0], [501000.0], [5399000.0], [9.2], [2.7], [0.46], [-0.135], dz=[-2.0])
    return Coregistration(
        Translation(9.2, 2.7, -2.0), points, QUALITY, Status.OK, shift, "EPSG:32633",
        (20.0, 0.0, 500000.0, 0.0, -20.0, 5400000.0), (100, 100),
    )  # fmt: skip


def test_dz_is_given_with_its_uncertainty(lifted):
    assert dz_text(lifted.shift) == "-2.000±0.050"
    assert "dz=-2.000±0.050" in str(lifted.shift)


def test_differences_before_and_after_are_given(lifted):
    found = dict(height_rows(lifted))
    assert found["heights compared"] == "1000 pixels, 3 iterations"
    assert found["differences, NMAD"] == "3.361 before, 1.097 after"
    assert found["differences, median"] == "-1.960 before, +0.008 after"
    assert all(text in lifted.summary() for text in found.values())


def test_one_line_gives_the_spread(lifted):
    assert "NMAD 3.36 -> 1.10" in repr(lifted)


def test_notebooks_show_it(lifted):
    page = lifted._repr_html_()
    assert "3.361 before, 1.097 after" in page.split("<details>")[0]


def test_images_have_no_rows_of_heights(fit):
    assert list(height_rows(fit)) == []


def test_what_is_unknown_is_called_unknown(lifted):
    quality = dataclasses.replace(QUALITY, dh_nmad_after=float("nan"), dh_median_after=float("nan"))
    found = dict(height_rows(dataclasses.replace(lifted, quality=quality)))
    assert found["differences, NMAD"] == "3.361 before, unknown after"
