"""The page of scores as a reader sees it: in a browser, from the disk, without a network."""

from __future__ import annotations

import os
from pathlib import Path

from tests.evaluation.conftest import write_manifest, write_sounds
from tests.evaluation.listening.browser import Browser

from ezaudio.cli.main import run

SOUND = "document.querySelector('article audio')"


def test_the_page_needs_no_other_file_plays_its_worst_clips_and_sorts(
    browser: Browser, model: Path, tmp_path: Path
) -> None:
    write_sounds(tmp_path / "clips", 14)
    manifest = write_manifest(tmp_path / "clips.csv", tmp_path / "clips")
    arguments = [
        "evaluate", "--model", model, "--manifest", manifest, "--protocol", "fake", "--set",
        "steps=1", "--cache", tmp_path / "c.sqlite", "-o", tmp_path / "out", "-q",
    ]  # fmt: skip
    assert run([str(argument) for argument in arguments]) == 0
    alone = tmp_path / "elsewhere" / "page.html"  # no sound lies beside it
    alone.parent.mkdir()
    alone.write_bytes((tmp_path / "out" / "report.html").read_bytes())

    page = browser.page(alone.as_uri())
    asked = page.run("performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in asked if not name.startswith("data:")] == []
    assert page.run("document.querySelectorAll('tr.floor').length") >= 2
    anchors = "[...document.querySelectorAll('tr.anchor th')].map(e => e.textContent)"
    assert page.run(anchors) == ["silence", "noise", "shuffled", "low-passed"]
    heads = page.run("[...document.querySelectorAll('thead th')].map(e => e.textContent)")
    assert heads[heads.index("FD ↓") + 1] == "bias of FD"
    assert page.run("document.querySelectorAll('figure svg').length") >= 8

    assert page.run("document.querySelectorAll('article').length") == 12  # the worst of 14
    pictures = "[...document.images].every(e => e.complete && e.naturalWidth > 0)"
    assert page.run(pictures)
    page.run(f"{SOUND}.play()")
    page.wait(f"{SOUND}.ended || {SOUND}.currentTime > 0.1")

    page.run("document.querySelector('details').open = true")
    column = "[...document.querySelectorAll('.sortable tbody td[data-value]:nth-child(3)')]"
    page.run("document.querySelectorAll('.sortable th')[2].click()")
    shown = page.run(f"{column}.map(e => Number(e.dataset.value))")
    assert len(shown) == 14
    assert shown == sorted(shown, reverse=True)
    page.run("document.querySelectorAll('.sortable th')[2].click()")
    assert page.run(f"{column}.map(e => Number(e.dataset.value))") == shown[::-1]
    assert page.run("document.documentElement.scrollWidth <= innerWidth + 1")
    if pictures := os.environ.get("EZAUDIO_TEST_PICTURES"):
        page.picture(Path(pictures) / "scores.png", whole=True)
