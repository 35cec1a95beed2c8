"""Many scenes: matched, corrected and written one by one, in this process or on a cluster, and never twice."""

from __future__ import annotations

from xcoreg.jobs.pairs import Pair, read_pairs
from xcoreg.jobs.run import batch
from xcoreg.jobs.tell import Batch
from xcoreg.jobs.work import Work

__all__ = ["Batch", "Pair", "Work", "batch", "read_pairs"]
