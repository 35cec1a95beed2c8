import json
import math
import pickle

import numpy as np
import pytest

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.errors import MatchError, OptionError
from xcoreg.results.coregistration import SCHEMA, Coregistration, Quality, current_versions
from xcoreg.results.details import Details
from xcoreg.results.reading import load_fit
from xcoreg.results.shift import Shift
from xcoreg.results.tiepoints import TiePoints

COV = ((4e-4, 1e-5), (1e-5, 3e-4))


def make(**columns):
    points = TiePoints(
        window=[0, 1, 2],
        row=[9.5, 9.5, 99.5],
        col=[9.5, 0.1 + 0.2, 1 / 3],
        x=[300100.0, 300200.0, 300300.0],
        y=[5900000.0] * 3,
        dx=[3.58, 3.57, np.nan],
        dy=[15.66, 15.67, np.nan],
        dcol=[0.358, 0.357, np.nan],
        drow=[-1.566, -1.567, np.nan],
        status=[Status.OK, Status.OK, Status.FLAT],
    )
    return Coregistration(
        **{
            "model": Translation(3.578856324660592, 15.661626799963415, cov=COV),
            "points": points,
            "quality": Quality(reliability=98.5, n_windows=3, n_ok=2, warnings=("few windows",)),
            "status": Status.OK,
            "shift_or_none": Shift(3.578856324660592, 15.661626799963415, COV, (10, 0, 0, -10)),
            "crs_wkt": "EPSG:32633",
            "transform": (10, 0, 300000, 0, -10, 5900040),
            "shape": (10980, 10980),
            "details": Details({"window": 256, "nodata": -math.inf, "at": None, "max_shift": 0.1 + 0.2}),
            "versions": {"xcoreg": "0.1.0"},
        }
        | columns
    )


def failed():
    return make(model=None, shift_or_none=None, status=Status.NO_PEAK)


def test_moved_transform_of_seed_000():
    moved = make().moved_transform
    assert (moved.c, moved.f) == pytest.approx((300003.57885632466, 5900055.6616268), abs=5e-9)
    assert (moved.a, moved.b, moved.d, moved.e) == (10.0, 0.0, 0.0, -10.0)


def test_a_fit_is_true_when_trusted():
    assert make()
    assert make().ok
    assert not failed()


def test_a_failed_fit_moves_nothing():
    with pytest.raises(MatchError, match="correlate above chance") as info:
        _ = failed().moved_transform
    assert len(info.value.points) == 3


def test_a_distrusted_shift_moves_nothing():
    with pytest.raises(MatchError, match="no trusted shift"):
        _ = make(status=Status.DISAGREES).moved_transform


def test_a_fit_cannot_be_changed():
    with pytest.raises(AttributeError):
        make().status = Status.OK


def test_the_callers_options_are_not_shared():
    options = {"list": [1]}
    fit = make(details=Details(options))
    options["list"].append(2)
    assert fit.details.options == {"list": [1]}


def test_a_failed_fit_has_no_shift():
    with pytest.raises(MatchError, match="there is no shift: no shift makes") as info:
        _ = failed().shift
    assert len(info.value.points) == 3


def test_the_points_of_a_fit_know_its_grid():
    fit = make()
    assert fit.points.grid == fit.grid
    assert tuple(fit.gcps.x[:2]) == pytest.approx((300103.58, 300203.57))


@pytest.mark.parametrize("fit", [make(), failed(), make(points=TiePoints(*[[]] * 9))], ids=["ok", "failed", "no rows"])
def test_save_and_load_give_the_same_to_the_last_digit(tmp_path, fit):
    fit.save(tmp_path / "fit.json")
    back = load_fit(tmp_path / "fit.json")
    assert back == fit
    assert back.points == fit.points
    assert back.shift_or_none == fit.shift_or_none
    assert back.details.to_dict() == fit.details.to_dict()


def test_unknown_covariances_survive(tmp_path):
    make(shift_or_none=Shift(1.0, 2.0), model=Translation(1.0, 2.0)).save(tmp_path / "fit.json")
    back = load_fit(tmp_path / "fit.json")
    assert np.isnan(back.shift.cov).all()
    assert np.isnan(back.model.cov).all()


def test_types_survive(tmp_path):
    make().save(tmp_path / "fit.json")
    back = load_fit(tmp_path / "fit.json")
    assert isinstance(back.quality.n_ok, int)
    assert isinstance(back.quality.score, float)
    assert isinstance(back.quality.warnings, tuple)
    assert isinstance(back.status, Status)
    assert isinstance(back.shape, tuple)


def test_the_file_is_strict_json_with_a_schema(tmp_path):
    make().save(tmp_path / "fit.json")
    data = json.loads((tmp_path / "fit.json").read_text(), parse_constant=pytest.fail)
    assert data["schema"] == SCHEMA
    assert data["points"]["dx"][2] is None


def test_save_replaces_and_leaves_nothing_else(tmp_path):
    make().save(tmp_path / "fit.json")
    failed().save(tmp_path / "fit.json")
    assert load_fit(tmp_path / "fit.json") == failed()
    assert [file.name for file in tmp_path.iterdir()] == ["fit.json"]


def test_save_to_a_missing_folder(tmp_path):
    with pytest.raises(OptionError, match=r"cannot write .*nowhere"):
        make().save(tmp_path / "nowhere" / "fit.json")


def test_load_of_no_file(tmp_path):
    with pytest.raises(OptionError, match="there is no file"):
        load_fit(tmp_path / "fit.json")


def test_load_of_a_folder(tmp_path):
    with pytest.raises(OptionError, match="cannot read"):
        load_fit(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"II*\x00\xff\xfe", "is not JSON"),
        (b"hello", "is not JSON"),
        (b"[1, 2]", "without the mark"),
        (b'{"type": "FeatureCollection"}', "without the mark"),
        (b'{"format": "xcoreg fit", "schema": 999}', r"newer xcoreg \(schema 999"),
        (b'{"format": "xcoreg fit", "schema": 2}', "damaged fit: KeyError"),
    ],
)
def test_load_of_something_else(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(OptionError, match=message):
        load_fit(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("key", "value"), [("status", "FINE"), ("points", {}), ("shift", 5), ("model", {"kind": "x"}), ("shape", [1])]
)
def test_load_of_a_damaged_fit(tmp_path, key, value):
    (tmp_path / "x.json").write_text(json.dumps(make().to_dict() | {key: value}))
    with pytest.raises(OptionError, match="damaged"):
        load_fit(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("key", "value"), [("hull", [1.0, 2.0, 3.0]), ("hull", [[1.0, 2.0]]), ("spacing", []), ("spacing", [1.0, 2.0])]
)
def test_models_whose_numbers_have_another_shape_are_damaged(fit, tmp_path, key, value):
    data = fit.to_dict()
    data["model"][key] = value
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(OptionError, match=rf"damaged fit: ValueError {key} of the model"):
        load_fit(tmp_path / "x.json")


def test_pickle_round_trip():
    assert pickle.loads(pickle.dumps(make())) == make()


def test_fits_differ_by_one_number():
    assert make() != make(quality=Quality(reliability=98.4))
    assert make() != "fit"


def test_repr_gives_the_shift():
    assert "dx=+3.579±0.020 m" in repr(make())
    assert "NO_PEAK: no shift makes" in repr(failed())


def test_versions_are_recorded():
    assert current_versions()["numpy"] == np.__version__
