"""What --debug leaves where there is nothing to match."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from xcoreg.cli.debug import write_debug
from xcoreg.io.read import open_raster


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32635", "EPSG:3857"])
def test_footprints_are_drawn_where_images_do_not_meet(images, make_tif, tmp_path, crs):
    gpd = pytest.importorskip("geopandas")
    from rasterio import Affine

    away = make_tif("away.tif", np.full((40, 50), 7, "uint8"), crs=crs, transform=Affine(10, 0, 9e5, 0, -10, 5.9e6))
    written = write_debug(str(tmp_path / "debug"), (open_raster(away), open_raster(images.tgt)), {}, None)
    assert [path.name for path in written] == ["debug.gpkg", "debug.qgs"]
    target = gpd.read_file(written[0], layer="footprint_target")
    reference = gpd.read_file(written[0], layer="footprint_reference")
    assert target.area.item() == pytest.approx(3200**2, rel=0.02)
    assert shapely.disjoint(target.geometry.item(), reference.geometry.item())
    assert reference.crs == target.crs
