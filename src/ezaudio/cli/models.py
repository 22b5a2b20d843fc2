"""`ezaudio models`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ezaudio.pipelines.catalogue import CATALOGUE, ModelCard, availability, read_card


def models(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List models."""
    if as_json:
        print(json.dumps([_facts(name) for name in CATALOGUE], indent=2, ensure_ascii=False))
        return
    rows = [("name", "where", "size", "longest", "licence", "what it is")]
    for name, entry in CATALOGUE.items():
        found = availability(name)
        if found.state == "not included":
            rows.append((name, found.state, "-", "-", "-", "not in this installation"))
            continue
        card = entry if isinstance(entry, ModelCard) else read_card(entry)
        licence = _licence(card)
        longest = f"{card.max_duration_s:g} s"
        size = _size(found.size_bytes)
        rows.append((name, found.state, size, longest, licence, card.summary))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _facts(name: str) -> dict[str, str | int | float]:
    entry, found = CATALOGUE[name], availability(name)
    if found.state == "not included":
        return {"name": name, "state": found.state}
    card = entry if isinstance(entry, ModelCard) else read_card(entry)
    return {
        "name": name,
        "state": found.state,
        "size_bytes": found.size_bytes,
        "max_duration_s": card.max_duration_s,
        "licence": _licence(card),
        "summary": card.summary,
    }


def _licence(card: ModelCard) -> str:
    if card.text.get("kind") == "flan-t5":
        return f"{card.licence}, text encoder Apache-2.0"
    return card.licence


def _size(size_bytes: int) -> str:
    """Write a size in decimal units."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.1f} MB"
