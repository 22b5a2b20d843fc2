"""Reports for people: HTML pages that need no other file, plots, and Markdown.

Every page of the package is built here, so that all have one style: light and dark after the
reader's system, and readable on a phone.
"""
