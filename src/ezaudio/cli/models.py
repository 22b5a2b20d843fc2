"""`ezaudio models`."""

from __future__ import annotations

from ezaudio.pipelines.catalogue import CATALOGUE, ModelCard, availability, read_card


def models() -> None:
    """List models."""
    rows = [("name", "where", "size", "longest", "licence", "what it is")]
    for name, entry in CATALOGUE.items():
        found = availability(name)
        if found.state == "not included":
            rows.append((name, found.state, "-", "-", "-", "not in this installation"))
            continue
        card = entry if isinstance(entry, ModelCard) else read_card(entry)
        licence = card.licence
        if card.text.get("kind") == "flan-t5":
            licence += ", text encoder Apache-2.0"
        longest = f"{card.max_duration_s:g} s"
        size = _size(found.size_bytes)
        rows.append((name, found.state, size, longest, licence, card.summary))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _size(size_bytes: int) -> str:
    """Write a size in decimal units."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.1f} MB"
