"""The ground of an image with rational polynomial coefficients, and their files: GeoTIFF, _RPC.TXT, .RPB."""

from __future__ import annotations

import re
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from xcoreg.core import Floats
from xcoreg.errors import OptionError
from xcoreg.files import open_gdal, replacing
from xcoreg.georef.crs import as_crs
from xcoreg.georef.rpc import RPCModel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class RPCGround:
    """An image with rational polynomial coefficients.

    Parameters
    ----------
    rpcs : rasterio.rpc.RPC or RPCModel
    height : float
        Of the ground over the ellipsoid, m, where no height is given.
    """

    rpcs: Any
    height: float = 0.0

    def __post_init__(self) -> None:
        """Read the coefficients."""
        object.__setattr__(self, "rpcs", RPCModel.of(self.rpcs))

    @property
    def crs(self) -> CRS | None:
        """Of the ground: longitude and latitude on WGS 84."""
        return as_crs("EPSG:4326")

    @property
    def heights(self) -> tuple[float, float]:
        """Range of heights in which the coefficients hold, m."""
        half = abs(self.rpcs.height_scale)
        return self.rpcs.height_off - half, self.rpcs.height_off + half

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xcoreg.RPCGround", repr(sorted(self.rpcs.to_dict().items())), self.height)

    def project(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of longitudes, latitudes and heights."""
        return self.rpcs.project(x, y, z)  # type: ignore[no-any-return]

    def unproject(self, col: ArrayLike, row: ArrayLike, z: ArrayLike) -> tuple[Floats, Floats]:
        """Longitudes and latitudes of pixel positions at heights."""
        return self.rpcs.unproject(col, row, z)  # type: ignore[no-any-return]

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Longitudes and latitudes of pixel positions; an integer is the centre of a pixel."""
        return self.unproject(col, row, self.height)

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of longitudes and latitudes."""
        return self.project(x, y, self.height)


def read_rpcs(path: str | Path, height: float = 0.0) -> RPCGround:
    """Read the rational polynomial coefficients of an image, or of a file _RPC.TXT or .RPB.

    Parameters
    ----------
    path : str or Path
        Any raster GDAL reads, or the text file itself.
    height : float
        Of the ground over the ellipsoid, m.

    Returns
    -------
    RPCGround

    Raises
    ------
    OptionError
        When it cannot be opened, or has none.
    """
    kind = _kind_of(path)
    if kind in ("txt", "rpb"):
        return RPCGround(_parse(Path(path)), height)
    with open_gdal(path) as file:
        rpcs = file.rpcs
    if rpcs is None:
        raise OptionError(f"{path} has no RPCs: georeference it by control points or corners")
    return RPCGround(rpcs, height)


def write_rpcs(path: str | Path, rpcs: Any) -> Path:
    """Write rational polynomial coefficients into a GeoTIFF, or into a file that belongs to an image.

    Parameters
    ----------
    path : str or Path
        ``image.tif``, an existing GeoTIFF whose RPCs are replaced, its pixels untouched; or ``image_RPC.TXT`` or
        ``image.RPB``, which GDAL reads beside ``image.tif``. Complete or not at all.
    rpcs : RPCModel, rasterio.rpc.RPC, RPCGround or RPCRefit

    Returns
    -------
    Path

    Raises
    ------
    OptionError
        For another format, or where it cannot be written.
    """
    goal, model = Path(path), RPCModel.of(getattr(rpcs, "rpcs", rpcs))
    kind = _kind_of(goal)
    if kind is None:
        raise OptionError(f"RPCs are not written to {goal.name}: give image_RPC.TXT, image.RPB, or an existing GeoTIFF")
    if kind == "tif" and not goal.is_file():
        raise OptionError(f"there is no file {goal} whose RPCs could be replaced: write the image first")
    with replacing(goal) as temporary:
        if kind == "tif":
            shutil.copyfile(goal, temporary)
            with warnings.catch_warnings():  # a raw image has no transform, and should have none
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(temporary, "r+") as file:
                    file.rpcs = RPC(**model.to_dict())
        else:
            temporary.write_text(_text(model) if kind == "txt" else _rpb(model), encoding="ascii")
    return goal


def _kind_of(path: str | Path) -> str | None:
    name = str(path).lower()
    if name.endswith("rpc.txt"):
        return "txt"
    return "rpb" if name.endswith(".rpb") else "tif" if name.endswith((".tif", ".tiff")) else None


# Names of offsets and scales in _RPC.TXT, in .RPB and here, and the unit in the first.
_FIELDS = (
    ("LINE_OFF", "lineOffset", "line_off", "pixels"),
    ("SAMP_OFF", "sampOffset", "samp_off", "pixels"),
    ("LAT_OFF", "latOffset", "lat_off", "degrees"),
    ("LONG_OFF", "longOffset", "long_off", "degrees"),
    ("HEIGHT_OFF", "heightOffset", "height_off", "meters"),
    ("LINE_SCALE", "lineScale", "line_scale", "pixels"),
    ("SAMP_SCALE", "sampScale", "samp_scale", "pixels"),
    ("LAT_SCALE", "latScale", "lat_scale", "degrees"),
    ("LONG_SCALE", "longScale", "long_scale", "degrees"),
    ("HEIGHT_SCALE", "heightScale", "height_scale", "meters"),
)
_COEFS = (
    ("LINE_NUM_COEFF", "lineNumCoef", "line_num_coeff"),
    ("LINE_DEN_COEFF", "lineDenCoef", "line_den_coeff"),
    ("SAMP_NUM_COEFF", "sampNumCoef", "samp_num_coeff"),
    ("SAMP_DEN_COEFF", "sampDenCoef", "samp_den_coeff"),
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def _text(model: RPCModel) -> str:
    """Coefficients as lines "NAME: value unit"."""
    lines = [f"{name}: {getattr(model, ours)!r} {unit}" for name, _, ours, unit in _FIELDS]
    errors = {"ERR_BIAS": model.err_bias, "ERR_RAND": model.err_rand}
    lines += [f"{name}: {value!r} meters" for name, value in errors.items() if value is not None]
    for name, _, ours in _COEFS:
        lines += [f"{name}_{at}: {value!r}" for at, value in enumerate(getattr(model, ours), start=1)]
    return "\n".join(lines) + "\n"


def _rpb(model: RPCModel) -> str:
    """Coefficients as groups and lists in brackets."""
    errors = {"errBias": model.err_bias, "errRand": model.err_rand}
    numbers = [(name, 0.0 if value is None else value) for name, value in errors.items()]
    numbers += [(name, getattr(model, ours)) for _, name, ours, _ in _FIELDS]
    lines = ['satId = "????";', 'bandId = "?";', 'SpecId = "RPC00B";', "BEGIN_GROUP = IMAGE"]
    lines += [f"\t{name} = {value!r};" for name, value in numbers]
    for _, name, ours in _COEFS:
        values = ",\n".join(f"\t\t\t{value!r}" for value in getattr(model, ours))
        lines.append(f"\t{name} = (\n{values});")
    return "\n".join([*lines, "END_GROUP = IMAGE", "END;"]) + "\n"


def _parse(path: Path) -> RPCModel:
    """Read a file _RPC.TXT or .RPB."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
    found: dict[str, Any] = {}
    for one, other, ours, _ in _FIELDS:
        found[ours] = _first(rf"\b(?:{one}\s*:|{other}\s*=)\s*({_NUMBER})", text, f"{path} has no {one}")
    for one, other, ours in _COEFS:
        numbers = re.findall(rf"\b{one}_\d+\s*:\s*({_NUMBER})", text)
        listed = re.search(rf"\b{other}\s*=\s*\(([^)]*)\)", text)
        found[ours] = [float(each) for each in numbers or re.findall(_NUMBER, listed[1] if listed else "")]
    for ours, name in (("err_bias", "errBias"), ("err_rand", "errRand")):
        match = re.search(rf"\b(?:{ours.upper()}\s*:|{name}\s*=)\s*({_NUMBER})", text)
        found[ours] = None if match is None else float(match[1])
    return RPCModel(**found)


def _first(pattern: str, text: str, missing: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise OptionError(f"{missing}: it is not a complete file of RPCs")
    return float(np.float64(match[1]))
