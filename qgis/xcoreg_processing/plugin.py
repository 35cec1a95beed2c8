"""The plugin: registers the provider of algorithms while it is loaded."""

from __future__ import annotations

from qgis.core import QgsApplication

from .provider import XcoregProvider


class XcoregPlugin:
    """What QGIS loads and unloads."""

    def __init__(self) -> None:
        self.provider: XcoregProvider | None = None

    def initProcessing(self) -> None:
        """Add the algorithms to Processing; `qgis_process` calls this, without a window."""
        self.provider = XcoregProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the algorithms to the toolbox of QGIS."""
        self.initProcessing()

    def unload(self) -> None:
        """Remove the algorithms."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
