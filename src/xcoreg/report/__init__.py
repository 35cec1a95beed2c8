"""A fit as one self-contained page of HTML."""
