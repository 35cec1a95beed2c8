"""Matching: options, masks, windows on a common grid, acceptance, and the answer: one shift, a field, elevation."""
