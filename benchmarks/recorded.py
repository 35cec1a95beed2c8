"""Runs whose numbers are recorded by `same_bits.py`: small, seeded, and by the public interface of xcoreg alone.

A run is a function without arguments; what it returns is taken apart into arrays. A refusal is a result, too. What the
interface may call otherwise one day stands once: `phase_matched`, `check_points` and `saved_and_loaded`.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401  (registers the accessor used below)
import shapely
import xarray as xr
from affine import Affine
from common import NORTH_UP
from rasterio.rpc import RPC

import xcoreg
from xcoreg import filters, georef
from xcoreg.simulate import (
    Acquisition,
    DemNoise,
    DemPair,
    Mosaic,
    Product,
    SimulatedPair,
    Texture,
    blob_mask,
    dem_pair,
    pair,
    similarity,
    smooth_field,
    window_pairs,
)

Run = Callable[[], Any]
RUNS: dict[str, Run] = {}

KERNELS = ("nearest", "bilinear", "cubic", "lanczos")
MODELS = ("auto", "translation", "affine", "polynomial2", "polynomial3", "spline", "piecewise")
LOCAL: dict[str, Any] = {"spacing": 40, "window": 64}  # options of most fields
SHIFT = (1.37, -2.61)
UTM, OTHER_UTM, LONLAT = "EPSG:32633", "EPSG:32632", "EPSG:4326"
SOUTH_UP = Affine(10.0, 0.0, 300000.0, 0.0, 10.0, 5890000.0)
ROTATED = Affine(9.0, 3.0, 300000.0, 3.0, -9.0, 5900040.0)
DEGREES = Affine(1e-4, 0.0, 12.5, 0.0, -6e-5, 52.8)
ANTIMERIDIAN = Affine(1e-4, 0.0, 179.99, 0.0, -1e-4, 10.0)


def runs(group: str, members: dict[str, Run]) -> None:
    """Register runs under the name of their group."""
    for name, function in members.items():
        assert f"{group}: {name}" not in RUNS, name
        RUNS[f"{group}: {name}"] = function


# --- images -----------------------------------------------------------------------------------------------------------


@cache
def scene(rows: int = 256, cols: int = 256, *, shift: Any = SHIFT, seed: int = 1, **options: Any) -> SimulatedPair:
    """Two images of one ground, a constant shift apart."""
    return pair((rows, cols), shift=shift, seed=seed, **options)


@cache
def bent(rows: int = 256, cols: int = 300, *, amplitude: float = 1.5, seed: int = 2, **options: Any) -> SimulatedPair:
    """Two images of one ground, a smooth field of corrections apart."""
    return pair((rows, cols), shift=smooth_field((rows, cols), amplitude, seed=seed), seed=seed, **options)


@cache
def terrain(**options: Any) -> DemPair:
    """Two elevation models of one terrain."""
    return dem_pair((180, 220), seed=3, **options)


@cache
def real() -> tuple[xr.DataArray, xr.DataArray]:
    """Give target and reference that come with the package."""
    reference, target = xcoreg.datasets.sentinel2_pair()
    return target.load(), reference.load()


@cache
def shift_fit() -> xcoreg.Coregistration:
    """Measure the one shift of the usual scene."""
    return scene().tgt.coreg.match(scene().ref)


@cache
def field_fit() -> xcoreg.Coregistration:
    """Fit a spline to the usual bent scene."""
    return bent().tgt.coreg.match_local(bent().ref, model="spline", **LOCAL)


def match(both: SimulatedPair, **options: Any) -> Any:
    return xcoreg.match(both.tgt, both.ref, **options)


def local(both: SimulatedPair, **options: Any) -> Any:
    return xcoreg.match_local(both.tgt, both.ref, **{**LOCAL, **options})


def placed(values: np.ndarray, like: xr.DataArray, transform: Affine | None = None) -> xr.DataArray:
    """Pixels on the grid of another image, without its marker of missing pixels; or on a grid north up."""
    if transform is None:
        kept = {name: coord for name, coord in like.coords.items() if name != "spatial_ref"}
        out = xr.DataArray(values, dims=(*("band",) * (values.ndim - 2), "y", "x"), coords=kept)
        return out.rio.write_crs(like.rio.crs).rio.write_transform(like.rio.transform())
    rows, cols = values.shape[-2:]
    out = xr.DataArray(values, dims=(*("band",) * (values.ndim - 2), "y", "x")).assign_coords(
        y=transform.f + transform.e * (np.arange(rows) + 0.5), x=transform.c + transform.a * (np.arange(cols) + 0.5)
    )
    return out.rio.write_crs(like.rio.crs).rio.write_transform(transform)


def without_marker(image: xr.DataArray) -> xr.DataArray:
    return placed(image.values, image)


def with_holes(image: xr.DataArray, marker: float, dtype: str, seed: int = 4) -> xr.DataArray:
    """Put blobs of missing pixels into an image, marked if the marker is no NaN."""
    holes = blob_mask(image.shape, 0.15, scale=12.0, seed=seed)
    out = placed(np.where(holes, np.array(marker, dtype), image.values.astype(dtype)), image)
    return out if np.isnan(marker) else out.rio.write_nodata(marker)


def reprojected(image: xr.DataArray, crs: str = OTHER_UTM) -> xr.DataArray:
    return image.rio.reproject(crs, resampling=2)  # cubic


def bands(image: xr.DataArray) -> xr.Dataset:
    """Two variables, the first of which tells nothing."""
    flat = image.copy(data=np.full_like(image.values, 7))
    return xr.Dataset({"flat": flat, "red": image})


def stacked(image: xr.DataArray) -> xr.DataArray:
    """Three bands: the image, its negative and the image again, coarser in its values."""
    values = np.stack([image.values, 5000 - image.values, image.values // 16 * 16])
    return placed(values, image).assign_coords(band=[1, 2, 3]).rio.write_nodata(0)


def lazy(image: Any, rows: int = 100, cols: int = 90) -> Any:
    return image.chunk({"y": rows, "x": cols})


# --- what is simulated: another scene is no other answer --------------------------------------------------------------


def _simulated(both: SimulatedPair) -> Any:
    return {"ref": both.ref, "tgt": both.tgt, "cloud": both.tgt_cloud, "sigma": both.sigma, "shift": both.map_shift}


def _simulated_windows() -> Any:
    drawn = window_pairs(4, 64, 20.0, seed=5)
    return {name: getattr(drawn, name) for name in ("ref", "tgt", "clean", "truth", "sigma", "bound")}


CLOUDY = Acquisition(gain=1.2, offset=80.0, clouds=0.3)
runs(
    "simulate",
    {
        "pair": lambda: _simulated(scene()),
        "field, clouds, swath edge": lambda: _simulated(bent(tgt=CLOUDY, ref=Acquisition(wedge=0.2, blur=0.6))),
        "coarser, resampled": lambda: _simulated(
            scene(ref=Acquisition(coarser=2), tgt=Acquisition(resampled_from=2), texture=Texture(exponent=1.4))
        ),
        "windows": _simulated_windows,
        "terrain": lambda: terrain(glaciers=0.1, mosaic=Mosaic(tiles=(2, 2)), noise=DemNoise(white=0.3)),
    },
)

# --- one shift --------------------------------------------------------------------------------------------------------

EDGE = Acquisition(wedge=0.25)
SAME_SCENE: dict[str, Callable[[], SimulatedPair]] = {
    "96 px": lambda: scene(96, 96),
    "128 x 200 px": lambda: scene(128, 200, seed=6),
    "256 px": scene,
    "600 x 500 px": lambda: scene(600, 500, seed=7),
    "whole pixels": lambda: scene(shift=(3.0, -2.0)),
    "10 dB": lambda: scene(snr_db=10.0, seed=8),
    "clouds": lambda: scene(300, 300, tgt=CLOUDY, ref=Acquisition(clouds=0.2), seed=9),
    "swath edges": lambda: scene(300, 300, ref=EDGE, tgt=EDGE, seed=10),
    "blurred": lambda: scene(tgt=Acquisition(blur=1.0)),
    "coarser target": lambda: scene(400, 400, tgt=Acquisition(coarser=2)),
    "coarser reference": lambda: scene(480, 480, ref=Acquisition(coarser=3)),
    "south up": lambda: scene(product=Product(transform=SOUTH_UP)),
    "rotated": lambda: scene(product=Product(transform=ROTATED)),
    "longitude, latitude": lambda: scene(product=Product(transform=DEGREES, crs=LONLAT)),
    "uint8": lambda: scene(product=Product(dtype="uint8")),
    "int16": lambda: scene(300, 300, tgt=EDGE, product=Product(dtype="int16", nodata=-9999)),
    "float32": lambda: scene(300, 300, tgt=EDGE, product=Product(dtype="float32", nodata=np.nan)),
    "float64": lambda: scene(product=Product(dtype="float64", nodata=-1.0)),
    "far": lambda: scene(400, 400, shift=(33.4, -27.8)),
    "turned by a degree": lambda: scene(300, 300, shift=similarity((300, 300), degrees=0.5, shift=SHIFT)),
}
runs("match", {name: lambda both=both: match(both()) for name, both in SAME_SCENE.items()})


def _antimeridian() -> Any:
    both = scene(product=Product(transform=ANTIMERIDIAN, crs=LONLAT))
    return both.tgt.coreg.match(reprojected(both.ref, "EPSG:32660"))


def _clear() -> Any:
    both = SAME_SCENE["clouds"]()
    return match(both, where=~both.tgt_cloud, ref_where=~both.ref_cloud)


BOX = shapely.box(300300, 5897700, 302000, 5899500)
IN_THE_MIDDLE = (301300.0, 5898700.0)
runs(
    "match",
    {
        "swapped": lambda: scene().ref.coreg.match(scene().tgt),
        "other CRS": lambda: scene().tgt.coreg.match(reprojected(scene().ref)),
        "other CRS, in degrees": lambda: scene().tgt.coreg.match(reprojected(scene().ref, LONLAT)),
        "across the antimeridian": _antimeridian,
        "NaN": lambda: xcoreg.match(with_holes(scene().tgt, np.nan, "float32"), scene().ref),
        "marker": lambda: xcoreg.match(with_holes(scene().tgt, -1, "int32"), with_holes(scene().ref, 0, "uint16", 5)),
        "marker is found": lambda: without_marker(SAME_SCENE["swath edges"]().tgt).coreg.match(
            SAME_SCENE["swath edges"]().ref
        ),
        "marker is given": lambda: without_marker(scene(tgt=EDGE).tgt).coreg.match(scene().ref, nodata=0),
        "chunks": lambda: lazy(scene().tgt).coreg.match(lazy(scene().ref, 64, 256)),
        "Dataset": lambda: bands(scene().tgt).coreg.match(bands(scene().ref), band="red", ref_band="red"),
        "band": lambda: stacked(scene().tgt).coreg.match(stacked(scene().ref), band=3, ref_band=1),
        "contrast reversed": lambda: match(scene(tgt=Acquisition(gain=-1.0)), contrast="reversed"),
        "contrast any": lambda: match(scene(tgt=Acquisition(gain=-1.0)), contrast="any"),
        "window": lambda: match(scene(), window=64),
        "window, windows": lambda: match(scene(), window=100, windows=4),
        "at": lambda: match(scene(), at=IN_THE_MIDDLE, window=96),
        "max_shift": lambda: match(scene(), max_shift=4.0),
        "clear of clouds": _clear,
        "inside": lambda: match(scene(), where=BOX),
        "outside": lambda: match(scene(), where=xcoreg.outside(BOX.buffer(-600), UTM), ref_where=xcoreg.inside(BOX)),
        "where is a function": lambda: match(scene(), where=lambda x, y: x + y > 6199300),
        "footprints": lambda: match(scene(), footprint=BOX, ref_footprint=BOX),
        "own matcher": lambda: match(scene(), matcher=partial(xcoreg.phase_match, max_shift=6.0)),
        "real": lambda: real()[0].coreg.match(real()[1]),
        "real, swapped": lambda: real()[1].coreg.match(real()[0]),
    },
)

# --- windows and their matcher ----------------------------------------------------------------------------------------


def phase_matched(target: np.ndarray, reference: np.ndarray, valid: np.ndarray, **options: Any) -> Any:
    """Match windows that are valid in the same pixels; up to 0.1.0 a matcher took the reference first."""
    first = next(iter(inspect.signature(xcoreg.phase_match).parameters))
    pair = (reference, target) if first == "ref" else (target, reference)
    return xcoreg.phase_match(*pair, valid, valid, **options)


def _thinned_gcps() -> xcoreg.GCPs:
    """Twenty control points of a field; up to 0.1.0 `gcps` was a method."""
    found = field_fit().gcps
    return xcoreg.GCPs.from_rasterio(found(max_points=20)) if callable(found) else field_fit().points.thin(20).gcps


def _windows(size: int, snr_db: float, share: float = 0.0, **options: Any) -> Any:
    drawn = window_pairs(6, size, snr_db, seed=size)
    valid = ~blob_mask(drawn.ref.shape, share, seed=size)
    return phase_matched(drawn.tgt, drawn.ref, valid, **options)


runs(
    "windows",
    {
        "64 px": lambda: _windows(64, 20.0),
        "128 px": lambda: _windows(128, 10.0),
        "a third is masked": lambda: _windows(96, 20.0, 0.3),
        "any contrast": lambda: _windows(64, 30.0, contrast="any", max_shift=5.0, compare=False),
        "bound": lambda: xcoreg.crlb(window_pairs(1, 64, 30.0, seed=5).clean[0], 0.01),
    },
)

# --- fields -----------------------------------------------------------------------------------------------------------


class Mean:
    """A user's own model: the mean."""

    def fit(self, _x: Any, _y: Any, dx: np.ndarray, dy: np.ndarray, _cov: Any) -> Mean:
        """Fit it to tie points."""
        self.mean = float(np.mean(dx)), float(np.mean(dy))
        return self

    def predict(self, x: Any, _y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Tell the correction at places."""
        return np.full(np.shape(x), self.mean[0]), np.full(np.shape(x), self.mean[1])

    def to_dict(self) -> dict[str, Any]:
        """Write it down in plain types."""
        return {"kind": "mean", "mean": list(self.mean)}


OWN_FILTERS = [
    filters.reliability(60.0),
    filters.ssim(0.01),
    filters.neighbours(sigmas=3.0, floor=0.05),
    filters.model("affine", sigmas=4.0),
    lambda points: points.score < 0.5,
]


def _places() -> np.ndarray:
    return np.random.default_rng(6).uniform([300500, 5898000], [302500, 5899500], (40, 2))


def _turned() -> SimulatedPair:
    return scene(256, 300, shift=similarity((256, 300), degrees=0.3, scale=1.002, shift=SHIFT), seed=11)


runs("match_local", {kind: lambda kind=kind: local(bent(), model=kind) for kind in MODELS})
runs(
    "match_local",
    {
        "own model": lambda: local(bent(), model=Mean()),
        "affine, turned": lambda: local(_turned(), model="affine"),
        "defaults, 500 px": lambda: local(bent(500, 500, seed=12), spacing=None, window=None),
        "clouds": lambda: local(bent(tgt=CLOUDY, seed=13)),
        "mask": lambda: local(bent(tgt=CLOUDY, seed=13), where=~bent(tgt=CLOUDY, seed=13).tgt_cloud, model="affine"),
        "no filters": lambda: local(bent(tgt=CLOUDY, seed=13), filters=[], model="polynomial2"),
        "filter by reliability": lambda: local(bent(snr_db=15.0), filters=["reliability"], model="affine"),
        "own filters": lambda: local(bent(snr_db=15.0), filters=OWN_FILTERS, model="affine"),
        "given places": lambda: local(bent(), spacing=None, points=_places(), model="polynomial2"),
        "given tie points": lambda: local(bent(), spacing=None, points=field_fit().points, model="piecewise"),
        "given places in degrees": lambda: local(
            bent(), spacing=None, model="affine", points=gpd.GeoSeries.from_xy(*_places().T, crs=UTM).to_crs(LONLAT)
        ),
        "max_shift": lambda: local(bent(), max_shift=1.0, model="affine"),
        "other CRS": lambda: bent().tgt.coreg.match_local(reprojected(bent().ref), **LOCAL),
        "coarser reference": lambda: local(bent(300, 300, ref=Acquisition(coarser=2)), window=96),
        "rotated": lambda: local(bent(product=Product(transform=ROTATED)), model="spline"),
        "chunks": lambda: lazy(bent().tgt).coreg.match_local(lazy(bent().ref), **LOCAL),
        "tie points alone": lambda: xcoreg.tie_points(bent().tgt, bent().ref, **LOCAL),
        "filters alone": lambda: filters.run_filters(
            local(bent(snr_db=15.0), filters=[], model="affine").points, ["ssim", "neighbours", "model"]
        ),
        "real": lambda: real()[0].coreg.match_local(real()[1], spacing=60, window=96),
    },
)

# --- moving and resampling --------------------------------------------------------------------------------------------


def _large() -> Any:
    both = bent(1200, 1100, amplitude=3.0, seed=15, tgt=CLOUDY)
    return lazy(both.tgt, 512, 300).coreg.warp_to(lazy(both.ref, 500, 500), like=both.ref).compute()


GRIDS: dict[str, Callable[[], dict[str, Any]]] = {
    "align_grid": lambda: {"align_grid": True},
    "like": lambda: {"like": scene().ref},
    "resolution": lambda: {"resolution": 25.0},
}
runs("shift_to", {"plain": lambda: scene().tgt.coreg.shift_to(scene().ref)})
for _kernel in KERNELS:
    _members = {
        f"{name}, {_kernel}": lambda grid=grid, kernel=_kernel: scene().tgt.coreg.shift_to(
            scene().ref, resampling=kernel, **grid()
        )
        for name, grid in GRIDS.items()
    }
    runs("shift_to", _members)
    runs("warp_to", {_kernel: lambda kernel=_kernel: bent().tgt.coreg.warp_to(bent().ref, resampling=kernel, **LOCAL)})


def apply_to(image: Any, fit: Callable[[], Any] = field_fit, **options: Any) -> Any:
    """Correct an image, and compute it."""
    return image.coreg.apply(fit(), **options).compute()


def _coarse(dtype: str) -> xr.DataArray:
    """Another image of the place of the bent scene: 20 m, of any dtype, larger than that."""
    drawn = 100 * np.random.default_rng(7).standard_normal((140, 160))
    transform = Affine(20.0, 0.0, 299900.0, 0.0, -20.0, 5900100.0)
    return placed((drawn > 20 if dtype == "bool" else drawn).astype(dtype), bent().ref, transform)


def _other_utm() -> xr.DataArray:
    return reprojected(bent().tgt.astype("float32").rio.write_nodata(np.nan))


runs(
    "shift_to",
    {
        "pixels of two sizes": lambda: scene().tgt.coreg.shift_to(scene().ref, resolution=(12.0, 30.0)),
        "whole pixels, like": lambda: scene(shift=(3.0, -2.0)).tgt.coreg.apply(
            match(scene(shift=(3.0, -2.0))), like=scene().ref
        ),
        "other CRS, like": lambda: scene().tgt.coreg.shift_to(reprojected(scene().ref), like=reprojected(scene().ref)),
        "south up": lambda: scene(product=Product(transform=SOUTH_UP)).tgt.coreg.shift_to(
            scene(product=Product(transform=SOUTH_UP)).ref, align_grid=True
        ),
        "rotated": lambda: scene(product=Product(transform=ROTATED)).tgt.coreg.shift_to(
            scene(product=Product(transform=ROTATED)).ref
        ),
        "degrees": lambda: scene(product=Product(transform=DEGREES, crs=LONLAT)).tgt.coreg.shift_to(
            scene(product=Product(transform=DEGREES, crs=LONLAT)).ref, align_grid=True
        ),
        "Dataset": lambda: bands(scene().tgt).coreg.shift_to(scene().ref, band="red", align_grid=True),
        "bands": lambda: stacked(scene().tgt).coreg.shift_to(scene().ref, like=scene().ref),
        "chunks": lambda: lazy(scene().tgt).coreg.shift_to(scene().ref, like=scene().ref).compute(),
        "holes": lambda: with_holes(scene().tgt, 0, "uint16").coreg.shift_to(scene().ref, align_grid=True),
        "holes, nodata": lambda: with_holes(scene().tgt, 0, "uint16").coreg.shift_to(
            scene().ref, nodata=0, resolution=15
        ),
        "no marker": lambda: without_marker(scene().tgt).coreg.shift_to(scene().ref, like=scene().ref),
        "real": lambda: real()[0].coreg.shift_to(real()[1], align_grid=True),
    },
)
runs(
    "warp_to",
    {
        "like": lambda: bent().tgt.coreg.warp_to(bent().ref, like=bent().ref, **LOCAL),
        "resolution": lambda: bent().tgt.coreg.warp_to(bent().ref, resolution=25.0, **LOCAL),
        "piecewise": lambda: bent().tgt.coreg.warp_to(bent().ref, model="piecewise", **LOCAL),
        "chunks": lambda: lazy(bent().tgt).coreg.warp_to(bent().ref, align_grid=True, **LOCAL).compute(),
        "large, chunks": _large,
        "other CRS": lambda: bent().tgt.coreg.warp_to(reprojected(bent().ref), like=reprojected(bent().ref), **LOCAL),
        "holes": lambda: with_holes(bent().tgt, np.nan, "float32").coreg.warp_to(bent().ref, **LOCAL),
        "real": lambda: real()[0].coreg.warp_to(real()[1], like=real()[1], spacing=60, window=96),
    },
)
runs("apply", {dtype: lambda dtype=dtype: apply_to(_coarse(dtype)) for dtype in ("uint8", "int16", "int32", "bool")})
runs(
    "apply",
    {
        "float64": lambda: apply_to(_coarse("float64"), resampling="lanczos"),
        "a shift": lambda: apply_to(_coarse("float32"), shift_fit),
        "a shift, aligned": lambda: apply_to(_coarse("float32"), shift_fit, align_grid=True),
        "nodata": lambda: apply_to(_coarse("int16"), nodata=-999, like=bent().ref),
        "other CRS": lambda: apply_to(_other_utm()),
        "other CRS, a shift": lambda: apply_to(_other_utm(), shift_fit),
        "other CRS, like": lambda: apply_to(_other_utm(), like=bent().ref, resampling="bilinear"),
        "bands": lambda: apply_to(stacked(bent().tgt)),
        "bands in chunks": lambda: apply_to(lazy(stacked(bent().tgt)), like=bent().ref),
        "Dataset": lambda: apply_to(bands(bent().tgt), like=bent().ref, resampling="nearest"),
        "ref_grid": lambda: apply_to(_coarse("float32"), ref_grid=bent().ref.coreg.grid),
        "like a GeoBox": lambda: apply_to(bent().tgt, like=bent().ref.coreg.grid[20:200, 10:250]),
        "far outside": lambda: apply_to(bent().tgt, like=bent().ref.assign_coords(x=bent().ref.x + 5e5)),
        "complex": lambda: apply_to(bent().tgt.astype("complex64")),
        "no marker": lambda: apply_to(without_marker(bent().tgt), resampling="nearest"),
    },
)

# --- elevation models -------------------------------------------------------------------------------------------------

MATCHERS: dict[str, Any] = {
    "nuth_kaab": "nuth_kaab",
    "classic": "nuth_kaab:classic",
    "vertical": "vertical",
    "mean": "vertical:mean",
    "weighted": "vertical:weighted",
    "deramp": "deramp",
    "deramp 2": "deramp:2",
    "nuth_kaab, deramp": ["nuth_kaab", "deramp"],
    "nuth_kaab, vertical": ["nuth_kaab", "vertical:median"],
}


def raise_to(matcher: Any = "nuth_kaab", **options: Any) -> Any:
    """Match the terrain with glaciers."""
    both = terrain(glaciers=0.1)
    return both.tgt.coreg.match(both.ref, matcher=matcher, where=both.stable, **options)


@cache
def height_fit() -> xcoreg.Coregistration:
    return raise_to()


@cache
def block_fit() -> xcoreg.Coregistration:
    both = terrain(mosaic=Mosaic(tiles=(2, 2)))
    return both.tgt.coreg.match_local(both.ref, matcher="nuth_kaab", spacing=60)


def measured(n: int = 1500) -> gpd.GeoDataFrame:
    """Points of known height on the terrain, in degrees."""
    ref = terrain(glaciers=0.1).ref
    rng = np.random.default_rng(8)
    row, col = rng.integers(0, ref.shape[0], n), rng.integers(0, ref.shape[1], n)
    heights = ref.values[row, col] + rng.normal(0, 0.2, n)
    places = gpd.points_from_xy(ref.x.values[col], ref.y.values[row], crs=UTM)
    return gpd.GeoDataFrame({"h": heights}, geometry=places).to_crs(LONLAT)


def check_points(**options: Any) -> Any:
    return xcoreg.compare_points(terrain(glaciers=0.1).tgt, measured(), z="h", **options)


def _heights(dtype: str) -> xr.DataArray:
    both = terrain(glaciers=0.1)
    return placed(np.round(both.tgt.values + 1000).astype(dtype), both.tgt)


runs("elevation", {name: lambda matcher=matcher: raise_to(matcher) for name, matcher in MATCHERS.items()})
runs(
    "elevation",
    {
        "everything": lambda: terrain(glaciers=0.1).tgt.coreg.match(terrain(glaciers=0.1).ref, matcher="nuth_kaab"),
        "at": lambda: raise_to(at=(502200.0, 5398200.0), window=100),
        "max_shift": lambda: raise_to(max_shift=2.0),
        "other CRS": lambda: terrain().tgt.coreg.match(reprojected(terrain().ref), matcher="nuth_kaab"),
        "chunks": lambda: lazy(terrain().tgt).coreg.match(lazy(terrain().ref), matcher="nuth_kaab"),
        "phases": lambda: terrain().tgt.coreg.match(terrain().ref),
        "points": lambda: terrain(glaciers=0.1).tgt.coreg.match(measured(), z="h", matcher="nuth_kaab"),
        "points, classic": lambda: terrain(glaciers=0.1).tgt.coreg.match(measured(), matcher="nuth_kaab:classic"),
        "points, vertical": lambda: terrain(glaciers=0.1).tgt.coreg.match(measured(), matcher="vertical"),
        "compare points": check_points,
        "compare points, corrected": lambda: check_points(fit=height_fit()),
        "blocks": block_fit,
        "blocks, spline": lambda: terrain(mosaic=Mosaic(tiles=(2, 2))).tgt.coreg.match_local(
            terrain(mosaic=Mosaic(tiles=(2, 2))).ref, matcher=["nuth_kaab", "deramp"], spacing=50, model="spline"
        ),
        "raised": lambda: apply_to(terrain(glaciers=0.1).tgt, height_fit),
        "raised, like": lambda: apply_to(terrain(glaciers=0.1).tgt, height_fit, like=terrain().ref),
        "raised by blocks": lambda: apply_to(lazy(terrain(mosaic=Mosaic(tiles=(2, 2))).tgt), block_fit),
        "raised by a ramp": lambda: apply_to(terrain().tgt, lambda: raise_to("deramp")),
        "raised integers": lambda: apply_to(_heights("int16"), height_fit, align_grid=True),
        "raised unsigned integers": lambda: apply_to(_heights("uint16"), height_fit, vertical=True),
        "photo": lambda: apply_to(_heights("float32"), height_fit, vertical=False, align_grid=True),
        "field of heights": lambda: block_fit().to_raster(resolution=100.0),
    },
)

# --- control points, RPCs, corners ------------------------------------------------------------------------------------


def control_points(n: int = 40, bend: float = 0.0, noise: float = 0.0, *, crs: str = UTM) -> xcoreg.GCPs:
    """Control points of the usual scene, seen from somewhere aside."""
    rng = np.random.default_rng(9)
    col, row = rng.uniform(0, 255, (2, n))
    x, y = georef.pixel_to_map(NORTH_UP, col, row)
    x, y = x + 0.05 * y - 0.05 * 5900040, y - 0.03 * x + 0.03 * 300000
    x += bend * ((col - 128) / 128) ** 2 * (row / 128) + noise * rng.standard_normal(n)
    y += bend * ((row - 128) / 128) ** 3 + noise * rng.standard_normal(n)
    points = xcoreg.GCPs(col, row, x, y, crs=UTM)
    return points if crs == UTM else points.to_crs(crs)


def exact_points() -> xcoreg.GCPs:
    """Control points that put the target of the usual scene where its transform does."""
    col, row = (part.ravel() for part in np.meshgrid(np.linspace(0, 255, 5), np.linspace(0, 255, 5)))
    return xcoreg.GCPs(col, row, *georef.pixel_to_map(NORTH_UP, col, row), crs=UTM)


def raw(image: xr.DataArray) -> xr.DataArray:
    """Take the pixels alone."""
    return xr.DataArray(image.values, dims=("y", "x")).rio.write_nodata(0)


def with_points(points: xcoreg.GCPs | None = None) -> xr.DataArray:
    """Take the target of the usual scene as known by control points alone."""
    points = exact_points() if points is None else points
    return raw(scene().tgt).rio.write_gcps(points.to_rasterio(), points.crs)


def _rpcs() -> RPC:
    def polynomial(*terms: float) -> list[float]:
        return [*terms, *[0.0] * (20 - len(terms))]

    return RPC(
        height_off=100.0,
        height_scale=500.0,
        lat_off=53.19,
        lat_scale=0.012,
        long_off=12.03,
        long_scale=0.02,
        line_off=128.0,
        line_scale=128.0,
        samp_off=128.0,
        samp_scale=128.0,
        line_num_coeff=polynomial(0.0, 0.05, -1.0, 0.02, 0.003),
        line_den_coeff=polynomial(1.0, 0.001),
        samp_num_coeff=polynomial(0.0, 1.0, 0.04, -0.03, 0.002),
        samp_den_coeff=polynomial(1.0, 0.0, 0.002),
    )


def _corners() -> xcoreg.Corners:
    return xcoreg.Corners((12.00, 53.20), (12.04, 53.205), (12.042, 53.18), (12.003, 53.176))


ORDERS = {f"polynomial {n}": n for n in range(1, 5)}


def _fitted(model: str = "auto", **options: Any) -> Any:
    return xcoreg.fit_gcps(control_points(bend=40.0, noise=2.0), model, **options)


def _rectified(ground: Any, **options: Any) -> Any:
    return raw(scene().tgt).coreg.rectify(ground, **options)


runs("fit_gcps", {model: lambda model=model: _fitted(model) for model in ("auto", "affine", "homography", "tps")})
runs("fit_gcps", {name: lambda order=order: _fitted("polynomial", order=order) for name, order in ORDERS.items()})
runs(
    "fit_gcps",
    {
        "robust": lambda: _fitted("polynomial", order=2, robust=True),
        "weights": lambda: _fitted("affine", weights=np.linspace(0, 1, 40)),
        "degrees": lambda: xcoreg.fit_gcps(control_points(bend=30.0, crs=LONLAT), "tps", crs="EPSG:3035"),
        "too few": lambda: xcoreg.fit_gcps(control_points(2)),
    },
)
runs(
    "rectify",
    {
        "control points": lambda: _rectified(control_points(bend=40.0)),
        "affine": lambda: _rectified(_fitted("affine"), resampling="bilinear"),
        "homography": lambda: _rectified(_fitted("homography"), resolution=15.0),
        "polynomial": lambda: _rectified(_fitted("polynomial", order=3), crs=OTHER_UTM, resolution=(10.0, 20.0)),
        "tps": lambda: _rectified(_fitted("tps"), like=scene().ref, resampling="lanczos"),
        "tps, chunks": lambda: lazy(raw(scene().tgt)).coreg.rectify(_fitted("tps"), like=scene().ref).compute(),
        "corners": lambda: _rectified(_corners(), crs=UTM, resolution=10.0),
        "RPCs": lambda: _rectified(_rpcs(), crs=UTM, resolution=12.0, height=80.0),
        "own points": lambda: with_points(control_points(bend=20.0)).coreg.rectify(crs=UTM, resolution=10.0),
        "shift_to": lambda: with_points().coreg.shift_to(scene().ref),
        "shift_to, like": lambda: with_points().coreg.shift_to(scene().ref, like=scene().ref),
        "warp_to": lambda: with_points().coreg.warp_to(scene().ref, align_grid=True, model="affine", **LOCAL),
        "apply": lambda: with_points().coreg.apply(field_fit(), resampling="nearest"),
        "nothing known": lambda: _rectified(None),
    },
)

# --- points in images -------------------------------------------------------------------------------------------------


def _some_points(n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(10)
    x, y = rng.uniform(299900, 302700, n), rng.uniform(5897400, 5900100, n)
    return np.column_stack([*georef.transform_points(UTM, LONLAT, x, y), rng.uniform(0, 1, n)])


def _in_mercator() -> tuple[np.ndarray, np.ndarray]:
    return georef.transform_points(LONLAT, "EPSG:3857", *_some_points().T[:2])


LOCATED = {kernel: {"resampling": kernel} for kernel in KERNELS}
runs("locate", {name: lambda how=how: scene().tgt.coreg.locate(_some_points(), **how) for name, how in LOCATED.items()})
runs(
    "locate",
    {
        "normalized": lambda: scene().tgt.coreg.locate(_some_points(), normalized=True, resampling=None),
        "other CRS": lambda: lazy(scene().tgt).coreg.locate(_in_mercator(), crs="EPSG:3857"),
        "tps": lambda: raw(scene().tgt).coreg.locate(_some_points(), ground=_fitted("tps")),
        "RPCs": lambda: raw(scene().tgt).coreg.locate(_some_points(), ground=_rpcs(), height=20.0),
        "corners": lambda: raw(scene().tgt).coreg.locate(_some_points(), ground=_corners(), normalized=True),
        "place": lambda: scene().tgt.coreg.place(np.linspace(-3, 260, 20), np.linspace(250, -4, 20)),
        "place by tps": lambda: raw(scene().tgt).coreg.place(np.arange(9.0), 7.0, ground=_fitted("tps"), crs=UTM),
        "place by RPCs": lambda: raw(scene().tgt).coreg.place(np.arange(9.0), 7.0, ground=_rpcs(), crs=OTHER_UTM),
    },
)

# --- what a user looks at, and files ----------------------------------------------------------------------------------


def saved_and_loaded() -> Any:
    """Take a fit and its tie points through files."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        field_fit().save(at / "fit.json")
        field_fit().points.save(at / "points.csv")
        points = xcoreg.TiePoints.load(at / "points.csv")
        return {"fit": xcoreg.load_fit(at / "fit.json"), "points": points, "table": points.to_dataframe()}


def _control_points_in_files() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"gcps{suffix}") for suffix in (".csv", ".points", ".pts", ".gpkg")]
        for path in paths:
            control_points(bend=3.0).save(path)
        return [xcoreg.read_gcps(path) for path in paths]


def _image_with_control_points() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        plain = xcoreg.write_raster(scene().tgt, Path(folder, "plain.tif"))
        path = georef.attach_gcps(plain, exact_points(), Path(folder, "with.tif"))
        image = xcoreg.open_raster(path).squeeze()
        return {"gcps": image.coreg.gcps, "fixed": image.coreg.shift_to(scene().ref, align_grid=True).compute()}


def outline(image: xr.DataArray) -> Any:
    return image.coreg.footprint()


def _warped_file() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        warped = lazy(bent().tgt).coreg.apply(field_fit(), like=bent().ref)
        path = xcoreg.write_raster(warped, Path(folder, "warped.tif"))
        return {"whole": xcoreg.open_raster(path).load(), "lazy": xcoreg.open_raster(path, chunks=64).compute()}


def _batch(verb: str, **options: Any) -> Any:
    images = {"one": scene(), "two": scene(seed=14), "far": bent()}
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        jobs = [
            [xcoreg.write_raster(getattr(both, side), at / f"{name}_{side}.tif") for side in ("tgt", "ref")]
            for name, both in images.items()
        ]
        xcoreg.batch([tuple(map(str, job)) for job in jobs], at / "out", verb=verb, **options)
        made = sorted((at / "out").glob("*.tif"))
        return [xcoreg.open_raster(path).load() for path in made] + [
            xcoreg.load_fit(path) for path in sorted((at / "out").rglob("*.fit.json"))
        ]


def _world_file() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        georef.write_world_file(Path(folder, "a.tfw"), ROTATED)
        georef.write_prj(Path(folder, "a.prj"), UTM)
        return list(georef.read_world_file(Path(folder, "a.tfw"))), georef.read_prj(Path(folder, "a.prj")).to_epsg()


def _coordinates() -> Any:
    col, row = np.linspace(-2, 300, 7), np.linspace(9, 250, 7)
    lon, lat = xcoreg.pixel_to_lonlat(ROTATED, UTM, col, row)
    return {
        "lonlat": (lon, lat),
        "back": xcoreg.lonlat_to_pixel(ROTATED, UTM, lon, lat),
        "other": xcoreg.transform_points(LONLAT, "EPSG:3857", lon, lat),
        "geotransform": xcoreg.to_geotransform(ROTATED),
        "gsd": georef.gsd(ROTATED),
        "cov": georef.cov_to_map(georef.linear_of(ROTATED), [[2.0, 0.3], [0.3, 1.0]]),
        "moved": georef.local_displacement(lon, lat, 1e-5, -2e-5, LONLAT, UTM),
        "epsg": [xcoreg.parse_crs(text).to_epsg() for text in (UTM, 4326, "utm 33n", "WGS 84")],
    }


runs(
    "look",
    {
        "footprint": lambda: outline(SAME_SCENE["swath edges"]().tgt),
        "footprint of holes": lambda: outline(with_holes(scene().tgt, np.nan, "float32")),
        "footprint of chunks": lambda: outline(lazy(real()[0])),
        "overlap": lambda: SAME_SCENE["swath edges"]().tgt.coreg.overlap(SAME_SCENE["swath edges"]().ref),
        "overlap, other CRS": lambda: real()[0].coreg.overlap(reprojected(real()[1])),
        "nodata": lambda: [real()[0].coreg.nodata, without_marker(scene(tgt=EDGE).tgt).coreg.nodata],
        "field": lambda: field_fit().to_raster(resolution=100.0),
        "field, like": lambda: field_fit().to_raster(like=bent().ref),
        "field, default": lambda: field_fit().to_raster(),
        "field of a shift": lambda: shift_fit().to_raster(resolution=500.0),
        "control points": _thinned_gcps,
        "moved transform": lambda: list(shift_fit().moved_transform),
        "coordinates": _coordinates,
    },
)
runs(
    "files",
    {
        "fit, tie points": saved_and_loaded,
        "control points": _control_points_in_files,
        "image with control points": _image_with_control_points,
        "warped in chunks": _warped_file,
        "world file": _world_file,
        "batch of shifts": lambda: _batch("shift", align_grid=True),
        "batch of fields": lambda: _batch("warp", like="reference", **LOCAL),
    },
)

# --- refusals ---------------------------------------------------------------------------------------------------------


def _checkerboard() -> xr.DataArray:
    row, col = np.mgrid[:256, :256]
    return placed((1000 + 800 * ((row // 8 + col // 8) % 2)).astype("uint16"), scene().tgt)


def _beach(values: float) -> xr.DataArray:
    return placed(np.full((256, 256), values, "float32"), scene().tgt)


UNRELATED: dict[str, Callable[[], tuple[xr.DataArray, xr.DataArray]]] = {
    "unrelated": lambda: (scene(shift=None).tgt, scene(shift=None).ref),
    "noise": lambda: (scene(snr_db=-np.inf).tgt, scene(snr_db=-np.inf).ref),
    "flat": lambda: (_beach(5.0), scene().ref),
    "nothing valid": lambda: (_beach(np.nan), scene().ref),
    "checkerboard": lambda: (_checkerboard(), _checkerboard()),
}
for _name, _images in UNRELATED.items():
    runs("refused", {f"{_name}, returned": lambda both=_images: xcoreg.match(*both(), errors="return")})
    runs("refused", {f"{_name}, raised": lambda both=_images: xcoreg.match(*both())})
    runs("refused", {f"{_name}, field": lambda both=_images: xcoreg.match_local(*both(), errors="return", **LOCAL)})
runs(
    "refused",
    {
        "beyond max_shift": lambda: match(scene(400, 400, shift=(33.4, -27.8)), max_shift=3.0, errors="return"),
        "apart": lambda: xcoreg.match(scene().tgt, scene().ref.assign_coords(x=scene().ref.x + 1e5)),
        "no CRS": lambda: xcoreg.match(raw(scene().tgt), scene().ref),
        "unknown option": lambda: match(scene(), windw=64),
        "window of three pixels": lambda: match(scene(), window=3),
        "too few for a cubic": lambda: local(scene(128, 128), spacing=50, model="polynomial3"),
        "unknown model": lambda: local(bent(), model="quartic"),
        "fit that is not trusted": lambda: scene().tgt.coreg.apply(
            match(scene(shift=None), errors="return"), align_grid=True
        ),
        "terrain, flat": lambda: _beach(5.0).coreg.match(_beach(6.0), matcher="nuth_kaab", errors="return"),
        "terrain, unrelated": lambda: raise_to(at=(1.0, 2.0)),
    },
)
