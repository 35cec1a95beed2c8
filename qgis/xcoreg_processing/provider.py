"""The provider: the list of algorithms, their icon and their name."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms import ALGORITHMS


class XcoregProvider(QgsProcessingProvider):
    """Algorithms of xcoreg in the Processing toolbox."""

    def id(self) -> str:
        """Name in scripts: `qgis_process run xcoreg:shift`."""
        return "xcoreg"

    def name(self) -> str:
        """Name in the toolbox."""
        return "xcoreg"

    def longName(self) -> str:
        """Name where there is more room."""
        return "xcoreg: coregistration of rasters"

    def icon(self) -> QIcon:
        """Icon in the toolbox."""
        return QIcon(str(Path(__file__).with_name("icon.svg")))

    def loadAlgorithms(self) -> None:
        """Add every algorithm."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())
