"""Images as they come in: both with the georeference that counts, and the groups of DataTrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import gsd
from xcoreg.raster.bands import pick_variable
from xcoreg.raster.georeference import CRS_ATTRS, mapping_variables, stored_crs
from xcoreg.raster.grid import grid_of, in_pixels, lacks_georeference, located

if TYPE_CHECKING:
    from collections.abc import Callable

    from xarray import Dataset


def located_pair(target: Any, reference: Any, ground: Any) -> tuple[Any, Any]:
    """Both images with the georeference that counts, in pixels where neither has one; of a DataTree the finest."""
    target, reference = finest_of(target), finest_of(reference, "reference")
    if ground is None and lacks_georeference(target, "target") and lacks_georeference(reference, "reference"):
        return in_pixels(target), in_pixels(reference)
    return located(target), located(reference, "reference")


def is_tree(image: Any) -> bool:
    """Whether an input is a DataTree, which old versions of xarray do not have."""
    return isinstance(image, getattr(xr, "DataTree", ()))


def images_of(tree: Any) -> dict[str, Dataset]:
    """Find the groups with an image, by their path."""
    return {node.path: image for node in tree.subtree if (image := _image_of(node)) is not None}


def finest_of(image: Any, name: str = "target") -> Any:
    """Image of the smallest pixels in a DataTree; any other input as it is."""
    if not is_tree(image):
        return image
    sizes, images = {}, images_of(image)
    for path, one in images.items():
        try:
            sizes[path] = max(gsd(grid_of(one, f"{name}{path}").affine))
        except NotGeoreferenced:
            continue
    if not sizes:
        raise OptionError(f"{name} is a DataTree without a georeferenced image: choose one, tree['...'].to_dataset()")
    return images[min(sizes, key=lambda path: sizes[path])]


def mapped(tree: Any, change: Callable[[Dataset], Dataset]) -> Any:
    """Tree with changed images; other groups are kept as they are."""
    images = images_of(tree)
    groups = {
        node.path: change(images[node.path]) if node.path in images else node.to_dataset(inherit=False)
        for node in tree.subtree
    }
    return type(tree).from_dict(groups, name=tree.name)


def _image_of(node: Any) -> Dataset | None:
    """Dataset of a group, with the CRS of its parents where it has none; None without an image."""
    image: Dataset = node.to_dataset()
    try:
        band = pick_variable(image, None, "the image")[0]
        if stored_crs(band, "the image"):
            return image
    except OptionError:
        return None
    for parent in node.parents:
        own = parent.to_dataset(inherit=False)
        stac = own.attrs.get("stac_discovery", {}).get("properties", {})
        named = {**stac, **own.attrs.get("other_metadata", {}), **own.attrs}
        attrs = {key: named[key] for key in CRS_ATTRS if key in named}
        mappings = mapping_variables(own)
        if attrs or mappings:
            coords = {name: one.variable for name, one in mappings.items() if name not in image.variables}
            return image.assign_coords(coords).assign_attrs({**attrs, **image.attrs})
    return image
