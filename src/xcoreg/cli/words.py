"""The library's messages, which name calls and keywords of Python, in the words of the shell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

# Keywords that are options of some command; a command adds its own, with the names that they have there.
_OPTIONS = {*re.split(r"\W+",
    "band nodata where footprint ref_band ref_nodata ref_where ref_footprint window windows at max_shift contrast "
    "align_grid like resampling driver overwrite spacing model filters points matcher ref workers memory order report "
    "asset preset")}  # fmt: skip
_ASSIGNED = re.compile(r"\b([a-z][a-z_]*)=([\w'\"(+-]?)")
_ARGUMENTS = r"\((?:[^()]|\([^()]*\))*\)"

# Calls in Python, and the command that does the same. `rio` comes with rasterio.
_SET_CRS = "rio edit-info --crs EPSG:CODE FILE"
_SET_TRANSFORM = "rio edit-info --transform '[a, b, c, d, e, f]' FILE"
_CALLS = [
    (re.compile(pattern.replace("ARGS", _ARGUMENTS)), words)
    for pattern, words in {
        r"xarray, xarray\.open_datasetARGS\[name\]\.iselARGS": "gdal_translate -b NUMBER FILE ONE.tif",
        r", or points\.on_gridARGS(?:\.saveARGS)?": "",
        r": dem = xcoreg\.correct_biasARGS, then apply the fit": ", which only Python takes",
        r"(?:\w+\.coreg\.|xcoreg\.)?rectifyARGS\.coreg\.applyARGS": "xcoreg georef rectify FILE OUT, then xcoreg apply",
        r"(?:da|image|tgt|ref)\.rio\.write_crsARGS": _SET_CRS,
        r"(?:da|image|tgt|ref)\.rio\.write_transformARGS(?: or da\.assign_coordsARGS| or give it x and y)?":
            _SET_TRANSFORM,
        r"(?:da|image|tgt|ref)\.coreg\.rectifyARGS": "xcoreg georef rectify FILE OUT",
        r"(?:da|image|tgt|ref)\.coreg\.applyARGS": "xcoreg apply",
        r"(?:da|image|tgt|ref)\.coreg\.match_localARGS|\bmatch_local(?:ARGS)?": "xcoreg warp",
        r"(?:da|image|tgt|ref)\.coreg\.warp_toARGS": "xcoreg warp",
        r"(?:da|image|tgt|ref)\.coreg\.overlapARGS": "xcoreg info on both",
        r"\b(?:ds|da|image)\.(?:isel|sel|drop_vars)ARGS": "gdal_translate -b NUMBER FILE ONE.tif",
        r"\bfit\.saveARGS": "--save-fit FILE",
        r"\b(?:fit\.)?points\.saveARGS": "xcoreg points",
        r"\bgcps\.selectARGS": "edit their file",
        r"\bGCPsARGS": "--crs EPSG:CODE",
        r"\bfit_gcpsARGS": "xcoreg georef fit",
        r"\bxcoreg\.open_raster\b": "a raster that GDAL reads",
    }.items()
]  # fmt: skip
_MISSING = {
    "control points": "xcoreg georef rectify FILE OUT",
    "RPCs": "xcoreg georef rectify FILE OUT",
    "CRS": _SET_CRS,
    "one exposure": "gdal_translate -b NUMBER FILE ONE.tif",
    "transform": _SET_TRANSFORM,
}


def in_shell_words(text: str, options: Mapping[str, str] = MappingProxyType({})) -> str:
    """Spell options and calls in a message of the library as the shell does.

    Examples
    --------
    >>> in_shell_words("raise max_shift=, or pass force=True")
    'raise --max-shift, or pass --force'
    >>> in_shell_words("it has no CRS: set it with da.rio.write_crs('EPSG:...') first")
    'it has no CRS: set it with rio edit-info --crs EPSG:CODE FILE first'
    """
    for pattern, words in _CALLS:
        text = pattern.sub(words, text)
    text = re.sub(r"\b(force|align_grid|overwrite|retry|vertical)=True", lambda found: _option(found[1]), text)
    text = re.sub(r"\b(vertical)=False", lambda found: f"--no-{found[1]}", text)
    text = re.sub(r"^([a-z_]+)(?= is\b)", lambda found: options.get(found[1], found[1]), text)
    known = {name: _option(name) for name in _OPTIONS} | dict(options)

    def spell(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        return f"{known[name]}{' ' * bool(value)}{value}" if name in known else found[0]

    return _ASSIGNED.sub(spell, text)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def with_shell_command(text: str) -> str:
    """Add the command that adds a georeference to a message that misses it, unless the message names it."""
    text = in_shell_words(text)
    missing = next((key for key in ("one exposure", "control points", "RPCs", "CRS") if key in text), "transform")
    command = _MISSING[missing]
    return text if command in text else f"{text}; in the shell: {command}"
