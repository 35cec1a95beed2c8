"""Draw the pictures of the documentation that no notebook makes: `python docs/figures.py`."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient

import xcoreg
from xcoreg.plot.style import new_figure, save_figure, stretch

ROOT = Path(__file__).resolve().parents[1]
GOAL = ROOT / "docs" / "_static"


def before_after() -> None:
    """Reference in red, target in cyan, before and after: three places of the bundled pair."""
    ref, tgt = xcoreg.datasets.sentinel2_pair()
    fit = tgt.coreg.match(ref)
    before = tgt.reindex(x=ref.x, y=ref.y, fill_value=0).squeeze()
    after = tgt.coreg.apply(fit, like=ref, resampling="cubic").squeeze()
    figure = new_figure(9.6, 6.9)
    axes = figure.subplots(2, 3)
    places = ((140, 590), (260, 60), (420, 180))  # row, column of the upper left corner
    for column, (top, left) in enumerate(places):
        cut = slice(top, top + 80), slice(left, left + 80)
        # one contrast for both rows, each image by its own: fields change in ten days
        limits = [np.percentile(one.values[cut], [2, 98]) for one in (ref.squeeze(), after)]
        for row, (label, image) in enumerate((("before", before), ("after", after))):
            both = zip((ref.squeeze(), image), limits, strict=True)
            red, cyan = (stretch(one.values[cut].astype(float), one.values[cut] > 0, *limit) for one, limit in both)
            axes[row, column].imshow(np.stack([red, cyan, cyan], -1), interpolation="nearest")
            axes[row, column].set_xticks([])
            axes[row, column].set_yticks([])
            axes[row, 0].set_ylabel(label, fontsize=15)
    shift = fit.shift
    figure.suptitle(
        f"reference in red, target in cyan; corrected by {shift.dcol:+.3f} ± {shift.sigma_px[0]:.3f} px along columns, "
        f"{shift.drow:+.3f} ± {shift.sigma_px[1]:.3f} px along rows",
        fontsize=11,
    )
    save_figure(figure, GOAL / "before_after.png", dpi=80)


def gallery() -> None:
    """One picture for each notebook: its first large figure, as small as a card shows it."""
    from PIL import Image

    goal = GOAL / "gallery"
    goal.mkdir(exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        nodes = nbformat.read(path, as_version=4)
        NotebookClient(nodes, timeout=None, resources={"metadata": {"path": str(path.parent)}}).execute()
        pictures = [
            output.data["image/png"]
            for cell in nodes.cells
            for output in cell.get("outputs", ())
            if "image/png" in output.get("data", {})
        ]
        if not pictures:
            print(f"{path.name} has no figure")
            continue
        image = Image.open(BytesIO(base64.b64decode(pictures[0]))).convert("RGB")
        image.thumbnail((560, 560))
        image.save(goal / f"{path.stem}.webp", quality=80, method=6)


if __name__ == "__main__":
    before_after()
    gallery()
