"""Files of many kinds are opened, moved and written in their own format: nothing that GDAL reports is lost in silence."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

import xcoreg
from tests.io.made_files import FILES
from xcoreg.core.models import Translation

STORES = (".nc", ".zarr")
SHIFT = 3.5, -1.25  # px to the right, and upwards
# Formats that GDAL reads, or that this package refuses to write; they are written as GeoTIFF.
TO_TIFF = (".vrt", ".jpg", ".gif", ".grb2", ".ntf")
# Refused, with the way out that the message has to name.
REFUSED = {
    **dict.fromkeys(("control points", "VRT, control points", "RPCs alone", "no georeference"), "give the image a transform"),
    **dict.fromkeys(("CRS alone", "transform alone"), "write_crs|write_transform|transform first"),
}


def correction(transform):
    """A fit that moves an image by SHIFT pixels: nothing has to be matched."""
    dx, dy = abs(transform.a) * SHIFT[0], abs(transform.e) * SHIFT[1]
    points = xcoreg.TiePoints([0], [0], [0], [0], [0], [dx], [dy], [SHIFT[0]], [-SHIFT[1]])
    shift = xcoreg.Shift(dx, dy, linear=(transform.a, transform.b, transform.d, transform.e))
    grid = None, tuple(transform)[:6], (40, 48)
    return xcoreg.Coregistration(Translation(dx, dy), points, xcoreg.Quality(), xcoreg.Status.OK, shift, *grid)


def described(path, folder):
    """What GDAL reports of a file: facts by name, and its XML description by the words of its elements."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            found = {
                "dtype": file.dtypes,
                "crs": file.crs,
                "nodata": tuple(np.nan if each is None else each for each in file.nodatavals),
                "masks": file.read_masks().tobytes(),
                "colour interpretation": tuple("gray" if each.name == "undefined" else each.name for each in file.colorinterp),
                "names": file.descriptions,
                "units": tuple(each or "" for each in file.units),
                "scales": file.scales,
                "offsets": file.offsets,
                "overviews": tuple(file.overviews(band) for band in file.indexes),
            }
            found |= _tags(file)
            place, pixels = file.transform, file.read()
        rasterio.shutil.copy(path, folder / f"{path.name}.described.vrt", driver="VRT", strict=False)
    root = ElementTree.parse(folder / f"{path.name}.described.vrt").getroot()
    for number, band in enumerate(root.findall("VRTRasterBand"), 1):
        for kind, word in ELEMENTS.items():
            for each in band.findall(kind):
                found[f"{word} {number}"] = re.sub(r"\s+", "", ElementTree.tostring(each, encoding="unicode"))
    return found, place, pixels


ELEMENTS = {
    "CategoryNames": "names of classes", "GDALRasterAttributeTable": "attribute table", "Histograms": "histogram",
    "ColorTable": "colour table",
}  # fmt: skip
# Layout, or what GDAL derives of other facts.
DERIVED = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "COLOR_PROFILE", "xml:VRT", "xml:gml.root-instance"}


def _tags(file):
    found = {}
    for band in (0, *file.indexes):
        for space in {"", "RPC", *file.tag_namespaces(band)} - DERIVED:
            for key, value in file.tags(band, ns=space or None).items():
                found[f"tag {band} {space} {key}"] = value
    return found


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


GDAL_FILES = {name: make for name, make in FILES.items() if not name.startswith(("CF", "Zarr"))}


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
    word = fact.split()[-1] if fact.startswith("tag") else fact.rstrip(" 0123456789")
    return word.lower() in said.lower()


@pytest.mark.parametrize("way", ["array", "file"])
@pytest.mark.parametrize("kind", GDAL_FILES)
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
    after, there, found = described(goal, tmp_path)
    np.testing.assert_array_equal(found, pixels)
    assert there.almost_equals(moved(place), 1e-6)
    lost = {fact: (value, after.get(fact)) for fact, value in before.items() if not same(fact, value, after.get(fact))}
    assert not {fact: values for fact, values in lost.items() if not reported(fact, said)}, said
