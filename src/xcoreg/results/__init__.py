"""Results as frozen values: tie points, shifts, fits, their files, and what they look like as text and HTML."""
