"""Published weights: found, fetched, continued, checked; a server here is the publisher."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ezaudio.errors import DownloadError
from ezaudio.evaluation import weights
from ezaudio.evaluation.weights import WEIGHTS, Weights, fetch_weights

CONTENT = bytes(range(256)) * 40


class Publisher(BaseHTTPRequestHandler):
    ranges: list[str | None] = []  # noqa: RUF012 - emptied by the fixture
    knows_ranges = True

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.knows_ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Publisher]]:
    monkeypatch.delenv("EZAUDIO_WEIGHTS", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(Publisher, "ranges", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    published(monkeypatch, server.server_address[1])
    yield Publisher
    server.shutdown()
    thread.join()
    server.server_close()


def published(monkeypatch: pytest.MonkeyPatch, port: int, digest: str | None = None) -> None:
    digest = hashlib.md5(CONTENT).hexdigest() if digest is None else digest
    entry = Weights("net.pth", f"http://127.0.0.1:{port}/net.pth", "md5", digest, "CC BY 4.0")
    monkeypatch.setitem(WEIGHTS, "net", entry)


def test_a_file_is_fetched_once(publisher, tmp_path):
    for _ in range(2):
        path = fetch_weights("net", folder=tmp_path)
        assert path.read_bytes() == CONTENT
    assert publisher.ranges == [None]
    assert [p.name for p in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_fetch_that_stopped_goes_on_or_starts_again(
    publisher, tmp_path, monkeypatch, knows_ranges
):
    monkeypatch.setattr(Publisher, "knows_ranges", knows_ranges)
    (tmp_path / "net.pth.incomplete").write_bytes(CONTENT[:1000])
    assert fetch_weights("net", folder=tmp_path).read_bytes() == CONTENT
    assert publisher.ranges == ["bytes=1000-"]


def test_another_content_is_refused_and_leaves_nothing(publisher, tmp_path, monkeypatch):
    port = int(WEIGHTS["net"].url.split(":")[2].split("/")[0])
    published(monkeypatch, port, "0" * 32)
    with pytest.raises(DownloadError, match=r"md5 is .*expected 0000"):
        fetch_weights("net", folder=tmp_path)
    assert not list(tmp_path.glob("net*"))


def test_a_published_beginning_of_a_hash_is_enough(publisher, tmp_path, monkeypatch):
    port = int(WEIGHTS["net"].url.split(":")[2].split("/")[0])
    published(monkeypatch, port, hashlib.md5(CONTENT).hexdigest()[:8])
    assert fetch_weights("net", folder=tmp_path).is_file()


def test_a_folder_of_ones_own_is_looked_into_first(tmp_path, monkeypatch):
    published(monkeypatch, 9)
    (tmp_path / "net.pth").write_bytes(b"mine")
    monkeypatch.setenv("EZAUDIO_WEIGHTS", str(tmp_path))
    assert fetch_weights("net", folder=tmp_path / "cache") == tmp_path / "net.pth"


def test_offline_the_message_says_where_the_file_is(tmp_path, monkeypatch):
    published(monkeypatch, 9)
    monkeypatch.delenv("EZAUDIO_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"offline: get http.*--weights net=PATH"):
        fetch_weights("net", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_publisher_that_cannot_be_reached_is_one_line(publisher, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(weights.urllib.request, "urlopen", refuse)
    with pytest.raises(DownloadError, match=r"cannot be fetched \(no route to host\)") as error:
        fetch_weights("net", folder=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["panns-16k", "panns-32k", "vggish", "passt"])
def test_every_published_file_has_its_source_and_licence(name):
    entry = WEIGHTS[name]
    assert entry.url.startswith("https://")
    assert entry.licence
    assert Path(entry.filename).suffix in (".pth", ".pt")
    assert entry.algorithm in hashlib.algorithms_guaranteed
