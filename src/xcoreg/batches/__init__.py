"""Many scenes: pairs, one scene, the run, resumable."""
