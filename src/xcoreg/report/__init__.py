"""A fit as one self-contained HTML page: text, tables and pictures, no links to anything outside of it."""
