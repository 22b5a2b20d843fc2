"""The listening test from end to end: three listeners in a real browser, one on a phone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.evaluation.listening.browser import Browser, Page

from ezaudio.cli.main import run
from ezaudio.evaluation.listening.answers import ANSWERS_FILE, Answers
from ezaudio.evaluation.listening.report import listening_report


class Served:
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "ezaudio.cli.main", "listen", "serve", str(self.folder)]
        root = Path(__file__).parents[3]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root / "src")},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.port = int(re.search(r":(\d+)/", line)[1])  # type: ignore[index]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def served(browser: Browser, folder: Path) -> Iterator[Served]:
    server = Served(folder)
    yield server
    server.kill()


def join(page: Page, code: str) -> None:
    page.run(f"document.querySelector('#code').value = {code!r}")
    page.run("document.querySelector('#join').requestSubmit()")
    page.wait("!document.querySelector('#trial').hidden")


def rate(page: Page, ovl: int, rel: int, *, touch: bool, confirmed: bool = True) -> str:
    """Listen to the sound that is shown, rate it, and go on; gives the trial's id."""
    page.wait("document.querySelector('#sound').readyState >= 2")
    trial = str(page.run("trial"))
    if touch:
        page.tap("#play")
    else:
        page.key(" ")
    page.wait("document.querySelector('#sound').ended || heard() > 0.4")
    for question, answer in (("ovl", ovl), ("rel", rel)):
        if touch:
            page.tap(f"input[name={question}][value='{answer}']")
        else:
            page.key(str(answer))
    page.wait("!document.querySelector('#next').disabled")
    if touch:
        page.tap("#next")
    else:
        page.key("Enter")
    if confirmed:
        page.wait(f"trial !== {trial!r} || !document.querySelector('#done').hidden")
    return trial


def test_three_listeners_a_killed_server_and_no_answer_lost(served, browser, folder, study):
    address = f"http://127.0.0.1:{served.port}/"
    pages = {
        "anna": browser.page(address, phone=True),
        "ben": browser.page(address),
        "cleo 3": browser.page(address),
    }
    given: dict[tuple[str, str], tuple[int, int]] = {}

    def rate_next(code: str, *, confirmed: bool = True) -> None:
        number = sum(who == code for who, _ in given)
        ovl, rel = 1 + (number + len(code)) % 5, 1 + number % 5
        trial = rate(pages[code], ovl, rel, touch=code == "anna", confirmed=confirmed)
        given[code, trial] = ovl, rel

    for code, page in pages.items():
        join(page, code)
        for _ in range(3):
            rate_next(code)
    pictures = os.environ.get("EZAUDIO_TEST_PICTURES")
    if pictures:
        pages["anna"].picture(Path(pictures) / "phone.png")
        pages["ben"].picture(Path(pictures) / "desk.png")

    served.kill()
    for code in pages:  # rated while there is no server
        pages[code].wait("document.querySelector('#sound').readyState >= 2")
        rate_next(code, confirmed=False)
    pages["ben"].wait("!document.querySelector('#trouble').hidden")
    if pictures:
        pages["anna"].picture(Path(pictures) / "offline.png")
    served.start()
    for page in pages.values():
        page.wait("document.querySelector('#trouble').hidden && !busy")

    pages["ben"].go(address)  # a page that is opened again goes on where it was
    pages["ben"].wait("!document.querySelector('#trial').hidden")
    for code, page in pages.items():
        while page.run("document.querySelector('#done').hidden"):
            rate_next(code)
    kept = {(a.listener, a.trial): (a.ovl, a.rel) for a in Answers(folder / ANSWERS_FILE).all()}
    assert kept == given
    assert len(kept) == 3 * len(study.trials)
    found = listening_report(study, Answers(folder / ANSWERS_FILE).all())
    assert sum(one.answers for one in found.listeners) == 27
    assert found.left_out == 0  # all were heard to their end, or long enough

    assert run(["listen", "report", str(folder), "-o", str(folder / "report")]) == 0
    page = browser.page((folder / "report" / "listening.html").as_uri())
    said = page.run("[...document.querySelectorAll('svg title')].map(e => e.textContent)")
    assert len(said) == 6  # 3 systems, OVL, REL
    assert all("[" in text for text in said)
    assert page.run("document.querySelectorAll('table').length") == 2
    rows = "[...document.querySelectorAll('table')[0].rows].map(r => r.cells[0].textContent)"
    assert page.run(rows) == ["system", "ours", "theirs", "reference"]
    assert "Krippendorff" in page.run("document.body.textContent")
    assert page.run("performance.getEntriesByType('resource').length") == 0
    assert page.run("document.documentElement.scrollWidth <= innerWidth + 1")
    if pictures:
        page.picture(Path(pictures) / "report.png", whole=True)


def test_nothing_can_be_sent_before_listening_and_everything_fits_a_phone(served, browser):
    page = browser.page(f"http://127.0.0.1:{served.port}/", phone=True)
    join(page, "anna")
    page.wait("document.querySelector('#sound').readyState >= 2")
    for question in ("ovl", "rel"):
        page.tap(f"input[name={question}][value='3']")
    assert page.run("document.querySelector('#next').disabled")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    smallest = "Math.min(...[...document.querySelectorAll('.scale label')].map(e => {0}))"
    assert page.run(smallest.format("e.getBoundingClientRect().width")) >= 44
    assert page.run(smallest.format("e.getBoundingClientRect().height")) >= 44
