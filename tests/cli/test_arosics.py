import numpy as np
import pytest
import rasterio


def test_global_writes_the_moved_image(run, images, tmp_path):
    out = tmp_path / "out.bsq"
    done = run("arosics", "global", images.ref, images.tgt, "-o", out, "-ws", 128, 128, "-max_shift", 4, "-br", 1)
    assert done.exit_code == 0, done.stderr
    with rasterio.open(out) as new, rasterio.open(images.tgt) as old:
        assert new.driver == "ENVI"
        assert new.transform.c - old.transform.c == pytest.approx(10 * images.dcol, abs=0.2)
        assert new.transform.f - old.transform.f == pytest.approx(-10 * images.drow, abs=0.2)
        assert np.array_equal(new.read(1), old.read(1))


def test_local_warps_and_takes_its_flags(run, images, tmp_path):
    out = tmp_path / "out.tif"
    flags = ("-fmt_out", "GTiff", "-ws", 64, 64, "-max_points", 20, "-tieP_filter_level", 3, "-q", 1)
    done = run("arosics", "local", images.ref, images.tgt, 40, "-o", out, *flags)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    with rasterio.open(out) as new:
        assert new.driver == "GTiff"


def test_a_flag_without_effect_is_named(run, images):
    done = run("arosics", "global", images.ref, images.tgt, "-max_iter", 3)
    assert done.exit_code == 0, done.stderr
    assert "max_iter" in done.stderr
    assert "no effect" in done.stderr


def test_errors_are_those_of_xcoreg_unless_ignored(run, images):
    narrow = ("arosics", "global", images.ref, images.tgt, "-max_shift", 1)
    assert run(*narrow).exit_code == 3
    calm = run(*narrow, "-ignore_errors", 1)
    assert calm.exit_code == 0
    assert "no trustworthy match" in calm.stderr
