"""What has to work with the base dependencies alone: run by test_base_install.py and by `nox -s wheel`."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

EXTRAS = {
    "plot": ("matplotlib",),
    "vector": ("geopandas", "pyogrio", "pyarrow"),
    "explore": ("folium",),
    "distributed": ("distributed",),
    "zarr": ("zarr",),
    "fast": ("numba",),
    "netcdf": ("netCDF4",),
}


def main() -> None:
    """Match, apply, write and read back; then ask for everything that needs an extra."""
    import xcoreg

    ref, tgt = xcoreg.datasets.sentinel2_pair()
    fit = tgt.coreg.match(ref)
    assert abs(fit.shift.dx + 6.4) + abs(fit.shift.dy + 18.8) < 0.8, fit
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        fit.save("fit.json")
        fixed = tgt.coreg.apply(xcoreg.load_fit("fit.json"), like=ref)
        xcoreg.write_raster(fixed, "fixed.tif")
        assert xcoreg.open_raster("fixed.tif").shape == ref.shape
        fit.points.save("points.csv")
        fit._repr_html_(), fit.points._repr_html_(), fit.summary()
        asked = {
            "plot": (fit.plot, lambda: fit.report("report.html"), fit.points.plot),
            "vector": (fit.points.to_geodataframe, lambda: fit.points.save("points.gpkg")),
            "explore": (fit.explore,),
            "zarr": (lambda: xcoreg.write_raster(fixed, "fixed.zarr"),),
            "netcdf": (lambda: xcoreg.write_raster(fixed, "fixed.nc"),),
        }
        for extra, calls in asked.items():
            for call in calls:
                says_which(call, extra)
        assert not [name.name for name in Path(folder).iterdir() if name.suffix in (".gpkg", ".zarr", ".nc", ".html")]
        os.chdir("/")
    print("base install: done with", Path(xcoreg.__file__).parent)  # noqa: T201


def says_which(call: object, extra: str) -> None:
    """Check that a call fails by naming the extra that it needs."""
    import xcoreg

    try:
        call()  # type: ignore[operator]
    except xcoreg.MissingDependency as error:
        told = str(error)
    else:
        told = "nothing"
    assert f"pip install 'xcoreg[{extra}]'" in told, f"{call} said {told}"


class Absent:
    """Finder that makes the packages of all extras look as if they were not installed."""

    names = frozenset(name for names in EXTRAS.values() for name in names)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse those packages; say nothing about others."""
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    if "--hide" in sys.argv:
        sys.meta_path.insert(0, Absent())
    elif any(importlib.util.find_spec(name) for names in EXTRAS.values() for name in names):
        sys.exit("an extra is installed here: use an empty environment, or --hide")
    main()
