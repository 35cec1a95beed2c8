"""Fifty recorded runs, to see whether a change of the code leaves every number as it was.

`python benchmarks/same_bits.py --save before.npz` on the old code, `--against before.npz` on the new one: every shift,
covariance, tie point, pixel and coordinate is compared bit for bit. Only public names are used.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from affine import Affine
from xarray import DataArray, Dataset

import xcoreg
from xcoreg.simulate import Acquisition, Product, pair, similarity, smooth_field
from xcoreg.simulate.terrain import dem_pair

Case = Callable[[], Iterator[tuple[str, Any]]]
CASES: dict[str, Case] = {}
COLUMNS = ("window", "row", "col", "x", "y", "dx", "dy", "dcol", "drow", "cov", "score", "status", "reliability")
KERNELS = ("nearest", "bilinear", "cubic", "lanczos")


def case(name: str) -> Callable[[Case], Case]:
    """Register a run by its name."""

    def register(function: Case) -> Case:
        CASES[name] = function
        return function

    return register


def numbers_of(fit: Any) -> Iterator[tuple[str, Any]]:
    """Every number of a fit: shift, covariance, tie points, the model on a grid of places."""
    shift = fit.shift
    if shift is not None:
        yield "shift", [shift.dx, shift.dy, shift.dcol, shift.drow, shift.length, shift.angle]
        yield "cov", shift.cov
    for name in COLUMNS:
        yield name, getattr(fit.points, name)
    if fit.model is not None:
        rows, cols = np.mgrid[0 : fit.shape[0] : 7j, 0 : fit.shape[1] : 7j]
        x, y = Affine(*fit.transform) @ (cols.ravel(), rows.ravel())
        yield "model", np.stack(fit.model.predict(np.asarray(x), np.asarray(y)))
        yield "model_cov", fit.model.predict_cov(np.asarray(x), np.asarray(y))


def pixels_of(image: Any) -> Iterator[tuple[str, Any]]:
    """Pixels and coordinates of an image."""
    parts = image.data_vars.items() if isinstance(image, Dataset) else [("pixels", image)]
    for name, part in parts:
        yield str(name), part.values
        yield f"{name}_transform", np.asarray(part.rio.transform())[:6]
        if "x" in part.coords:
            yield f"{name}_x", part.x.values
            yield f"{name}_y", part.y.values


def scene(**options: Any) -> Any:
    """Make a simulated pair of 300 x 320 px, or as the options say."""
    defaults: dict[str, Any] = {"shift": (1.3, -2.2), "snr_db": 25.0, "seed": 11}
    return pair(options.pop("shape", (300, 320)), **{**defaults, **options})


def changed(image: DataArray, transform: Affine, crs: str = "EPSG:32633") -> DataArray:
    """Put the pixels of an image onto another grid."""
    bare = image.drop_vars([name for name in ("x", "y", "spatial_ref") if name in image.coords])
    return bare.rio.write_crs(crs).rio.write_transform(transform)


def turned(image: DataArray, degrees: float) -> DataArray:
    """Put the pixels on a grid that is turned about its corner; both images of a pair turn alike."""
    t = image.rio.transform()
    return changed(image, Affine.translation(300000, 5900040) @ Affine.rotation(degrees) @ Affine.scale(t.a, t.e))


MATCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "small": ({"shape": (150, 160)}, {}),
    "large": ({"shape": (900, 1000), "snr_db": 15.0}, {}),
    "clouds": ({"shape": (700, 720), "ref": Acquisition(clouds=0.2), "tgt": Acquisition(clouds=0.3)}, {}),
    "uint8": ({"product": Product(dtype="uint8")}, {}),
    "float32": ({"product": Product(dtype="float32")}, {}),
    "window": ({}, {"window": 128}),
    "at": ({}, {"at": (301500.0, 5898500.0), "window": 96}),
    "max_shift": ({}, {"max_shift": 6.0}),
    "contrast": ({}, {"contrast": "any"}),
    "far": ({"shift": (35.4, -20.7)}, {}),
}


def match_case(made: dict[str, Any], options: dict[str, Any]) -> Case:
    """Match a simulated pair."""

    def run() -> Iterator[tuple[str, Any]]:
        both = scene(**made)
        yield from numbers_of(both.tgt.coreg.match(both.ref, **options))

    return run


for _name, (_made, _options) in MATCHES.items():
    CASES[f"match {_name}"] = match_case(_made, _options)


@case("match other grids")
def _() -> Iterator[tuple[str, Any]]:
    both = scene()
    south_up = both.tgt.isel(y=slice(None, None, -1))
    yield from numbers_of(south_up.coreg.match(both.ref))
    yield from ((f"turned {k}", v) for k, v in numbers_of(turned(both.tgt, 17).coreg.match(turned(both.ref, 17))))
    degrees = Affine(1e-4, 0, 12.0, 0, -1e-4, 53.0)
    tgt, ref = (changed(image, degrees, "EPSG:4326") for image in (both.tgt, both.ref))
    yield from ((f"degrees {k}", v) for k, v in numbers_of(tgt.coreg.match(ref)))


@case("match other CRS and GSD")
def _() -> Iterator[tuple[str, Any]]:
    both = scene(shape=(500, 500))
    other = both.ref.rio.reproject("EPSG:32634")
    yield from numbers_of(both.tgt.coreg.match(other))
    coarse = both.ref.coarsen(y=2, x=2, boundary="trim").mean().rio.write_crs(32633).rio.write_transform()
    yield from ((f"coarse {k}", v) for k, v in numbers_of(both.tgt.coreg.match(coarse)))


@case("match masks and missing pixels")
def _() -> Iterator[tuple[str, Any]]:
    both = scene(shape=(500, 520), product=Product(dtype="float32"))
    holes = both.tgt.where(~((both.tgt.x > 302000) & (both.tgt.y < 5897000)))
    yield from numbers_of(holes.coreg.match(both.ref))
    mask = both.tgt.copy(data=np.arange(520)[None, :] + 0 * both.tgt.values > 150)
    yield from ((f"where {k}", v) for k, v in numbers_of(both.tgt.coreg.match(both.ref, where=mask)))


@case("match dask, bands and datasets")
def _() -> Iterator[tuple[str, Any]]:
    both = scene()
    yield from numbers_of(both.tgt.chunk({"y": 100, "x": 90}).coreg.match(both.ref.chunk()))
    stack = Dataset({"red": both.tgt, "nir": both.tgt // 2})
    yield from ((f"dataset {k}", v) for k, v in numbers_of(stack.coreg.match(both.ref, band="nir")))


@case("match real pair")
def _() -> Iterator[tuple[str, Any]]:
    ref, tgt = xcoreg.datasets.sentinel2_pair()
    yield from numbers_of(tgt.coreg.match(ref))
    yield from ((f"swapped {k}", v) for k, v in numbers_of(ref.coreg.match(tgt)))
    yield "overlap", tgt.coreg.overlap(ref).bounds
    yield "footprint", np.asarray(tgt.coreg.footprint().convex_hull.exterior.coords)


@case("refused pairs")
def _() -> Iterator[tuple[str, Any]]:
    for k, options in enumerate(({"shift": None}, {"shift": similarity((300, 320), degrees=4.0)})):
        both = scene(**options)
        fit = both.tgt.coreg.match(both.ref, errors="return")
        yield from ((f"{k} {name}", value) for name, value in numbers_of(fit))


def local_case(**options: Any) -> Case:
    """Match a field."""

    def run() -> Iterator[tuple[str, Any]]:
        field = smooth_field((480, 500), 1.5, seed=2)
        both = scene(shape=(480, 500), shift=field, ref=Acquisition(clouds=0.1))
        fit = both.tgt.coreg.match_local(both.ref, **{"spacing": 48, "window": 64, **options})
        yield from numbers_of(fit)
        yield from pixels_of(both.tgt.coreg.apply(fit))

    return run


for _model in ("auto", "translation", "affine", "polynomial2", "polynomial3", "piecewise", "spline"):
    CASES[f"field {_model}"] = local_case(model=_model)
CASES["field without filters"] = local_case(filters=[], model="affine")
CASES["field neighbours"] = local_case(filters=["ssim", xcoreg.filters.neighbours(sigmas=3.0)])
CASES["field window 128"] = local_case(spacing=80, window=128)


@case("field real pair")
def _() -> Iterator[tuple[str, Any]]:
    ref, tgt = xcoreg.datasets.sentinel2_pair()
    fit = tgt.coreg.match_local(ref, spacing=100, window=96)
    yield from numbers_of(fit)
    yield from pixels_of(tgt.chunk({"y": 256, "x": 256}).coreg.apply(fit, like=ref))
    yield from ((f"raster {k}", v) for k, v in pixels_of(fit.to_raster(resolution=200)))


@case("tie points")
def _() -> Iterator[tuple[str, Any]]:
    both = scene()
    points = xcoreg.tie_points(both.tgt, both.ref, spacing=40, window=64)
    yield from ((name, getattr(points, name)) for name in COLUMNS)


def apply_case(change: Callable[[DataArray], Any], **options: Any) -> Case:
    """Correct a changed image by a shift, on several output grids."""

    def run() -> Iterator[tuple[str, Any]]:
        both = scene()
        fit = both.tgt.coreg.match(both.ref)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for k, grid in enumerate(({}, {"align_grid": True}, {"like": both.ref}, {"resolution": 17.0})):
                out = change(both.tgt).coreg.apply(fit, **grid, **options)
                yield from ((f"{k} {name}", value) for name, value in pixels_of(out))

    return run


for _kernel in KERNELS:
    CASES[f"apply {_kernel}"] = apply_case(lambda image: image, resampling=_kernel)
    CASES[f"apply float {_kernel}"] = apply_case(
        lambda image: image.astype("float32").where(image > image.quantile(0.02)).drop_vars("quantile"),
        resampling=_kernel,
    )
CASES["apply bool"] = apply_case(lambda image: image > image.mean())
CASES["apply int16"] = apply_case(lambda image: (image.astype("int32") - 2000).astype("int16"), nodata=-32768)
CASES["apply dask"] = apply_case(lambda image: image.chunk({"y": 70, "x": 110}), resampling="cubic")
CASES["apply bands"] = apply_case(lambda image: image.expand_dims(band=[1, 2, 3]).copy(), resampling="bilinear")
CASES["apply dataset"] = apply_case(lambda image: Dataset({"a": image, "b": image > 2000, "c": ((), 1)})[["a", "b"]])
CASES["apply 20 m"] = apply_case(
    lambda image: image.coarsen(y=2, x=2).mean().rio.write_crs(32633).rio.write_transform(), resampling="cubic"
)
CASES["apply other CRS"] = apply_case(lambda image: image.rio.reproject("EPSG:32634"), resampling="cubic")


def dem_case(local: bool = False, **options: Any) -> Case:
    """Match and correct elevation models."""

    def run() -> Iterator[tuple[str, Any]]:
        both = dem_pair((240, 260), shift=(9.2, 2.7, -2.0), glaciers=0.1, seed=1)
        verb = both.tgt.coreg.match_local if local else both.tgt.coreg.match
        fit = verb(both.ref, where=both.stable, **options)
        yield from numbers_of(fit)
        yield from pixels_of(both.tgt.coreg.apply(fit, like=both.ref))
        yield from ((f"own {k}", v) for k, v in pixels_of(both.tgt.coreg.apply(fit)))

    return run


CASES["dem nuth_kaab"] = dem_case(matcher="nuth_kaab")
CASES["dem vertical"] = dem_case(matcher="vertical")
CASES["dem deramp"] = dem_case(matcher=["nuth_kaab", "deramp"])
CASES["dem blocks"] = dem_case(local=True, matcher="nuth_kaab", spacing=60, window=60)


@case("dem pixel sizes")
def _() -> Iterator[tuple[str, Any]]:
    both = dem_pair((240, 260), shift=(9.2, 2.7, -2.0), seed=2)
    coarse = both.ref.coarsen(y=2, x=2).mean().rio.write_crs(both.ref.rio.crs).rio.write_transform()
    yield from numbers_of(both.tgt.coreg.match(coarse, matcher="nuth_kaab"))


@case("both steps at once")
def _() -> Iterator[tuple[str, Any]]:
    both = scene(shift=smooth_field((300, 320), 1.0, seed=4))
    yield from pixels_of(both.tgt.coreg.warp_to(both.ref, spacing=40, window=64, align_grid=True))
    yield from ((f"shift {k}", v) for k, v in pixels_of(scene().tgt.coreg.shift_to(scene().ref, like=scene().ref)))


@case("rectify")
def _() -> Iterator[tuple[str, Any]]:
    both = scene()
    raw = DataArray(both.tgt.values, dims=("y", "x"))
    t = both.tgt.rio.transform()
    rng = np.random.default_rng(4)
    col, row = rng.uniform(0, 300, 25), rng.uniform(0, 290, 25)
    x, y = t @ (col + 0.5, row + 0.5)
    gcps = xcoreg.GCPs(col, row, x + 3 * np.sin(col / 50), y + 2 * np.cos(row / 40), crs="EPSG:32633")
    for kind in ("affine", "polynomial", "homography", "tps"):
        out = raw.coreg.rectify(xcoreg.fit_gcps(gcps, kind), resolution=12.0)
        yield from ((f"{kind} {name}", value) for name, value in pixels_of(out))
    corners = xcoreg.Corners((12.0, 53.2), (12.05, 53.201), (12.049, 53.17), (11.999, 53.169))
    found = raw.coreg.locate([(12.01, 53.19, 1.0), (12.04, 53.18, 2.0)], ground=corners)
    yield "located", np.stack([found.col, found.row])
    yield "placed", np.stack(both.tgt.coreg.place([3.0, 100.5], [7.0, 200.25]))


def run(names: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Run the cases; arrays by the name of the case and of the number."""
    found = {}
    for name in names:
        for key, value in CASES[name]():
            found[f"{name}/{key}"] = np.asarray(value)
        print(f"{name}: done", file=sys.stderr)
    return found


def differences(new: dict[str, Any], old: Any) -> list[str]:
    """Describe what is not the same to the last bit."""
    lines = [f"{key}: only in one of them" for key in sorted(set(new) ^ set(old.files))]
    for key in sorted(set(new) & set(old.files)):
        one, other = new[key], old[key]
        if one.shape != other.shape or one.dtype != other.dtype:
            lines.append(f"{key}: {one.dtype} {one.shape} instead of {other.dtype} {other.shape}")
        elif one.tobytes() != other.tobytes():
            same = np.asarray(one == other) | ((one != one) & (other != other))
            if not same.all():
                largest = np.nanmax(np.abs(one.astype(float) - other.astype(float)))
                lines.append(f"{key}: {int((~same).sum())} of {same.size} differ, by {largest:.3g} at most")
    return lines


def main() -> int:
    """Record the runs or compare them with a record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", metavar="FILE")
    parser.add_argument("--against", metavar="FILE")
    parser.add_argument("cases", nargs="*", help="names of runs; default all")
    chosen = parser.parse_args()
    names = [name for name in CASES if not chosen.cases or name in chosen.cases]
    found = run(names)
    if chosen.save:
        np.savez_compressed(chosen.save, **found)
    lines = []
    if chosen.against:
        with np.load(chosen.against) as old:
            lines = differences(found, old)
    print("\n".join(lines) or f"{len(names)} runs, {len(found)} arrays: the same bits")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
