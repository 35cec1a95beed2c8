"""QGIS plugin: xcoreg's commands as algorithms of the Processing toolbox."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:  # noqa: ARG001 - the name and the argument that QGIS calls
    """Make the plugin; QGIS calls this."""
    from .plugin import XcoregPlugin

    return XcoregPlugin()
