"""Files of many kinds are moved and written in their own format: nothing that GDAL reports is lost in silence."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from tests.io.made_files import FILES, GRID, pixels, several_variables

import xcoreg
from xcoreg.core.models import Translation

STORES = (".nc", ".zarr")
SHIFT = 3.5, -1.25  # px to the right, and upwards
# Formats that GDAL reads, or that this package refuses to write; they are written as GeoTIFF.
TO_TIFF = (".vrt", ".hgt", ".jpg", ".gif", ".grb2", ".ntf")
# Refused, with the way out that the message has to name.
REFUSED = {
    **dict.fromkeys(("control points", "VRT, control points", "RPCs alone"), "give the image a transform"),
    **dict.fromkeys(("no georeference", "CRS alone", "transform alone"), "write_crs|write_transform|transform first"),
}


def correction(transform, crs=None):
    """A fit that moves an image by SHIFT pixels: nothing has to be matched."""
    dx, dy = abs(transform.a) * SHIFT[0], abs(transform.e) * SHIFT[1]
    points = xcoreg.TiePoints([0], [0], [0], [0], [0], [dx], [dy], [SHIFT[0]], [-SHIFT[1]])
    shift = xcoreg.Shift(dx, dy, linear=(transform.a, transform.b, transform.d, transform.e))
    wkt = None if crs is None else rasterio.CRS.from_user_input(crs).to_wkt()
    grid = wkt, tuple(transform)[:6], (40, 48)
    return xcoreg.Coregistration(Translation(dx, dy), points, xcoreg.Quality(), xcoreg.Status.OK, shift, *grid)


def described(path, folder):
    """What GDAL reports of a file: facts by name, and its XML description by the words of its elements."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            found = {
                "dtype": tuple(each.replace("complex_int16", "complex64") for each in file.dtypes),
                "crs": file.crs,
                "nodata": tuple(np.nan if each is None else each for each in file.nodatavals),
                "masks": file.read_masks().tobytes(),
                "colour interpretation": tuple(
                    "gray" if each.name == "undefined" else each.name for each in file.colorinterp
                ),
                "names": tuple(re.sub(r" ?\(?[\d.]+ Nanometers\)?", "", each or "") for each in file.descriptions),
                "units": tuple(each or "" for each in file.units),
                "scales": file.scales,
                "offsets": file.offsets,
                "overviews": tuple(file.overviews(band) for band in file.indexes),
                "colour table": [_colours(file, band) for band in file.indexes],
                "transparent colours": [_opacities(file, band) for band in file.indexes],
                "photometric": file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE"),
                "bits": tuple(map(_bits, [file] * file.count, file.indexes)),
            }
            found |= _tags(file)
            place, pixels = file.transform, file.read()
        rasterio.shutil.copy(path, folder / f"{path.name}.described.vrt", driver="VRT", strict=False)
    places = folder / f"{path.name}.described.vrt", path.with_name(f"{path.name}.aux.xml")
    roots = [ElementTree.parse(one).getroot() for one in places if one.exists()]
    for band in (band for root in roots for band in root if band.tag in ("VRTRasterBand", "PAMRasterBand")):
        for kind, word in ELEMENTS.items():
            for each in band.findall(kind):
                found[f"{word} {band.get('band')}"] = re.sub(r"\s+", "", ElementTree.tostring(each, encoding="unicode"))
    return found, place, pixels


ELEMENTS = {
    "CategoryNames": "names of classes", "GDALRasterAttributeTable": "attribute table", "Histograms": "histogram",
}  # fmt: skip
# Layout, or what GDAL derives of other facts.
DERIVED = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "COLOR_PROFILE", "xml:VRT", "xml:gml.root-instance"}


# Tags that are a mask in the output, or that say in which side file RPCs were.
UNTRUE = {"NODATA_VALUES", "METADATATYPE"}


def _colours(file, band):
    """Colours (red, green, blue) but those of values that have none."""
    try:
        return {value: colour[:3] for value, colour in file.colormap(band).items() if any(colour[:3])}
    except ValueError:
        return {}


def _opacities(file, band):
    """Opacities of the colours that are transparent."""
    colours = _colours(file, band)
    found = {value: file.colormap(band)[value][3] for value in colours}
    return {value: opacity for value, opacity in found.items() if opacity != 255 and value != file.nodata}


def _bits(file, band):
    """How values are stored: their dtype, and bits that are fewer."""
    return f"{file.dtypes[band - 1]} {file.tags(band, ns='IMAGE_STRUCTURE').get('NBITS', '')}".strip()


def _tags(file):
    found = {}
    for band in (0, *file.indexes):
        for space in {"", "RPC", *file.tag_namespaces(band)} - DERIVED:
            for key, value in file.tags(band, ns=space or None).items():
                if not (key in UNTRUE or (space == "ENVI" and key == "byte_order") or key.startswith("Band_")):
                    found[f"tag {band} {space} {key}"] = plain_tag(space, value)
    return found


def plain_tag(space, value):
    """A tag without what formats spell as they like: braces in ENVI headers, names of XML prefixes."""
    if space.startswith("xml:"):
        return ElementTree.canonicalize(value, rewrite_prefixes=True)
    return re.sub(r"[{}\s]", "", value) if space == "ENVI" else value


def moved(transform):
    return transform.translation(abs(transform.a) * SHIFT[0], abs(transform.e) * SHIFT[1]) @ transform


def correct(source, goal, way, driver):
    """Correct a file; returns the text of all warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.filterwarnings("always", category=xcoreg.CoregWarning)
        warnings.filterwarnings("ignore", "(Scales|Offsets) differ")  # of rioxarray
        image = xcoreg.open_raster(source)
        fit = correction(image.rio.transform())
        if way == "file":
            xcoreg.coregister.correct_file(str(source), fit, goal, driver=driver)
        else:
            xcoreg.write_raster(xcoreg.apply(image, fit), goal, driver=driver)
    return " ".join(str(each.message) for each in seen)


GDAL_FILES = {
    name: make for name, make in FILES.items() if not name.startswith(("CF", "Zarr", "geolocation", "time axis"))
}


def same(fact, before, after):
    """Whether a fact is what it was: RPCs move with the image, and nothing cannot be lost."""
    if fact.startswith("tag 0 RPC") and after is not None:
        step = {"SAMP_OFF": SHIFT[0], "LINE_OFF": -SHIFT[1]}.get(fact.split()[-1], 0.0)
        return np.allclose(np.array(before.split(), float) - step, np.array(after.split(), float))
    if fact == "nodata":
        return np.allclose(np.array(before, float), np.array(after, float), rtol=1e-6, equal_nan=True)
    return not before or before == after


def reported(fact, said):
    """Whether a warning names a fact, by its key or its kind."""
    word = fact.split(" ", 3)[3] if fact.startswith("tag") else fact.rstrip(" 0123456789")
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said, re.IGNORECASE) is not None


WAYS = [(kind, way) for kind in GDAL_FILES for way in ("array", "file")]


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_nothing_is_lost_in_silence(kind, way, tmp_path):
    source = GDAL_FILES[kind](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        driver = rasterio.open(source).driver
    goal = tmp_path / f"out{source.suffix if source.suffix not in TO_TIFF else '.tif'}"
    driver = None if goal.suffix != source.suffix or driver == "GTiff" else driver
    if kind in REFUSED:
        with pytest.raises(xcoreg.CoregError, match=REFUSED[kind]):
            correct(source, goal, way, driver)
        assert not goal.exists()
        return
    said = correct(source, goal, way, driver)
    before, place, pixels = described(source, tmp_path)
    copied = way == "file" and driver is None and source.suffix == goal.suffix == ".tif"
    if not copied:  # pixels are written anew: overviews are layout, as tiles are
        del before["overviews"], before["bits"]
    after, there, found = described(goal, tmp_path)
    if "different nodata values" in said:  # missing pixels of all bands get one of them
        good = np.frombuffer(before["masks"], "u1").reshape(pixels.shape) > 0
        found, pixels = np.where(good, found, 0), np.where(good, pixels, 0)
    np.testing.assert_array_equal(found, pixels)
    assert there.almost_equals(moved(place), 1e-6)
    lost = {fact: (value, after.get(fact)) for fact, value in before.items() if not same(fact, value, after.get(fact))}
    assert not {fact: values for fact, values in lost.items() if not reported(fact, said)}, said


CF_FILES = {name: make for name, make in FILES.items() if name.startswith(("CF", "Zarr"))}


def read_store(path, group=None):
    """Variable and dataset of a store, as xarray reads them without any interpretation."""
    engine = {"engine": "zarr"} if path.suffix == ".zarr" else {}
    with xr.open_dataset(path, group=group, mask_and_scale=False, decode_times=False, **engine) as found:
        return found["band_data"].load(), found.load()


def read_variable(path):
    """The image of a store, and the store, as xarray reads them without any interpretation."""
    engine = {"engine": "zarr"} if path.suffix == ".zarr" else {}
    with xr.open_dataset(path, mask_and_scale=False, decode_times=False, decode_coords=False, **engine) as found:
        made = found.load()
    names = [name for name, one in made.data_vars.items() if one.ndim >= 2 and name not in ("valid_mask", "lon", "lat")]
    return made[names[0]], made


@pytest.mark.parametrize("kind", CF_FILES)
def test_nothing_is_lost_of_cf_files(kind, tmp_path):
    source = CF_FILES[kind](tmp_path)
    goal = tmp_path / f"out{source.suffix}"
    group = "inner" if kind == "CF, group" else None
    with warnings.catch_warnings(record=True) as seen:
        warnings.filterwarnings("always", category=xcoreg.CoregWarning)
        image = xcoreg.open_raster(source, group=group)
        unit = 1000 if kind == "CF, kilometres" else 1  # fits are in the unit of the CRS
        fit = correction(image.rio.transform() @ Affine.scale(unit))
        xcoreg.write_raster(xcoreg.apply(image, fit), goal)
    said = " ".join(str(each.message) for each in seen)
    (before, file), (after, made) = read_store(source, group), read_store(goal)
    y, x = before.dims[-2:]
    for dim, step in ((x, SHIFT[0]), (y, SHIFT[1])):
        out = after.dims[-1 if dim == x else -2]
        size = abs(float(before[dim][1] - before[dim][0]))
        turned = np.sign(float(before[dim][1] - before[dim][0])) != np.sign(float(after[out][1] - after[out][0]))
        wanted = before[dim].values + step * size
        if kind == "CF, kilometres":  # converted to the unit of the CRS, with a warning
            assert "km" in said
            wanted = 1000 * wanted
        if kind == "CF, 0 to 360" and dim == x:
            wanted = wanted - 360
        np.testing.assert_allclose(after[out].values[:: -1 if turned else 1], wanted, rtol=1e-9, atol=1e-9)
        after = after.isel({out: slice(None, None, -1)}) if turned else after
    np.testing.assert_array_equal(after.values.squeeze(), before.values)
    assert after.dtype == before.dtype
    if "missing_value" in before.attrs:
        assert after.attrs["_FillValue"] == before.attrs.pop("missing_value")
    lost = {
        key: value
        for key, value in before.attrs.items()
        if key not in ("grid_mapping", "coordinates")
        and not np.array_equal(after.attrs.get(key), value, equal_nan=np.asarray(value).dtype.kind == "f")
    }
    assert not {key for key in lost if key not in said}, said
    assert not {
        key
        for key in file.attrs
        if key != "Conventions" and key not in {**made.attrs, **after.attrs} and key not in said
    }, said
    assert not {
        name for name in file.coords if name not in made.variables and name not in (y, x) and name not in said
    }, said


@pytest.mark.parametrize("way", ["array", "file"])
def test_pages_that_are_not_read_are_named_and_not_left_at_the_old_place(way, tmp_path):
    source, goal = FILES["pages"](tmp_path), tmp_path / "out.tif"
    assert "2 pages, and only the first is read" in correct(source, goal, way, None)
    with rasterio.open(goal) as file:
        assert not file.subdatasets
        assert file.transform.almost_equals(moved(GRID), 1e-6)
    second = xcoreg.open_raster(f"GTIFF_DIR:2:{source}")
    np.testing.assert_array_equal(second.values[0], pixels(count=2)[1])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_each_variable_keeps_its_own(suffix, tmp_path):
    source, goal = several_variables(tmp_path), tmp_path / f"out{suffix}"
    xcoreg.write_raster(xcoreg.apply(xcoreg.open_raster(source), correction(GRID)), goal)
    made = read_variable(goal)[1]
    for name, kind, band, attrs in (("band_data", "uint16", 0, {"units": "W", "long_name": "red"}),
                                    ("nir", "int16", 1, {"units": "K", "scale_factor": 0.5})):  # fmt: skip
        assert made[name].attrs.items() >= attrs.items()
        assert made[name].dtype == kind
        np.testing.assert_array_equal(made[name].values.squeeze(), pixels(kind, 2)[band])
        place = made[made[name].attrs["grid_mapping"]].attrs["GeoTransform"].split()
        assert Affine.from_gdal(*map(float, place)).almost_equals(moved(GRID), 1e-6)


def test_a_word_within_another_is_not_named():
    assert reported("tag 0 IMD version", "dropped are tags version, A (IMD)")
    assert not reported("tag 0  A", "dropped are All tags")
    assert not reported("names", "dropped are filenames")
