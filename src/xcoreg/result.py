"""The result of a coregistration: frozen values that travel as one JSON file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoreg import georef, summary
from xcoreg.core.models import Model, model_from_dict
from xcoreg.core.plain import decode, decode_column, encode, encode_column
from xcoreg.core.status import Status
from xcoreg.errors import MatchError, OptionError
from xcoreg.points import TiePoints, replacing
from xcoreg.shift import Shift

if TYPE_CHECKING:
    from affine import Affine

__all__ = ["SCHEMA", "Coregistration", "Quality", "Shift", "current_versions", "load_fit"]

#: Version of the file format; raised when an older xcoreg could misread a file.
SCHEMA = 1
_FORMAT = "xcoreg fit"


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
        Windows tried, and those that agree.
    spread_px : float
        Robust spread of the windows about the answer, target px.
    phase_dcol, phase_drow : float
        Phase-only answer minus refined answer, target px.
    warnings : tuple of str
        What the user should know.
    n_check : int
        Points withheld from the fit, or predicted without their own part in it, on which the next six were measured.
    median_before, median_after, rmse_before, rmse_after, ce90_before, ce90_after : float
        Length of what is between the images before the correction, and of what is left after it, on those points,
        target px: median, radial root mean square, and 90th percentile.

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

    def __post_init__(self) -> None:
        for one in fields(self):
            make = {"n_windows": int, "n_ok": int, "n_check": int, "warnings": tuple}.get(one.name, float)
            object.__setattr__(self, one.name, make(getattr(self, one.name)))


@dataclass(frozen=True, eq=False, repr=False)
class Coregistration:
    """What was found for a pair of images, and all that is needed to apply it; true when trusted.

    Parameters
    ----------
    model : Model or None
        Correction at any place, CRS units of the target.
    points : TiePoints
        Every window that was tried.
    quality : Quality
        How far the answer can be trusted.
    status : Status
        OK, or the reason for distrust.
    shift : Shift or None
        The one correction for the whole image; of a field, the mean correction.
    crs_wkt : str or None
        CRS of the target.
    transform : six floats (a, b, c, d, e, f)
        The target's affine transform before the correction, pixel corner to map.
    shape : (rows, cols)
        Of the target, px.
    settings : dict
        Options and interim results; whatever is no JSON type becomes its text (see `xcoreg.core.plain`). Known keys:
        `ref_grid` with `transform`, `shape`, `crs`, and `interim` as described in :mod:`xcoreg.summary`.
    versions : dict
        Of the programs that made it.
    log : tuple of str
        Lines told on the way.

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
    shift: Shift | None
    crs_wkt: str | None
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    log: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows, cols = self.shape
        frozen = {
            "status": Status(self.status),
            "transform": tuple(float(value) for value in tuple(self.transform)[:6]),
            "shape": (int(rows), int(cols)),
            "settings": decode(encode(self.settings)),
            "versions": {str(name): str(text) for name, text in self.versions.items()},
            "log": tuple(str(line) for line in self.log),
        }
        for name, value in frozen.items():
            object.__setattr__(self, name, value)

    @property
    def ok(self) -> bool:
        """True when the answer is trusted."""
        return self.status is Status.OK

    def __bool__(self) -> bool:
        return self.ok

    @property
    def is_field(self) -> bool:
        """True when the correction varies from place to place."""
        return self.model is not None and self.model.kind != "translation"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coregistration):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Coregistration({summary.tell_fit(self)})"

    def _repr_html_(self) -> str:
        return summary.html_fit(self)

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
        if self.shift is None or not self.ok:
            raise MatchError(f"there is no trusted shift to move by: {self.status.reason}", self.points)
        if self.is_field:
            raise OptionError(
                f"the correction ({self.model.kind if self.model else '?'}) varies from place to place, moving the "
                "transform cannot do it: resample with tgt.coreg.apply(fit), or estimate and apply with "
                "tgt.coreg.warp_to(ref)"
            )
        return georef.translate(self.transform, self.shift.dx, self.shift.dy)

    def summary(self) -> str:
        """Tell the result and how it came about, for people.

        Returns
        -------
        str
            Lines: corners, window, whole-pixel, sub-pixel and total shifts in every unit, length, angle, transform
            before and after, quality.
        """
        return summary.summarise(self)

    def plot(self, **options: Any) -> Any:
        """Draw the windows' shifts; see :func:`xcoreg.plot.plot_fit`. Needs the extra `plot`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from xcoreg.plot import plot_fit

        return plot_fit(self, **options)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, exact: what :meth:`save` writes."""
        return {
            "format": _FORMAT,
            "schema": SCHEMA,
            "status": self.status.name,
            "shift": None if self.shift is None else _columns_to_dict(self.shift),
            "quality": _columns_to_dict(self.quality),
            "model": None if self.model is None else self.model.to_dict(),
            "crs_wkt": self.crs_wkt,
            "transform": list(self.transform),
            "shape": list(self.shape),
            "settings": encode(self.settings),
            "versions": dict(self.versions),
            "log": list(self.log),
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
            shift=None if shift is None else Shift(**_columns_from_dict(shift)),
            settings=decode(data["settings"]),
            **{name: data[name] for name in ("crs_wkt", "transform", "shape", "versions", "log")},
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
    texts = {"unit", "warnings"}
    return {name: value if name in texts else decode_column(value) for name, value in data.items()}


def current_versions() -> dict[str, str]:
    """Versions of the programs a result depends on.

    Examples
    --------
    >>> sorted(current_versions())
    ['numpy', 'rasterio', 'scipy', 'xcoreg']
    """
    found = {}
    for name in ("xcoreg", "numpy", "scipy", "rasterio"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def load_fit(path: str | Path) -> Coregistration:
    """Read a result written by :meth:`Coregistration.save`.

    Parameters
    ----------
    path : str or Path
        The JSON file.

    Returns
    -------
    Coregistration
        Equal to the one that was saved, to the last digit.

    Raises
    ------
    OptionError
        When there is no such file, it holds something else, is damaged, or was written by a newer xcoreg.
    """
    source = Path(path)
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OptionError(f"there is no file {source}: a fit is written by fit.save(path)") from error
    except OSError as error:
        raise OptionError(f"cannot read {source}: {error.strerror}") from error
    except ValueError as error:
        raise OptionError(f"{source} is no fit of xcoreg: it is not JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT or not isinstance(data.get("schema"), int):
        raise OptionError(f"{source} is no fit of xcoreg: it is JSON without the mark {_FORMAT!r}")
    if data["schema"] > SCHEMA:
        found = f"schema {data['schema']}, this one reads up to {SCHEMA}"
        raise OptionError(f"{source} was written by a newer xcoreg ({found}): pip install --upgrade xcoreg")
    try:
        return Coregistration.from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OptionError(f"{source} is a damaged fit: {type(error).__name__} {error}; estimate it again") from error
