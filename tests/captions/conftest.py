from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.captions.chat_server import ChatServer

from ezaudio.captions.executors import executor_from
from ezaudio.captions.record import CaptionRecord
from ezaudio.captions.run import RunSettings, Summary, label
from ezaudio.captions.sources import source_from
from ezaudio.captions.store import CaptionSet

HEADER = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"


@pytest.fixture
def strong(tmp_path: Path) -> Callable[[int], Path]:
    """Write a file of strong labels with `count` clips: `clip7_0` barks, and a sound 7 follows."""

    def write(count: int) -> Path:
        path = tmp_path / "strong.tsv"
        rows = (
            f"clip{n}_0\t1.0\t2.0\tBark\nclip{n}_0\t4.0\t4.5\tsound {n}.\n" for n in range(count)
        )
        path.write_text(HEADER + "".join(rows))
        return path

    return write


def number_of(user: str) -> int:
    """Which clip of `strong` a prompt is about."""
    return int(user.rpartition("sound ")[2].partition(".")[0])


def asking(server: ChatServer | str, **chat: Any) -> dict[str, Any]:
    """Settings of the writer `llm` against a test server: patient as a busy machine needs."""
    url = server if isinstance(server, str) else server.url
    usual = {"timeout_s": 60, "price_in": 10.0, "price_out": 20.0}
    return {"writer": "llm", "chat": {"base_url": url, **usual, **chat}}


def run(source: Any, inputs: Path, out: Path, *, executor: Any = None, **settings: Any) -> Summary:
    return label(
        source,
        [inputs],
        out,
        settings=RunSettings(**settings),
        executor=executor or executor_from("local"),
    )


def run_strong(inputs: Path, out: Path, source: dict[str, Any], **settings: Any) -> Summary:
    return run(source_from("strong_labels", source), inputs, out, **settings)


def table(out: Path) -> list[tuple[Any, ...]]:
    """Every column of every caption, but the time."""
    names = [name for name in CaptionRecord.__slots__ if name != "created"]
    return [tuple(getattr(r, name) for name in names) for r in CaptionSet(out).records()]
