"""From a fit to the corrected image: composing the map, resampling once, wrapping; rectifying and locating."""
