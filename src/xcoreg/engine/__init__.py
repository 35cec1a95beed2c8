"""One shift for the whole image: windows in rounds, until they agree or all was tried."""

from __future__ import annotations

from xcoreg.engine.scene import Scene, prepare
from xcoreg.engine.single import match

__all__ = ["Scene", "match", "prepare"]
