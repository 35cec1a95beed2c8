"""The one part that knows dask."""

from __future__ import annotations

from xcoreg.lazy.chunkstore import MissingChunks, is_read
from xcoreg.lazy.execute import (
    collecting_missing,
    progress_bar,
    read_windows,
    register,
    run_tasks,
    shared_chunks,
    without_graph,
)
from xcoreg.lazy.graph import (
    BlockError,
    check_block,
    compute_all,
    computing,
    fused,
    is_lazy,
    map_output_blocks,
    map_stack_blocks,
    run_each,
    token,
    worker_threads,
)

__all__ = [
    "BlockError", "MissingChunks", "check_block", "collecting_missing", "compute_all", "computing", "fused",
    "is_lazy", "is_read", "map_output_blocks", "map_stack_blocks", "progress_bar", "read_windows", "register",
    "run_each", "run_tasks",
    "shared_chunks", "token", "without_graph", "worker_threads",
]  # fmt: skip
