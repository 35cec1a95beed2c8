"""What a fit records besides its answer: options, the grid of the reference, interim results, the models tried."""

from __future__ import annotations

import json
import math
import os
import re
import time
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Floats, Ints
from xcoreg.core.matches import decode, encode, freeze

_Kind = TypeVar("_Kind")
Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Window:
    """A matching window: centre in the CRS of the target, side in px of the matching grid."""

    x: float
    y: float
    size: int


@dataclass(frozen=True)
class Interim:
    """How one shift came about; None or empty where it was not recorded.

    tgt_corners, ref_corners, overlap_corners : Vertices of footprints and overlap; first and last in the target's CRS.
    linear : Linear part (a, b, d, e) of the matching grid, CRS of the target.
    window : The first window that agrees with the answer; points : number of points of known height, if any.
    integer, subpixel : Whole-pixel and sub-pixel part of the shift, px of the matching grid.
    """

    tgt_corners: Corners = ()
    ref_corners: Corners = ()
    overlap_corners: Corners = ()
    linear: georef.Linear | None = None
    window: Window | None = None
    integer: tuple[int, int] | None = None
    subpixel: tuple[float, float] | None = None
    points: int | None = None

    def __post_init__(self) -> None:
        for name in ("tgt_corners", "ref_corners", "overlap_corners"):
            _set(self, name, tuple((float(x), float(y)) for x, y in getattr(self, name)))
        for name, kind in (("linear", float), ("integer", int), ("subpixel", float)):
            if getattr(self, name) is not None:
                _set(self, name, tuple(kind(part) for part in getattr(self, name)))


@dataclass(frozen=True)
class TriedModel:
    """A model that was compared with others, and its error at check points (cross-validation).

    kind, component : Name of the model; of elevation models also "dx, dy" or "dz".
    rmse_r : Radial root mean square error, CRS units.
    score, error : The same, robust and weighted, which decides; standard error of its difference to the best.
    parameters : Effective number of parameters per component.
    chosen, reason : Whether this is the model of the fit; why it could not be fitted.
    """

    kind: str
    rmse_r: float = np.nan
    score: float = np.nan
    error: float = np.nan
    parameters: float = np.nan
    chosen: bool = False
    reason: str = ""
    component: str = ""


@dataclass(frozen=True, eq=False)
class CheckPoints:
    """Residuals of tie points, each predicted by a fit without it.

    window : (n,) int; Identifiers of the tie points.
    dx, dy : (n,) float; Observed minus predicted correction, CRS units; NaN where unknown.
    height : (n,) float; Height of the ground there, m; None where no terrain was given.
    """

    window: Ints
    dx: Floats
    dy: Floats
    height: Floats | None = None

    def __post_init__(self) -> None:
        n = (np.size(self.window),)
        for name, dtype in (("window", np.int64), ("dx", np.float64), ("dy", np.float64), ("height", np.float64)):
            if getattr(self, name) is not None:
                _set(self, name, freeze(name, getattr(self, name), n, dtype))


@dataclass(frozen=True)
class Assessment:
    """How a model of a field was chosen: the models tried, and the residuals at check points of the chosen one."""

    models: tuple[TriedModel, ...]
    check: CheckPoints


@dataclass(frozen=True)
class ElevationDetails:
    """How elevation models were compared.

    correlation_px : Correlation length of the noise, px.
    powers : Exponents of the polynomial of heights.
    reason, cure : Why they were refused, and what to do, where the status does not say it.
    noise_slopes, noise_sigma : Slopes, degrees, and standard deviations of the residuals there.
    correlation : Of the residuals, at 0, 1, 2 ... px.
    """

    correlation_px: float
    powers: tuple[tuple[int, int], ...]
    reason: str = ""
    cure: str = ""
    noise_slopes: tuple[float, ...] = ()
    noise_sigma: tuple[float, ...] = ()
    correlation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("noise_slopes", "noise_sigma", "correlation"):
            _set(self, name, tuple(map(float, getattr(self, name))))
        _set(self, "powers", tuple((int(one), int(two)) for one, two in self.powers))


@dataclass(frozen=True)
class BiasCurve:
    """A bias of heights by one variable: a cubic spline of uniform knots, constant beyond its ends.

    name : "elevation", "slope" (degrees), "curvature", or the name of a user's variable.
    start, step, coef : First knot, distance between knots, and coefficients, in the unit of the heights.
    middle, spread : The spline is one of asinh((variable - middle) / spread); a spread of 0 for the variable itself.
    """

    name: str
    start: float
    step: float
    coef: tuple[float, ...]
    middle: float = 0.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        _set(self, "coef", tuple(map(float, self.coef)))


@dataclass(frozen=True)
class Origin:
    """What a fit was made of, and when.

    target, reference : Names of the images, empty where they have none.
    date : UTC, ISO 8601; that of SOURCE_DATE_EPOCH where it is set.
    corrections : Identifiers of the corrections that the target carried already; None in files of older versions.
    """

    target: str = ""
    reference: str = ""
    date: str = ""
    corrections: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.corrections is not None:
            _set(self, "corrections", tuple(map(str, self.corrections)))

    @classmethod
    def of(cls, target: Any, reference: Any) -> Origin:
        """Describe a fit of two images that is made now."""
        return cls(_name_of(target), _name_of(reference), utc_now(), corrections_of(target))


def _name_of(image: Any) -> str:
    """Name of the file of an image, or its own; empty where there is none."""
    bands = list(image.data_vars.values())[:1] if hasattr(image, "data_vars") else [image]
    source = next((band.encoding.get("source") for band in bands if hasattr(band, "encoding")), None)
    path = (
        "" if str(source).startswith("<") else str(source or "").partition("?")[0]
    )  # no XML, no signature of an address
    name = None if hasattr(image, "columns") else getattr(image, "name", None)  # a column may be called "name"
    return PurePath(path).name if path else "" if name is None else str(name)


def corrections_of(image: Any) -> tuple[str, ...]:
    """Identify the corrections in the history of an image; those of 0.1.0 have nothing but their numbers."""
    try:
        done = json.loads(getattr(image, "attrs", {}).get("xcoreg", "[]"))
    except (TypeError, ValueError, RecursionError):
        return ()
    entries = [one for one in done if isinstance(one, dict)] if isinstance(done, list) else []
    moved = [one for one in entries if "correction" in one or str(one.get("did")).startswith(("moved", "resampled"))]
    return tuple(str(one.get("fit") or f"{one.get('model')} {one.get('dx')} {one.get('dy')}") for one in moved)


def utc_now() -> str:
    """Date and time (UTC) to record, ISO 8601; that of SOURCE_DATE_EPOCH where it is set, for outputs that repeat."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = float(given) if given.isdecimal() else time.time()
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class TargetHeights:
    """Which band of the target held the heights that were matched.

    unit : Short name of their unit, "" where it was unknown; dz is in it.
    variable, name : Names of the array and of the band, None without one.
    position : Of the band, from 0.
    dtype : Of the stored numbers.
    """

    unit: str = ""
    variable: str | None = None
    position: int = 0
    name: str | None = None
    dtype: str = ""


@dataclass(frozen=True)
class ParallaxDetails:
    """Shift in proportion to the height of the terrain, in the middle of the tie points.

    dx, dy : Correction per metre of height, CRS units; cov : its 2 x 2 covariance.
    height_nmad : NMAD of the heights that would explain the residuals at check points, m: what is left as DEM error.
    """

    dx: float
    dy: float
    cov: tuple[tuple[float, float], tuple[float, float]]
    height_nmad: float = np.nan

    def __post_init__(self) -> None:
        (xx, xy), (yx, yy) = self.cov
        _set(self, "cov", ((float(xx), float(xy)), (float(yx), float(yy))))

    @property
    def direction(self) -> float:
        """Direction of the correction of what is higher, degrees clockwise from the y axis of the CRS (North)."""
        return float(np.degrees(np.arctan2(self.dx, self.dy)) % 360.0)

    @property
    def size(self) -> float:
        """Length of the correction per metre of height, CRS units."""
        return float(np.hypot(self.dx, self.dy))

    @property
    def size_sigma(self) -> float:
        """Standard deviation of the length."""
        unit = np.array([self.dx, self.dy]) / self.size
        return float(np.sqrt(unit @ np.array(self.cov) @ unit))

    @property
    def direction_sigma(self) -> float:
        """Standard deviation of the direction, degrees."""
        across = np.array([self.dy, -self.dx]) / self.size
        return float(np.degrees(np.sqrt(across @ np.array(self.cov) @ across) / self.size))


@dataclass(frozen=True)
class SensorDetails:
    """Sensor of a raw image that was matched over terrain; the fit is in the pixels of that image.

    rpcs : Its RPCs as delivered, by name; None for another sensor.
    dem : Name of the elevation model.
    heights : Lowest and largest height below the image, m above the ellipsoid.
    dem_sigma : Standard deviation of the errors of the heights, means over windows, that the tie points show, m.
    """

    rpcs: dict[str, Any] | None = None
    dem: str = ""
    heights: tuple[float, float] = (0.0, 0.0)
    dem_sigma: float = np.nan

    def __post_init__(self) -> None:
        low, high = self.heights
        _set(self, "heights", (float(low), float(high)))


@dataclass(frozen=True, eq=False)
class Details:
    """What a fit records besides its answer.

    options : Options that were given, as plain JSON types; whatever is none becomes its text.
    ref_grid, tgt_nodata, ref_nodata : Grid of the reference; markers of missing pixels, stored or found.
    interim, assessment, elevation : How one shift came about; how the model of a field was chosen; of elevation models.
    heights : Of elevation models: what held the heights of the target.
    sensor : Of raw images: the sensor and the terrain.
    parallax : Shift in proportion to the height, where terrain was given and explains shifts.
    biases : Of elevation models: what `apply` adds to heights by the terrain.
    nodata_is_stored : Whether the file of the target names its marker: an image without one has other rules then.
    origin : Images and date; no part of the answer: fits that differ in it alone are equal.
    """

    options: dict[str, Any] = field(default_factory=dict)
    ref_grid: GeoBox | None = None
    tgt_nodata: float | int | None = None
    ref_nodata: float | int | None = None
    interim: Interim = field(default_factory=Interim)
    assessment: Assessment | None = None
    elevation: ElevationDetails | None = None
    heights: TargetHeights | None = None
    sensor: SensorDetails | None = None
    parallax: ParallaxDetails | None = None
    nodata_is_stored: bool = False
    origin: Origin = Origin()
    biases: tuple[BiasCurve, ...] = ()

    def __post_init__(self) -> None:
        names = ("options", "tgt_nodata", "ref_nodata")
        plain = decode(encode({name: getattr(self, name) for name in names}))
        for name in names:
            _set(self, name, plain[name])

    @property
    def unit_z(self) -> str:
        """Short name of the unit of dz, "" where it is unknown."""
        return "" if self.heights is None else self.heights.unit

    @property
    def spacing(self) -> float | None:
        """Distance between the windows that was asked for, target px."""
        given = self.options.get("spacing")
        return given if isinstance(given, int | float) and given > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, exact; what is not known is left out."""
        out = {name: getattr(self, name) for name in ("options", "tgt_nodata", "ref_nodata")}
        out |= {"nodata_is_stored": True} if self.nodata_is_stored else {}
        out["ref_grid"] = None if self.ref_grid is None else _grid_to_dict(self.ref_grid)
        out["interim"] = {name: value for name, value in asdict(self.interim).items() if value not in (None, ())}
        if self.assessment is not None:
            out["assessment"] = asdict(self.assessment)
            if self.assessment.check.height is None:
                del out["assessment"]["check"]["height"]
        for name in ("elevation", "heights", "sensor", "parallax"):
            if getattr(self, name) is not None:
                out[name] = asdict(getattr(self, name))
        if self.biases:
            out["biases"] = [asdict(one) for one in self.biases]
        if self.origin != Origin():
            out["origin"] = asdict(self.origin)
        plain: dict[str, Any] = encode(out)
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Details:
        """Undo :meth:`to_dict`; unknown keys, such as those of older versions, are ignored."""
        values = decode(data)
        interim = values.get("interim") or {}
        if interim.get("window") is not None:
            interim["window"] = _make(Window, interim["window"])
        return cls(
            options=values.get("options") or {},
            ref_grid=_grid_from_dict(values["ref_grid"]) if values.get("ref_grid") else None,
            tgt_nodata=_checked("tgt_nodata", "float | None", values.get("tgt_nodata")),
            ref_nodata=_checked("ref_nodata", "float | None", values.get("ref_nodata")),
            interim=_make(Interim, interim),
            assessment=_assessment(values["assessment"]) if values.get("assessment") else None,
            elevation=_make(ElevationDetails, values["elevation"]) if values.get("elevation") else None,
            heights=_make(TargetHeights, values["heights"]) if values.get("heights") else None,
            sensor=_make(SensorDetails, values["sensor"]) if values.get("sensor") else None,
            parallax=_make(ParallaxDetails, values["parallax"]) if values.get("parallax") else None,
            nodata_is_stored=bool(values.get("nodata_is_stored")),
            origin=_make(Origin, values.get("origin") or {}),
            biases=tuple(_make(BiasCurve, one) for one in values.get("biases") or ()),
        )


def _assessment(data: dict[str, Any]) -> Assessment:
    models = tuple(_make(TriedModel, row) for row in data["models"])
    return Assessment(models, _make(CheckPoints, data["check"]))


def _grid_to_dict(grid: GeoBox) -> dict[str, Any]:
    crs = None if grid.crs is None else grid.crs.to_wkt()
    return {"transform": list(grid.affine)[:6], "shape": list(grid.shape), "crs": crs}


def _grid_from_dict(data: dict[str, Any]) -> GeoBox:
    rows, cols = data["shape"]
    return GeoBox((int(rows), int(cols)), Affine(*data["transform"][:6]), data["crs"])


def check_grids(*grids: GeoBox | None) -> None:
    """Raise ValueError for a grid without area or without end: texts such as "nan" and 10**400 pass JSON."""
    for one in (one for one in grids if one is not None):
        if not one.affine.determinant or not all(map(math.isfinite, one.affine)):
            raise ValueError("a grid without area")
        if not 0 <= min(one.shape) <= max(one.shape) < 2**31:
            raise ValueError(f"a grid of {one.shape} pixels")


def _make(kind: type[_Kind], data: dict[str, Any]) -> _Kind:
    known = {one.name: str(one.type) for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _checked(name, known[name], value) for name, value in data.items() if name in known})


def _checked(name: str, kind: str, value: Any) -> Any:
    """Refuse a value of another type than a field has, so that nothing breaks later: kind is its annotation."""
    kinds = {*re.split(r"\W+", kind)} - {""}
    plain = (int, float) if kinds <= {"int", "float", "bool", "None"} else str if kinds <= {"str", "None"} else object
    if not isinstance(value, plain) and not (value is None and "None" in kinds):
        raise TypeError(f"{name} is {value!r:.80}, not {kind}")
    return value


def _set(frozen: Any, name: str, value: Any) -> None:
    object.__setattr__(frozen, name, value)
