"""What was found for a pair of images, how far it can be trusted, and its file."""

from __future__ import annotations

import hashlib
import json
import math
from copy import copy
from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core.matches import Status, decode_column, encode_column
from xcoreg.core.models import Model, model_from_dict
from xcoreg.errors import MatchError, OptionError, warn_user
from xcoreg.files import replacing
from xcoreg.georef.rpc import shifted
from xcoreg.georef.terrain import ModelMove
from xcoreg.results.details import Details, Origin, corrections_of
from xcoreg.results.html import html_fit
from xcoreg.results.shift import Shift
from xcoreg.results.text import describe_fit, summarise
from xcoreg.results.tiepoints import TiePoints

if TYPE_CHECKING:
    from xarray import DataArray

    from xcoreg.georef import GCPs


@dataclass(frozen=True)
class Quality:
    """How far an answer can be trusted; NaN where unknown.

    Parameters
    ----------
    reliability : float
        Confidence in the match, percent.
    score : float
        Correlation of reference and corrected target inside the window.
    ssim_before, ssim_after : float
        Structural similarity before and after the correction.
    n_windows, n_ok : int
        Windows matched, and those that agree.
    spread_px : float
        Robust spread of the windows about the answer, target px.
    phase_dcol, phase_drow : float
        Phase-only answer minus refined answer, target px.
    chance : float
        Probability that as many windows of unrelated images would agree as well; more than 0.001 is refused.
    warnings : tuple of str
        What the user should know.
    n_check : int
        Number of check points: tie points that were each predicted by a fit without them (cross-validation).
    median_before, median_after, rmse_before, rmse_after, ce90_before, ce90_after : float
        Radial residuals at the check points before and after the correction, target px: median, root mean square and
        90th percentile.
    dh_count, iterations : int
        Of elevation models: pixels (or points) compared, and iterations until the solution converged.
    dh_median_before, dh_median_after, dh_nmad_before, dh_nmad_after : float
        Median and NMAD of reference minus target, before and after the correction, units of the values.

    Examples
    --------
    >>> Quality(reliability=98.0, n_windows=9, n_ok=8).n_ok
    8
    """

    reliability: float = math.nan
    score: float = math.nan
    ssim_before: float = math.nan
    ssim_after: float = math.nan
    n_windows: int = 0
    n_ok: int = 0
    spread_px: float = math.nan
    phase_dcol: float = math.nan
    phase_drow: float = math.nan
    warnings: tuple[str, ...] = ()
    n_check: int = 0
    median_before: float = math.nan
    median_after: float = math.nan
    rmse_before: float = math.nan
    rmse_after: float = math.nan
    ce90_before: float = math.nan
    ce90_after: float = math.nan
    dh_count: int = 0
    iterations: int = 0
    dh_median_before: float = math.nan
    dh_median_after: float = math.nan
    dh_nmad_before: float = math.nan
    dh_nmad_after: float = math.nan
    chance: float = math.nan

    def __post_init__(self) -> None:
        for one in fields(self):
            make = {int: int, tuple: tuple}.get(type(one.default), float)
            object.__setattr__(self, one.name, make(getattr(self, one.name)))


#: Version of the file format; raised when an older xcoreg could misread a file. Version 1 (xcoreg 0.1.0) is read, too.
SCHEMA = 2
FORMAT = "xcoreg fit"
_POOR_REFIT = 0.05  # px: RPCs that are further off than this do not hold a correction


@dataclass(frozen=True, eq=False, repr=False)
class Coregistration:
    """What was found for a pair of images, and all that is needed to apply it; true when it is trusted.

    Parameters
    ----------
    model : Model or None
        Correction at any place, CRS units of the target.
    points : TiePoints
        Every window that was matched, whatever became of it.
    quality : Quality
        How far the answer can be trusted.
    status : Status
        OK, or the reason for distrust.
    shift_or_none : Shift or None
        The one correction for the whole image; of a field, the mean correction; None where nothing was found. Read it
        as :attr:`shift`, which is always a Shift.
    crs_wkt : str or None
        CRS of the target.
    transform : six floats (a, b, c, d, e, f)
        The target's affine transform before the correction, pixel corner to map.
    shape : (rows, cols)
        Of the target, px.
    details : Details
        Options, grid of the reference, interim results, models that were compared.
    versions : dict
        Of the programs that made it.

    Examples
    --------
    >>> from xcoreg.core.models import Translation
    >>> shift = Shift(3.5, 15.5, ((0.01, 0), (0, 0.01)), (10.0, 0.0, 0.0, -10.0))
    >>> points = TiePoints([0], [0], [0], [0], [0], [3.5], [15.5], [0.35], [-1.55])
    >>> fit = Coregistration(Translation(3.5, 15.5), points, Quality(reliability=97.0, n_windows=1, n_ok=1), Status.OK,
    ...                      shift, "EPSG:32633", (10, 0, 300000, 0, -10, 5900040), (100, 100))
    >>> fit
    Coregistration(OK, dx=+3.50±0.10 m, dy=+15.50±0.10 m, reliability 97 %, 1 of 1 windows agree)
    >>> fit.moved_transform.c, fit.moved_transform.f
    (300003.5, 5900055.5)
    """

    model: Model | None
    points: TiePoints
    quality: Quality
    status: Status
    shift_or_none: Shift | None
    crs_wkt: str | None
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    details: Details = field(default_factory=Details)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, cols = self.shape
        frozen = {
            "status": Status(self.status),
            "transform": tuple(float(value) for value in tuple(self.transform)[:6]),
            "shape": (int(rows), int(cols)),
            "versions": {str(name): str(text) for name, text in self.versions.items()},
        }
        for name, value in frozen.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "points", self.points.on_grid(self.grid, self.details.spacing))

    @property
    def ok(self) -> bool:
        """True when the answer is trusted."""
        return self.status is Status.OK

    def __bool__(self) -> bool:
        return self.ok

    @property
    def shift(self) -> Shift:
        """The one correction for the whole image; of a field, the mean correction.

        Raises
        ------
        MatchError
            When no shift was found; test `if fit:` before.
        """
        if self.shift_or_none is None:
            raise MatchError(f"there is no shift: {self.status.reason}; see fit.points for every window", self.points)
        return self.shift_or_none

    @property
    def grid(self) -> GeoBox:
        """Grid of the target before the correction."""
        return GeoBox(self.shape, Affine(*self.transform), self.crs_wkt)

    @property
    def gcps(self) -> GCPs:
        """Ground control points of the trusted windows; see :attr:`TiePoints.gcps`."""
        return self.points.gcps

    @property
    def is_field(self) -> bool:
        """True when the correction varies from place to place."""
        return self.model is not None and self.model.kind != "translation"

    @property
    def moves_transform(self) -> bool:
        """True when moving the transform corrects an image: one shift, or the similarity or affine of a whole image."""
        if self.model is None or not self.is_field:
            return self.model is not None
        of_all = self.details.assessment is None and self.details.options.get("geometry", "shift") != "shift"
        return of_all and self.model.kind == "affine"

    @property
    def has_dz(self) -> bool:
        """True when heights are corrected, too, by one number or by a field of them."""
        return getattr(self.model, "dz_constant", 0.0) != 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coregistration):
            return NotImplemented
        return self._numbers() == other._numbers()

    def _numbers(self) -> dict[str, Any]:
        """All but the images' names and the date."""
        return self._with_origin(Origin()).to_dict()

    def made_of(self, target: Any, reference: Any) -> Coregistration:
        """Record the names of the images and the date.

        Parameters
        ----------
        target, reference : DataArray or Dataset
            The images that were matched.

        Returns
        -------
        Coregistration
            The same in all numbers; see :class:`xcoreg.results.details.Origin`.
        """
        return self._with_origin(Origin.of(target, reference))

    def contradiction(self, image: Any) -> str:
        """Name what in the history of an image contradicts a correction by this fit.

        Parameters
        ----------
        image : DataArray or Dataset
            Its history is the attribute `xcoreg`.

        Returns
        -------
        str
            Empty where nothing does.
        """
        done, known = corrections_of(image), self.details.origin.corrections or ()
        if self.id in done:
            return "carries this correction already"
        if done == known:
            return ""
        return (
            "carries a correction that the fit does not know"
            if len(done) > len(known)
            else "lacks one that it builds on"
        )

    def _with_origin(self, origin: Origin) -> Coregistration:
        fit, details = copy(self), copy(self.details)
        object.__setattr__(details, "origin", origin)
        object.__setattr__(fit, "details", details)
        return fit

    @cached_property
    def id(self) -> str:
        """Identifier of the correction, by its numbers: it stands in the history of images that are corrected."""
        named = json.dumps([getattr(self.model, "kind", None), self.crs_wkt, self.transform, self.shape])
        numbers = (self.points.dx, self.points.dy, self.points.dz, self.points.status)
        return hashlib.sha1(
            named.encode() + b"".join(one.tobytes() for one in numbers), usedforsecurity=False
        ).hexdigest()[:12]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Coregistration({describe_fit(self)})"

    def _repr_html_(self) -> str:
        return html_fit(self)

    @property
    def moved_transform(self) -> Affine:
        """Transform of the corrected target.

        Raises
        ------
        MatchError
            When there is no trusted shift.
        OptionError
            When the correction varies from place to place: moving the transform cannot do it.
        """
        if self.shift_or_none is None or not self.ok:
            raise MatchError(f"there is no trusted shift to move by: {self.status.reason}", self.points)
        if self.model is not None and self.is_field and self.moves_transform:
            return Affine(*self.model.matrix) @ Affine(*self.transform)  # type: ignore[attr-defined]
        if self.is_field:
            raise OptionError(
                f"the correction ({self.model.kind if self.model else '?'}) varies from place to place, moving the "
                "transform cannot do it: resample with tgt.coreg.apply(fit), or estimate and apply with "
                "tgt.coreg.warp_to(ref)"
            )
        return georef.translate(self.transform, self.shift.dx, self.shift.dy)

    def with_heights(self, dem: Any) -> Coregistration:
        """Use the heights of an elevation model in a rigid fit, to correct an image that has none.

        Parameters
        ----------
        dem : DataArray or Dataset
            Elevation model that lies as the target did before the correction, on any grid.

        Returns
        -------
        Coregistration
            To apply; files keep the mean heights alone.

        Raises
        ------
        OptionError
            When the fit is not rigid: it needs no heights.
        """
        if getattr(self.model, "kind", None) != "rigid":
            raise OptionError("the fit is not rigid and needs no heights: apply it as it is")
        from xcoreg.warp.heights import with_heights

        return with_heights(self, dem)

    def to_matrix(self) -> tuple[Any, Any]:
        """Matrix of a shift or a rigid motion of elevation models, for other programs.

        Returns
        -------
        matrix, centroid : (4, 4), (3,) float64
            ``P' - centroid = matrix @ (P - centroid)`` in metres (the unit of the heights) to the East, North and up;
            centroid: map position and height. Back by :func:`xcoreg.fit_from_matrix`.

        Raises
        ------
        OptionError
            When the correction varies from place to place.
        """
        from xcoreg.warp.motion import to_matrix

        return to_matrix(self)

    def inverse(self) -> Coregistration:
        """Correction from the reference to the target.

        Returns
        -------
        Coregistration
            Of a shift, with or without a tilt, or of a rigid motion.

        Raises
        ------
        OptionError
            When the correction varies otherwise: match the other way round.
        """
        from xcoreg.warp.motion import inverse

        return inverse(self)

    def then(self, other: Coregistration) -> Coregistration:
        """Compose this correction with one that follows it.

        Parameters
        ----------
        other : Coregistration
            Measured on what this one has corrected, in the same CRS; both are shifts or rigid motions.

        Returns
        -------
        Coregistration
            To be applied to the target of this one; covariances are added as those of independent errors.

        Raises
        ------
        OptionError
            When one of them varies from place to place, or the CRSs differ.
        """
        from xcoreg.warp.motion import then

        return then(self, other)

    def dem_error(self, dem: Any) -> Any:
        """Error of an elevation model at every pixel, from the residuals of the match by slope.

        Parameters
        ----------
        dem : DataArray (y, x) or (band, y, x)
            Elevation model, corrected or not; its slopes decide.

        Returns
        -------
        DataArray (y, x) float32
            Standard deviation of the height differences, in the unit of the heights; NaN where there is no height.

        Raises
        ------
        OptionError
            When the fit is none of two elevation models.

        Notes
        -----
        Heteroscedastic errors as in Hugonnet et al. (2022, doi:10.1109/JSTARS.2022.3188922): NMAD by classes of slope.
        """
        from xcoreg.warp.dem_error import dem_error

        return dem_error(dem, self)

    def mean_error(self, dem: Any, where: Any) -> float:
        """Error of the mean height difference over an area, with correlated errors.

        Parameters
        ----------
        dem : DataArray (y, x)
            Elevation model.
        where : (y, x) bool array_like
            Pixels of the area.

        Returns
        -------
        float
            Standard deviation, in the unit of the heights: that of the pixels over the number of independent areas,
            and that of the offset.

        Raises
        ------
        OptionError
            When no pixel of the area has a height, or the fit is none of two elevation models.
        """
        from xcoreg.warp.dem_error import mean_error

        return mean_error(self.dem_error(dem), where, self)

    def summary(self) -> str:
        """Describe the result and how it was found.

        Returns
        -------
        str
            Lines: corners, window, whole-pixel, sub-pixel and total shifts in every unit, length, angle, transform
            before and after, quality.
        """
        return summarise(self)

    def plot(self, background: Any = None) -> Any:
        """Draw the windows, the correction and the residuals; see :func:`xcoreg.plot.plot_fit`. Needs the extra `plot`.

        Parameters
        ----------
        background : DataArray or Dataset, optional
            Image below the windows.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from xcoreg.plot import plot_fit

        return plot_fit(self, background)

    def explore(
        self,
        target: Any = None,
        reference: Any = None,
        corrected: Any = None,
        *,
        tiles: Any = "OpenStreetMap",
        exaggerate: float | None = None,
        offline: bool = False,
    ) -> Any:
        """Show the windows on an interactive map. Needs the extra `explore`, `offline` the extra `plot`.

        Parameters
        ----------
        target, reference, corrected : DataArray or Dataset, optional
            Images to lay over the map, with their footprints and the overlap.
        tiles : str or None
            Background map of folium, fetched by the browser; None draws none.
        exaggerate : float, optional
            Arrows are so many times as long as the corrections.
        offline : bool
            Make a page that needs no network, without a background map: images, outlines, windows and arrows.

        Returns
        -------
        folium.Map or xcoreg.plot.Page
            Both have a method ``save(path)`` and show themselves in notebooks.
        """
        from xcoreg.plot.viewer import explore

        images = {"target": target, "reference": reference, "corrected": corrected}
        return explore(self, images, tiles=tiles, exaggerate=exaggerate, offline=offline)

    def report(
        self,
        path: str | Path,
        target: Any = None,
        reference: Any = None,
        *,
        band: Any = None,
        ref_band: Any = None,
        title: str = "Coregistration report",
        windows: int = 4,
        where: Any = None,
    ) -> Path:
        """Write one self-contained HTML page. Needs the extra `plot`.

        Parameters
        ----------
        path : str or Path
            Where to.
        target, reference : DataArray or Dataset, optional
            The images (or paths): with both, windows are shown before and after the correction.
        band, ref_band : optional
            Bands to show; default those of the fit.
        title : str
            Title of the page.
        windows : int
            Number of windows to show before and after, half of them with a large residual.
        where : optional
            Stable terrain for differences of elevation, as in `match`.

        Returns
        -------
        Path
            Of the page: the answer in words, residuals before and after at check points, models compared, windows by
            status, maps, residuals, directions, options, versions and grids; of elevation models also the differences
            before and after, their distribution, differences against aspect, and corrections per block.

        Raises
        ------
        OptionError
            When the page cannot be written, or an image is neither an image nor a path.
        MissingDependency
            When the extra `plot` is not installed.
        """
        from xcoreg.report.write import write_report

        bands = {"band": band, "ref_band": ref_band}
        return write_report(self, path, target, reference, title=title, windows=windows, where=where, **bands)

    def to_raster(self, *, resolution: float | tuple[float, float] | None = None, like: Any = None) -> DataArray:
        """Evaluate the correction, trusted or not, on a grid.

        Parameters
        ----------
        resolution : float or (float, float), optional
            Size (x, y) of a node, CRS units, along the columns and rows of the target. Default: a quarter of the
            distance between tie points, and at most 1000 nodes along each side.
        like : DataArray, Dataset or GeoBox, optional
            Evaluate on exactly this grid, in any CRS; dx and dy are then in the units of that CRS.

        Returns
        -------
        DataArray
            (band, y, x) float64: dx, dy (``x_ref = x_tgt + dx`` at the position of the *target*) and sigma (standard
            deviation in the direction where it is largest), CRS units; NaN where a place has no position in the CRS of
            the fit.

        Raises
        ------
        MatchError
            When the fit has no model.
        OptionError
            When both options are given, or one cannot be used.
        """
        from xcoreg.warp.field_raster import displacement_raster

        return displacement_raster(self, resolution=resolution, like=like)

    def corrected_rpcs(self) -> georef.RPCRefit:
        """RPCs of a raw image that hold the correction, with the difference that refitting them leaves.

        Returns
        -------
        RPCRefit
            `rpcs`, and `rms` and `largest`, px, over the image and the heights below it. A constant correction moves
            the offsets and is exact. :func:`xcoreg.georef.write_rpcs` writes them.

        Raises
        ------
        OptionError
            When the fit is not one of a raw image with RPCs (``match(raw, ref, dem=...)``).
        MatchError
            When there is no trusted correction.

        Warns
        -----
        CoregWarning
            When RPCs cannot hold the correction, as a jitter.

        Examples
        --------
        >>> import xcoreg  # doctest: +SKIP
        >>> fit = xcoreg.match(raw, ref, dem="dem.tif")  # doctest: +SKIP
        >>> xcoreg.georef.write_rpcs("raw_RPC.TXT", fit.corrected_rpcs())  # doctest: +SKIP
        """
        sensor = self.details.sensor
        if sensor is None or sensor.rpcs is None:
            raise OptionError("the fit is not of a raw image with RPCs: match(raw, ref, dem=...) makes one")
        if not self.ok or self.model is None:
            raise MatchError(f"there is no trusted correction: {self.status.reason}", self.points)
        rpcs = georef.RPCModel.from_dict(sensor.rpcs)
        if not self.is_field:
            return georef.RPCRefit(shifted(rpcs, -self.shift.dcol, -self.shift.drow), 0.0, 0.0)
        corrected = georef.CorrectedSensor(georef.RPCGround(rpcs), ModelMove(self.model))
        low, high = sensor.heights
        half = max((high - low) * 0.55, abs(rpcs.height_scale) * 0.5)
        middle = (low + high) / 2
        refit = georef.refit_rpcs(rpcs, corrected.unproject, self.shape, (middle - half, middle + half))
        if refit.largest > _POOR_REFIT:
            warn_user(
                f"RPCs cannot hold this correction ({self.model.kind}): they are off by {refit.rms:.2g} px RMS and "
                f"{refit.largest:.2g} px at most; apply the fit itself, or match with model='affine'"
            )
        return refit

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, exact: what :meth:`save` writes."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "status": self.status.name,
            "shift": None if self.shift_or_none is None else _columns_to_dict(self.shift_or_none),
            "quality": _columns_to_dict(self.quality),
            "model": None if self.model is None else self.model.to_dict(),
            "crs_wkt": self.crs_wkt,
            "transform": list(self.transform),
            "shape": list(self.shape),
            "details": self.details.to_dict(),
            "versions": dict(self.versions),
            "points": self.points.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Coregistration:
        """Undo :meth:`to_dict`; a missing key or a wrong type raises KeyError, TypeError or ValueError."""
        shift, quality, model = data["shift"], data["quality"], data["model"]
        return cls(
            model=None if model is None else model_from_dict(model),
            points=TiePoints.from_dict(data["points"]),
            quality=Quality(**_columns_from_dict(quality)),
            status=Status[data["status"]],
            shift_or_none=None if shift is None else Shift(**_columns_from_dict(shift)),
            details=Details.from_dict(data["details"] if "details" in data else data["settings"]),
            **{name: data[name] for name in ("crs_wkt", "transform", "shape", "versions")},
        )

    def save(self, path: str | Path) -> None:
        """Write the result as one JSON file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            The goal; an existing file is replaced.

        Raises
        ------
        OptionError
            When the place cannot be written.
        """
        parts = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in self.to_dict().items())
        with replacing(path) as temporary:
            temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _columns_to_dict(values: Shift | Quality) -> dict[str, Any]:
    return {name: encode_column(value) for name, value in asdict(values).items()}


def _columns_from_dict(data: dict[str, Any]) -> dict[str, Any]:
    texts = {"unit", "unit_z", "warnings"} | ({"cov_z"} if data.get("cov_z") is None else set())
    wrong = [name for name in ("unit", "unit_z") if not isinstance(data.get(name), str | None)]
    wrong += ["warnings" for one in data.get("warnings", ()) if not isinstance(one, str)]
    if wrong:
        raise TypeError(f"{wrong[0]} is not a text")
    return {name: value if name in texts else decode_column(value) for name, value in data.items()}


def current_versions() -> dict[str, str]:
    """Versions of the programs a result depends on."""
    return {name: version_of(name) for name in ("xcoreg", "numpy", "scipy", "rasterio")}


@cache
def version_of(name: str) -> str:
    """Version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
