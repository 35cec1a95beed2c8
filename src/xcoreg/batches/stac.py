"""STAC items as scenes of a batch: an item, a collection of items, as files, addresses, dictionaries or of pystac."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from xcoreg.errors import OptionError
from xcoreg.files import NoSuchFile, parse_json, read_json

_TIMEOUT = 60  # seconds
_RASTERS = ("image/tiff", "image/jp2", "image/vnd", "application/x-hdf", "application/netcdf", "application/vnd+zarr")
_NOT_IMAGES = {"thumbnail", "overview", "metadata"}  # roles


def is_stac(value: Any) -> bool:
    """Whether a value names or holds STAC items: a JSON file or address, a dictionary, an object of pystac."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value).split("?")[0].lower().endswith((".json", ".geojson"))
    found = _as_dict(value)
    return isinstance(found, Mapping) and found.get("type") in ("Feature", "FeatureCollection")


def read_items(source: Any, asset: str | None) -> list[dict[str, str]]:
    """Read items as dictionaries of target and name: one asset of each item."""
    content, home = _read(source), os.fspath(source) if isinstance(source, str | os.PathLike) else ""
    kind = content.get("type") if isinstance(content, Mapping) else None
    items = content["features"] if kind == "FeatureCollection" else [content] if kind == "Feature" else None
    if items is None:
        raise OptionError(f"{home or 'the dictionary'} is neither a STAC item nor an item collection, but {kind}")
    return [
        {"target": _address(_asset_of(item, asset), item, home), "name": re.sub(r"[^\w.+-]+", "-", str(item["id"]))}
        for item in items
    ]


def _read(source: Any) -> Any:
    if not isinstance(source, str | os.PathLike):
        return _as_dict(source)
    text = os.fspath(source)
    try:
        if re.match(r"https?://", text):
            with urllib.request.urlopen(text, timeout=_TIMEOUT) as answer:
                return parse_json(answer.read())
        return read_json(Path(text))
    except FileNotFoundError as error:
        raise NoSuchFile(f"{text} does not exist") from error
    except (OSError, ValueError) as error:
        raise OptionError(f"{text} cannot be read as JSON: {error}") from error


def _as_dict(value: Any) -> Any:
    """Turn an object of pystac into a dictionary; DataFrames, which have to_dict too, stay as they are."""
    return value.to_dict() if hasattr(value, "to_dict") and not hasattr(value, "columns") else value


def _asset_of(item: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """Choose the asset of an item by its key or the common name of its band; without a name the only image."""
    assets: Mapping[str, Any] = item.get("assets", {})
    images = {key: one for key, one in assets.items() if _is_image(one)}
    if name is None and len(images) == 1:
        return next(iter(images.values()))
    if name is not None:
        named = (one for one in images.values() if name in _common_names(one))
        found: Mapping[str, Any] | None = assets.get(name) or next(named, None)
        if found is not None:
            return found
    what = "several images" if name is None else f"no asset {name!r}"
    raise OptionError(
        f"the item {item.get('id')} has {what}: choose with asset= from {', '.join(images or assets) or 'nothing'}"
    )


def _is_image(asset: Mapping[str, Any]) -> bool:
    known = asset.get("type")
    return not _NOT_IMAGES & set(asset.get("roles") or ()) and (known is None or known.startswith(_RASTERS))


def _common_names(asset: Mapping[str, Any]) -> set[str]:
    """Give the common names of an asset with one band; of several bands none names the asset."""
    bands = asset.get("eo:bands") or asset.get("bands") or []
    return {str(one.get("common_name") or one.get("eo:common_name")) for one in bands} if len(bands) == 1 else set()


def _address(asset: Mapping[str, Any], item: Mapping[str, Any], home: str) -> str:
    """Resolve the address of an asset; relative ones are relative to the item itself, or to the file that holds it."""
    href = str(asset["href"])
    if re.match(r"[A-Za-z0-9+.-]{2,}:|/", href):
        return href.removeprefix("file://")
    own = next((link["href"] for link in item.get("links", ()) if link.get("rel") == "self"), "")
    base = own if re.match(r"https?://", own) else home
    return urljoin(base, href) if re.match(r"https?://", base) else str(Path(base).parent / href)
