"""Saying which names are allowed, and which one was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def allowed_names(got: object, names: Iterable[str]) -> str:
    """Say `one of a, b, c`, with the nearest one where there is one."""
    known = list(names)
    said = f"one of {', '.join(known)}"
    folded = {name.casefold(): name for name in known}
    wanted = str(got).strip().casefold()
    near = [name for name in folded if len(wanted) >= 3 and name.startswith(wanted)]
    near = near or get_close_matches(wanted, folded, n=1, cutoff=0.5)
    return f"{said} (did you mean {folded[near[0]]}?)" if near else said
