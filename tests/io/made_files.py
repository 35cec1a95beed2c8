"""Small files in the peculiarities that public test suites of rasters have: FILES is a table of one line a file."""
# ruff: noqa: E501

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

ROWS, COLS, UTM = 40, 48, "EPSG:32633"
GRID = Affine(10, 0, 300000, 0, -10, 5900040)
DEGREES = Affine(0.01, 0, 12, 0, -0.01, 53)
HOLE = np.s_[8:20, 10:30]
PALETTE = {0: (0, 0, 0, 255), 1: (0, 90, 0, 255), 5: (200, 0, 0, 255)}
CLEAR = {0: (9, 9, 9, 255), 1: (0, 90, 0, 100), 5: (200, 0, 0, 50)}
POINTS = [GroundControlPoint(r, c, *(GRID @ (c, r)), 0.0) for r, c in ((0, 0), (0, COLS), (ROWS, COLS), (ROWS, 0))]
UNIT = [1.0] + [0.0] * 19
RPCS = RPC(
    height_off=0.0, height_scale=500.0, lat_off=53.19, lat_scale=0.02, line_off=20.0, line_scale=20.0, long_off=12.03,
    long_scale=0.03, samp_off=24.0, samp_scale=24.0, line_num_coeff=[0.0, 0.0, -1.0] + [0.0] * 17, line_den_coeff=UNIT,
    samp_num_coeff=[0.0, 1.0] + [0.0] * 18, samp_den_coeff=UNIT, err_bias=0.0, err_rand=0.0,
)  # fmt: skip
RPC_TEXT = "".join(
    f"{key}: {value}\n"
    for name, values in RPCS.to_gdal().items()
    for key, value in ([(name, values)] if "COEFF" not in name else [(f"{name}_{n}", one) for n, one in enumerate(values.split(), 1)])
)  # fmt: skip
TABLE = (
    '<GDALRasterAttributeTable tableType="thematic"><FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage>'
    '</FieldDefn><FieldDefn index="1"><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn><Row index="0"><F>1</F>'
    '<F>forest</F></Row><Row index="1"><F>5</F><F>town</F></Row></GDALRasterAttributeTable>'
)
NAMES = "<CategoryNames><Category>none</Category><Category>forest</Category></CategoryNames>"
HISTOGRAM = (
    "<Histograms><HistItem><HistMin>-0.5</HistMin><HistMax>255.5</HistMax><BucketCount>4</BucketCount>"
    "<IncludeOutOfRange>0</IncludeOutOfRange><Approximate>0</Approximate><HistCounts>1|2|3|4</HistCounts></HistItem>"
    "</Histograms>"
)
HEADER = (
    f"ENVI\ndescription = {{Field of maize}}\nsamples = {COLS}\nlines = {ROWS}\nbands = 2\nheader offset = 0\n"
    "interleave = bsq\nmap info = {UTM, 1, 1, 300000, 5900040, 10, 10, 33, North, WGS-84, units=Meters}\n"
)
LISTS = "wavelength units = Nanometers\nwavelength = {665.5, 842.5}\nfwhm = {30.1, 115.2}\nbbl = {1, 0}\n"


def pixels(dtype="uint16", count=1, low=40, high=240):
    """Smooth, textured values (count, rows, columns) that differ between bands."""
    rng = np.random.default_rng(11)
    row, col = np.mgrid[:ROWS, :COLS]
    base = (low + high) / 2 + (high - low) / 3 * np.sin(row / 7.0) * np.cos(col / 9.0) + rng.normal(0, 1, (ROWS, COLS))
    return np.stack([np.clip(base + band, low, high) for band in range(count)]).astype(dtype)


def with_hole(data, marker):
    """Pixels with a region without data."""
    data = data.copy()
    data[:, HOLE[0], HOLE[1]] = marker
    return data


def classes(*values):
    """Two classes in a pattern of squares, as bytes (1, rows, columns)."""
    row, col = np.mgrid[:ROWS, :COLS]
    return np.where((row // 8 + col // 8) % 2, *values).astype("uint8")[None]


def mask():
    """Mask of the file: False in the hole."""
    good = np.ones((ROWS, COLS), bool)
    good[HOLE] = False
    return good


def alpha(count):
    """Bands of bytes, the last of them alpha."""
    return np.concatenate([pixels("uint8", count), mask()[None].astype("uint8") * 255])


def raster(
    suffix=".tif",
    data=None,
    *,
    driver="GTiff",
    says=(),
    tags=(),
    masked="",
    levels=(),
    colours=None,
    beside=(),
    **profile,
):
    """Describe a file: pixels, attributes of its dataset, tags (band, namespace, tags), mask, overviews, side files."""

    def make(folder):
        path, values = folder / f"in{suffix}", pixels() if data is None else data
        known = {"crs": UTM, "transform": GRID} | profile
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=masked == "inside"), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            shape = {"height": values.shape[1], "width": values.shape[2], "count": len(values), "dtype": values.dtype}
            with rasterio.open(
                path, "w", driver=driver, **(shape | {k: v for k, v in known.items() if v is not None})
            ) as file:
                _describe(file, says, tags, colours)
                file.write(values)
                if masked:
                    file.write_mask(mask())
            if levels:
                with rasterio.open(path, "r+") as file:
                    file.build_overviews(levels, Resampling.nearest)
        for end, text in dict(beside).items():
            (path.with_name(f"{path.name}{end[1:]}") if end.startswith("+") else path.with_name(f"in{end}")).write_text(
                text
            )
        return path

    return make


def _describe(file, says, tags, colours):
    for name, value in dict(says).items():
        setattr(file, name, value)
    for band, space, values in tags:
        file.update_tags(band, **({"ns": space} if space else {}), **values)
    if colours:
        file.write_colormap(1, colours)


def envi(fields="", *, dtype="<u2", code=12, order=0, interleave="bsq", suffix=None):
    """Two bands with an ENVI header."""

    def make(folder):
        data, path = pixels(dtype, 2), folder / f"in.{suffix or interleave}"
        axes = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
        data.transpose(axes).astype(dtype).tofile(path)
        text = HEADER.replace("= bsq", f"= {interleave}") + f"data type = {code}\nbyte order = {order}\n{fields}"
        path.with_suffix(".hdr").write_text(text)
        return path

    return make


def vrt(head="", band="", *, mask_band=False, sources=1, place=True, holes=False):
    """A virtual file over GeoTIFFs: XML of the dataset, and of each of its bands."""

    def make(folder):
        path, parts = folder / "in.vrt", ""
        for number in range(1, sources + 1):
            name = (
                raster(data=with_hole(pixels(), number) if holes else None)(folder)
                .rename(folder / f"band{number}.tif")
                .name
            )
            inner = f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
            parts += f'<VRTRasterBand dataType="UInt16" band="{number}">{band.format(number)}{inner}</VRTRasterBand>'
        if mask_band:
            raster(data=mask()[None].astype("uint8") * 255)(folder).rename(folder / "mask.tif")
            parts += (
                '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">mask.tif'
                "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
            )
        where = f"<SRS>{UTM}</SRS><GeoTransform>300000,10,0,5900040,0,-10</GeoTransform>" if place else ""
        path.write_text(f'<VRTDataset rasterXSize="{COLS}" rasterYSize="{ROWS}">{where}{head}{parts}</VRTDataset>')
        return path

    return make


def axes(transform=GRID, *, rising=False, names=("y", "x")):
    """Coordinates of the pixel centres, by name."""
    x, y = transform.c + transform.a * (np.arange(COLS) + 0.5), transform.f + transform.e * (np.arange(ROWS) + 0.5)
    return {names[0]: y[::-1] if rising else y, names[1]: x}


def cf(data=None, *, grid=UTM, transform=GRID, rising=False, names=("y", "x"), attrs=(), x_units="m", suffix=".nc",
       mapping="crs", mapped=True, coordinates=(), **writing):  # fmt: skip
    """One variable with CF coordinates and a grid mapping, as NetCDF or Zarr."""

    def make(folder):
        path, values = folder / f"in{suffix}", pixels()[0] if data is None else data
        image = xr.DataArray(values, axes(transform, rising=rising, names=names), names, attrs=dict(attrs))
        lonlat = x_units.startswith("degrees")
        for name, standard in zip(
            names,
            ("latitude", "longitude") if lonlat else ("projection_y_coordinate", "projection_x_coordinate"),
            strict=True,
        ):
            units = {"degrees": f"degrees_{'north' if standard == 'latitude' else 'east'}"}.get(x_units, x_units)
            image[name].attrs |= {"standard_name": standard, "units": units}
        found = image.to_dataset(name="band_data").assign_coords(dict(coordinates))
        if grid:
            found[mapping] = xr.Variable((), 0, CRS.from_user_input(grid).to_cf())
            if mapped:
                found["band_data"].attrs["grid_mapping"] = mapping
        found.attrs = {"Conventions": "CF-1.8", "title": "Maize"}
        options = {"band_data": {"_FillValue": None} | writing.get("encoding", {})}
        if suffix == ".zarr":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.to_zarr(
                    path,
                    encoding={"band_data": writing.get("encoding", {})},
                    zarr_format=writing.get("version", 2),
                    consolidated=True,
                )
        else:
            found.to_netcdf(path, group=writing.get("group"), encoding=options)
        return path

    return make


def copied(suffix, driver, made, **options):
    """A file that a driver makes of another one."""

    def make(folder):
        inner = folder / "source"
        inner.mkdir()
        source = made(inner)
        rasterio.shutil.copy(source, folder / f"in{suffix}", driver=driver, strict=False, **options)
        shutil.rmtree(inner)
        return folder / f"in{suffix}"

    return make


ROTATED = Affine(9.8, 1.7, 300000, 1.7, -9.8, 5900040)
GEOS = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84 +units=m"
POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +to_meter=0.0174532925199433 +type=crs"
WORLD = {".wld": "10\n0\n0\n-10\n300005\n5900035\n"}
PAM_CRS = f"<PAMDataset><SRS>{CRS(UTM).to_wkt('WKT1_GDAL').replace('&', '')}</SRS></PAMDataset>"
XMP = (
    '<PAMDataset><Metadata domain="xml:XMP" format="xml"><x:xmpmeta xmlns:x="adobe:ns:meta/" x:a="1">Ü &amp; b</x:xmpmeta>'
    "</Metadata></PAMDataset>"
)
TFW = "10\n0\n0\n-10\n300005\n5900035\n"
RGB = {"says": {"colorinterp": [ColorInterp.red, ColorInterp.green, ColorInterp.blue]}}
BYTE3, HEIGHTS = pixels("uint8", 3), pixels("int16")


def pam(text):
    """Side file of GDAL about band 1."""
    return {"+.aux.xml": f'<PAMDataset><PAMRasterBand band="1">{text}</PAMRasterBand></PAMDataset>'}


FILES = {
    # values, dtypes and bits
    "uint8": raster(data=BYTE3[:1]),
    "int8": raster(data=pixels("int8", low=-90, high=90), nodata=-128),
    "int16 with nodata": raster(data=with_hole(HEIGHTS, -32768), nodata=-32768),
    "uint16 with nodata": raster(data=with_hole(pixels(), 0), nodata=0),
    "uint32": raster(data=pixels("uint32", high=4e9)),
    "int64": raster(data=with_hole(pixels("int64"), -(2**63)), nodata=-(2**63)),
    "uint64": raster(data=with_hole(pixels("uint64"), 0), nodata=0),
    "float32, NaN": raster(data=with_hole(pixels("float32"), np.nan), nodata=np.nan),
    "float64, -9999": raster(data=with_hole(pixels("float64"), -9999), nodata=-9999),
    "float32, lowest": raster(data=with_hole(pixels("float32"), np.finfo("f4").min), nodata=float(np.finfo("f4").min)),
    "float16": raster(data=pixels("float32"), nbits=16),
    "complex64": raster(data=pixels("complex64") * np.complex64(1 + 2j)),
    "complex int16": raster(data=pixels("complex64"), dtype="complex_int16"),
    "1 bit": raster(data=classes(0, 1), nbits=1),
    "2 bits": raster(data=classes(1, 3), nbits=2),
    "4 bits": raster(data=classes(1, 5), nbits=4),
    "12 bits": raster(nbits=12),
    # layout of TIFF
    "tiled": raster(tiled=True, blockxsize=16, blockysize=16, compress="lzw", predictor=2),
    "strips": raster(blockysize=3, compress="packbits"),
    "one strip": raster(blockysize=ROWS),
    "planes apart": raster(data=pixels(count=3), interleave="band", compress="deflate"),
    "pixel by pixel": raster(data=pixels(count=3), interleave="pixel"),
    "big endian": raster(endianness="big"),
    "BigTIFF": raster(bigtiff="yes"),
    "zstd": raster(compress="zstd"),
    "LERC": raster(data=pixels("float32"), compress="lerc"),
    "sparse": raster(sparse_ok=True),
    "COG": copied(".tif", "COG", raster(), blocksize="512"),
    "COG with mask": copied(".tif", "COG", raster(masked="inside")),
    "JPEG in TIFF with mask": raster(data=BYTE3, compress="jpeg", masked="inside"),
    "YCbCr": raster(data=BYTE3, compress="jpeg", photometric="ycbcr"),
    "CMYK": raster(data=pixels("uint8", 4), photometric="cmyk"),
    "min is white": raster(data=BYTE3[:1], photometric="miniswhite"),
    "point": raster(tags=[(0, "", {"AREA_OR_POINT": "Point"})]),
    "overviews": raster(levels=[2, 4]),
    "overviews beside": copied(".tif", "GTiff", raster(), copy_src_overviews="no"),
    # masks
    "mask inside": raster(masked="inside"),
    "mask beside": raster(masked="beside"),
    "mask beside, bytes": raster(data=BYTE3, masked="beside"),
    "overviews with masks": raster(masked="inside", levels=[2, 4]),
    "alpha": raster(data=alpha(3), photometric="rgb", alpha="non-premultiplied"),
    "alpha of gray": raster(data=alpha(1), alpha="non-premultiplied"),
    "alpha, premultiplied": raster(data=alpha(3), photometric="rgb", alpha="premultiplied"),
    "NODATA_VALUES": raster(data=with_hole(BYTE3, 0), tags=[(0, "", {"NODATA_VALUES": "0 0 0"})]),
    "VRT": vrt(),
    "VRT, nodata per band": vrt(band="<NoDataValue>{0}</NoDataValue>", sources=2),
    "VRT, nodata and hole per band": vrt(band="<NoDataValue>{0}</NoDataValue>", sources=2, holes=True),
    "VRT, mask band": vrt(mask_band=True),
    "VRT, description and units": vrt(band="<Description>b{0}</Description><UnitType>W</UnitType>", sources=2),
    "VRT, scale": vrt(band="<Offset>-{0}</Offset><Scale>0.{0}</Scale>", sources=2),
    "VRT, tags": vrt(
        head="<Metadata><MDI key='WHO'>me</MDI></Metadata><Metadata domain='D'><MDI key='A'>1</MDI></Metadata>"
    ),
    "VRT, names of classes": vrt(band=NAMES),
    "VRT, table": vrt(band=TABLE),
    "VRT, histogram": vrt(band=HISTOGRAM),
    # colours and classes
    "palette": raster(data=classes(1, 5), colours=PALETTE),
    "palette with nodata": raster(data=classes(0, 5), colours=PALETTE, nodata=0),
    "palette, PNG": raster(".png", classes(1, 5), driver="PNG", colours=PALETTE, beside=WORLD),
    "palette, transparent": raster(".png", classes(1, 5), driver="PNG", colours=CLEAR, beside=WORLD),
    "RGB": raster(data=BYTE3, photometric="rgb"),
    "BGR": raster(data=BYTE3, says={"colorinterp": [ColorInterp.blue, ColorInterp.green, ColorInterp.red]}),
    "names of classes": raster(data=classes(0, 1), beside=pam(NAMES)),
    "attribute table": raster(data=classes(1, 5), beside=pam(TABLE)),
    "histogram": raster(data=BYTE3[:1], beside=pam(HISTOGRAM)),
    "statistics": raster(tags=[(1, "", {"STATISTICS_MINIMUM": "40", "STATISTICS_MAXIMUM": "240"})]),
    # what a file and its bands say
    "scale and offset per band": raster(data=pixels(count=2), says={"scales": (0.5, 0.25), "offsets": (1.0, 2.0)}),
    "names and units": raster(data=pixels(count=2), says={"descriptions": ("red", "nir"), "units": ("W", "K")}),
    "names beyond ASCII": raster(
        says={"descriptions": ("Höhe 高さ",)}, tags=[(0, "", {"Ort": "Zürich", "Größe": "µm"})]
    ),
    "empty tag": raster(tags=[(0, "", {"EMPTY": "", "FULL": "x"})]),
    "tags with signs": raster(tags=[(0, "", {"A": "<a & 'b'>", "B": 'say "b"\nand c'})]),
    "namespaces": raster(tags=[(0, "SENSOR", {"NAME": "MSI"}), (1, "IMAGERY", {"CENTRAL_WAVELENGTH_UM": "0.665"})]),
    "tags of bands": raster(
        data=pixels(count=2), tags=[(1, "", {"wavelength": "665"}), (2, "", {"wavelength": "842"})]
    ),
    "TIFF tags": raster(tags=[(0, "", {"TIFFTAG_SOFTWARE": "s", "TIFFTAG_DATETIME": "2024:05:01 10:00:00"})]),
    "resolution": raster(
        tags=[
            (
                0,
                "",
                {
                    "TIFFTAG_XRESOLUTION": "300",
                    "TIFFTAG_YRESOLUTION": "300",
                    "TIFFTAG_RESOLUTIONUNIT": "2 (pixels/inch)",
                },
            )
        ]
    ),
    "XML in a namespace": raster(beside={"+.aux.xml": XMP}),
    "EXIF": raster(".jpg", BYTE3, driver="JPEG", quality=100, beside=WORLD),
    # where it lies
    "rotated": raster(transform=ROTATED),
    "south up": raster(transform=Affine(10, 0, 300000, 0, 10, 5899640)),
    "mirrored": raster(transform=Affine(-10, 0, 300480, 0, -10, 5900040)),
    "oblong pixels": raster(transform=Affine(10, 0, 300000, 0, -25, 5900040)),
    "degrees": raster(crs="EPSG:4326", transform=DEGREES),
    "0 to 360": raster(crs="EPSG:4326", transform=Affine(0.01, 0, 348, 0, -0.01, 53)),
    "compound CRS": raster(data=HEIGHTS, crs="EPSG:32633+5773"),
    "vertical CRS": raster(crs="EPSG:32633+5773"),
    "3-D geographic": raster(data=HEIGHTS, crs="EPSG:4979", transform=DEGREES),
    "feet": raster(crs="EPSG:2263", transform=Affine(30, 0, 980000, 0, -30, 200000)),
    "geostationary": raster(crs=GEOS, transform=Affine(3000, 0, 60000, 0, -3000, 4500000)),
    "polar": raster(crs="EPSG:3031", transform=Affine(500, 0, -20000, 0, -500, 900000)),
    "local CRS": raster(crs='LOCAL_CS["site",UNIT["metre",1]]'),
    "control points": raster(crs=None, transform=None, says={"gcps": (POINTS, rasterio.CRS.from_string(UTM))}),
    "RPCs": raster(says={"rpcs": RPCS}),
    "RPCs alone": raster(crs=None, transform=None, says={"rpcs": RPCS}),
    "RPCs beside": raster(beside={"_RPC.TXT": RPC_TEXT}),
    "no georeference": raster(crs=None, transform=None),
    "CRS alone": raster(transform=None),
    "transform alone": raster(crs=None),
    ".prj and .tfw": raster(crs=None, transform=None, beside={".prj": CRS(UTM).to_wkt("WKT1_ESRI"), ".tfw": TFW}),
    "CRS in .aux.xml": raster(crs=None, beside={"+.aux.xml": PAM_CRS}),
    "VRT, control points": vrt(
        place=False,
        head=f'<GCPList Projection="{UTM}">'
        + "".join(f'<GCP Id="{p.row}" Pixel="{p.col}" Line="{p.row}" X="{p.x}" Y="{p.y}"/>' for p in POINTS)
        + "</GCPList>",
    ),
    # formats beside TIFF
    "ENVI, bsq": envi(LISTS + "data ignore value = 0\nband names = {red, nir}\n"),
    "ENVI, bil": envi(LISTS, interleave="bil"),
    "ENVI, bip": envi(LISTS, interleave="bip"),
    "ENVI, big endian": envi(dtype=">u2", order=1),
    "ENVI, float": envi(dtype="<f4", code=4),
    "ENVI, fields": envi(
        "sensor type = AVIRIS\nacquisition time = 2024-05-01T10:00:00Z\nreflectance scale factor = 10000\n"
    ),
    "PNG, 16 bits": raster(".png", driver="PNG", beside=WORLD),
    "PNG with alpha": raster(".png", alpha(3), driver="PNG", beside=WORLD),
    "JP2": raster(".jp2", driver="JP2OpenJPEG", quality=100, reversible="YES"),
    "JP2 with world file": raster(
        ".jp2",
        driver="JP2OpenJPEG",
        quality=100,
        reversible="YES",
        crs=None,
        transform=None,
        beside={".j2w": TFW, "+.aux.xml": PAM_CRS},
    ),
    "AAIGrid": raster(".asc", HEIGHTS.astype("int32"), driver="AAIGrid", nodata=-9999),
    "SAGA": raster(".sdat", pixels("float32"), driver="SAGA", nodata=-99999),
    "Surfer": raster(".grd", pixels("float64"), driver="GS7BG", nodata=None),
    "Erdas": raster(".img", pixels(count=2), driver="HFA", says={"descriptions": ("red", "nir")}, nodata=0),
    "ERS": raster(".ers", driver="ERS", nodata=0),
    "EHdr": raster(".bil", driver="EHdr"),
    "Idrisi": raster(".rst", pixels("float32"), driver="RST"),
    "PCIDSK": raster(".pix", pixels("uint16", 2), driver="PCIDSK"),
    "RRASTER": raster(".grd", pixels("float32"), driver="RRASTER", nodata=-9999),
    "MRF": raster(".mrf", driver="MRF"),
    "KRO": raster(".kro", pixels("uint16", 3), driver="KRO"),
    "BT": raster(".bt", HEIGHTS, driver="BT"),
    "GTX": raster(".gtx", pixels("float32"), driver="GTX", crs="EPSG:4326", transform=DEGREES),
    "BMP": raster(".bmp", BYTE3[:1], driver="BMP", beside=WORLD),
    "GIF": raster(".gif", classes(1, 5), driver="GIF", beside=WORLD),
    "NITF": raster(".ntf", driver="NITF", crs="EPSG:4326", transform=DEGREES, icords="G"),
    "GRIB": copied(".grb2", "GRIB", raster(data=pixels("float64"), crs="EPSG:4326", transform=DEGREES)),
    # NetCDF and Zarr by CF
    "CF": cf(),
    "CF, scaled": cf(pixels("int16")[0], attrs={"scale_factor": 1e-4, "add_offset": -0.1, "units": "1"}),
    "CF, _FillValue": cf(with_hole(pixels("int16"), -1)[0], encoding={"_FillValue": np.int16(-1)}),
    "CF, missing_value": cf(with_hole(pixels("int16"), -1)[0], attrs={"missing_value": np.int16(-1)}),
    "CF, valid_range": cf(attrs={"valid_range": np.array([50, 230], "u2")}),
    "CF, valid_min": cf(attrs={"valid_min": np.uint16(50), "valid_max": np.uint16(230)}),
    "CF, flags": cf(classes(1, 5)[0], attrs={"flag_values": np.array([1, 5], "u1"), "flag_meanings": "forest town"}),
    "CF, rising y": cf(rising=True),
    "CF, degrees": cf(grid="EPSG:4326", transform=DEGREES, names=("lat", "lon"), x_units="degrees"),
    "CF, degrees, rising": cf(
        grid="EPSG:4326", transform=DEGREES, names=("lat", "lon"), x_units="degrees", rising=True
    ),
    "CF, 0 to 360": cf(
        grid="EPSG:4326", transform=Affine(0.01, 0, 348, 0, -0.01, 53), names=("lat", "lon"), x_units="degrees"
    ),
    "CF, no grid mapping": cf(grid=None, transform=DEGREES, names=("lat", "lon"), x_units="degrees"),
    "CF, grid mapping that nobody names": cf(mapped=False, mapping="spatial_ref"),
    "CF, transverse_mercator": cf(mapping="transverse_mercator"),
    "CF, kilometres": cf(transform=Affine(0.01, 0, 300, 0, -0.01, 5900.04), x_units="km"),
    "CF, geostationary": cf(grid=GEOS, transform=Affine(3000, 0, 60000, 0, -3000, 4500000)),
    "CF, rotated pole": cf(
        grid=POLE, transform=Affine(0.1, 0, -5, 0, -0.1, 3), names=("rlat", "rlon"), x_units="degree"
    ),
    "CF, scalar time": cf(coordinates={"time": np.datetime64("2024-05-01", "ns")}),
    "CF, group": cf(group="inner"),
    "CF, int64": cf(pixels("int64")[0]),
    "CF, float64": cf(with_hole(pixels("float64"), np.nan)[0], encoding={"_FillValue": np.nan}),
    "Zarr 2": cf(suffix=".zarr"),
    "Zarr 3": cf(suffix=".zarr", version=3),
    "Zarr, scaled": cf(
        pixels("int16")[0], suffix=".zarr", attrs={"scale_factor": 1e-4, "add_offset": -0.1, "units": "1"}
    ),
    "Zarr, fill": cf(with_hole(pixels("int16"), -1)[0], suffix=".zarr", attrs={"_FillValue": -1}),
}


def geolocated(folder):
    """NetCDF with lon and lat of each pixel."""
    at = axes()
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(*np.meshgrid(at["x"], at["y"]))
    places = {name: (("y", "x"), one, {"units": f"degrees_{end}", "standard_name": word})
              for name, one, end, word in (("lon", lon, "east", "longitude"), ("lat", lat, "north", "latitude"))}  # fmt: skip
    image = xr.DataArray(pixels()[0], dims=("y", "x"), attrs={"coordinates": "lon lat"}, name="band_data")
    xr.Dataset({"band_data": image, **places}).to_netcdf(folder / "in.nc")
    return folder / "in.nc"


def with_times(folder):
    """NetCDF with two times."""
    found = xr.DataArray(
        pixels(count=2), axes() | {"time": np.array(["2024-05-01", "2024-06-01"], "M8[ns]")}, ("time", "y", "x")
    )
    found.rio.write_crs(UTM).to_dataset(name="band_data").to_netcdf(folder / "in.nc")
    return folder / "in.nc"


FILES |= {"geolocation arrays": geolocated, "time axis": with_times}


SIDE = 1201  # px of an SRTM tile, whose name says where it lies


def srtm(folder):
    """Tile of heights N53E012.hgt, big-endian without a header."""
    row, col = np.mgrid[:SIDE, :SIDE]
    (200 + 50 * np.sin(row / 37) * np.cos(col / 41)).astype(">i2").tofile(folder / "N53E012.hgt")
    return folder / "N53E012.hgt"


def pages(folder):
    """GeoTIFF of two pages."""
    for page in ("NO", "YES"):
        data = pixels(count=2)[int(page == "YES")]
        with rasterio.open(folder / "in.tif", "w", driver="GTiff", height=ROWS, width=COLS, count=1, dtype="uint16",
                           crs=UTM, transform=GRID, append_subdataset=page) as file:  # fmt: skip
            file.write(data, 1)
    return folder / "in.tif"


def several_variables(folder):
    """NetCDF of two variables with attributes of their own on one grid."""
    path = cf(attrs={"units": "W", "long_name": "red"})(folder)
    with xr.open_dataset(path, mask_and_scale=False) as found:
        made = found.load()
    made["nir"] = (("y", "x"), pixels("int16", 2)[1], {"units": "K", "scale_factor": 0.5, "grid_mapping": "crs"})
    made.to_netcdf(folder / "two.nc")
    return folder / "two.nc"


RPB = "".join(
    f"\t{name} = {value};\n"
    for name, value in (
        ("errBias", 0.0), ("errRand", 0.0), ("lineOffset", 20), ("sampOffset", 24), ("latOffset", 53.19),
        ("longOffset", 12.03), ("heightOffset", 0), ("lineScale", 20), ("sampScale", 24), ("latScale", 0.02),
        ("longScale", 0.03), ("heightScale", 500),
    )
) + "".join(
    f"\t{name} = (\n" + ",\n".join(f"\t\t\t{value:.6E}" for value in values) + ");\n"
    for name, values in (
        ("lineNumCoef", RPCS.line_num_coeff), ("lineDenCoef", UNIT), ("sampNumCoef", RPCS.samp_num_coeff),
        ("sampDenCoef", UNIT),
    )
)  # fmt: skip
IMD = (
    'version = "R";\nBEGIN_GROUP = IMAGE_1\n\tsatId = "WV02";\n\tcloudCover = 0.1;\n'
    "\tfirstLineTime = 2024-05-01T10:00:00.000000Z;\nEND_GROUP = IMAGE_1\nEND;\n"
)
RPB = f'satId = "WV02";\nbandId = "P";\nSpecId = "RPC00B";\nBEGIN_GROUP = IMAGE\n{RPB}END_GROUP = IMAGE\nEND;\n'
FILES |= {
    "SRTM": srtm,
    "pages": pages,
    "RPB beside": raster(beside={".RPB": RPB}),
    "IMD beside": raster(beside={".IMD": IMD, ".RPB": RPB}),
}


def bare_array(**attrs):
    """Pixels without coordinates."""
    return xr.DataArray(pixels()[0], dims=("y", "x"), name="nir", attrs=attrs)


def with_raster_index(_):
    """Array whose georeference is an index of rasterix."""
    rasterix = pytest.importorskip("rasterix")
    index = rasterix.RasterIndex.from_transform(GRID, width=COLS, height=ROWS, crs=UTM)
    return bare_array().assign_coords(xr.Coordinates.from_xindex(index))


def with_crs_index(_):
    """Array with coordinates, whose CRS is an index of xproj."""
    xproj = pytest.importorskip("xproj")
    return bare_array().assign_coords(axes() | {"spatial_ref": 0}).set_xindex(["spatial_ref"], xproj.CRSIndex, crs=UTM)


ARRAYS = {
    "rasterix": with_raster_index,
    "xproj": with_crs_index,
    "array, attributes": lambda _: bare_array(crs=UTM, transform=tuple(GRID)[:6]),
}
