"""Record the numbers of 250 small runs, and compare those of another state of the code with them, bit by bit.

Shifts, covariances, tie points, models, pixels, coordinates, refusals: the runs stand in `recorded.py`. A record is
good for one machine and one set of libraries, so make it with the old code, then compare with the new one. It keeps the
fits as files, too: these have to be read as they were.

    python benchmarks/same_bits.py --save /tmp/before.npz
    python benchmarks/same_bits.py --against /tmp/before.npz

Numbers are compared, not words: where a field or an error is called otherwise since, say so in `RENAMED`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import shapely
import xarray as xr
from recorded import RUNS, Run

import xcoreg

Arrays: TypeAlias = "dict[str, np.ndarray]"
Named: TypeAlias = "Iterator[tuple[str, np.ndarray]]"

# Name of today -> name in the record: fields of results, columns, classes of errors.
RENAMED: dict[str, str] = {}
_FILE = "file"  # name of what is no number: a fit as it is written
_NODES = np.linspace(-0.2, 1.2, 12)  # where models are asked, parts of the image: inside and beyond


def numbers(value: Any, name: str = "") -> Named:
    """Take a result apart into named arrays; texts are left out."""
    if isinstance(value, xcoreg.Coregistration):
        yield from _of_fit(value, name)
    elif isinstance(value, xr.DataArray | xr.Dataset):
        yield from _of_image(value, name)
    elif isinstance(value, shapely.Geometry):
        yield name, shapely.get_coordinates(value)
    elif hasattr(value, "left_out") and hasattr(value, "to_map"):
        yield from _of_control_points(value, name)
    elif hasattr(value, "select_dtypes"):
        yield from numbers({str(key): column.to_numpy() for key, column in value.select_dtypes("number").items()}, name)
    elif dataclasses.is_dataclass(value):
        yield from numbers({one.name: getattr(value, one.name) for one in dataclasses.fields(value)}, name)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(part, f"{name}.{RENAMED.get(key, key)}")
    elif isinstance(value, list | tuple) and not _plain(value):
        for i, part in enumerate(value):
            yield from numbers(part, f"{name}[{i}]")
    elif value is not None and np.asarray(value).dtype.kind in "biuf":
        yield name, np.asarray(value)


def _plain(values: Any) -> bool:
    """Whether a sequence is an array of numbers, maybe nested."""
    return bool(values) and all(isinstance(v, int | float) or (isinstance(v, tuple) and _plain(v)) for v in values)


def _of_fit(fit: xcoreg.Coregistration, name: str) -> Named:
    parts = {key: getattr(fit, key) for key in ("quality", "points", "transform", "shape")}
    parts["shift"] = fit.shift if fit.ok else None  # a refused fit has none
    yield from numbers({"status": int(fit.status), "epsg": _epsg(fit.crs_wkt), **parts}, name)
    if fit.model is None:
        return
    a, b, c, d, e, f = fit.transform
    row, col = np.meshgrid(_NODES * fit.shape[0], _NODES * fit.shape[1], indexing="ij")
    x, y = a * col + b * row + c, d * col + e * row + f
    asked = ("predict", "predict_cov", "predict_dz", "extrapolates")
    yield from numbers({key: getattr(fit.model, key)(x, y) for key in asked}, f"{name}.model")
    written = fit.to_dict()["model"]
    # sorted, for the order of keys is no bit of the result
    yield f"{name}.model.numbers", np.sort(np.array(list(_leaves(written)), np.float64))


def _leaves(tree: Any) -> Iterator[float]:
    """Every number of a tree of plain JSON types."""
    if isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(part)
    elif isinstance(tree, int | float):
        yield float(tree)


def _of_image(image: xr.DataArray | xr.Dataset, name: str) -> Named:
    """Pixels, coordinates, transform, CRS and marker of missing pixels; whether it has been computed."""
    bands = {"": image} if isinstance(image, xr.DataArray) else dict(image.data_vars)
    for key, band in bands.items():
        yield from numbers({"pixels": band.values, "nodata": band.rio.nodata}, f"{name}.{key}".rstrip("."))
        yield from numbers({"encoded": band.rio.encoded_nodata}, f"{name}.{key}".rstrip("."))
    for key, coord in image.coords.items():
        if key != "spatial_ref":
            yield from numbers(coord.values, f"{name}.{key}")
    crs = image.rio.crs
    yield from numbers({"transform": tuple(image.rio.transform()), "epsg": _epsg(crs and crs.to_wkt())}, name)


def _epsg(wkt: str | None) -> int:
    """Tell the code of a CRS, 0 where it has none."""
    return (xcoreg.parse_crs(wkt).to_epsg() or 0) if wkt else 0


def _of_control_points(fit: Any, name: str) -> Named:
    col, row = (part.ravel() for part in np.meshgrid(np.linspace(-10, 270, 9), np.linspace(-10, 270, 9)))
    x, y = fit.to_map(col, row)
    parts = {key: getattr(fit, key) for key in ("weights", "residuals", "left_out", "order")}
    asked = {"to_map": (x, y), "to_pixel": fit.to_pixel(x, y), "linear": fit.linear_at(col, row)}
    if fit.model != "tps":
        asked["cov"] = fit.cov_at(col, row)
    yield from numbers({**parts, **asked}, name)


def result(function: Run) -> Arrays:
    """Run, and tell the numbers; of a refusal the class of the error, and always which warnings were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = function()
            found = {**dict(numbers(answer)), **_file(answer)}
        except xcoreg.CoregError as error:
            found = {"raised": _names([type(error)])}
    kinds = {each.category for each in caught if issubclass(each.category, xcoreg.CoregWarning)}
    return {**found, "warned": _names(kinds)} if kinds else found


def _file(answer: Any) -> Arrays:
    """Give a fit as the bytes of its file."""
    own = isinstance(answer, xcoreg.Coregistration) and getattr(answer.model, "kind", "") == "custom"
    if not isinstance(answer, xcoreg.Coregistration) or own:
        return {}
    return {_FILE: np.frombuffer(json.dumps(answer.to_dict()).encode(), np.uint8)}


def _read(file: np.ndarray) -> Arrays:
    """Read a fit from the bytes of its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fit.json")
        path.write_bytes(file.tobytes())
        return dict(numbers(xcoreg.load_fit(path)))


def _names(kinds: Any) -> np.ndarray:
    return np.array(sorted(RENAMED.get(kind.__name__, kind.__name__) for kind in kinds))


def differences(found: Arrays, wanted: Arrays) -> tuple[list[str], list[str]]:
    """Tell how a result differs from the record, and what it has besides."""
    differs = [f"{name.strip('.')} is gone" for name in wanted if name not in found]
    differs += [told for name in wanted if name in found and (told := _difference(name, found[name], wanted[name]))]
    return differs, [name.strip(".") for name in found if name not in wanted]


def _difference(name: str, found: np.ndarray, wanted: np.ndarray) -> str:
    name = name.strip(".")
    if found.shape != wanted.shape or found.dtype.kind != wanted.dtype.kind or "U" in found.dtype.kind:
        same = found.shape == wanted.shape and found.dtype.kind == wanted.dtype.kind and (found == wanted).all()
        return "" if same else f"{name}: {_brief(found)} instead of {_brief(wanted)}"
    if found.dtype != wanted.dtype:
        return f"{name}: {found.dtype} instead of {wanted.dtype}"
    found, wanted = np.atleast_1d(found, wanted)
    unlike = _bits(found) != _bits(wanted)
    if found.dtype.kind == "f":
        unlike &= ~(np.isnan(found) & np.isnan(wanted))
    if not unlike.any():
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(found[unlike].astype(np.float64) - wanted[unlike].astype(np.float64))
    unknown = int(np.isnan(apart).sum())
    largest = f"at most {np.nanmax(apart):.3g} apart" if unknown < apart.size else "no two numbers"
    return f"{name}: {int(unlike.sum())} of {unlike.size} differ, {largest}" + (f", {unknown} NaN" if unknown else "")


def _bits(values: np.ndarray) -> np.ndarray:
    """Give the bytes of every number, as one number: -0 is not 0."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _brief(values: np.ndarray) -> str:
    return " ".join(map(str, values)) if values.dtype.kind == "U" else f"{values.dtype}{list(values.shape)}"


def save(path: Path, results: dict[str, Arrays]) -> None:
    """Write a record."""
    np.savez_compressed(
        path, **{f"{run}|{name}": array for run, found in results.items() for name, array in found.items()}
    )


def load(path: Path) -> dict[str, Arrays]:
    """Read a record."""
    record: dict[str, Arrays] = {}
    with np.load(path) as file:
        for key in file.files:
            run, _, name = key.partition("|")
            record.setdefault(run, {})[name] = file[key]
    return record


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, metavar="FILE.npz", help="record the results")
    parser.add_argument("--against", type=Path, metavar="FILE.npz", help="compare them with a record")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="runs to make, such as 'match: *'")
    parser.add_argument("--seconds", action="store_true", help="tell how long each run takes")
    return parser.parse_args()


def with_one_thread() -> None:
    """Start again with one thread of linear algebra: sums over more of them differ in their last bits."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    if any(os.environ.get(name) != value for name, value in threads.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | threads)


def main() -> int:
    args = arguments_given()
    with_one_thread()
    chosen = {name: function for name, function in RUNS.items() if fnmatch(name, args.only)}
    record = load(args.against) if args.against else {}
    results: dict[str, Arrays] = {}
    failed = 0
    for name, function in chosen.items():
        start = time.process_time()
        try:
            results[name] = result(function)
        except Exception as error:  # noqa: BLE001 - another state of the code may lack what a run asks for
            print(f"{name}: crashes, {type(error).__name__}: {error}", flush=True)
            failed += 1
            continue
        if args.seconds:
            print(f"{name:40} {time.process_time() - start:6.2f} s, {len(results[name])} arrays", flush=True)
        if args.against:
            failed += compared(name, results[name], record)
    if args.save:
        save(args.save, results)
    told = f"{failed} crash or differ" if args.against else f"{failed} crash"
    print(f"{len(chosen)} runs, {told}; {time.process_time():.0f} s of processor time")
    return int(failed > 0)


def compared(name: str, found: Arrays, record: dict[str, Arrays]) -> bool:
    """Print how a run differs from the record, in one line; what is new is no difference."""
    if name not in record:
        print(f"{name}: not in the record")
        return False
    wanted = {key: array for key, array in record[name].items() if key != _FILE}
    differs, more = differences({key: array for key, array in found.items() if key != _FILE}, wanted)
    if _FILE in record[name]:
        written = {key: array for key, array in wanted.items() if key != "warned"}
        differs += [f"read from its file: {told}" for told in differences(_read(record[name][_FILE]), written)[0]]
    if differs:
        others = f" (and {len(differs) - 3} more)" if len(differs) > 3 else ""
        print(f"{name}: {'; '.join(differs[:3])}{others}", flush=True)
    if more:
        print(f"{name}: not in the record: {', '.join(more)}", flush=True)
    return bool(differs)


if __name__ == "__main__":
    sys.exit(main())
