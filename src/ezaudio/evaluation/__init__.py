"""Scores of generated sounds."""
