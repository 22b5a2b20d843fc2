"""Listening tests: mean opinion scores of quality (OVL) and fit to the caption (REL)."""
