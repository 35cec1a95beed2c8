"""Windows and their valid masks."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import rioxarray
from xarray import DataArray, Variable

from xcoreg.errors import OptionError
from xcoreg.raster.raster import make_raster


def test_a_window_and_its_valid_mask(make_image, noise):
    noise[5, 6] = 0
    values, valid = make_raster(make_image(noise, _FillValue=0)).read(4, 8, 3, 9)
    np.testing.assert_array_equal(values, noise[4:8, 3:9])
    assert values.dtype == np.float32
    assert np.argwhere(~valid).tolist() == [[1, 3]]


@pytest.mark.parametrize("box", [(-3, 2, -1, 5), (298, 305, 396, 402), (-5, 310, -5, 410), (400, 410, 0, 4)])
def test_outside_the_image_is_zero_and_not_valid(make_image, noise, box):
    row0, row1, col0, col1 = box
    values, valid = make_raster(make_image(noise)).read(*box)
    frame = np.pad(noise.astype("float32"), 500)
    inside = np.pad(np.ones(noise.shape, bool), 500)
    cut = slice(row0 + 500, row1 + 500), slice(col0 + 500, col1 + 500)
    np.testing.assert_array_equal(values, frame[cut])
    np.testing.assert_array_equal(valid, inside[cut])


BOXES = {
    "inside": [(0, 8, 0, 8), (10, 18, 30, 38)],
    "beyond": [(-3, 5, 0, 8), (10, 18, 396, 404)],
    "outside": [(-20, -12, 0, 8), (900, 908, 0, 8)],
}


@pytest.mark.parametrize("boxes", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_windows_read_together_are_those_read_alone(make_image, noise, boxes, dtype):
    values = noise.astype(dtype)
    values[12:14, 31:33] = 7
    if dtype != "uint16":
        values[2, 3] = np.nan
    raster = make_raster(make_image(values), nodata=7)
    together = raster.read_stack(boxes)
    for at, box in enumerate(boxes):
        for stacked, alone in zip(together, raster.read(*box), strict=True):
            np.testing.assert_array_equal(stacked[at], alone)
            assert stacked.dtype == alone.dtype


def test_no_windows_read_together_are_none(make_image, noise):
    values, valid = make_raster(make_image(noise), nodata=0).read_stack([])
    assert (len(values), len(valid)) == (0, 0)


def test_nan_and_infinities_never_leave(make_image):
    pixels = np.array([[1.0, np.nan], [np.inf, -np.inf]])
    values, valid = make_raster(make_image(pixels)).read(0, 2, 0, 2)
    assert values.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert valid.tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(
    ("dtype", "work"),
    [
        *((dtype, "float32") for dtype in ("uint8", "int16", "uint16", "float32", ">f4")),
        *((dtype, "float64") for dtype in ("int32", "uint32", "float64", "int64")),
    ],
)
def test_values_are_exact_in_the_working_dtype(make_image, dtype, work):
    pixels = np.arange(1, 65, dtype=dtype).reshape(8, 8)
    values, _ = make_raster(make_image(pixels)).read(0, 8, 0, 8)
    assert values.dtype == work
    np.testing.assert_array_equal(values, pixels)


def test_nodata_found_from_the_corners_is_logged(make_image, noise, caplog):
    noise[:40, :40] = 0
    with caplog.at_level(logging.INFO, "xcoreg"):
        raster = make_raster(make_image(noise), name="reference")
    assert (raster.nodata, raster.nodata_source) == (0, "corners")
    assert "reference: nodata 0 found from the image corners" in caplog.text


def test_given_nodata(make_image, noise):
    raster = make_raster(make_image(noise, _FillValue=3), nodata=noise[0, 0])
    assert (raster.nodata, raster.nodata_source) == (noise[0, 0], "given")
    assert not raster.read(0, 1, 0, 1)[1].any()


def test_custom_dimensions_and_columns_first(make_image, noise):
    image = make_image(noise, dims=("along", "across"))
    turned = image.transpose("across", "along").rio.set_spatial_dims(x_dim="across", y_dim="along")
    np.testing.assert_array_equal(make_raster(turned).read(2, 4, 3, 9)[0], noise[2:4, 3:9])


def test_a_dataset_with_dimensions_of_its_own(make_image, noise):
    scene = make_image(noise, dims=("along", "across")).to_dataset(name="red")
    raster = make_raster(scene.rio.set_spatial_dims(x_dim="across", y_dim="along"), band="red", nodata=0)
    np.testing.assert_array_equal(raster.read(2, 4, 3, 9)[0], noise[2:4, 3:9])


def test_a_window_turned_around_is_refused(make_image, noise):
    with pytest.raises(OptionError, match="ends before it begins"):
        make_raster(make_image(noise)).read(5, 2, 0, 3)


class Counting:
    """A lazily indexed array that counts the pixels it hands out."""

    def __init__(self, pixels):
        self.pixels, self.read = pixels, 0
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim

    def __getitem__(self, key):
        part = self.pixels[key]
        self.read += part.size
        return part


def test_dask_reads_the_windows_alone_in_one_computation(make_image, noise):
    source = Counting(np.stack([noise, noise + 1]))
    lazy = da.from_array(source, chunks=(1, 300, 400), asarray=True, name="array-counted")
    image = make_image(np.stack([noise, noise])).copy(data=lazy)
    raster = make_raster(image, band=2, nodata=0)
    runs = []

    def counted(graph, keys, **options):
        runs.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=counted):
        first, second = raster.read_many([(0, 10, 0, 10), (200, 232, 300, 332)])
    np.testing.assert_array_equal(first[0], noise[:10, :10] + 1)
    np.testing.assert_array_equal(second[0], noise[200:232, 300:332] + 1)
    assert len(runs) == 1
    assert source.read == 100 + 1024


def test_computed_chunks_are_computed_once_for_all_windows(make_image, noise):
    calls = []

    def double(block):
        calls.append(block.shape)
        return block * 2

    lazy = da.from_array(noise, chunks=(300, 400), name="array-doubled").map_blocks(
        double, dtype="uint16", meta=noise[:0]
    )
    raster = make_raster(make_image(noise).copy(data=lazy), nodata=0)
    with dask.config.set(scheduler="synchronous"):
        first, second = raster.read_many([(0, 10, 0, 10), (20, 30, 20, 30)])
    np.testing.assert_array_equal(first[0], 2 * noise[:10, :10])
    np.testing.assert_array_equal(second[0], 2 * noise[20:30, 20:30])
    assert calls == [(300, 400)]


def test_files_are_read_window_by_window(data_dir, monkeypatch):
    path = data_dir / "s2_s2_germany" / "ref_S2A_20160608T153121_T33UUU_sub.tif"
    image = rioxarray.open_rasterio(path)
    sizes = []
    original = Variable.values.fget
    monkeypatch.setattr(Variable, "values", property(lambda self: sizes.append(self.size) or original(self)))
    values, valid = make_raster(image).read(1000, 1256, 1500, 1756)
    assert valid.all()
    assert values.mean() > 100
    assert max(size for size in sizes if size > 3200) == 256 * 256


def test_threads_may_read_at_once(data_dir):
    raster = make_raster(rioxarray.open_rasterio(data_dir / "naip" / "m_4709963_se_14_1_20180716.tif"))
    whole, _ = raster.read(0, 724, 0, 934)
    boxes = [(row, row + 64, col, col + 64) for row in range(0, 640, 64) for col in range(0, 832, 64)]
    with ThreadPoolExecutor(4) as pool:
        for box, (values, _) in zip(boxes, pool.map(lambda box: raster.read(*box), boxes), strict=True):
            np.testing.assert_array_equal(values, whole[box[0] : box[1], box[2] : box[3]])


def test_an_image_of_one_pixel(make_image):
    values, valid = make_raster(make_image(np.array([[5]], "uint8"))).read(-1, 2, -1, 2)
    assert (values.sum(), valid.sum()) == (5, 1)


def test_bad_dtype_names_the_image(make_image, noise):
    with pytest.raises(OptionError, match="reference is complex"):
        make_raster(make_image(noise.astype("complex64")), name="reference")


def test_no_dims_no_raster():
    with pytest.raises(OptionError, match="set_spatial_dims"):
        make_raster(DataArray(np.zeros((2, 2))))
