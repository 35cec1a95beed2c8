"""Stacks: files, datum, refused dates, texts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import xcoreg
from xcoreg import MatchError, OptionError, Status
from xcoreg.results.stack import StackFit, load_stack
from xcoreg.results.stack_parts import StackDate, StackPairs, StackQuality

GRID = (10.0, 0.0, 300000.0, 0.0, -10.0, 5900000.0)


def make_stack(moves, *, sigma=0.01, n=None, windows=9, status=Status.OK, **options):
    """A stack of pairs {(target, reference): (dcol, drow)} that is not adjusted yet."""
    ends = np.array(list(moves))
    n = int(ends.max()) + 1 if n is None else n
    wkt = xcoreg.parse_crs(32633).to_wkt()
    times = np.datetime64("2020-01-01") + np.arange(n) * 20
    dates = tuple(StackDate(f"d{at}", str(times[at]), crs_wkt=wkt, transform=GRID, shape=(100, 100)) for at in range(n))
    m, nothing = len(ends), np.full(len(ends), np.nan)
    cov = np.broadcast_to(sigma**2 * np.eye(2), (m, 2, 2))
    pairs = StackPairs(
        ends[:, 0], ends[:, 1], *np.array(list(moves.values()), float).T, cov,
        np.full(m, status), np.full(m, windows), np.full(m, windows), np.full(m, 90.0), nothing, np.zeros(m),
        np.zeros(m, bool), nothing, nothing, nothing, np.full((m, 2, 2), np.nan), nothing,
    )  # fmt: skip
    return StackFit(dates, pairs, StackQuality(), "mean", (), wkt, GRID, (100, 100), **options)


def consistent(places, *, noise=0.0, seed=0):
    """Moves of all pairs of some places."""
    rng = np.random.default_rng(seed)
    places = np.asarray(places, float)
    n = len(places)
    return {
        (t, r): tuple(places[t] - places[r] + rng.normal(0, noise or 1e-300, 2)) for t in range(n) for r in range(t)
    }


PLACES = [(0, 0), (1, -1), (2, 0.5), (-1, 3), (0.5, 0.5)]


@pytest.fixture
def stack():
    made = make_stack(consistent(PLACES, noise=0.01))
    return made.adjusted(made.dates, made.pairs, "mean")


def test_corrections_have_signs_and_units_of_the_map(stack):
    centred = np.array(PLACES) - np.mean(PLACES, axis=0)
    assert stack.shifts_px == pytest.approx(centred, abs=0.05)
    assert stack.shifts == pytest.approx(centred * [10, -10], abs=0.5)
    fit = stack.fit("d3")
    assert (fit.shift.dx, fit.shift.dy) == tuple(stack.shifts[3])
    assert fit.shift.dcol == pytest.approx(stack.shifts_px[3, 0])
    assert np.allclose(fit.shift.cov, stack.covs[3])


def test_a_file_is_exact_and_says_what_it_is(stack, tmp_path):
    stack.save(tmp_path / "stack.json")
    again = load_stack(tmp_path / "stack.json")
    assert again == stack
    assert again.id == stack.id
    assert json.loads((tmp_path / "stack.json").read_text())["format"] == "xcoreg stack"
    with pytest.raises(OptionError, match="load_stack"):
        xcoreg.load_fit(tmp_path / "stack.json")


@pytest.mark.parametrize("text", ["no json", "{}", '{"format": "xcoreg stack", "schema": 1}'])
def test_other_files_are_refused(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(OptionError, match=str(path)):
        load_stack(path)
    with pytest.raises(OptionError, match="there is no file"):
        load_stack(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("old", "new"),
    [('"datum": "mean"', '"datum": 1e999'), ('"target": [1,', '"target": [99,'), ("[10.0, 0.0", "[0.0, 0.0")],
)
def test_damaged_files_are_refused(stack, tmp_path, old, new):
    path = tmp_path / "stack.json"
    stack.save(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(OptionError, match="damaged stack"):
        load_stack(path)


def test_another_datum_moves_all_dates_alike(stack):
    fixed = stack.with_datum("d2")
    assert fixed.shifts[2].tolist() == [0, 0]
    assert np.ptp(fixed.shifts - stack.shifts, axis=0).max() < 1e-9
    assert fixed.datum == "d2"
    assert np.allclose(fixed.with_datum("mean").shifts, stack.shifts, atol=1e-9)
    with pytest.raises(OptionError, match="no date 'x'"):
        stack.with_datum("x")


def test_an_outlier_pair_is_flagged_and_the_dates_stay():
    moves = consistent(PLACES, noise=0.01)
    moves[3, 1] = (5.0, 5.0)
    made = make_stack(moves)
    found = made.adjusted(made.dates, made.pairs, "mean")
    flagged = np.flatnonzero(found.pairs.outlier)
    assert [(found.pairs.target[at], found.pairs.reference[at]) for at in flagged] == [(3, 1)]
    assert found.ok
    assert found.dates[3].n_outliers == 1


def test_a_contradiction_that_cannot_be_solved_places_no_date():
    """One of three pairs of three dates is wrong, but nobody can say which."""
    made = make_stack({(1, 0): (0, 0), (2, 1): (0, 0), (2, 0): (2, 0)})
    found = made.adjusted(made.dates, made.pairs, "mean")
    assert found.placed == ()
    assert {one.status for one in found.refused} == {Status.OUTLIER}
    assert "contradict" in found.refused[0].reason


def test_a_date_whose_pairs_contradict_all_others_is_refused():
    moves, rng = consistent(PLACES, noise=0.01), np.random.default_rng(1)
    for pair in moves:
        if 4 in pair:
            moves[pair] = tuple(rng.uniform(-20, 20, 2))
    made = make_stack(moves)
    found = made.adjusted(made.dates, made.pairs, "mean")
    assert [one.name for one in found.refused] == ["d4"]
    assert np.isnan(found.shifts[4]).all()
    with pytest.raises(MatchError, match="d4 has no trusted correction"):
        found.fit("d4")


def test_dates_of_another_group_are_named():
    moves = consistent(PLACES[:3]) | {(4, 3): (1.0, 1.0)}
    made = make_stack(moves)
    found = made.adjusted(made.dates, made.pairs, "mean")
    assert [one.status for one in found.dates[3:]] == [Status.DISCONNECTED] * 2
    assert "d4" in found.dates[3].reason
    other = made.adjusted(made.dates, made.pairs, "d3")
    assert [one.name for one in other.placed] == ["d3", "d4"]


def test_one_pair_with_few_windows_places_no_date():
    moves = consistent(PLACES[:3]) | {(3, 0): (1.0, 1.0)}
    made = make_stack(moves, windows=2)
    found = made.adjusted(made.dates, made.pairs, "mean")
    assert [one.name for one in found.refused] == ["d3"]
    strong = make_stack(moves, windows=9)
    placed = strong.adjusted(strong.dates, strong.pairs, "mean")
    assert placed.ok
    assert "nothing checks it" in placed.dates[3].reason


def test_a_datum_that_cannot_be_matched_is_refused():
    made = make_stack(consistent(PLACES[:3]), n=4)
    with pytest.raises(MatchError, match="d3, which is to stay in place"):
        made.adjusted(made.dates, made.pairs, "d3")


def test_the_place_of_a_reference_has_its_own_uncertainty():
    made = make_stack(consistent(PLACES, noise=0.01))
    dates = (*made.dates[:4], replace(made.dates[4], role="reference"))
    fixed = made.adjusted(dates, made.pairs, "d4")
    loose = replace(made, reference_sigma=0.5).adjusted(dates, made.pairs, "d4")
    assert np.allclose(loose.shifts, fixed.shifts)
    assert loose.covs_px[0, 0, 0] == pytest.approx(fixed.covs_px[0, 0, 0] + 0.25)
    assert fixed.names == ("d0", "d1", "d2", "d3")


def test_dates_are_found_by_name_time_and_number(stack):
    assert [stack.position(one) for one in ("d2", 2, np.datetime64("2020-02-10"), "2020-02-10", -3)] == [2] * 5


def test_texts_and_tables_name_all_dates(stack):
    assert all(one in stack.summary() for one in stack.names)
    assert "5 of 5 dates placed" in repr(stack)
    assert "<table" in stack._repr_html_()
    frame, pairs = stack.to_dataframe(), stack.pairs_dataframe()
    assert frame["dcol"].to_numpy() == pytest.approx(stack.shifts_px[:, 0])
    assert len(pairs) == 10
    assert pairs["accepted"].all()


def test_scatter_and_number_of_windows_correct_what_matchers_state():
    moves = consistent(np.random.default_rng(0).normal(0, 1, (12, 2)), noise=0.005)
    made = make_stack(moves)
    usual = made.adjusted(made.dates, made.pairs, "mean")
    assert usual.quality.scatter == pytest.approx(1)
    calm = made.adjusted(made.dates, replace(made.pairs, scatter=np.full(len(moves), 0.5)), "mean")
    assert calm.quality.scatter == pytest.approx(0.7)
    assert calm.covs[0, 0, 0] < usual.covs[0, 0, 0]
    of_third = (made.pairs.target == 3) | (made.pairs.reference == 3)
    few = replace(made.pairs, n_ok=np.where(of_third, 2, 9))
    found = made.adjusted(made.dates, few, "mean")
    assert found.covs[3, 0, 0] > 2 * usual.covs[3, 0, 0]
    assert found.covs[5, 0, 0] < 1.2 * usual.covs[5, 0, 0]
