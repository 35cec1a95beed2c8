import numpy as np
import pytest
import rasterio

from xcoreg.results.reading import load_fit


def placed(images, scale=1):
    with rasterio.open(images.tgt) as tgt:
        a, _, c, _, e, f = tuple(tgt.transform)[:6]
    return {"crs": tgt.crs, "transform": rasterio.Affine(a * scale, 0, c, 0, e * scale, f)}


def test_a_mask_of_another_gsd_moves_by_the_same_metres(run, images, fit_file, make_tif, tmp_path):
    mask = make_tif("mask.tif", np.arange(160 * 160, dtype=np.uint8).reshape(160, 160), **placed(images, 2))
    assert run("apply", fit_file, mask, tmp_path / "out.tif").exit_code == 0
    shift = load_fit(fit_file).shift
    with rasterio.open(mask) as old, rasterio.open(tmp_path / "out.tif") as new:
        assert new.transform.c - old.transform.c == pytest.approx(shift.dx, abs=1e-6)
        assert new.transform.f - old.transform.f == pytest.approx(shift.dy, abs=1e-6)
        np.testing.assert_array_equal(new.read(), old.read())


def test_a_mask_keeps_its_values_when_resampled(run, images, fit_file, make_tif, tmp_path):
    values = np.random.default_rng(1).choice(np.array([1, 7], np.uint8), (320, 320))
    mask = make_tif("mask.tif", values, nodata=0, **placed(images))
    out = tmp_path / "out.tif"
    result = run("apply", fit_file, mask, out, "--like", images.ref, "--resampling", "nearest")
    assert result.exit_code == 0, result.stderr
    with rasterio.open(out) as image:
        assert set(np.unique(image.read())) <= {0, 1, 7}
        assert image.dtypes == ("uint8",)


def test_all_bands_move_together(run, images, fit_file, make_tif, tmp_path):
    bands = np.random.default_rng(2).integers(0, 255, (3, 320, 320), np.uint8)
    source = make_tif("rgb.tif", bands, **placed(images))
    assert run("apply", fit_file, source, tmp_path / "out.nc.tif").exit_code == 0
    with rasterio.open(tmp_path / "out.nc.tif") as image:
        np.testing.assert_array_equal(image.read(), bands)


@pytest.mark.parametrize(
    ("text", "word"), [("{}", "not an xcoreg"), ("pixels", "not JSON"), (None, "there is no file")]
)
def test_a_file_that_is_no_fit_is_refused(run, images, tmp_path, text, word):
    path = tmp_path / "fit.json"
    if text is not None:
        path.write_text(text)
    result = run("apply", path, images.tgt, tmp_path / "out.tif")
    assert result.exit_code == 2
    assert word in result.stderr
    assert not (tmp_path / "out.tif").exists()
