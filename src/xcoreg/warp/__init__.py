"""Applying a fit: the transform moved and every pixel untouched, or one interpolation onto another grid."""
