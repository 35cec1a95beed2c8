"""The entries that are fuzzed: each makes an input of a seed and calls xcoreg with it."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from click.testing import CliRunner
from fuzz_inputs import ODD, bytes_of, image_of, options_of, tree_of
from fuzz_structure import add_sidecars, odd_block, path_of, swapped, table_of, tiff_of

import xcoreg
from xcoreg import arosics
from xcoreg.cli import cli

Entry = Callable[[random.Random, Path], Any]
_MATCHING: dict[str, list[Any]] = {
    "band": [1], "ref_band": [1], "window": [64, 128], "at": [(301000, 5899000)], "max_shift": [5], "windows": [1, 3],
    "contrast": ["any"], "where": [], "ref_where": [], "nodata": [0], "ref_nodata": [0], "footprint": [],
    "ref_footprint": [],
    "matcher": ["phase", "nuth_kaab", "vertical"], "z": [], "progress": [False], "errors": ["return"],
}  # fmt: skip
_LOCAL = {"spacing": [60, 100], "model": ["affine", "auto"], "filters": [["ssim"]], "points": []}
_APPLYING: dict[str, list[Any]] = {
    "align_grid": [True], "like": [], "resolution": [20.0, 5.0], "resampling": ["nearest", "cubic"], "nodata": [0],
    "chunks": [{"x": 64}, "auto"], "vertical": [True], "force": [True],
}  # fmt: skip
_WRITING: dict[str, list[Any]] = {
    "driver": ["GTiff", "COG", "ENVI", "PNG", "netCDF"], "creation": [{"compress": "lzw"}], "overwrite": [True],
    "compress": ["zstd", "none"], "tiled": ["no"], "predictor": [1],
}  # fmt: skip


@cache
def scene() -> Any:
    """A pair of small images."""
    return xcoreg.simulate.pair((160, 170), shift=(1.3, -0.8), seed=7)


def bytes_image() -> Any:
    """The target in 8 bits."""
    image = scene().tgt.astype("f8")
    return ((image - image.min()) * (250 / (image.max() - image.min())) + 1).astype("u1").assign_attrs(image.attrs)


@cache
def fit() -> Any:
    """Their fit."""
    return scene().tgt.coreg.match(scene().ref)


@cache
def field_fit() -> Any:
    """A fit with a model of a field."""
    return scene().tgt.coreg.match_local(scene().ref, window=48, spacing=40, model="affine")


@cache
def stack_fit() -> Any:
    """The fit of three images of one ground."""
    images = {f"2024-01-0{n}": one for n, one in enumerate((scene().ref, scene().tgt, bytes_image()), start=1)}
    return xcoreg.match_stack(images)


SAMPLES: dict[str, Path] = {}


def make_samples(folder: Path) -> None:
    """Make one file of each format that is read."""
    made = SAMPLES
    for name in ("a.tif", "a.png", "a.bsq", "a.nc", "a.jp2"):
        made[name] = xcoreg.write_raster(bytes_image(), folder / name, overwrite=True)
    made["a.vrt"] = folder / "a.vrt"
    rasterio.shutil.copy(folder / "a.tif", made["a.vrt"], driver="VRT")
    for version in (2, 3) if find_spec("zarr") else ():
        image, path = bytes_image().rename("b").drop_encoding().to_dataset(), folder / f"z{version}.zarr"
        image.to_zarr(path, encoding={"b": {"chunks": (64, 64)}}, zarr_format=version, consolidated=False)
        made[path.name] = path
    fit().save(folder / "fit.json")
    stack_fit().save(folder / "stack.json")
    field_fit().save(folder / "field.json")
    for name in ("p.csv", "p.geojson", "p.gpkg")[: 3 if find_spec("geopandas") else 2]:
        field_fit().points.save(folder / name)
    (folder / "a.tfw").write_text("10\n0\n0\n-10\n300005\n5900035\n")
    rows = "".join(
        f"{c},{r},{12 + c / 1e4},{50 - r / 1e4}\n" for c, r in ((0, 0), (90, 5), (80, 99), (4, 88), (50, 40))
    )
    (folder / "g.csv").write_text("pixel,line,x,y\n" + rows)
    (folder / "g.points").write_text("mapX,mapY,pixelX,pixelY,enable\n" + rows.replace("\n", ",1\n"))
    (folder / "batch.csv").write_text("target,reference,name\na.tif,a.tif,one\na.png,a.tif,two\n")
    made |= {path.name: path for path in folder.iterdir() if path.is_file()}


def _damaged(rng: random.Random, folder: Path, *names: str) -> Path:
    """Copy a file, damaged, with those that belong to it."""
    source = SAMPLES[rng.choice([name for name in names if name in SAMPLES])]
    for path in source.parent.glob(f"{source.stem}.*"):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    beside = [source, *(path for path in source.parent.glob(f"{source.stem}.*") if path.suffix in (".hdr", ".xml"))]
    wrong = rng.choice(beside)
    data, kind = wrong.read_bytes(), rng.random()
    if wrong.suffix == ".tif" and kind < 0.5:
        made = tiff_of(rng, data)
    elif wrong.suffix in (".csv", ".points") and kind < 0.5:
        made = table_of(rng, data.decode())
    elif wrong.suffix == ".geojson" and kind < 0.5:
        made = json.dumps(swapped(rng, json.loads(data))).encode()
    else:
        made = bytes_of(rng, data)
    (folder / wrong.name).write_bytes(made)
    return folder / source.name


def _computed(image: Any) -> None:
    """Compute what a user would; what goes wrong with the user's own blocks then is dask's to report."""
    if getattr(image, "size", 1e9) >= 1e7:
        return
    layers = getattr(image.__dask_graph__(), "layers", ())
    own = any(str(name).startswith(odd_block.__name__) for name in layers)
    with contextlib.suppress(*([Exception] if own else [])):
        image.compute()


def _open_raster(rng: random.Random, folder: Path) -> Any:
    path = _damaged(rng, folder, "a.tif", "a.png", "a.bsq", "a.nc", "a.jp2", "a.vrt")
    options = (
        {}
        if rng.random() < 0.7
        else options_of(rng, {"band": [1], "chunks": ["auto", 64], "variable": [], "nodata": [0]})
    )
    if path.suffix == ".tif":
        add_sidecars(rng, path)
    image = xcoreg.open_raster(path if rng.random() < 0.9 else path_of(rng, path), **options)
    if getattr(image, "size", 1e9) < 1e7:
        xcoreg.apply(image, image.coreg.match(scene().ref), force=True)
        xcoreg.write_raster(image, folder / rng.choice(["o.tif", "o.nc", "o.png", "o.bsq"]))


def _zarr(rng: random.Random, folder: Path) -> Any:
    """A store of which a chunk or a description is damaged or missing."""
    known = sorted(name for name in SAMPLES if name.endswith(".zarr"))
    if not known:
        return
    source = SAMPLES[rng.choice(known)]
    path = folder / source.name
    shutil.copytree(source, path)
    wrong = rng.choice([one for one in sorted(path.rglob("*")) if one.is_file()])
    wrong.write_bytes(bytes_of(rng, wrong.read_bytes()))
    if rng.random() < 0.1:
        wrong.unlink()
    image = xcoreg.open_raster(path, chunks=rng.choice([None, None, "auto"]))
    xcoreg.apply(image, image.coreg.match(scene().ref), like=scene().ref).compute()


def _stack_file(rng: random.Random, folder: Path) -> Any:
    path = folder / "stack.json"
    path.write_text(json.dumps(tree_of(rng, json.loads(SAMPLES["stack.json"].read_text()))))
    stack = xcoreg.load_stack(path)
    repr(stack), stack.summary(), stack._repr_html_()
    stack.save(folder / "again.json")
    xcoreg.apply(scene().tgt, stack.fit(1))


def _stack(rng: random.Random, folder: Path) -> Any:
    images = {f"2024-01-0{n}": one for n, one in enumerate((scene().ref, scene().tgt, bytes_image()), start=1)}
    for date in rng.sample(sorted(images), rng.choice([0, 1, 1, 2])):
        images[date] = image_of(rng, images[date])
    if rng.random() < 0.2:
        images[rng.choice(["", "x", "2024-01-01T00", "2024-13-01", 5, None, ("a", "b")])] = scene().tgt
    known = {"reference": ["2024-01-01"], "window": [64], "max_shift": [5], "pairs": [], "dates": [], "workers": []}
    options = options_of(rng, known) if rng.random() < 0.5 else {}
    options.pop("workers", None)
    xcoreg.match_stack(images if rng.random() < 0.9 else list(images.values()), **options)


def _polygons(rng: random.Random, folder: Path) -> Any:
    """Polygons of where to match, in a damaged file."""
    ring = [[300100, 5899900], [301000, 5899900], [301000, 5899000], [300100, 5899000], [300100, 5899900]]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    shape = {"type": "Feature", "properties": {"id": 1}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    tree = {"type": "FeatureCollection", "crs": crs, "features": [shape]}
    path = folder / "where.geojson"
    data = json.dumps(tree_of(rng, tree) if rng.random() < 0.7 else tree)
    path.write_bytes(data.encode() if rng.random() < 0.5 else bytes_of(rng, data.encode()))
    xcoreg.match(scene().tgt, scene().ref, **{rng.choice(["where", "ref_where", "footprint"]): path})


def _load_fit(rng: random.Random, folder: Path) -> Any:
    source = SAMPLES[rng.choice(["fit.json", "field.json"])]
    path = folder / "damaged.json"
    if rng.random() < 0.3:
        path.write_bytes(bytes_of(rng, source.read_bytes()))
    else:
        path.write_text(json.dumps(rng.choice([tree_of, swapped])(rng, json.loads(source.read_text()))))
    read = xcoreg.load_fit(path)
    repr(read), read.summary(), read._repr_html_()
    xcoreg.apply(scene().tgt, read, force=True)
    read.save(folder / "again.json")


def _read_gcps(rng: random.Random, folder: Path) -> Any:
    path = _damaged(rng, folder, "g.csv", "g.points")
    xcoreg.fit_gcps(xcoreg.read_gcps(path, crs=rng.choice([4326, 4326, None, "EPSG:32633"])))


def _fit_gcps(rng: random.Random, folder: Path) -> Any:
    n = rng.choice([0, 1, 2, 3, 4, 5, 9, 30])
    numbers = np.random.default_rng(rng.randrange(10**6))
    pixel, line = numbers.uniform(0, 100, (2, n))
    scale = 10.0 ** rng.choice([-300, -3, 0, 0, 0, 3, 300])
    parts = [pixel, line, (12 + pixel / 1e3) * scale, (50 - line / 1e3) * scale]
    for part in parts:
        if rng.random() < 0.15 and n:
            part[rng.randrange(n)] = rng.choice([np.nan, np.inf, 1e300, 0.0])
        if rng.random() < 0.1:
            part[:] = rng.choice([0.0, 5.0])
    crs = rng.choice([4326, 4326, 4326, "EPSG:32633", None, "", "junk", 999999, 4978])
    gcps = xcoreg.GCPs(*parts, crs=xcoreg.parse_crs(crs))
    good = ["auto", "affine", "polynomial", "tps", "homography"]
    model, order = (rng.choice(ODD) if rng.random() < 0.2 else rng.choice(known) for known in (good, [None, 1, 2, 3]))
    xcoreg.fit_gcps(gcps, model=model, order=order)


def _parse_crs(rng: random.Random, folder: Path) -> Any:
    texts = [
        "EPSG:32633",
        "+proj=utm +zone=33",
        "WGS 84",
        rasterio.CRS.from_epsg(32633).to_wkt(),
        "urn:ogc:def:crs:EPSG::4326",
    ]
    xcoreg.parse_crs(rng.choice([bytes_of(rng, rng.choice(texts).encode()).decode("latin1"), rng.choice(ODD)]))


def _corners(rng: random.Random, folder: Path) -> Any:
    corners: list[Any] = [(12.0, 50.0), (12.1, 50.0), (12.1, 49.9), (12.0, 49.9)]
    for _ in range(rng.choice([0, 1, 1, 2])):
        at = rng.randrange(4)
        corners[at] = rng.choice(
            [rng.choice(ODD), rng.choice(corners), tuple(v * rng.choice([0, -1, 1e300]) for v in (12.0, 50.0))]
        )
    options = {name: rng.choice(["EPSG:32633", "EPSG:4326", *ODD]) for name in ("crs", "plane") if rng.random() < 0.3}
    made = xcoreg.Corners(*corners, **options)
    made.normalized(12.05, 49.95)
    repr(made)


def _batch(rng: random.Random, folder: Path) -> Any:
    files = SAMPLES
    for name in ("a.tif", "a.png"):
        shutil.copyfile(files[name], folder / name)
    table = files["batch.csv"].read_bytes()
    (folder / "batch.csv").write_bytes(rng.choice([bytes_of(rng, table), table_of(rng, table.decode())]))
    out = folder / "out"
    if rng.random() < 0.5:
        (out / "scenes").mkdir(parents=True)
        record = {
            "format": "xcoreg scene",
            "name": "one",
            "status": "done",
            "output": "one.tif",
            "signature": "",
            "bytes": 3,
        }
        (out / "scenes" / "one.json").write_text(json.dumps(rng.choice([tree_of, swapped])(rng, record)))
    options = (
        {}
        if rng.random() < 0.6
        else options_of(rng, _MATCHING | _APPLYING | {"workers": [], "driver": ["COG"], "creation": []})
    )
    options.pop("workers", None)
    xcoreg.batch(folder / "batch.csv", out, **{"windows": 1, "progress": False, **options})


def _points(rng: random.Random, folder: Path) -> Any:
    path = _damaged(rng, folder, "p.csv", "p.geojson", "p.gpkg")
    points = xcoreg.TiePoints.load(path)
    repr(points)
    points.save(folder / "q.csv")


def _world_file(rng: random.Random, folder: Path) -> Any:
    path = _damaged(rng, folder, "a.tfw")
    xcoreg.georef.read_world_file(path)


def _match(rng: random.Random, folder: Path) -> Any:
    tgt, ref = (image_of(rng, one) if rng.random() < p else one for one, p in ((scene().tgt, 0.7), (scene().ref, 0.2)))
    xcoreg.match(tgt, ref, **(options_of(rng, _MATCHING) if rng.random() < 0.5 else {}))


def _match_local(rng: random.Random, folder: Path) -> Any:
    tgt = image_of(rng, scene().tgt) if rng.random() < 0.5 else scene().tgt
    options = options_of(rng, _MATCHING | _LOCAL) if rng.random() < 0.7 else {}
    xcoreg.match_local(tgt, scene().ref, **{"window": 48, "spacing": 60, **options})


def _apply(rng: random.Random, folder: Path) -> Any:
    image = image_of(rng, scene().tgt) if rng.random() < 0.6 else scene().tgt
    out = xcoreg.apply(
        image, rng.choice([fit(), field_fit()]), **(options_of(rng, _APPLYING) if rng.random() < 0.7 else {})
    )
    _computed(out)


def _warp_to(rng: random.Random, folder: Path) -> Any:
    tgt = image_of(rng, scene().tgt) if rng.random() < 0.6 else scene().tgt
    out = xcoreg.warp_to(
        tgt, scene().ref, **{"window": 48, "spacing": 60, **options_of(rng, _MATCHING | _LOCAL | _APPLYING)}
    )
    _computed(out)


def _write_raster(rng: random.Random, folder: Path) -> Any:
    image = image_of(rng, scene().tgt) if rng.random() < 0.7 else scene().tgt
    names = [
        "o.tif",
        "o.png",
        "o.nc",
        "o.bsq",
        "o.zarr",
        "o.jpg",
        "o.jp2",
        "o",
        ".tif",
        "o.xyz",
        "no/o.tif",
        "x" * 300 + ".tif",
        "a\0.tif",
    ]
    xcoreg.write_raster(image, folder / rng.choice(names), **(options_of(rng, _WRITING) if rng.random() < 0.5 else {}))


def _cli(rng: random.Random, folder: Path) -> Any:
    files = SAMPLES
    words = [
        str(files["a.tif"]),
        str(files["a.png"]),
        str(files["fit.json"]),
        str(files["p.csv"]),
        str(files.get("z3.zarr", "no.zarr")),
        str(files["stack.json"]),
        str(folder / "o.tif"),
        str(folder),
        "no.tif",
        "",
    ]
    flags = [
        "--window",
        "--nodata",
        "--save-fit",
        "--report",
        "--like",
        "--resampling",
        "--co",
        "--overwrite",
        "--points",
        "--model",
        "--at",
        "-q",
        "--json",
        "--where",
        "--out",
    ]
    command = rng.choice(
        [
            "match",
            "shift",
            "points",
            "warp",
            "apply",
            "dem",
            "info",
            "locate",
            "batch",
            "georef",
            "debug",
            "demo",
            "stack",
        ]
    )
    line = [command, *rng.choices(words, k=rng.choice([1, 2, 3, 3]))]
    for _ in range(rng.choice([0, 1, 2])):
        line += [rng.choice(flags), rng.choice(["64", "0", "-1", "nan", "x", "1e9", "auto", "A=B", *words])]
    if command == "demo":
        line = line[:2]
    outputs = {line[at + 1] for at, word in enumerate(line[:-1]) if word in ("--save-fit", "--report", "--out")}
    before = {path: path.read_bytes() for path in files.values()
              if path.is_file() and not any(str(path).startswith(one) for one in outputs if one)}  # fmt: skip
    with contextlib.chdir(folder):
        result = CliRunner().invoke(cli, line)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if "may be a bug" in result.output:
        raise AssertionError(f"{line}: {result.output[-300:]}")
    assert {path: path.read_bytes() for path in before} == before, line


_OF_AROSICS: dict[str, list[Any]] = {
    "ws": [(64, 64)], "window_size": [(64, 64)], "wp": [(301000, 5899000)], "max_shift": [5], "max_iter": [5],
    "nodata": [(0, 0)], "r_b4match": [1], "s_b4match": [1], "fmt_out": ["GTIFF"], "path_out": [], "align_grids": [True],
    "match_gsd": [True], "out_gsd": [20], "resamp_alg_calc": ["cubic"], "footprint_poly_ref": [],
    "mask_baddata_ref": [], "CPUs": [1], "data_corners_ref": [], "force_quadratic_win": [True], "v": [False],
    "q": [True], "clipextent": [], "target_xyGrid": [], "out_crea_options": [["COMPRESS=LZW"]],
}  # fmt: skip


def _arosics(rng: random.Random, folder: Path) -> Any:
    """Classes with the names of AROSICS."""
    images = [image_of(rng, one) if rng.random() < 0.2 else one for one in (scene().ref, scene().tgt)]
    options = {"q": True, **options_of(rng, _OF_AROSICS)}
    with contextlib.chdir(folder):
        if rng.random() < 0.6:
            job: Any = arosics.COREG(*images, **options)
            job.calculate_spatial_shifts()
        else:
            several = {"window_size": (48, 48)} | {
                name: one for name, one in options.items() if name not in ("ws", "wp")
            }
            job = arosics.COREG_LOCAL(*images, rng.choice([60, 60, 60, None, "x", 0, -1, 1e9, 1j, [60]]), **several)
            len(job.CoRegPoints_table)
        job.correct_shifts()


ENTRIES: dict[str, Entry] = {
    "open_raster": _open_raster, "load_fit": _load_fit, "read_gcps": _read_gcps, "fit_gcps": _fit_gcps,
    "parse_crs": _parse_crs, "Corners": _corners, "batch": _batch, "points": _points, "world_file": _world_file,
    "match": _match, "match_local": _match_local, "apply": _apply, "warp_to": _warp_to, "write_raster": _write_raster,
    "command_line": _cli, "zarr": _zarr, "polygons": _polygons, "stack_file": _stack_file, "stack": _stack,
    "arosics": _arosics,
}  # fmt: skip
