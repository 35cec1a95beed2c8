"""Small georeferenced images."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray  # noqa: F401
from affine import Affine
from xarray import DataArray

GRID = Affine(10, 0, 300000, 0, -10, 5900040)


@pytest.fixture
def make_image():
    """Make a DataArray of pixels with coordinates and CRS."""

    def make(pixels, transform=GRID, crs="EPSG:32633", dims=("y", "x"), **attrs):
        pixels = np.asarray(pixels)
        image = DataArray(pixels, dims=(*("band",) * (pixels.ndim - 2), *dims), attrs=attrs)
        rows, cols = pixels.shape[-2:]
        if not (transform.b or transform.d):
            y = transform.f + transform.e * (np.arange(rows) + 0.5)
            x = transform.c + transform.a * (np.arange(cols) + 0.5)
            image = image.assign_coords({dims[0]: y, dims[1]: x})
        image = image.rio.set_spatial_dims(x_dim=dims[1], y_dim=dims[0])
        image = image.rio.write_crs(crs) if crs else image
        return image.rio.write_transform(transform)

    return make


@pytest.fixture
def noise():
    """Textured pixels, none of them zero."""
    return np.random.default_rng(7).integers(1, 4000, (300, 400)).astype("uint16")
