"""The table "what survives" of the docs: each cell is a file that is corrected, written, and read by GDAL."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.warp import transform
from tests.io.made_files import COLS, FILES, GRID, ROWS, UTM
from tests.io.test_round_trip import correction, described, moved, read_variable, reported, same

import xcoreg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "what_survives.md"
COLUMNS = {
    "move": ".tif", "resample": ".tif", "GeoTIFF": ".tif", "COG": ".tif", "ENVI": ".bsq", "NetCDF": ".nc",
    "Zarr": ".zarr", "JP2": ".jp2", "PNG": ".png",
}  # fmt: skip
# The file that carries the thing of a row, and what GDAL calls it.
THINGS = {
    "internal mask": ("mask inside", "masks"),
    "`.msk` file": ("mask beside", "masks"),
    "mask of a VRT": ("VRT, mask band", "masks"),
    "masks in overviews": ("overviews with masks", "masks"),
    "alpha band": ("alpha", "masks"),
    "`NODATA_VALUES`": ("NODATA_VALUES", "masks"),
    "nodata": ("uint16 with nodata", "masks"),
    "nodata per band": ("VRT, nodata and hole per band", "masks"),
    "overviews": ("overviews", "overviews"),
    "CRS and transform": ("tiled", "place"),
    "`.prj`, `.tfw`": (".prj and .tfw", "place"),
    "CRS in `.aux.xml`": ("CRS in .aux.xml", "place"),
    "local CRS": ("local CRS", "place"),
    "rotated transform": ("rotated", "place"),
    "control points": ("control points", "rectified"),
    "geolocation arrays": ("geolocation arrays", "rectified"),
    "RPCs": ("RPCs", "tag 0 RPC LINE_OFF"),
    "RPCs beside the file": ("RPCs beside", "tag 0 RPC LINE_OFF"),
    "wavelength": ("ENVI, bsq", "tag 1  wavelength"),
    "fwhm": ("ENVI, bsq", "tag 0 ENVI fwhm"),
    "fields of an ENVI header": ("ENVI, fields", "tag 0 ENVI sensor_type"),
    "band names": ("names and units", "names"),
    "units of bands": ("names and units", "units"),
    "scale of bands": ("scale and offset per band", "scales"),
    "offset of bands": ("scale and offset per band", "offsets"),
    "tags": ("tags with signs", "tag 0  A"),
    "tags of bands": ("tags of bands", "tag 2  wavelength"),
    "namespaces": ("namespaces", "tag 0 SENSOR NAME"),
    "namespaces of bands": ("namespaces", "tag 1 IMAGERY CENTRAL_WAVELENGTH_UM"),
    "XML (XMP)": ("XML in a namespace", "tag 0 xml:XMP xml:XMP"),
    "colour table": ("palette", "colour table"),
    "colour interpretation": ("BGR", "colour interpretation"),
    "statistics": ("statistics", "tag 1  STATISTICS_MAXIMUM"),
    "histogram": ("histogram", "histogram 1"),
    "names of classes": ("names of classes", "names of classes 1"),
    "attribute table": ("attribute table", "attribute table 1"),
    "`valid_range`": ("CF, valid_range", "cf valid_range"),
    "CF attributes": ("CF, flags", "cf flag_meanings"),
    "time of an image": ("CF, scalar time", "cf time"),
    "record of the correction": ("tiled", "record"),
    "time axis": ("time axis", "cf time"),
}


def table():
    """Cells of the page, by thing and column."""
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in ("| What" + PAGE.read_text().partition("| What")[2]).splitlines()
        if line.startswith("| ")
    ]
    return {(row[0], column): cell for row in rows[1:] for column, cell in zip(rows[0][1:], row[1:], strict=True)}


def correct(source, column, goal):
    """Correct a file in the way of a column; returns warnings, and the message of a refusal."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.filterwarnings("always", category=xcoreg.CoregWarning)
        warnings.filterwarnings("ignore", "(Scales|Offsets) differ")  # of rioxarray
        try:
            image = xcoreg.open_raster(source)
            placed = image.rio.crs is not None and not image.rio.transform().is_identity
            fit = correction(image.rio.transform()) if placed else correction(GRID, UTM)
            if column == "move":
                xcoreg.coregister.correct_file(str(source), fit, goal)
            else:
                grid = {"like": GeoBox((ROWS, COLS), GRID, image.rio.crs or UTM)} if column == "resample" else {}
                xcoreg.write_raster(xcoreg.apply(image, fit, **grid), goal, driver="COG" if column == "COG" else None)
        except xcoreg.CoregError as error:
            return "", str(error)
    return " ".join(str(each.message) for each in seen), ""


def of_mask(path, folder, goal):
    """How a file marks the hole, which is a quarter of it away from its edges; "lost" where it does not."""
    if goal.suffix in (".nc", ".zarr"):
        image, made = read_variable(goal)
        if "valid_mask" in made.variables:
            return "as mask" if holes(made["valid_mask"].values == 0) else "lost"
        if any("alpha" in str(value) for value in image.attrs.values()) and image.values.ndim > 2:
            return "as alpha" if holes(image.values[-1] == 0) else "lost"
        return "as nodata" if holes(image.values.reshape(-1, ROWS, COLS)[:1] == image.attrs["_FillValue"]) else "lost"
    with rasterio.open(goal) as file:
        flags, masks = file.mask_flag_enums[0], file.read_masks(1)
    if not holes(masks == 0):
        return "lost"
    return "as alpha" if MaskFlags.alpha in flags else "as mask" if MaskFlags.per_dataset in flags else "as nodata"


def holes(missing):
    """Whether the pixels that are missing are the hole of 12 x 20 px, wherever it has moved to."""
    inner = np.asarray(missing).reshape(-1, ROWS, COLS)[:, 4:-4, 6:-6]
    return bool((np.abs(inner.sum(axis=(1, 2)) / 240 - 1) < 0.25).all())


def of_place(source, folder, goal, column):
    """Whether CRS and transform are those of the corrected image."""
    image = xcoreg.open_raster(source)
    wanted = GRID if column == "resample" else moved(image.rio.transform())
    if goal.suffix in (".nc", ".zarr"):
        found = read_variable(goal)[1]["spatial_ref"].attrs
        numbers = list(map(float, found["GeoTransform"].split()))
        crs, place = found["crs_wkt"], rasterio.Affine.from_gdal(*numbers)
    else:
        with rasterio.open(goal) as file:
            crs, place = file.crs, file.transform
    known = rasterio.CRS.from_user_input(crs) == image.rio.crs and place.almost_equals(wanted, 1e-6)
    return ("of like" if column == "resample" else "moved") if known else "lost"


def of_stored(before, fact, goal):
    """Where an attribute of the variable in a store has a fact."""
    image, made = read_variable(goal)
    if fact == "overviews":
        return "lost"
    if " RPC " in fact:
        found = json.loads(image.attrs["gdal"])["tags"]["RPC"][fact.split()[-1]]
        return "attribute" if same(fact, before, found) else "lost"
    if fact in ("scales", "offsets"):
        return "attribute" if np.allclose(image.attrs[fact], before) else "lost"
    stored = str(json.loads(image.attrs["gdal"])) if "gdal" in image.attrs else ""
    text = stored + " ".join(f"{key} {value}" for key, value in {**made.attrs, **image.attrs}.items() if key != "gdal")
    text += " ".join(f"{name} {one.values}" for name, one in made.variables.items() if one.size < 9)
    wanted = (
        [before] if isinstance(before, str) else ["colour_tables", "200, 0, 0"] if "table" in fact else list(before)
    )
    wanted = ["adobe:ns:meta/"] if "xml:" in fact else wanted  # prefixes are spelled anew
    missing = [each for each in wanted if plain(each) not in plain(text)]
    return "lost" if missing else "attribute"


def plain(text):
    """Text without what JSON, Python and XML put around it."""
    return re.sub(r"[\\\s{}\"',]", "", text.replace("\\n", ""))


def of_rectified(goal):
    """Whether a file lies on a grid, where the control points or positions say."""
    if goal.suffix in (".nc", ".zarr"):
        found = read_variable(goal)[1]["spatial_ref"].attrs
        place, crs = rasterio.Affine.from_gdal(*map(float, found["GeoTransform"].split())), found["crs_wkt"]
    else:
        with rasterio.open(goal) as file:
            place, crs = file.transform, file.crs
            assert not file.gcps[0]
    x, y = transform(crs, UTM, *([each] for each in place @ (COLS / 2, ROWS / 2)))
    wanted = moved(GRID) @ (COLS / 2, ROWS / 2)
    return "rectified" if np.hypot(x[0] - wanted[0], y[0] - wanted[1]) < 60 else "lost"


def of_cf(name, goal):
    """Whether an attribute or coordinate of a CF file is in an output."""
    if goal.suffix in (".nc", ".zarr"):
        image, made = read_variable(goal)
        return "kept" if name in image.attrs or name in made.variables else "lost"
    with rasterio.open(goal) as file:
        tags = [file.tags(), *map(file.tags, file.indexes)]
    found = " ".join(each[name] for each in tags if name in each)
    return "tag" if re.search("2024-05-01|forest town|50.*230", found) else "lost"


def outcome(thing, column, folder):
    """What has become of a thing, in the word of the table, and the warnings or the refusal."""
    name, fact = THINGS[thing]
    source, goal = FILES[name](folder), folder / f"out{COLUMNS[column]}"
    said, refused = correct(source, column, goal)
    if refused:
        return "refused", refused
    if fact == "masks":
        return of_mask(source, folder, goal), said
    if fact == "rectified":
        return of_rectified(goal), said
    if fact.startswith("cf "):
        return of_cf(fact.split()[1], goal), said
    if fact == "place":
        return of_place(source, folder, goal, column), said
    if fact == "record":
        stored = goal.suffix in (".nc", ".zarr")
        text = (
            read_variable(goal)[0].attrs.get("xcoreg", "") if stored else rasterio.open(goal).tags().get("xcoreg", "")
        )
        return ("attribute" if stored else "tag") if '"dx": 35' in text else "lost", said
    before = described(source, folder)[0]
    found = of_value(before, fact, goal, folder, column, said)
    return found, said


def of_value(before, fact, goal, folder, column, said):
    """What has become of a fact that GDAL reports."""
    if goal.suffix in (".nc", ".zarr"):
        found = of_stored(before[fact], fact, goal)
    else:
        after = described(goal, folder)[0]
        found = ("moved" if " RPC " in fact else "kept") if same(fact, before[fact], after.get(fact)) else "lost"
    if found == "lost" and ("RPCs" in said if " RPC " in fact else reported(fact, said)):
        return "dropped"
    if fact == "overviews" and found == "lost":
        return "-"
    gone = column == "resample" and ("STATISTICS" in fact or "histogram" in fact)  # not true of other pixels
    return "removed" if found == "lost" and gone else found


CELLS = list(table().items()) if PAGE.exists() else []


@pytest.mark.parametrize(("place", "cell"), CELLS, ids=[" ".join(place) for place, _ in CELLS])
def test_a_cell_says_what_has_become_of_it(place, cell, tmp_path):
    found, message = outcome(*place, tmp_path)
    assert found == cell, message
    if cell == "refused":  # the message has a cure
        assert re.search(r": .*(choose|write|set|give|select|visit)", message), message


def test_every_thing_is_in_the_table():
    assert {thing for thing, _ in table()} == set(THINGS)
    assert {column for _, column in table()} == set(COLUMNS)
