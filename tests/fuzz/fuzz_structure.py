"""Mutators that know what they damage: entries of TIFFs, sidecars, paths, cells of tables, branches, blocks."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

_TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 282, 317, 322, 323, 324, 330, 338, 339, 33550, 33922, 34264)
_TAGS += (34735, 34736, 34737, 42112, 42113, 50844, 65000)
_SIZES = {3: 2, 4: 4, 12: 8}


def tiff_of(rng: random.Random, data: bytes) -> bytes:
    """Change tags, types, counts, offsets and values of the first directory of a TIFF."""
    out = bytearray(data)
    end = "<" if out[:2] == b"II" else ">"
    start = struct.unpack_from(end + "I", out, 4)[0]
    n = struct.unpack_from(end + "H", out, start)[0]
    for _ in range(rng.choice([1, 1, 2, 3])):
        at, kind = start + 2 + 12 * rng.randrange(n), rng.randrange(7)
        tag, typ, count, value = struct.unpack_from(end + "HHII", out, at)
        if kind == 0:
            typ = rng.choice([0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 18, 99])
        elif kind == 1:
            count = rng.choice([0, 1, 2, count + 1, count * 2, 2**16, 2**31, 2**32 - 1])
        elif kind == 2:
            odd = [0, 1, 2, 3, 8, start, len(out) - 1, len(out) + 1000, 2**31, 2**32 - 1, 65535]
            value = rng.choice([*odd, value ^ (1 << rng.randrange(32))])
        elif kind == 3:
            tag = rng.choice(_TAGS)
        elif kind == 4:
            struct.pack_into(end + "I", out, start + 2 + 12 * n, rng.choice([start, 8, at, len(out), len(out) - 4, 1]))
        elif kind == 5:
            struct.pack_into(end + "H", out, start, rng.choice([0, 1, n - 1, n + 1, 65535]))
        elif count > 1 and value + count * 2 < len(out):
            place = value + rng.randrange(count) * _SIZES.get(typ, 1)
            odd = [np.nan, np.inf, 1e308, -1e-300, 1e15]
            new = rng.choice(
                [b"\xff" * 8, b"\0" * 8, struct.pack(end + "d", rng.choice(odd)), struct.pack("<Q", 2**63)]
            )
            out[place : place + len(new)] = new
        struct.pack_into(end + "HHII", out, at, tag & 65535, typ, count & 0xFFFFFFFF, value & 0xFFFFFFFF)
    return bytes(out)


_ZERO = "".join(f"<MDI key='{name}_{part}'>0</MDI>" for name in ("LINE", "SAMP") for part in ("OFF", "SCALE"))
_ZERO += "".join(f"<MDI key='{name}_{part}'>0</MDI>" for name in ("LAT", "LONG", "HEIGHT") for part in ("OFF", "SCALE"))
_ZERO += "".join(
    f"<MDI key='{name}_{part}_COEFF'>{'0 ' * 20}</MDI>" for name in ("LINE", "SAMP") for part in ("NUM", "DEN")
)
_GEO = "<MDI key='X_DATASET'>no.tif</MDI><MDI key='Y_DATASET'>no.tif</MDI>"
_PAM = [
    "<SRS>junk</SRS><GeoTransform>1,2,3</GeoTransform>", "<GeoTransform>nan,nan,nan,nan,nan,nan</GeoTransform>",
    "<GeoTransform>300000,1e-300,0,0,0,0</GeoTransform>",
    "<Metadata domain='RPC'><MDI key='LINE_OFF'>x</MDI></Metadata>",
    "<PAMRasterBand band='1'><NoDataValue>junk</NoDataValue><Scale>x</Scale><Offset>1e999</Offset></PAMRasterBand>",
    "<PAMRasterBand band='99'><Description>é\x01</Description></PAMRasterBand>",
    f"<Metadata domain='RPC'>{_ZERO}</Metadata>", f"<Metadata domain='GEOLOCATION'>{_GEO}</Metadata>",
    "<GCPList Projection='EPSG:4326'>" + "<GCP Id='a' Pixel='0' Line='0' X='1' Y='1'/>" * 5 + "</GCPList>",
    "<Histograms><HistItem><HistMin>x</HistMin></HistItem></Histograms>",
    "<PAMRasterBand band='1'><ColorTable><Entry c1='x'/></ColorTable></PAMRasterBand>",
]  # fmt: skip
_TEXTS = ["", "0\n0\n0\n0\n0\n0", "nan\n" * 6, "1e400\n" * 6, "é", "PROJCS[", "x" * 9999, "10\n0\n0\n-10\n5"]
_SIDES = [".tfw", ".prj", ".hdr", ".rpb", "_RPC.TXT", ".imd", ".tif.msk", ".tif.ovr"]


def add_sidecars(rng: random.Random, path: Path) -> None:
    """Put damaged sidecars beside an image."""
    if rng.random() < 0.4:
        text = rng.choice(["<", "", "<!DOCTYPE a [<!ENTITY x 'y'>]><PAMDataset>&x;</PAMDataset>", *_PAM, *_PAM])
        text = f"<PAMDataset>{text}</PAMDataset>" if text in _PAM else text
        Path(f"{path}.aux.xml").write_text(text, encoding="utf-8")
    if rng.random() < 0.3:
        path.with_name(path.stem + rng.choice(_SIDES)).write_text(rng.choice(_TEXTS), encoding="utf-8")


def path_of(rng: random.Random, path: Path) -> str:
    """Path that GDAL takes for a part, a copy or another kind of file."""
    part, outside = rng.choice([0, 1, 2, 99, -1]), rng.choice(["0,0", "10%,10%", "1e9,1e9", "-1"])
    ways = [
        "GTIFF_DIR:{part}:{path}", "/vsisubfile/8_100,{path}", "/vsigzip/{path}", "/vsizip/{path}", "/vsitar/{path}/x",
        "vrt://{path}?bands={part}", "vrt://{path}?outsize={outside}", "{path}?x", "file://{path}", "GTIFF_RAW:{path}",
        "/vsicrypt/{path}", "/vsimem/none.tif", "DERIVED_SUBDATASET:LOGAMPLITUDE:{path}", "vrt://{path}?expand=rgba",
        "vrt://{path}?scale=true&a_nodata=nan", "vrt://{path}?a_srs=junk", "vrt://{path}?projwin=0,0,0,0",
    ]  # fmt: skip
    return rng.choice(ways).format(part=part, path=path, outside=outside)


_CELLS = ["", "nan", "-inf", "1e999", "1,5", '"1,5"', "0x10", "1_0", "١", "1e5e5", "None", "TRUE", "'1", "=1", "1 2"]
_CELLS += ["−1", "1e-400", "12°30'N", "9" * 400]
_CODECS = ["utf8", "utf-8-sig", "utf-16", "latin1", "utf-16-be", "utf-32", "cp037"]


def table_of(rng: random.Random, text: str) -> bytes:
    """Change headers, cells, rows, separators, line ends and the encoding of a CSV table."""
    rows = [line.split(",") for line in text.strip().split("\n")]
    for _ in range(rng.choice([1, 1, 2])):
        kind, at = rng.randrange(10), rng.randrange(len(rows))
        row = rows[at] or [""]
        if kind == 0:
            row[rng.randrange(len(row))] = rng.choice(_CELLS)
        elif kind == 1:
            rows[0] = [rng.choice(["", "x", "X", "Pixel", " line", "lon", "\ufeffx", "#", '"']), *rows[0][1:]]
        elif kind == 2:
            rows[at] = rng.choice([row[:-1], [*row, "9"], [*row, *["9"] * 50], ['"' + row[0], *row[1:]]])
        elif kind == 3:
            rows = rng.choice([rows * 2, rows[:1], rows[1:] or rows])
        elif kind == 4:
            rng.shuffle(rows)
        else:
            rows.insert(rng.randrange(len(rows) + 1), rng.choice([["# comment"], [""] * 4]))
    separator = rng.choice([",", ",", ",", ";", "\t", " ", "|", ", "])
    made = rng.choice(["\n", "\r\n", "\r"]).join(separator.join(row) for row in rows)
    made = made.replace(".", ",") if separator == ";" and rng.random() < 0.5 else made
    return made.encode(rng.choice(_CODECS), errors="replace") + rng.choice([b"", b"", b"\n", b"\0", b"\x1a", b"\n\n\n"])


def swapped(rng: random.Random, tree: Any) -> Any:
    """Exchange branches of a JSON tree, and give one leaf another kind."""
    if isinstance(tree, dict) and tree:
        first, second = rng.choice(list(tree)), rng.choice(list(tree))
        tree = {**tree, first: tree[second], second: tree[first]} if rng.random() < 0.3 else tree
        return {**tree, first: swapped(rng, tree[first])}
    if isinstance(tree, list) and tree:
        if rng.random() < 0.3:
            named = {str(at): one for at, one in enumerate(tree)}
            return rng.choice([tree[::-1], tree[:1], tree * 2, named, str(tree), [tree], [*tree, None], []])
        at = rng.randrange(len(tree))
        return [*tree[:at], swapped(rng, tree[at]), *tree[at + 1 :]]
    number = tree if isinstance(tree, int | float) else 1
    return rng.choice(
        [str(tree), [tree], {"v": tree}, None, not tree, float(number), -number, "", 1e300, -(2**63), "é"]
    )


_RAISED = [ValueError, KeyError, RuntimeError, OSError, ZeroDivisionError, IndexError, np.linalg.LinAlgError]
_RAISED += [AssertionError, TypeError, AttributeError, TimeoutError]


def odd_block(block: Any, kind: int, error: type[Exception]) -> Any:
    """Fail, or make a block of another shape or type than announced."""
    if block.size == 0:
        return block
    if kind == 0:
        raise error("the block cannot be made")
    made = [block[:-1], block.astype("U3"), None, block[None], np.pad(block, 2), np.ma.masked_greater(block, 2000)]
    return made[kind - 1]


def odd_blocks(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    """Image of blocks that cannot be made, or have another shape or type than announced."""
    chunked, meta = image.chunk(rng.choice([50, 64, 150])), np.empty((0,) * image.ndim, image.dtype)
    how = {"kind": rng.randrange(7), "error": rng.choice(_RAISED), "dtype": image.dtype, "meta": meta}
    return chunked.copy(data=chunked.data.map_blocks(odd_block, **how))


class _Subclass(np.ndarray):
    pass


def odd_array(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    """Image whose pixels are an array of a rare kind: masked, of records, with strides of 0, of unknown sizes."""
    values, kind = image.values, rng.randrange(7)
    if kind == 0:
        return image.copy(data=np.ma.masked_array(values, mask=values > values.mean()))
    if kind == 1:
        return image.copy(data=values.view(_Subclass))
    if kind == 2:
        return xr.DataArray(np.zeros(image.shape, [("a", "f4"), ("b", "i2")]), dims=image.dims, coords=image.coords)
    if kind == 3:
        return image.copy(data=np.broadcast_to(values[..., :1, :], image.shape))
    if kind == 4:
        return image.copy(data=values.byteswap().view(values.dtype.newbyteorder()))
    if kind == 5 and image.ndim == 2:
        data = image.chunk(64).data
        return xr.DataArray(data[data[:, 0] > -1e9], dims=image.dims)
    return image.stack(z=image.dims[-2:]) if rng.random() < 0.5 else image.transpose()


def odd_names(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    """Image with a name, coordinates or dimensions that files cannot hold."""
    kind = rng.randrange(4)
    if kind == 0:
        image = image.copy()
        image.name = rng.choice([5, ("a", "b"), "", "a/b", "..", "x" * 500, "\0", None, 1.5, "x", "y", "spatial_ref"])
        return image
    if kind == 1:
        dim = rng.choice(image.dims)
        numbers = np.arange(image.sizes[dim])
        return image.assign_coords(extra=(dim, rng.choice([numbers.astype("O"), numbers * np.timedelta64(1, "s")])))
    if kind == 2:
        times = np.array(["2024", "NaT"], "M8[ns]")
        return image.expand_dims(rng.choice([{"band": ["a", "a"]}, {"time": times}, {"band": [np.nan, 1]}, {"a": 1}]))
    dim = rng.choice(image.dims)
    dtype = rng.choice(["M8[ns]", "m8[s]", "O", "U5", "c16", "?", "f2", "u1"])
    return image.assign_coords({dim: np.arange(image.sizes[dim]).astype(dtype)})
