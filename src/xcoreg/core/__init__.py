"""The numerical core: numpy and scipy alone, batches of windows in, columns of numbers out."""
