"""One shift for the whole image: windows in rounds, until they agree or all was tried."""

from __future__ import annotations

from xcoreg.engine.single import match
from xcoreg.engine.scene import Scene, prepare

__all__ = ["Scene", "match", "prepare"]
