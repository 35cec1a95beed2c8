"""Tie points of elevation models: what their tables have besides."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS

from xcoreg.results.tiepoints import TiePoints


@pytest.fixture
def lifted():
    place = [0.0, 1.0]
    columns = {"dz": [1.5, -2.0], "cov": np.tile(np.eye(2), (2, 1, 1)), "cov_z": [[0.1, 0.2, 0.04], [0.0, 0.0, 0.09]]}
    counts = {"count": [100, 90], "nmad_before": [3.0, 2.0], "nmad_after": [1.0, np.nan]}
    crs = CRS.from_epsg(32633).to_wkt()
    return TiePoints([0, 1], *[place] * 8, **columns, **counts, crs_wkt=crs)


def test_tables_have_heights_only_where_there_are_some(lifted):
    plain = TiePoints([0], [0], [0], [0], [0], [1], [1], [1], [1])
    assert "sigma_z" not in plain.to_dataframe().columns
    assert lifted.to_dataframe()["sigma_z"].tolist() == pytest.approx([0.2, 0.3])


@pytest.mark.parametrize("suffix", ["csv", "gpkg", "parquet", "shp"])
def test_heights_survive_a_file(lifted, tmp_path, suffix):
    lifted.save(tmp_path / f"points.{suffix}")
    again = TiePoints.load(tmp_path / f"points.{suffix}")
    for name in ("dz", "cov_z", "count", "nmad_before", "nmad_after"):
        np.testing.assert_allclose(getattr(again, name), getattr(lifted, name), rtol=1e-14)


def test_tables_of_older_files_lack_heights(lifted):
    data = {name: values for name, values in lifted.to_dict().items() if name not in ("cov_z", "count")}
    assert np.isnan(TiePoints.from_dict(data).cov_z).all()
    assert TiePoints.from_dict(lifted.to_dict()) == lifted
