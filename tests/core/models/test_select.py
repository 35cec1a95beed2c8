import numpy as np
import pytest

from xcoreg.core.models import KINDS, Degenerate, assess_model, choose_model


def inside(choice):
    """Share of check points inside of their 95 % ellipses."""
    off = np.column_stack([choice.residual_dx, choice.residual_dy])
    return np.mean(np.einsum("ni,nij,nj->n", off, np.linalg.inv(choice.check_cov), off) < 5.991)


@pytest.mark.parametrize("understate", [pytest.param(1.0, marks=pytest.mark.slow), 2.0])
def test_a_constant_chooses_translation_in_19_of_20_seeds(understate, case):
    kinds = [choose_model(*case("constant", n=100, seed=s, understate=understate).args).model.kind for s in range(20)]
    assert kinds.count("translation") >= 19


def test_a_plane_chooses_affine(case):
    kinds = [choose_model(*case("plane", n=100, seed=seed).args).model.kind for seed in range(10)]
    assert kinds.count("affine") >= 9


@pytest.mark.parametrize("field", ["wave", "short"])
@pytest.mark.parametrize("layout", ["random", "grid"])
def test_a_wave_chooses_the_spline(field, layout, case):
    choice = choose_model(*case(field, layout=layout).args)
    assert choice.model.kind == "spline"
    assert [row["kind"] for row in choice.table] == list(KINDS)
    assert [row["kind"] for row in choice.table if row["chosen"]] == ["spline"]


@pytest.mark.parametrize("n", range(1, 9))
def test_few_points_choose_translation_or_affine(n, case):
    choice = choose_model(*case("plane", n=n).args)
    assert choice.model.kind in {"translation", "affine"}
    assert np.isfinite(choice.residual_dx).all() or n == 1


def test_a_step_is_left_a_step(case):
    points = case("step", layout="grid")
    choice = choose_model(*points.args)
    x = np.array([4e5 + 300, 4e5 + 1400])
    assert choice.model.predict(x, 5e6 + 800)[0] == pytest.approx([0, 1], abs=0.1)


def test_points_on_a_line_fall_back_and_say_so():
    t = np.arange(30.0)
    choice = choose_model(10 * t, 20 * t, 1 + 0 * t, 2 + 0.1 * np.sin(7 * t))
    assert choice.model.kind == "translation"
    assert any("line" in text for text in choice.warnings)
    assert all("line" in row["reason"] for row in choice.table[1:])


def test_nothing_fits_is_an_error_with_the_number_needed():
    with pytest.raises(Degenerate) as error:
        choose_model([0.0, 1.0], [0.0, 1.0], [1.0, 1.0], 2.0, kinds=("affine", "spline"))
    assert error.value.needed == 10


@pytest.mark.parametrize("find", [choose_model, lambda *points: assess_model("spline", *points)])
def test_no_point_at_all_is_too_few(find):
    with pytest.raises(Degenerate, match="finite"):
        find(*np.empty((4, 0)), np.empty((0, 2, 2)))


def test_the_table_gives_errors_of_check_points_in_map_units(case):
    points = case("plane", sigma=0.1)
    table = {row["kind"]: row for row in choose_model(*points.args).table}
    assert table["affine"]["rmse_r"] == pytest.approx(0.1 * np.sqrt(2 * 13 / 12), rel=0.1)
    assert table["translation"]["rmse_r"] > 3 * table["affine"]["rmse_r"]
    assert table["affine"]["parameters"] == 3


def test_a_cross_validated_residual_is_that_of_the_fit_without_the_point(case):
    points = case("wave", n=40)
    choice = assess_model("polynomial2", *points.args)
    others = np.arange(40) != 11
    dx, _ = assess_model("polynomial2", *points[others].args).model.predict(points.x[11], points.y[11])
    assert choice.residual_dx[11] == pytest.approx(points.dx[11] - dx, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("understate", [1.0, 2.0])
def test_95_percent_of_withheld_points_are_inside_of_their_ellipses(kind, understate, case):
    shares = [inside(assess_model(kind, *case(n=150, seed=s, understate=understate).args)) for s in range(6)]
    assert np.mean(shares) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("field", ["constant", "wave", pytest.param("short", marks=pytest.mark.slow)])
@pytest.mark.parametrize("understate", [pytest.param(1.0, marks=pytest.mark.slow), 2.0])
def test_95_percent_of_new_points_are_inside_of_their_ellipses(field, understate, case):
    shares = []
    for seed in range(10):
        points = case(field, n=300, seed=seed, understate=understate)
        new = np.random.default_rng(seed + 1000).random(300) < 0.2
        model = choose_model(*points[~new].args).model
        new &= ~model.extrapolates(points.x, points.y)
        dx, dy = model.predict(points.x[new], points.y[new])
        off = np.column_stack([points.dx[new] - dx, points.dy[new] - dy])
        cov = model.predict_cov(points.x[new], points.y[new]) + np.array(model.scatter) + points.cov[new]
        shares.append(np.mean(np.einsum("ni,nij,nj->n", off, np.linalg.inv(cov), off) < 5.991))
    assert np.mean(shares) == pytest.approx(0.95, abs=0.04)


class Mean:
    """A user's model: the mean, with more to it as asked for."""

    def fit(self, x, y, dx, dy, cov):
        self.mean = np.mean(dx), np.mean(dy)
        return self

    def predict(self, x, y):
        return self.mean


def test_a_model_of_the_user_is_assessed_like_the_others(case):
    points = case("constant", n=100)
    choice = assess_model(Mean(), *points.args)
    model = choice.model
    assert model.kind == "custom"
    assert model.predict(4e5, [5e6, np.nan])[0][0] == pytest.approx(3.0, abs=0.02)
    assert model.predict_cov(4e5, [5e6, 6e6]).shape == (2, 2, 2)
    assert model.extrapolates(0.0, 0.0)
    assert inside(choice) == pytest.approx(0.95, abs=0.05)
    with pytest.raises(TypeError, match="no to_dict"):
        model.to_dict()
