"""Seeded mutators: bytes of real files, trees of JSON, options and arrays."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from fuzz_structure import odd_array, odd_blocks, odd_names
from rioxarray.exceptions import RioXarrayError

from xcoreg.errors import NoOverlap, OptionError

#: What an option, a cell or a field of a file may hold by mistake.
ODD = [
    None, True, False, 0, 1, -1, 2, 3.7, 1e-310, 1e6, 1e20, 1e308, float("nan"), float("inf"), -float("inf"),
    2**31, 2**63, 10**30, "", " ", "junk", "auto", "nan", "1", "../x", "a\0b", "\ud800", "é" * 3, "x" * 300,
    [], [1], [1, 2], [1, 2, 3], [[1, 2], [3, 4]], (), (0, 0), (1, 1), (-5, 7), (1e9, 1e9), {}, {"a": 1}, {1: 2},
    set(), b"x", object(), 1j, np.float32(2), np.int64(7), np.array([1.0, 2.0]), np.zeros((0, 3)),
    np.datetime64("2024-01-01"), slice(None), np.ma.masked, np.array("x"), np.array([], "U1"), np.str_("y"),
    np.void(b"ab"), {"a": {"b": [1]}}, [None], [np.nan], ("é", "\ud800"), 2**80, -0.0, np.timedelta64(1, "s"),
    np.datetime64("NaT"), np.float16(1), np.longdouble(1), xr.DataArray([1, 2]), Path("/x"), range(10**12),
    b"\xff", iter([]), "\0", "{,}", "<a>&", "=cmd()", "1e5", NotImplemented, ..., '{"features":[{}]}', "PROJCS[",
    [[1, 2], [3]], np.ma.array([1, 2], mask=[1, 0]), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
]  # fmt: skip
_TEXTS = [
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "99999999999999999999",
    "",
    "x",
    "<script>",
    "\t",
    ",,,",
    "é",
    '"',
    "null",
    "[]",
]
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")


def bytes_of(rng: random.Random, data: bytes) -> bytes:
    """Damage a file: bits, cuts, repeated and missing parts, numbers and texts of another kind."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at, n = rng.randrange(len(out) + 1), rng.choice([1, 2, 4, 16, 300])
        kind = rng.randrange(7)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at:]
        elif kind == 2:
            del out[at : at + n]
        elif kind == 3:
            out[at:at] = out[at : at + n]
        elif kind == 4:
            out[at:at] = rng.randbytes(n)
        elif kind == 5:
            out[at : at + n] = bytes([rng.choice([0, 255, 10, 44])]) * n
        else:
            found = list(_NUMBER.finditer(bytes(out[:20000])))
            if found:
                one = rng.choice(found)
                out[one.start() : one.end()] = rng.choice(_TEXTS).encode()
    return bytes(out)


def tree_of(rng: random.Random, tree: Any) -> Any:
    """Change some places of a JSON tree: values of another kind, missing and strange keys, lists of another length."""
    tree = copy.deepcopy(tree)
    plain = [one for one in ODD if _is_json(one)]
    for _ in range(rng.choice([1, 1, 2, 4])):
        parent, key = None, None
        here = tree
        while isinstance(here, dict | list) and here and (parent is None or rng.random() < 0.75):
            parent, key = here, rng.choice(list(here) if isinstance(here, dict) else range(len(here)))
            here = parent[key]
        if parent is None:
            return rng.choice(plain)
        kind = rng.randrange(5)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.append(copy.deepcopy(here))
        elif kind == 2 and isinstance(parent, dict):
            parent[rng.choice(["", "x", "status", "kind"])] = here
        elif kind == 3 and isinstance(here, int | float):
            parent[key] = rng.choice([-here, here * 1e300, here * 1e-300, here + 0.5, float("inf"), float("nan")])
        else:
            parent[key] = copy.deepcopy(rng.choice(plain))
    return tree


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def options_of(rng: random.Random, known: dict[str, list[Any]]) -> dict[str, Any]:
    """Some options, each with a sensible or an odd value."""
    names = rng.sample(sorted(known), rng.choice([1, 1, 2, 3]))
    return {name: copy.copy(rng.choice(known[name] if known[name] and rng.random() < 0.6 else ODD)) for name in names}


def _other_type(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    with np.errstate(all="ignore"):
        return image.astype(
            rng.choice(
                ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "f16", "c8", "?", "O", "U3", "M8[s]"]
            )
        )


def _other_gain(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    with np.errstate(all="ignore"):
        gain = 10.0 ** rng.choice([-320, -30, -20, 10, 20, 30, 38, 150, 305])
        return image.copy(data=image.values.astype("f8") * gain)


def _constant(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    return image.copy(data=np.full_like(image.values, rng.choice([0, 1, 255])))


def _missing(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    data = image.values.astype("f4")
    part = np.random.default_rng(rng.randrange(99)).random(data.shape) < rng.choice([0.1, 0.9, 1])
    data[part] = rng.choice([np.nan, np.inf, -np.inf, 3.4e38, -9999])
    return image.copy(data=data)


def _tiny(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    rows, cols = rng.choice([(0, 0), (0, 9), (1, 1), (1, 200), (200, 1), (2, 2), (3, 50), (17, 16)])
    return image[:rows, :cols]


def _chunked(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    return image.chunk({"y": rng.choice([1, 7, 64, -1]), "x": rng.choice([5, 33, -1])})


def _elsewhere(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    scale, move = rng.choice([-1, 0, 1e-12, 1e-3, 1, 1e3, 1e12]), rng.choice([0, 1e5, -1e7, 1e15, np.nan])
    return image.drop_vars("spatial_ref").assign_coords(x=image.x * scale + move).rio.write_crs(32633)


def _other_crs(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    return image.rio.write_crs(rng.choice([4326, 3857, 32733, 4978, 3413, 5703, 27700]))


def _odd_attributes(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    names = ["_FillValue", "scale_factor", "add_offset", "units", "grid_mapping", "long_name", "band_tags", "scales"]
    names += ["transform", "crs", "valid_range", "missing_value", "nodata", "STATISTICS_MEAN", "wavelength", "xcoreg"]
    names += [
        "offsets",
        "coordinates",
        "nodatavals",
        "dtype",
        "chunksizes",
        "preferred_chunks",
        "source",
        "gdal",
        "gcps",
    ]
    names += [
        "_Unsigned",
        "AREA_OR_POINT",
        "description",
        "GeoTransform",
        "spatial_ref",
        "crs_wkt",
        "filters",
        "shards",
    ]
    names += [
        "rasterio_dtype",
        "flag_values",
        "standard_name",
        "zlib",
        "fill_value",
        "bounds",
        "res",
        5,
        None,
        ("a", 1),
    ]
    changed = image.assign_attrs({rng.choice(names): rng.choice(ODD) for _ in range(rng.choice([1, 2, 3]))})
    if rng.random() < 0.5:
        changed.encoding |= {rng.choice(names): rng.choice(ODD)}
    return changed


def _more_axes(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    return xr.concat([image] * rng.choice([1, 2, 3]), rng.choice(["band", "time", "z", "q", "wavelength"]))


def _other_names(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    names = [("x", "lon"), ("y", "row"), ("y", "x1"), ("x", "longitude"), ("y", "northing")]
    return image.rename(dict([rng.choice(names)]))


def _strided(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    return image.isel(x=slice(None, None, rng.choice([-1, 1, 3])), y=slice(None, None, rng.choice([-1, 2, 1])))


def _odd_coordinates(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    dim = rng.choice(["x", "y"])
    values = image[dim].values.astype("f8")
    kind = rng.randrange(5)
    if kind == 0:
        values[rng.randrange(values.size)] = rng.choice([np.nan, np.inf, values[0], 1e300])
    elif kind == 1:
        values = np.sort(np.random.default_rng(rng.randrange(99)).permutation(values * rng.choice([1.0, 1e-9])))
    elif kind == 2:
        values = values**2
    elif kind == 3:
        return image.assign_coords({dim: rng.choice([values.astype("f4"), values.astype("U9"), values.astype("i8")])})
    else:
        return image.drop_vars(rng.choice([dim, "spatial_ref"]))
    return image.assign_coords({dim: values})


def _repeated(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    return xr.concat([image, image], rng.choice(["x", "y"]))


def _tiny_chunks(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    return image.chunk(rng.choice([1, 2, 3]))


def _read_only(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    values = image.values.copy(order=rng.choice("CF"))
    values.flags.writeable = False
    return image.copy(data=values)


def _failing_chunk(rng: random.Random, image: xr.DataArray) -> xr.DataArray:
    def fail(block: Any) -> Any:
        if block.size:
            raise rng.choice([OptionError("a chunk cannot be made"), NoOverlap("a chunk is elsewhere")])
        return block

    return image.chunk(64).copy(data=image.chunk(64).data.map_blocks(fail, dtype=image.dtype))


def _as_dataset(rng: random.Random, image: xr.DataArray) -> Any:
    other = image[: rng.choice([160, 80])].rename({image.dims[0]: "v"}).drop_vars("v", errors="ignore")
    made = {rng.choice(["b1", "", 5, "x_"]): image, "other": other}
    return xr.Dataset(made) if rng.random() < 0.8 else xr.Dataset(attrs=image.attrs)


_CHANGES = (_other_type, _other_gain, _constant, _missing, _tiny, _chunked, _elsewhere, _other_crs, _odd_attributes)
_CHANGES += (odd_blocks, odd_array, odd_names)
_CHANGES += (_more_axes, _other_names, _strided, _odd_coordinates, _repeated, _tiny_chunks, _read_only, _failing_chunk)


_NOT_TOGETHER = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    AttributeError,
    RioXarrayError,
)


def image_of(rng: random.Random, image: xr.DataArray) -> Any:
    """Change an image: its type, extreme values, constant or missing pixels, shape, chunks, coordinates, attributes."""
    changes = rng.choices(_CHANGES, k=rng.choice([1, 1, 2, 3]))
    if rng.random() < 0.07:
        changes.append(_as_dataset)
    for change in sorted(changes, key=(_tiny_chunks, _failing_chunk, odd_blocks).__contains__):
        with contextlib.suppress(*_NOT_TOGETHER):
            image = change(rng, image)  # changes that do not go together leave it as it is
    return image
