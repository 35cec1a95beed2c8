"""What belongs to a file and its bands stays with them, whatever the format and however bands are selected."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import rioxarray
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from xcoreg.errors import CoregWarning
from xcoreg.io.copy import copy_moved
from xcoreg.io.read import open_raster
from xcoreg.io.tags import shift_rpcs
from xcoreg.io.write import write_raster

GRID = Affine(10, 0, 300000, 0, -10, 5900000)
ONES, ZEROS = "1" + " 0" * 19, "0 1" + " 0" * 18
RPCS = {
    "LINE_OFF": "128", "SAMP_OFF": "64", "LAT_OFF": "53.2", "LONG_OFF": "12", "HEIGHT_OFF": "0", "LINE_SCALE": "128",
    "SAMP_SCALE": "128", "LAT_SCALE": "0.02", "LONG_SCALE": "0.03", "HEIGHT_SCALE": "500", "LINE_NUM_COEFF": ZEROS,
    "LINE_DEN_COEFF": ONES, "SAMP_NUM_COEFF": ZEROS, "SAMP_DEN_COEFF": ONES,
}  # fmt: skip
HEADER = """ENVI
description = {Field of maize,
 second flight}
samples = 20
lines = 30
bands = 3
header offset = 0
data type = 12
interleave = bsq
byte order = 0
map info = {UTM, 1, 1, 300000, 5900000, 10, 10, 33, North, WGS-84, units=Meters}
band names = {blue, green, red}
wavelength units = Nanometers
wavelength = {450.5, 550.5, 650.5}
fwhm = {10.1, 10.2, 10.3}
bbl = {1, 0, 1}
default bands = {3, 2, 1}
reflectance scale factor = 10000
acquisition time = 2024-05-01T10:00:00Z
sensor type = Unknown
"""


def make(path, dtype="uint16", count=3, **options):
    """Three bands with all that GDAL can say of a file and of its bands."""
    profile = {"driver": "GTiff", "width": 20, "height": 30, "crs": "EPSG:32633", "transform": GRID}
    with rasterio.open(path, "w", **profile, count=count, dtype=dtype, **options) as file:
        file.update_tags(sensor="MSI")
        file.update_tags(ns="CUSTOM", owner="me")
        file.update_tags(ns="RPC", **RPCS)
        for band in range(1, count + 1):
            file.update_tags(band, wavelength=str(400 + 100 * band), STATISTICS_MEAN="5")
            file.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"0.{4 + band}")
            file.set_band_description(band, f"B{band}")
        file.units = tuple("abc"[:count])
        file.scales, file.offsets = (
            tuple(0.5 * (1 + at) for at in range(count)),
            tuple(float(at) for at in range(count)),
        )
        file.write(np.arange(600 * count).reshape(count, 30, 20).astype(dtype))
    return path


def make_classes(path, **options):
    profile = {"driver": "GTiff", "width": 20, "height": 30, "crs": "EPSG:32633", "transform": GRID}
    with rasterio.open(path, "w", **profile, count=1, dtype="uint8", **options) as file:
        file.write_colormap(1, {1: (0, 90, 0, 255), 5: (200, 0, 0, 255)})
        file.write(np.where(np.arange(600).reshape(1, 30, 20) % 2, 1, 5).astype("uint8"))
    return path


def make_envi(folder):
    np.arange(1800, dtype="<u2").tofile(folder / "a.bsq")
    (folder / "a.hdr").write_text(HEADER)
    return folder / "a.bsq"


def seen(path):
    """What GDAL says of a file and its bands."""
    with rasterio.open(path) as file:
        return {
            "sensor": file.tags().get("sensor"),
            "owner": file.tags(ns="CUSTOM").get("owner"),
            "rpc": file.tags(ns="RPC").get("LINE_OFF"),
            "wavelength": [file.tags(band).get("wavelength") for band in file.indexes],
            "micrometres": [file.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM") for band in file.indexes],
            "names": list(file.descriptions),
            "units": list(file.units),
            "scales": [round(each, 9) for each in file.scales],
            "offsets": list(file.offsets),
            "misplaced": file.tags().get("wavelength"),
        }


def expected(*bands):
    return {
        "sensor": "MSI",
        "owner": "me",
        "rpc": "128",
        "wavelength": [str(400 + 100 * band) for band in bands],
        "micrometres": [f"0.{4 + band}" for band in bands],
        "names": [f"B{band}" for band in bands],
        "units": ["abc"[band - 1] for band in bands],
        "scales": [0.5 * band for band in bands],
        "offsets": [band - 1.0 for band in bands],
        "misplaced": None,
    }


FORMATS = [("b.tif", {}), ("b.tif", {"driver": "COG"}), ("b.bsq", {}), ("b.jp2", {}), ("b.png", {})]
WARNS = "ignore:(Scales|Offsets) differ:UserWarning"  # of rioxarray


@pytest.mark.filterwarnings(WARNS)
@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_every_format_of_gdal_holds_what_belongs_to_bands(tmp_path, name, options):
    out = write_raster(open_raster(make(tmp_path / "a.tif"), chunks="auto"), tmp_path / name, **options)
    assert seen(out) == expected(1, 2, 3)


@pytest.mark.filterwarnings(WARNS)
@pytest.mark.parametrize("name", ["b.nc", "b.zarr"])
@pytest.mark.parametrize("bands", [(1, 2, 3), (2, 1), (3,)])
def test_stores_give_it_back(tmp_path, name, bands):
    image = open_raster(make(tmp_path / "a.tif")).sel(band=list(bands))
    stored = open_raster(write_raster(image, tmp_path / name))
    assert seen(write_raster(stored, tmp_path / "c.tif")) == expected(*bands)
    assert seen(write_raster(stored[-1:], tmp_path / "d.tif")) == expected(bands[-1])


SELECTIONS = {
    "a list": (lambda image: image.isel(band=[2, 0]), (3, 1)),
    "one": (lambda image: image.isel(band=1), (2,)),
    "by label": (lambda image: image.sel(band=[3]), (3,)),
    "turned": (lambda image: image[::-1], (3, 2, 1)),
    "in memory": (lambda image: image.load().squeeze(), (1, 2, 3)),
    "chunks": (lambda image: image.chunk(10), (1, 2, 3)),
}


@pytest.mark.filterwarnings(WARNS)
@pytest.mark.parametrize("opening", [open_raster, rioxarray.open_rasterio], ids=["xcoreg", "rioxarray"])
@pytest.mark.parametrize("kind", SELECTIONS)
def test_bands_that_are_selected_keep_what_is_theirs(tmp_path, kind, opening):
    select, bands = SELECTIONS[kind]
    out = write_raster(select(opening(make(tmp_path / "a.tif"))), tmp_path / "b.tif")
    assert seen(out) == expected(*bands)


@pytest.mark.filterwarnings(WARNS)
def test_a_band_opened_alone_keeps_its_own(tmp_path):
    assert seen(write_raster(open_raster(make(tmp_path / "a.tif"), band=2), tmp_path / "b.tif")) == expected(2)


@pytest.mark.filterwarnings(WARNS)
def test_tags_of_bands_are_no_attributes_of_the_image(tmp_path):
    image = open_raster(make(tmp_path / "a.tif"))
    assert "wavelength" not in image.attrs
    assert [tags["wavelength"] for tags in image.attrs["band_tags"]] == ["500", "600", "700"]


@pytest.mark.filterwarnings(WARNS)
def test_what_is_of_an_unknown_band_is_dropped_with_a_warning(tmp_path):
    image = open_raster(make(tmp_path / "a.tif")).isel(band=1, drop=True)
    with pytest.warns(CoregWarning, match="long_name, units, .* of the image are lists for other bands than the 1 "):
        out = write_raster(image, tmp_path / "b.tif")
    with rasterio.open(out) as file:
        assert (file.units, file.tags(1), file.descriptions) == ((None,), {}, (None,))


def test_coordinates_along_bands_and_names_of_bands_become_tags(tmp_path):
    image = open_raster(make(tmp_path / "a.tif", count=1)).drop_attrs()
    image.encoding = {}
    stack = image.isel(band=[0, 0]).assign_coords(band=["B2", "B3"], center=("band", [490, 560]))
    with rasterio.open(write_raster(stack, tmp_path / "b.tif")) as file:
        assert [file.tags(band) for band in (1, 2)] == [{"center": "490"}, {"center": "560"}]
        assert file.descriptions == ("B2", "B3")


def test_attributes_of_variables_become_tags_of_their_bands(tmp_path):
    image = open_raster(make(tmp_path / "a.tif", count=1)).drop_attrs()
    image.encoding = {}
    scene = image[0].to_dataset(name="red").assign(nir=image[0].assign_attrs(wavelength=842.0, units="1"))
    with rasterio.open(write_raster(scene.assign_attrs(sensor="MSI"), tmp_path / "b.tif")) as file:
        assert (file.tags(2), file.tags()["sensor"]) == ({"wavelength": "842.0"}, "MSI")
        assert file.descriptions == ("red", "nir")


# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings(WARNS)
@pytest.mark.parametrize(
    ("change", "stays"),
    [
        (lambda image: image, True),
        (lambda image: image.isel(band=[1]), True),
        (lambda image: image + 1, False),
        (lambda image: image.isel(x=slice(1, None)), False),
        (lambda image: image.copy(data=image.values + 1), False),
    ],
)
@pytest.mark.filterwarnings("ignore:.*RPCs count the pixels of the whole:xcoreg.errors.CoregWarning")
def test_statistics_are_written_only_for_the_pixels_they_are_of(tmp_path, change, stays):
    image = change(open_raster(make(tmp_path / "a.tif"), chunks="auto"))
    with rasterio.open(write_raster(image, tmp_path / "b.tif")) as file:
        assert ("STATISTICS_MEAN" in file.tags(1)) == stays


# --- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_colour_tables_survive(tmp_path, name, options):
    out = write_raster(open_raster(make_classes(tmp_path / "a.tif")), tmp_path / name, **options)
    with rasterio.open(out) as file:
        assert file.colorinterp == (ColorInterp.palette,)
        assert (file.colormap(1)[1], file.colormap(1)[5]) == ((0, 90, 0, 255), (200, 0, 0, 255))


@pytest.mark.parametrize("name", ["b.nc", "b.zarr"])
def test_stores_give_colour_tables_back(tmp_path, name):
    stored = open_raster(write_raster(open_raster(make_classes(tmp_path / "a.tif")), tmp_path / name))
    with rasterio.open(write_raster(stored, tmp_path / "c.tif")) as file:
        assert file.colormap(1)[5] == (200, 0, 0, 255)


@pytest.mark.skipif(not hasattr(ColorInterp, "nir"), reason="GDAL before 3.10 knows no infrared")
def test_colour_interpretation_survives_or_is_named_when_it_does_not(tmp_path):
    with rasterio.open(make(tmp_path / "a.tif", "uint8"), "r+") as file:
        file.scales, file.offsets = (1.0,) * 3, (0.0,) * 3
        file.colorinterp = [ColorInterp.nir, ColorInterp.red, ColorInterp.green]
    image = open_raster(tmp_path / "a.tif")
    with rasterio.open(write_raster(image, tmp_path / "b.tif")) as file:
        assert [colour.name for colour in file.colorinterp] == ["nir", "red", "green"]
    with pytest.warns(CoregWarning, match="PNG cannot hold .* colour interpretation nir, red, green"):
        write_raster(image, tmp_path / "b.png")


def test_names_of_classes_survive(tmp_path):
    make_classes(tmp_path / "a.tif")
    names = "<CategoryNames><Category>sea</Category><Category>land</Category></CategoryNames>"
    (tmp_path / "a.tif.aux.xml").write_text(f'<PAMDataset><PAMRasterBand band="1">{names}</PAMRasterBand></PAMDataset>')
    write_raster(open_raster(tmp_path / "a.tif"), tmp_path / "b.png")
    assert names in (tmp_path / "b.png.aux.xml").read_text()


# --- ENVI ------------------------------------------------------------------------------------------------------------

LINES = [line for line in HEADER.partition("wavelength units")[2].splitlines()[1:] if line]


def test_envi_to_envi_keeps_the_fields_of_the_header(tmp_path):
    write_raster(open_raster(make_envi(tmp_path)), tmp_path / "b.bil")
    text = (tmp_path / "b.hdr").read_text()
    assert [line for line in LINES if line not in text] == []
    assert "Field of maize" in text
    assert "wavelength units = Nanometers" in text
    assert rasterio.open(tmp_path / "b.bil").interleaving.name == "line"
    assert open_raster(tmp_path / "b.bil").attrs["long_name"] == ("blue", "green", "red")


def test_a_part_of_the_bands_has_its_part_of_the_lists(tmp_path):
    write_raster(open_raster(make_envi(tmp_path)).isel(band=[2, 1]), tmp_path / "b.bsq")
    text = (tmp_path / "b.hdr").read_text()
    assert "wavelength = {650.5, 550.5}" in text
    assert "bbl = {1, 0}" in text
    assert "default bands" not in text


def test_envi_to_geotiff_writes_lists_per_band(tmp_path):
    with rasterio.open(write_raster(open_raster(make_envi(tmp_path)), tmp_path / "b.tif")) as file:
        found = [{key: file.tags(band)[key] for key in ("wavelength", "fwhm", "bbl")} for band in (1, 2, 3)]
        assert found[1] == {"wavelength": "550.5", "fwhm": "10.2", "bbl": "0"}
        assert file.descriptions == ("blue", "green", "red")
        tags = file.tags()
    assert (tags["wavelength_units"], tags["reflectance_scale_factor"]) == ("Nanometers", "10000")
    assert not {"wavelength", "fwhm", "bbl", "Band_1", "map_info", "samples"} & tags.keys()


def test_geotiff_to_envi_and_back(tmp_path):
    write_raster(open_raster(make_envi(tmp_path)), tmp_path / "b.tif")
    write_raster(open_raster(tmp_path / "b.tif"), tmp_path / "c.bsq")
    text = (tmp_path / "c.hdr").read_text()
    for line in ("wavelength = {450.5, 550.5, 650.5}", "fwhm = {10.1, 10.2, 10.3}", "acquisition time = 2024-05-01"):
        assert line in text


def test_the_header_of_a_new_image_names_no_temporary_file(tmp_path):
    write_raster(open_raster(make_classes(tmp_path / "a.tif")), tmp_path / "b.bsq")
    assert str(tmp_path) not in (tmp_path / "b.hdr").read_text()


# --- RPCs ------------------------------------------------------------------------------------------------------------


def test_rpcs_move_against_the_image():
    assert shift_rpcs({"LINE_OFF": "128", "SAMP_OFF": "64.5", "LAT_OFF": "53"}, 4, -3) == {
        "LINE_OFF": "131", "SAMP_OFF": "60.5", "LAT_OFF": "53"
    }  # fmt: skip


def beside(folder, kind):
    """A GeoTIFF with RPCs inside or beside it."""
    path = make(folder / "a.tif", count=1)
    if kind in ("inside", "big"):
        return make(folder / "a.tif", count=1, BIGTIFF="YES") if kind == "big" else path
    with rasterio.open(path, "w", driver="GTiff", width=20, height=30, count=1, dtype="uint8", transform=GRID) as file:
        file.write(np.ones((1, 30, 20), "uint8"))
    if kind == "aux.xml":
        items = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in RPCS.items())
        (folder / "a.tif.aux.xml").write_text(f'<PAMDataset><Metadata domain="RPC">{items}</Metadata></PAMDataset>')
        return path
    lines = [f"{key}: {value}" for key, value in RPCS.items() if "COEFF" not in key]
    for key in (key for key in RPCS if "COEFF" in key):
        lines += [f"{key}_{at}: {value}" for at, value in enumerate(RPCS[key].split(), start=1)]
    (folder / "a_RPC.TXT").write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["inside", "big", "aux.xml", "_RPC.TXT"])
def test_rpcs_of_a_copy_agree_with_its_transform(tmp_path, kind):
    out = copy_moved(beside(tmp_path, kind), tmp_path / "b.tif", GRID @ Affine.translation(4, -3))
    with rasterio.open(out) as file:
        assert (file.rpcs.samp_off, file.rpcs.line_off, file.rpcs.lat_off) == (60, 131, 53.2)


def test_rpcs_of_a_part_are_dropped_with_a_warning(tmp_path):
    image = open_raster(make(tmp_path / "a.tif", count=1)).isel(x=slice(5, None))
    with pytest.warns(CoregWarning, match="RPCs count the pixels of the whole"):
        out = write_raster(image, tmp_path / "b.tif")
    assert rasterio.open(out).rpcs is None


def test_what_is_carried_along_is_plain_json(tmp_path):
    image = open_raster(make_classes(tmp_path / "a.tif"))
    assert json.loads(json.dumps(image.encoding["gdal"]))["count"] == 1


# --- control points --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio
@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_control_points_survive_in_every_format(tmp_path, name, options):
    corners = [(0, 0), (0, 20), (30, 0), (30, 20)]
    gcps = [GroundControlPoint(row, col, 3e5 + 10 * col, 5.9e6 - 10 * row) for row, col in corners]
    profile = {"driver": "GTiff", "width": 20, "height": 30, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", **profile, gcps=gcps, crs="EPSG:32633") as file:
        file.write(np.ones((1, 30, 20), "uint8"))
    with rasterio.open(write_raster(open_raster(tmp_path / "a.tif"), tmp_path / name, **options)) as file:
        assert [(one.row, one.col, one.x, one.y) for one in file.gcps[0]] == [(g.row, g.col, g.x, g.y) for g in gcps]
        assert file.gcps[1] == "EPSG:32633"


@pytest.mark.parametrize("name", ["b.tif", "b.png"])
def test_no_name_of_a_tag_is_in_the_way(tmp_path, name):
    image = open_raster(make(tmp_path / "a.tif", count=1)).assign_attrs(ns="north-south", bidx="4")
    with rasterio.open(write_raster(image, tmp_path / name)) as file:
        assert (file.tags()["ns"], file.tags()["bidx"]) == ("north-south", "4")
