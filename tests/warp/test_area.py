"""Statistics of the pixels under an output pixel, for shifts and fields, beside GDAL's and in chunks."""

import numpy as np
import pytest
from rasterio.enums import Resampling

from xcoreg.simulate import pair, smooth_field


@pytest.fixture(scope="module")
def moved():
    scene = pair((220, 220), shift=(1.3, -2.4), seed=3)
    fit = scene.tgt.coreg.match(scene.ref)
    return scene.tgt, fit, scene.tgt.coreg.apply(fit)


@pytest.mark.parametrize("kernel", ["cubic_spline", "average", "min", "max", "med"])
@pytest.mark.parametrize("resolution", [10, 20])
def test_a_shift_is_that_of_gdal(moved, kernel, resolution):
    target, fit, shifted = moved
    ours = target.coreg.apply(fit, resampling=kernel, resolution=resolution)
    theirs = shifted.rio.reproject(
        shifted.rio.crs, transform=ours.rio.transform(), shape=ours.shape[-2:], resampling=Resampling[kernel]
    )
    one, two = (image.values.squeeze()[6:-6, 6:-6].astype(float) for image in (ours, theirs))
    exact = kernel in ("cubic_spline", "min", "max") or (kernel == "average" and resolution == 10)
    if exact:
        assert np.abs(one - two).max() <= 1
    else:  # GDAL counts by area to the last digit, and gives a median a weight
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("kernel", ["cubic_spline", "average", "mode", "q3"])
def test_a_field_does_not_depend_on_chunks(kernel):
    scene = pair((200, 200), shift=smooth_field((200, 200), 1.5, seed=2), seed=3)
    fit = scene.tgt.coreg.match_local(scene.ref, spacing=40, window=64, model="affine")
    assert fit.is_field
    one = scene.tgt.coreg.apply(fit, resampling=kernel, resolution=20)
    parts = scene.tgt.chunk(y=70, x=90).coreg.apply(fit, resampling=kernel, resolution=20).compute()
    assert np.array_equal(one.values, parts.values)
    usual = scene.tgt.coreg.apply(fit, resampling="cubic", resolution=20)
    inner = (slice(4, -4), slice(4, -4))
    assert np.corrcoef(one.values[inner].ravel(), usual.values[inner].ravel())[0, 1] > 0.8


def test_classes_may_be_summarised_by_their_mode(moved):
    target, fit, _ = moved
    classes = (target > target.median()).astype("uint8").rio.write_crs(target.rio.crs)
    classes.attrs["flag_values"] = [0, 1]
    found = classes.coreg.apply(fit, resampling="mode", resolution=20, nodata=255)
    assert set(np.unique(found)) <= {0, 1, 255}
