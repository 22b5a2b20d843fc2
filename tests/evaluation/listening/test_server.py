"""The server, spoken to as a browser would."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ezaudio.evaluation.listening.answers import ANSWERS_FILE, Answers
from ezaudio.evaluation.listening.server import open_server


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    server = open_server(folder, port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def ask(
    port: int, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    link.request("GET" if body is None else "POST", path, content, headers or {})
    reply = link.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read()
    link.close()
    return found


def say(port: int, path: str, body: Any = None) -> dict[str, Any]:
    status, _, content = ask(port, path, body)
    assert status == 200, content
    return dict(json.loads(content))


def rate_all(port: int, code: str, ovl: int = 4) -> int:
    listener = say(port, "/api/join", {"code": code})["listener"]
    following, count = say(port, f"/api/next?listener={listener}"), 0
    while not following["done"]:
        answer = {"listener": listener, "trial": following["trial"], "ovl": ovl, "rel": 3}
        following = say(port, "/api/answer", {**answer, "listened_s": 1.0, "spent_s": 2.0})
        count += 1
    return count


def test_a_listener_rates_everything_once_and_is_done(port, folder):
    assert rate_all(port, "anna") == 10
    assert rate_all(port, "anna") == 0
    assert len(Answers(folder / ANSWERS_FILE).all()) == 10


def test_listeners_at_the_same_time_lose_nothing(port, folder):
    with ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(lambda i: rate_all(port, f"listener {i}"), range(6)))
    assert counts == [10] * 6
    answers = Answers(folder / ANSWERS_FILE).all()
    assert len({(a.listener, a.trial) for a in answers}) == 60


def test_the_page_is_served_and_names_no_system(port):
    status, headers, content = ask(port, "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert b"theirs" not in content


def test_what_a_listener_is_told_names_no_system(port):
    listener = say(port, "/api/join", {"code": "x"})["listener"]
    told = say(port, f"/api/next?listener={listener}")
    assert set(told) == {"done", "rated", "total", "trial", "caption", "following"}


def test_a_sound_is_given_whole_and_in_ranges(port, study):
    path = f"/clip/{study.trials[0].id}.wav"
    _, headers, whole = ask(port, path)
    assert headers["Content-Type"] == "audio/wav"
    status, headers, part = ask(port, path, headers={"Range": "bytes=10-19"})
    assert (status, part) == (206, whole[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert ask(port, path, headers={"Range": "bytes=-4"})[2] == whole[-4:]
    assert ask(port, path, headers={"Range": f"bytes={len(whole)}-"})[0] == 416


@pytest.mark.parametrize(
    "path", ["/clip/0123456789abcdef.wav", "/clip/../study.json", "/study.json", "/api/none"]
)
def test_nothing_else_is_given_away(port, path):
    assert ask(port, path)[0] == 404


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"ovl": 6}, 400, "ovl"),
        ({"rel": 0}, 400, "rel"),
        ({"trial": "unknown"}, 400, "trial"),
        ({"listener": "stranger"}, 403, "listener"),
        ({"more": 1}, 400, "more"),
    ],
)
def test_answers_that_cannot_be_are_refused_by_name(port, study, change, status, field):
    listener = say(port, "/api/join", {"code": "x"})["listener"]
    body = {"listener": listener, "trial": study.trials[0].id, "ovl": 3, "rel": 3}
    got, _, content = ask(port, "/api/answer", {**body, "listened_s": 1, "spent_s": 1, **change})
    assert (got, json.loads(content)["field"]) == (status, field)


@pytest.mark.parametrize("body", [b"not json", b"[1]", b"", b"x" * 20_000])
def test_a_body_that_is_no_object_is_refused(port, body):
    assert ask(port, "/api/answer", body)[0] == 400
