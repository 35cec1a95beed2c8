"""The table "what survives" of the docs: each cell is a file that is corrected, written, and read by GDAL."""

from __future__ import annotations

import json
import re
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.warp import transform
from scipy.ndimage import gaussian_filter, map_coordinates
from tests.io.made_files import ARRAYS, COLS, FILES, GRID, ROWS, UTM, mask, pixels
from tests.io.test_round_trip import (
    ELEMENTS,
    SHIFT,
    correction,
    described,
    moved,
    plain_tag,
    read_variable,
    reported,
    same,
)

import xcoreg
from xcoreg.raster.grid import grid_of

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
    "masks in overviews": ("overviews with masks", "overview_masks"),
    "alpha band": ("alpha", "masks"),
    "`NODATA_VALUES`": ("NODATA_VALUES", "masks"),
    "nodata": ("uint16 with nodata", "masks"),
    "nodata per band": ("VRT, nodata and hole per band", "masks"),
    "overviews": ("overviews", "overviews"),
    "CRS and transform": ("tiled", "place"),
    "`.prj`, `.tfw`": (".prj and .tfw", "place"),
    "CRS in `.aux.xml`": ("CRS in .aux.xml", "place"),
    "local CRS": ("local CRS", "place"),
    "vertical CRS": ("vertical CRS", "place"),
    "rotated transform": ("rotated", "place"),
    "`RasterIndex` of rasterix": ("rasterix", "index RasterIndex"),
    "`CRSIndex` of xproj": ("xproj", "index CRSIndex"),
    '`attrs["crs"]`, `attrs["transform"]`': ("array, attributes", "place"),
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
    "pixels as points": ("point", "tag 0  AREA_OR_POINT"),
    "transparent colours": ("palette, transparent", "transparent colours"),
    "zero is white": ("min is white", "photometric"),
    "signed integers": ("int16 with nodata", "bits"),
    "half floats": ("float16", "bits"),
    "1 bit": ("1 bit", "bits"),
    "`complex_int16`": ("complex int16", "bits"),
    "`valid_range`": ("CF, valid_range", "cf valid_range"),
    "`valid_min`": ("CF, valid_min", "cf valid_min"),
    "`valid_max`": ("CF, valid_min", "cf valid_max"),
    "`flag_values`": ("CF, flags", "cf flag_values"),
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
    """Correct a file or an array in the way of a column; returns warnings, the message of a refusal, and the array."""
    made = None
    with warnings.catch_warnings(record=True) as seen:
        warnings.filterwarnings("always", category=xcoreg.CoregWarning)
        warnings.filterwarnings("ignore", "(Scales|Offsets) differ")  # of rioxarray
        try:
            in_file = not isinstance(source, xr.DataArray)
            image = xcoreg.open_raster(source) if in_file else source
            if column == "move" and in_file:
                xcoreg.coregister.correct_file(str(source), fit_of(image), goal)
            else:
                grid = {"like": GeoBox((ROWS, COLS), GRID, crs_of(image) or UTM)} if column == "resample" else {}
                made = xcoreg.apply(image, fit_of(image), **grid)
                xcoreg.write_raster(made, goal, driver="COG" if column == "COG" else None)
        except xcoreg.CoregError as error:
            return "", str(error), None
    return " ".join(str(each.message) for each in seen), "", made


def crs_of(image):
    """CRS of an image, None where it has none."""
    try:
        return grid_of(image).crs
    except xcoreg.CoregError:
        return None


def fit_of(image):
    """A fit that moves an image by SHIFT pixels."""
    return correction(grid_of(image).affine) if crs_of(image) is not None else correction(GRID, UTM)


@dataclass(frozen=True)
class Output:
    """A file as GDAL reads it, or a store as xarray does.

    values, missing : (bands, rows, columns), of the bands that are no alpha.
    mark : How missing pixels are marked, in the word of the table.
    """

    values: np.ndarray
    missing: np.ndarray
    mark: str
    transform: rasterio.Affine
    crs: rasterio.CRS


def output(goal, **level):
    """Read an output."""
    if goal.suffix in (".nc", ".zarr"):
        return stored_output(goal)
    with rasterio.open(goal, **level) as file:
        bands = [band for band, colour in zip(file.indexes, file.colorinterp, strict=True) if colour.name != "alpha"]
        flags, missing = file.mask_flag_enums[0], file.read_masks(bands) == 0
        mark = "as alpha" if MaskFlags.alpha in flags else "as mask" if MaskFlags.per_dataset in flags else "as nodata"
        return Output(file.read(bands), missing, mark, file.transform, file.crs)


def stored_output(goal):
    """Read a store, whose coordinates have to agree with its transform."""
    image, made = read_variable(goal)
    place = made[image.attrs["grid_mapping"]].attrs
    affine = rasterio.Affine.from_gdal(*map(float, place["GeoTransform"].split()))
    if "x" in image.coords:
        np.testing.assert_allclose([image.x[0], image.y[0]], affine @ (0.5, 0.5), rtol=1e-9)
    values = image.values.reshape(-1, *image.shape[-2:])
    if "valid_mask" in made.variables:
        mark, missing = "as mask", np.broadcast_to(made["valid_mask"].values == 0, values.shape)
    else:
        mark, missing = "as nodata", values == image.attrs.get("_FillValue", np.nan)
    return Output(values, missing, mark, affine, rasterio.CRS.from_user_input(place["crs_wkt"]))


def of_mask(goal, column):
    """How a file marks the hole; "lost" where it is not at its place in each band."""
    made = output(goal)
    found = is_hole(made.missing) if column != "resample" else all(map(is_moved_hole, made.missing))
    return made.mark if found else "lost"


def of_overview_mask(goal, column):
    """How the first overview marks the hole, "-" where there are no overviews but the image marks it."""
    with rasterio.open(goal) if goal.suffix not in (".nc", ".zarr") else nullcontext() as file:
        if file is None or not file.overviews(1):
            return "-" if of_mask(goal, column) != "lost" else "lost"
    made = output(goal, overview_level=0)
    return made.mark if is_hole(made.missing, step=2) else "lost"


def is_hole(missing, step=1):
    """Whether exactly the pixels of the hole are missing, in each band."""
    return bool((missing == ~mask()[::step, ::step]).all())


def is_moved_hole(missing):
    """Whether the hole (rows, columns) is where the correction moves it, to half a pixel, edges apart."""
    inner = missing[:-4, 6:]
    row, col = (float(each.mean()) + 0.5 for each in np.nonzero(inner))
    off = np.hypot(row - 14 - SHIFT[1], col + 6 - 20 - SHIFT[0])  # the source has its centre at row 14, column 20
    return off < 0.5 and abs(inner.sum() / 240 - 1) < 0.25


def of_place(source, goal, column):
    """Whether CRS and transform are those of the corrected image."""
    image = source if isinstance(source, xr.DataArray) else xcoreg.open_raster(source)
    grid, made = grid_of(image), output(goal)
    wanted = GRID if column == "resample" else moved(grid.affine)
    known = made.crs == rasterio.CRS.from_user_input(grid.crs.to_wkt()) and made.transform.almost_equals(wanted, 1e-6)
    return ("of like" if column == "resample" else "moved") if known else "lost"


def of_rectified(goal):
    """Whether the content is where control points or positions say and the correction moves it, to 0.1 px."""
    made = output(goal)
    if goal.suffix not in (".nc", ".zarr"):
        with rasterio.open(goal) as file:
            assert not file.gcps[0]
    row, col = np.nonzero(~made.missing[0])
    at = transform(made.crs, UTM, *(made.transform @ (col + 0.5, row + 0.5)))
    col_in, row_in = ~moved(GRID) @ tuple(map(np.array, at))
    inside = (col_in > 3) & (col_in < COLS - 3) & (row_in > 3) & (row_in < ROWS - 3)
    assert inside.sum() > 0.6 * (ROWS - 6) * (COLS - 6)
    found = made.values[0][row[inside], col[inside]].astype(float)
    return "rectified" if np.hypot(*offset(found, row_in[inside] - 0.5, col_in[inside] - 0.5)) < 0.1 else "lost"


def offset(found, row, col):
    """Rows and columns by which values are off those of the source at positions, by least squares."""
    source, off = pixels()[0].astype(float), np.zeros(2)
    slopes = np.gradient(gaussian_filter(source, 1.0))
    for _ in range(3):
        at = [row + off[0], col + off[1]]
        known = map_coordinates(gaussian_filter(source, 0.5), at, order=3, mode="nearest")
        jacobian = np.stack([map_coordinates(slope, at, order=1, mode="nearest") for slope in slopes], axis=1)
        off += np.linalg.lstsq(jacobian, found - known)[0]
    return off


CF_VALUES = {
    "valid_range": [50, 230], "valid_min": [50], "valid_max": [230], "flag_meanings": ["forest town"],
    "flag_values": [1, 5], "scale_factor": [1e-4], "add_offset": [-0.1],
}  # fmt: skip


def of_cf(name, goal):
    """Whether an attribute of a CF file, or a time, has its value in an output."""
    return of_time(goal) if name == "time" else of_attribute(name, goal)


def of_attribute(name, goal):
    if goal.suffix in (".nc", ".zarr"):
        found = read_variable(goal)[0].attrs.get(name, [])
        return "kept" if np.array_equal(np.ravel(found), CF_VALUES[name]) else "lost"
    with rasterio.open(goal) as file:
        found = (file.tags() | file.tags(1)).get(name, "")
    numbers = [float(each) for each in re.findall(r"[-\d.]+(?:e-?\d+)?", found)]
    return "tag" if [found] == CF_VALUES[name] or numbers == CF_VALUES[name] else "lost"


def of_time(goal):
    """Whether each band has its time: 1 May 2024, and that of the second 1 June."""
    if goal.suffix in (".nc", ".zarr"):
        with xr.open_dataset(goal, engine="zarr" if goal.suffix == ".zarr" else None) as found:
            times, bands, kind = np.atleast_1d(found["time"].values), found.sizes.get("time", 1), "kept"
    else:
        with rasterio.open(goal) as file:
            times = np.array([file.tags(band).get("time", "NaT").replace(" ", "T") for band in file.indexes], "M8[s]")
            bands, kind = file.count, "tag"
    return kind if np.array_equal(times, np.array(["2024-05-01", "2024-06-01"][:bands], "M8[s]")) else "lost"


def of_record(goal, column):
    """Whether the output says what was done to it, and by which fit."""
    if goal.suffix in (".nc", ".zarr"):
        kind, text = "attribute", read_variable(goal)[0].attrs.get("xcoreg", "[{}]")
    else:
        with rasterio.open(goal) as file:
            kind, text = "tag", file.tags().get("xcoreg", "[{}]")
    (found,) = json.loads(text)
    done = str(found.get("did")).startswith("resampled" if column == "resample" else "moved")
    return kind if done and (found["dx"], found["dy"]) == (35, -12.5) and found["fit"] and found["by"] else "lost"


def of_index(made, name, column):
    """Whether an array has an index of a class, at the place of the corrected image."""
    wanted = GRID if column == "resample" else moved(GRID)
    named = name in {type(index).__name__ for index in made.xindexes.values()}
    known = grid_of(made).affine.almost_equals(wanted, 1e-6) and grid_of(made).crs.epsg == 32633
    return ("of like" if column == "resample" else "moved") if named and known else "lost"


def of_stored(fact, before, goal):
    """Whether attributes of the variable in a store have a fact."""
    image = read_variable(goal)[0]
    gdal = json.loads(image.attrs.get("gdal", "{}"))
    return "attribute" if same(fact, before, stored_fact(fact, image, gdal)) else "lost"


def stored_fact(fact, image, gdal):
    """A fact as GDAL would report it."""
    kind, _, number = fact.rpartition(" ")
    if fact.startswith("tag"):
        return stored_tag(*fact.split(" ", 3)[1:], image, gdal)
    if fact in ("names", "units"):
        return tuple(np.ravel(image.attrs[{"names": "long_name"}.get(fact, fact)]))
    if fact in ("scales", "offsets"):
        return tuple(map(float, image.attrs[fact]))
    if fact == "colour table":
        return [
            {int(value): tuple(one[:3]) for value, one in each.items() if any(one[:3])}
            for each in gdal["colour_tables"]
        ]
    if fact == "transparent colours":
        return [
            {int(value): one[3] for value, one in each.items() if one[3] < 255 and any(one[:3])}
            for each in gdal["colour_tables"]
        ]
    if fact == "photometric":
        return "YES" if gdal.get("photometric") == "miniswhite" else None
    if fact == "colour interpretation":
        return tuple(gdal["colours"])
    parts = [re.sub(r"\s+", "", text) for text in gdal.get("class_names", [[]])[int(number) - 1]]
    begins = next(element for element, word in ELEMENTS.items() if word == kind)
    return next((each for each in parts if each.startswith(f"<{begins}")), None)


def stored_colours(gdal):
    """Colours of the bands, but those of values that have none."""
    return [{int(value): tuple(one) for value, one in each.items() if any(one[:3])} for each in gdal["colour_tables"]]


def stored_tag(band, space, key, image, gdal):
    """A tag of the file (band 0) or of a band."""
    if band == "0":
        found = gdal.get("tags", {}).get(space, {}).get(key, None if space else image.attrs.get(key))
    else:
        own = gdal.get("band_tags", [{}])[int(band) - 1]
        listed = json.loads(image.attrs.get("band_tags", "[{}]")) if not space else [{}]
        found = own.get(space, {}).get(key) or listed[min(int(band), len(listed)) - 1].get(key)
    return None if found is None else plain_tag(space, str(found))


def outcome(thing, column, source, folder):
    """What has become of a thing, in the word of the table, and the warnings or the refusal."""
    fact, goal = THINGS[thing][1], folder / f"out{COLUMNS[column]}"
    said, refused, made = correct(source, column, goal)
    if refused:
        return "refused", refused
    kind, _, name = fact.partition(" ")
    if kind == "index" and column in ("move", "resample"):
        return of_index(made, name, column), said
    special = {
        "masks": lambda: of_mask(goal, column),
        "overview_masks": lambda: of_overview_mask(goal, column),
        "rectified": lambda: of_rectified(goal),
        "cf": lambda: of_cf(name, goal),
        "place": lambda: of_place(source, goal, column),
        "index": lambda: of_place(source, goal, column),
        "record": lambda: of_record(goal, column),
    }
    return (special[kind]() if kind in special else of_value(fact, source, goal, folder, said)), said


def of_value(fact, source, goal, folder, said):
    """What has become of a fact that GDAL reports."""
    before = described(source, folder)[0][fact]
    assert before
    if goal.suffix in (".nc", ".zarr"):
        if fact in ("overviews", "bits"):
            return "-" if fact == "overviews" else f"as {read_variable(goal)[0].dtype}"
        found = of_stored(fact, before, goal)
        return "dropped" if found == "lost" and reported(fact, said) else found
    after = described(goal, folder)[0].get(fact)
    if same(fact, before, after):
        return "moved" if " RPC " in fact else "kept"
    if reported(fact, said) or (" RPC " in fact and re.search(r"\bRPCs\b.* dropped", said)):
        return "dropped"
    if fact == "bits":
        return f"as {after[0]}"
    nothing = after is None or not any(after)
    gone = "STATISTICS" in fact or "histogram" in fact  # not true of other pixels
    return "lost" if not nothing else "-" if fact == "overviews" else "removed" if gone else "lost"


@pytest.fixture(scope="module")
def source_of(tmp_path_factory):
    """Give the file of a row, or its array; made once."""
    return cache(lambda name: (FILES | ARRAYS)[name](tmp_path_factory.mktemp("made")))


pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterix

CELLS = list(table().items()) if PAGE.exists() else []


# What a refusal says: what is in the way, and the way out.
NO_PNG = "PNG cannot store 1 band(s) of {}: choose another format"
NO_JP2 = (
    "out.jp2 cannot be written as JP2OpenJPEG: JP2 driver only supports creating Byte, GDT_Int16, GDT_UInt16, "
    "GDT_Int32, GDT_UInt32; choose another format or dtype"
)
REFUSALS = {
    ("rotated transform", "NetCDF"): "NetCDF needs 1-D coordinates, and the image has none (it may be rotated): "
    "write GeoTIFF or Zarr",
    ("signed integers", "PNG"): NO_PNG.format("int16"),
    ("half floats", "PNG"): NO_PNG.format("float32"),
    ("half floats", "JP2"): NO_JP2,
    ("`complex_int16`", "PNG"): NO_PNG.format("complex64"),
    ("`complex_int16`", "JP2"): NO_JP2,
    ("`complex_int16`", "NetCDF"): "NetCDF has no complex numbers: write GeoTIFF or Zarr, or da.real and da.imag",
    ("`complex_int16`", "resample"): "the image holds complex64, which cannot be interpolated: resample da.real and "
    "da.imag",
}  # fmt: skip


@pytest.mark.parametrize(("place", "cell"), CELLS, ids=[" ".join(place) for place, _ in CELLS])
def test_a_cell_says_what_has_become_of_it(place, cell, tmp_path, source_of):
    thing, column = place
    found, message = outcome(thing, column, source_of(THINGS[thing][0]), tmp_path)
    assert found == cell, message
    if cell == "refused":
        assert message.replace(f"{tmp_path}/", "").replace("\n", " ") == REFUSALS[place]


def test_every_thing_is_in_the_table():
    assert {thing for thing, _ in table()} == set(THINGS)
    assert {column for _, column in table()} == set(COLUMNS)
    assert {place for place, cell in table().items() if cell == "refused"} == set(REFUSALS)
