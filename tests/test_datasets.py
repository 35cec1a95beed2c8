"""The bundled pair: small, tagged, and showing one place."""

import numpy as np
import pytest
import rasterio
from rasterio.windows import from_bounds

from xcoreg import datasets
from xcoreg.errors import OptionError


@pytest.fixture(params=datasets.NAMES)
def image(request):
    with rasterio.open(datasets.path(request.param)) as file:
        yield file


def test_both_files_stay_small():
    assert sum(datasets.path(name).stat().st_size for name in datasets.NAMES) < 2_000_000


def test_files_say_whose_data_they_are(image):
    assert image.tags()["TIFFTAG_COPYRIGHT"] == datasets.ATTRIBUTION
    assert datasets.ATTRIBUTION in image.tags()["TIFFTAG_IMAGEDESCRIPTION"]


def test_files_keep_grid_and_nodata(image):
    assert image.crs.to_epsg() == 32633
    assert (image.res, image.nodata, image.dtypes) == ((10.0, 10.0), 0.0, ("uint16",))
    assert image.block_shapes == [(256, 256)]
    assert image.compression == rasterio.enums.Compression.deflate


def test_only_a_corner_is_missing_and_little_is_cloud(image):
    values = image.read(1)
    assert 0 < np.mean(values == 0) < 0.06
    assert np.mean(values > 2600) < 0.01


def test_extents_differ_and_overlap():
    ref, tgt = (rasterio.open(datasets.path(name)) for name in datasets.NAMES)
    with ref, tgt:
        assert ref.bounds != tgt.bounds
        assert not rasterio.coords.disjoint_bounds(ref.bounds, tgt.bounds)


def test_content_lies_two_pixels_apart():
    """The correction is near (-0.6, +1.9) px: the best whole-pixel guess is one column left, two rows down."""
    box = (340000, 5846500, 344000, 5851500)
    windows = []
    for name in datasets.NAMES:
        with rasterio.open(datasets.path(name)) as file:
            windows.append(file.read(1, window=from_bounds(*box, file.transform)).astype(float))
    ref, tgt = windows
    alike = {
        (dcol, drow): np.corrcoef(tgt[5:-5, 5:-5].ravel(), np.roll(ref, (-drow, -dcol), (0, 1))[5:-5, 5:-5].ravel())[
            0, 1
        ]
        for dcol in range(-4, 5)
        for drow in range(-4, 5)
    }
    assert max(alike, key=alike.get) == (-1, 2)


def test_pair_opens_as_data_arrays():
    ref, tgt = datasets.sentinel2_pair()
    assert (ref.rio.nodata, tgt.dtype) == (0, np.uint16)
    assert tgt.rio.crs.to_epsg() == 32633


def test_unknown_name_tells_the_known_ones():
    with pytest.raises(OptionError, match="sentinel2_ref, sentinel2_tgt"):
        datasets.path("landsat")
