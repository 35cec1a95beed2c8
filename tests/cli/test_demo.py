import numpy as np
import pytest
import rasterio

from xcoreg import datasets
from xcoreg.results.reading import load_fit


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    from click.testing import CliRunner

    from xcoreg.cli import cli

    folder = tmp_path_factory.mktemp("demo")
    return folder, CliRunner().invoke(cli, ["demo", "--out", str(folder)])


def test_it_finds_the_known_shift(demo):
    folder, result = demo
    assert result.exit_code == 0, result.stderr
    shift = load_fit(folder / "fit.json").shift
    assert (shift.dx, shift.dy) == pytest.approx((-6.3, -18.7), abs=1.5)


def test_it_prints_shift_uncertainty_and_quality(demo):
    output = demo[1].stdout
    for word in ("shift", "±", "residual shift", "before", "after", "reliability", "windows agree", "corrected.tif"):
        assert word in output


def test_it_writes_the_corrected_image_with_every_pixel(demo):
    folder, _ = demo
    shift = load_fit(folder / "fit.json").shift
    with rasterio.open(datasets.path("sentinel2_tgt")) as old, rasterio.open(folder / "corrected.tif") as new:
        np.testing.assert_array_equal(new.read(), old.read())
        assert new.transform.c - old.transform.c == pytest.approx(shift.dx, abs=1e-6)
        assert new.transform.f - old.transform.f == pytest.approx(shift.dy, abs=1e-6)


def test_it_draws_a_picture(demo):
    image = pytest.importorskip("matplotlib.image")
    picture = image.imread(demo[0] / "before_after.png")
    assert picture.shape[0] > 400
    assert picture[..., :3].std() > 0.05


def test_it_can_be_run_again(demo):
    from click.testing import CliRunner

    from xcoreg.cli import cli

    assert CliRunner().invoke(cli, ["demo", "--quiet", "--out", str(demo[0])]).exit_code == 0


def test_a_folder_that_cannot_be_is_bad_input(run, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("demo", "--out", tmp_path / "file" / "demo")
    assert result.exit_code == 2
    assert "--out" in result.stderr
