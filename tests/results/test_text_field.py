import dataclasses

import pytest

from xcoreg.core.matches import Status
from xcoreg.errors import OptionError
from xcoreg.results.coregistration import Coregistration


def rows(fit):
    return {line[:22].strip(): line[22:].strip() for line in fit.summary().splitlines()}


def test_a_field_is_described_in_one_line(fit):
    assert repr(fit) == (
        "Coregistration(OK, polynomial2, correction 0.71 to 1.89 px, RMSE 1.249 -> 0.029 px at 112 check points, "
        "112 of 144 windows trusted)"
    )


def test_the_summary_gives_model_points_and_residuals(fit):
    found = rows(fit)
    assert found["model"] == "polynomial of order 2"
    assert found["windows trusted"] == "112 of 144"
    assert found["NO_PEAK"].startswith("19: no shift makes")
    assert found["RMSE (radial)"] == f"{fit.quality.rmse_before:.3f} before, {fit.quality.rmse_after:.3f} after"
    assert "px along columns" in found["scatter"]


def test_the_range_is_that_of_the_model(fit):
    good = fit.points.take(fit.points.ok)
    dx, _ = fit.model.predict(good.x, good.y)
    assert rows(fit)["correction dx"].startswith(f"{dx.min():+.1f} to {dx.max():+.1f} m (dcol ")


def test_a_translation_from_many_windows_is_described_without_a_range(field):
    fit = field(kind="translation")
    assert rows(fit)["correction"] == str(fit.shift)
    assert "correction dx" not in rows(fit)
    assert not fit.is_field


def test_a_failed_field_gives_the_reasons(fit):
    failed = dataclasses.replace(fit, model=None, shift_or_none=None, status=Status.NO_PEAK)
    assert repr(failed).startswith("Coregistration(NO_PEAK: no shift makes")
    assert rows(failed)["windows trusted"] == "112 of 144"


def test_html_has_the_same_rows(fit):
    page = fit._repr_html_()
    assert "polynomial of order 2" in page
    assert page.count("<tr>") == page.count("</tr>") > 10


def test_a_field_moves_no_transform(fit):
    with pytest.raises(OptionError, match=r"polynomial2\) varies .*tgt\.coreg\.apply\(fit\).*warp_to"):
        _ = fit.moved_transform


def test_a_translation_from_many_windows_moves_the_transform(field):
    fit = field(kind="translation")
    assert fit.moved_transform.c == pytest.approx(300000 + fit.shift.dx)


def test_a_field_is_saved_to_the_last_digit(fit, tmp_path):
    from xcoreg.results.reading import load_fit

    fit.save(tmp_path / "fit.json")
    assert load_fit(tmp_path / "fit.json") == fit


def test_fits_saved_before_there_were_fields_still_load(fit):
    old = fit.to_dict()
    for name in ("n_check", "median_before", "median_after", "rmse_before", "rmse_after", "ce90_before", "ce90_after"):
        del old["quality"][name]
    assert Coregistration.from_dict(old).quality.n_check == 0


def test_points_of_a_fit_are_saved_on_its_grid(fit, tmp_path):
    import pandas as pd

    fit.points.save(tmp_path / "p.csv", columns="arosics")
    table = pd.read_csv(tmp_path / "p.csv")
    assert table["POINT_ID"].iloc[-1] == (950 // 80) * 13 + 950 // 80
    assert len(fit.points.thin(30).gcps) <= 30
