"""Draw the diagrams of docs/architecture.md: `python docs/diagrams.py`."""

from __future__ import annotations

from pathlib import Path

GOAL = Path(__file__).resolve().parent / "_static"
LAYERS = [
    (
        "6  front",
        [("accessor", "tgt.coreg"), ("arosics", "drop-in"), ("cli", "xcoreg, rio coreg"), ("batches", "many scenes")],
        "users",
    ),
    ("5  views", [("plot", "figures"), ("report", "HTML pages")], "matplotlib, on demand"),
    (
        "4  verbs",
        [
            ("coregister", "match, apply, shift_to, warp_to"),
            ("matching", "windows to shifts"),
            ("warp", "apply, rectify, locate"),
        ],
        "one pair of images",
    ),
    (
        "3  images",
        [("io", "read, write"), ("raster", "band, valid mask, GeoBox"), ("lazy", "dask"), ("simulate", "exact truth")],
        "xarray, rasterio",
    ),
    (
        "2  values",
        [("results", "tie points, fits"), ("filters", "outliers"), ("georef", "CRS, affine, GCPs")],
        "pandas, pyproj, shapely",
    ),
    (
        "1  ground",
        [("core", "matchers, models, kernels"), ("files", "temporary files"), ("errors", "messages")],
        "numpy, scipy",
    ),
]
W, RH, X0 = 900, 74, 120


def text_at(x, y, text, size=12, extra='fill="#222"'):
    """Write a line of text."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" {extra}>{escaped}</text>'


EDGES = (
    "Imports go down only. Within a layer: cli → batches, arosics; report → plot; coregister → matching, warp;",
    "io → raster → lazy; filters → results → georef; files → errors.",
)
STEPS = [
    (
        "tgt.coreg.shift_to(ref)",
        [
            ("coregister.shift_to", "check every option before any work"),
            ("warp.rectify.rectified_to", "only a target that has no transform, lazily"),
            ("matching.scene.prepare", "rasters, nodata, footprints, overlap, matching grid"),
            ("matching.scene.choose_centres", "windows with texture, spread over the overlap"),
            ("matching.windows.match_windows", "cut both images, match, cut again at the estimate"),
            ("core.matcher.phase_match", "whole pixels by phase, then least squares; covariance"),
            ("matching.acceptance.accept_windows", "do the windows agree? quarters, coarser pixels"),
            ("matching.result.build_fit", "Coregistration: model, tie points, quality, status"),
            ("warp.apply.apply", "no output grid asked for: nothing to resample"),
            ("warp.plan.plan_band", "only where the fit corrects heights"),
            ("warp.metadata.move_georeference", "transform and coordinates move, pixels stay"),
        ],
    ),
    (
        "tgt.coreg.warp_to(ref)",
        [
            ("coregister.warp_to", "check every option before any work"),
            ("warp.rectify.rectified_to", "only a target that has no transform, lazily"),
            ("matching.scene.prepare", "rasters, nodata, footprints, overlap, matching grid"),
            ("matching.scene.window_grid", "a grid of windows over the overlap"),
            ("matching.windows.match_many", "in batches; larger windows first where shifts are large"),
            ("core.matcher.phase_match", "whole pixels by phase, then least squares; covariance"),
            ("filters.run_filters", "flag outliers: reliability, similarity, neighbours, model"),
            ("matching.field.build_field", "choose a model by its error at check points"),
            ("warp.mapping.compose", "output pixel, CRS, inverse displacement, source pixel"),
            ("warp.plan.plan_band", "nodata, fill, dtype, limits, kernel, heights"),
            ("warp.resample.resample", "one interpolation, block by block, lazy on dask"),
            ("warp.metadata.wrap_on_grid", "coordinates, attributes, encoding, history"),
        ],
    ),
]


def canvas(height, label):
    """Begin a drawing."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {height}" font-family="sans-serif" role="img" '
        f'aria-label="{label}">',
        f'<rect width="{W}" height="{height}" fill="#ffffff"/>',
    ]


def layers():
    """The six layers, from the ground up."""
    height = RH * len(LAYERS) + 46
    lines = canvas(height, "The six layers of xcoreg")
    fills = ["#dbe7f5", "#e2ecd9", "#fbe8cf", "#e8e1f3", "#d9eeee", "#eeeeee"]
    for i, (name, boxes, knows) in enumerate(LAYERS):
        y = 10 + i * RH
        lines.append(f'<rect x="8" y="{y}" width="{W - 16}" height="{RH - 8}" rx="6" fill="{fills[i]}"/>')
        lines.append(text_at(20, y + 31, name, 16, 'font-weight="bold" fill="#222"'))
        lines.append(text_at(W - 20, y + 54, knows, 11, 'text-anchor="end" fill="#555"'))
        width = min(205, (W - X0 - 40) / len(boxes) - 10)
        for k, (box, what) in enumerate(boxes):
            x = X0 + k * (width + 10)
            lines.append(
                f'<rect x="{x:.0f}" y="{y + 7}" width="{width:.0f}" height="34" rx="4" fill="#ffffff" stroke="#888"/>'
            )
            lines.append(text_at(x + width / 2, y + 21, box, 13, 'text-anchor="middle" fill="#222"'))
            lines.append(text_at(x + width / 2, y + 36, what, 11, 'text-anchor="middle" fill="#555"'))
    y = 10 + RH * len(LAYERS)
    lines.append(text_at(20, y + 16, EDGES[0]))
    lines.append(text_at(20, y + 32, EDGES[1]))
    return "\n".join([*lines, "</svg>"]) + "\n"


def flow():
    """The functions of shift_to and of warp_to, in their order."""
    fills = {"core": "#eeeeee", "filters": "#d9eeee"}
    width, high, gap = 430, 36, 10
    lines = canvas(
        60 + max(len(steps) for _, steps in STEPS) * (high + gap), "Functions of shift_to and of warp_to in their order"
    )
    for k, (title, steps) in enumerate(STEPS):
        x = 12 + k * (width + 16)
        lines.append(text_at(x + width / 2, 28, title, 16, 'font-weight="bold" text-anchor="middle" fill="#222"'))
        for i, (name, what) in enumerate(steps):
            y = 44 + i * (high + gap)
            fill = fills.get(name.split(".")[0], "#fbe8cf")
            lines.append(f'<rect x="{x}" y="{y}" width="{width}" height="{high}" rx="4" fill="{fill}" stroke="#888"/>')
            lines.append(text_at(x + 10, y + (15 if what else 22), name, 12, 'font-weight="bold" fill="#222"'))
            lines.append(text_at(x + 10, y + 30, what, 11, 'fill="#444"'))
            if i + 1 < len(steps):
                arrow = f"M{x + width / 2} {y + high} v{gap - 3} m-3 -3 l3 4 l3 -4"
                lines.append(f'<path d="{arrow}" stroke="#555" fill="none"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    (GOAL / "layers.svg").write_text(layers(), encoding="utf-8")
    (GOAL / "flow.svg").write_text(flow(), encoding="utf-8")
