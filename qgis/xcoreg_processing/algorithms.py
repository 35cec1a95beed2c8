"""The algorithms: one for each command, made of a list of its options."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from . import command
from .command import Option

_PRESETS = ("", "sentinel2-l1c", "sentinel2-l2a", "landsat-c2", "planetscope", "pleiades", "aerial", "drone")
_PAIR = (
    Option("REF", "", "Reference, which stays", "raster", optional=False),
    Option("TGT", "", "Target, which is corrected", "raster", optional=False),
)
_OUT = Option("OUT", "", "Corrected target", "raster_out", optional=False)
_MATCH = (
    Option("PRESET", "--preset", "Preset for a product", "choice", default=0, choices=_PRESETS),
    Option("BAND", "--band", "Band of the target", "text"),
    Option("REF_BAND", "--ref-band", "Band of the reference", "text"),
    Option("WINDOW", "--window", "Side of a window, px", "integer"),
    Option("MAX_SHIFT", "--max-shift", "Largest shift to search, target px", "number"),
    Option("WHERE", "--where", "Match only here: mask or polygons", "file"),
    Option("REF_WHERE", "--ref-where", "The same for the reference", "file"),
)
_LOCAL = (
    Option("SPACING", "--spacing", "Distance between windows, target px", "number"),
    Option(
        "MODEL", "--model", "Model of the field", "choice", default=0,
        choices=("auto", "translation", "affine", "polynomial2", "polynomial3", "piecewise", "spline"),
    ),
)  # fmt: skip
_GRID = (
    Option("ALIGN", "--align-grid", "Resample onto the pixel lattice of the reference", "switch", default=False),
    Option("LIKE", "--like", "Resample onto the grid of this raster", "raster"),
    Option(
        "RESAMPLING", "--resampling", "Interpolation kernel", "choice", default=0,
        choices=("auto", "nearest", "bilinear", "cubic", "lanczos"),
    ),
)  # fmt: skip
_FILES = (
    Option("REPORT", "--report", "Report", "file_out", suffix="HTML files (*.html)"),
    Option("FIT", "--save-fit", "Fit, for other bands and masks", "file_out", suffix="JSON files (*.json)"),
)
_SWIPE = Option("SWIPE", "--swipe", "Page to compare the images", "file_out", suffix="HTML files (*.html)")
_MORE = Option("MORE", "", "More options, as the command line takes them", "words")


class CommandAlgorithm(QgsProcessingAlgorithm):
    """One command of xcoreg."""

    command: tuple[str, ...] = ()
    title = ""
    text = ""
    options: tuple[Option, ...] = ()

    def name(self) -> str:
        """Name in scripts."""
        return self.command[0]

    def displayName(self) -> str:
        """Name in the toolbox."""
        return self.title

    def shortHelpString(self) -> str:
        """Text beside the dialog."""
        return self.text

    def createInstance(self) -> QgsProcessingAlgorithm:
        """Make another one."""
        return type(self)()

    def initAlgorithm(self, config: Any = None) -> None:  # noqa: ARG002 - a name of QGIS
        """Add the parameters."""
        for option in self.options:
            self.addParameter(parameter_of(option))

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the command; what it prints is the log of the dialog."""
        values = {option.name: self._value(option, parameters, context) for option in self.options}
        words = command.arguments(self.command, self.options, values)
        try:
            command.run(words, feedback.pushInfo, feedback.isCanceled, feedback.setProgress)
        except RuntimeError as error:
            raise QgsProcessingException(str(error)) from error
        return {option.name: values[option.name] for option in self.options if option.kind.endswith("_out")}

    def _value(self, option: Option, parameters: Any, context: Any) -> Any:
        """Read a parameter as the command takes it; None where it was left empty."""
        name, kind = option.name, option.kind
        if parameters.get(name) in (None, "") and not kind.endswith("_out"):
            return None
        if kind == "raster":
            layer = self.parameterAsRasterLayer(parameters, name, context)
            return None if layer is None else layer.source()
        if kind == "raster_out":
            return self.parameterAsOutputLayer(parameters, name, context)
        if kind in ("file_out", "folder_out"):
            empty = parameters.get(name) in (None, "", "TEMPORARY_OUTPUT") and option.optional
            return None if empty else self.parameterAsFileOutput(parameters, name, context)
        if kind == "choice":
            return option.choices[self.parameterAsEnum(parameters, name, context)]
        read = {"number": self.parameterAsDouble, "integer": self.parameterAsInt, "switch": self.parameterAsBoolean}
        return read.get(kind, self.parameterAsString)(parameters, name, context)


def parameter_of(option: Option) -> Any:
    """Make the parameter of QGIS for an option."""
    name, label, default, optional = option.name, option.label, option.default, option.optional
    if option.kind == "raster":
        return QgsProcessingParameterRasterLayer(name, label, default, optional)
    if option.kind == "raster_out":
        return QgsProcessingParameterRasterDestination(name, label, default, optional)
    if option.kind == "file_out":
        return QgsProcessingParameterFileDestination(name, label, option.suffix, default, optional, False)
    if option.kind == "folder_out":
        return QgsProcessingParameterFolderDestination(name, label, default, optional)
    if option.kind in ("file", "folder"):
        kinds = QgsProcessingParameterFile
        behaviour = kinds.Folder if option.kind == "folder" else kinds.File
        return QgsProcessingParameterFile(name, label, behaviour, "", default, optional)
    if option.kind in ("number", "integer"):
        numbers = QgsProcessingParameterNumber
        kind = numbers.Integer if option.kind == "integer" else numbers.Double
        return QgsProcessingParameterNumber(name, label, kind, default, optional)
    if option.kind == "choice":
        return QgsProcessingParameterEnum(name, label, list(option.choices), False, default, optional)
    if option.kind == "switch":
        return QgsProcessingParameterBoolean(name, label, default, optional)
    return QgsProcessingParameterString(name, label, default, False, optional)


class Shift(CommandAlgorithm):
    """Match by one shift, and correct."""

    command, title = ("shift",), "Correct by one shift"
    text = "Measures the shift of the target against the reference, checks it, and writes the corrected target. Its pixels stay as they are unless another grid is asked for. A pair without a trustworthy match is refused, with the reason in the log."  # noqa: E501
    options = (*_PAIR, *_MATCH, *_GRID, *_FILES, _SWIPE, _MORE, _OUT)


class Warp(CommandAlgorithm):
    """Match by a field of shifts, and correct."""

    command, title = ("warp",), "Correct by a field of shifts"
    text = "Matches windows on a grid, fits a model, and warps the target once."
    options = (*_PAIR, *_MATCH, *_LOCAL, *_GRID, *_FILES, _SWIPE, _MORE, _OUT)


class Points(CommandAlgorithm):
    """Find tie points."""

    command, title = ("points",), "Tie points"
    text = "Finds tie points on a grid. Windows that failed are in the table too, with the reason in the column status. tie_points.qml in the folder of this plugin styles the layer."  # noqa: E501
    out = Option("OUT", "", "Tie points", "file_out", optional=False, suffix="GeoPackage files (*.gpkg)")
    options = (*_PAIR, *_MATCH, *_LOCAL, _MORE, out)


class Dem(CommandAlgorithm):
    """Align elevation models."""

    command, title = ("dem",), "Align an elevation model"
    text = "Aligns an elevation model with a reference in x, y and z, as one shift or block by block (Nuth and Kääb)."
    options = (
        *_PAIR,
        Option("WHERE", "--stable", "Stable terrain: mask or polygons", "file"),
        Option("EXCLUDE", "--exclude", "The file marks unstable terrain instead", "switch", default=False),
        Option("BLOCK", "--block", "Side of a block, target px; empty: one shift", "number"),
        *_GRID,
        *_FILES,
        _MORE,
        _OUT,
    )


class Apply(CommandAlgorithm):
    """Apply a fit to another image."""

    command, title = ("apply",), "Apply a fit to another band or mask"
    text = "Corrects another band, mask or pixel size of the same scene by a fit that was saved."
    options = (
        Option("FIT", "", "Fit", "file", optional=False),
        Option("IMAGE", "", "Image", "raster", optional=False),
        *_GRID,
        _MORE,
        _OUT,
    )


class Batch(CommandAlgorithm):
    """Correct all rasters of a folder."""

    command, title = ("batch",), "Correct many scenes"
    text = "Corrects all rasters of a folder, of a CSV table (target, reference, name) or of STAC items. Run it again to continue where it stopped; index.html in the output folder shows every scene."  # noqa: E501
    options = (
        Option("JOBS", "", "Folder, pattern, CSV table or STAC items", "text", optional=False),
        Option("REF", "--ref", "Reference of all targets", "raster"),
        Option("VERB", "--verb", "One shift, or a field of shifts", "choice", default=0, choices=("shift", "warp")),
        Option("WORKERS", "--workers", "Processes", "integer"),
        Option("ASSET", "--asset", "Asset of STAC items", "text"),
        *_MATCH,
        *_GRID,
        _MORE,
        Option("OUT", "--out", "Output folder", "folder_out", optional=False),
    )


ALGORITHMS = (Shift, Warp, Points, Dem, Apply, Batch)
