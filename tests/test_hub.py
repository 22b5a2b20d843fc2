"""Fetching from the hub, against a server on this machine that speaks the hub's few words."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download, try_to_load_from_cache

from ezaudio import hub
from ezaudio.errors import DownloadError, InputError

REPO, NAME, COMMIT = "owner/repo", "folder/weights.pt", "a" * 40
CONTENT = bytes(range(256)) * 400


class FakeHub(ThreadingHTTPServer):
    """Serves one large and one small file; can lie about the hash, or hang up early."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {NAME: CONTENT, "config.json": b'{"a": 1}'}
        self.etags = {
            NAME: hashlib.sha256(CONTENT).hexdigest(),
            "config.json": hashlib.sha1(b'blob 8\0{"a": 1}').hexdigest(),
        }
        self.commit = COMMIT
        self.hang_up_after: int | None = None
        self.refuse = False
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub_state = self.server
        match = re.fullmatch(rf"/{REPO}/resolve/([0-9a-f]+)/(.+)", self.path)
        if match is None or match[2] not in hub_state.files or (body and hub_state.refuse):
            self.send_response(503 if hub_state.refuse else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = hub_state.files[match[2]]
        asked = self.headers.get("Range")
        start = int(asked[6:].partition("-")[0]) if body and asked else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("X-Repo-Commit", hub_state.commit)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Linked-Etag", f'"{hub_state.etags[match[2]]}"')
        self.end_headers()
        if body:
            hub_state.ranges.append(asked)
            stop = hub_state.hang_up_after
            self.wfile.write(content[start:stop])
            if stop is not None:
                hub_state.refuse = True
                self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    with FakeHub() as fake:
        thread = threading.Thread(target=fake.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield fake
        fake.shutdown()
        thread.join()


def test_a_file_is_fetched_once_and_lies_in_the_hubs_own_cache(
    server: FakeHub, tmp_path: Path
) -> None:
    for _ in range(2):
        path = hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
        assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert try_to_load_from_cache(REPO, NAME, cache_dir=tmp_path, revision=COMMIT) == str(path)
    assert not list(tmp_path.rglob("*.incomplete")) and not list(tmp_path.rglob("*.lock"))


def test_a_small_file_is_checked_by_its_git_hash(server: FakeHub, tmp_path: Path) -> None:
    path = hub.fetch(REPO, "config.json", COMMIT, cache_dir=tmp_path, endpoint=server.url)
    assert path.read_bytes() == b'{"a": 1}'


def test_an_interrupted_download_goes_on_where_it_stopped(server: FakeHub, tmp_path: Path) -> None:
    server.hang_up_after = 50_500
    with pytest.raises(DownloadError, match="503"):
        hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    kept = next(tmp_path.rglob("*.incomplete")).stat().st_size
    assert 40_000 < kept < 51_000
    server.hang_up_after, server.refuse = None, False
    path = hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={kept}-"]


def test_a_damaged_remainder_is_thrown_away(server: FakeHub, tmp_path: Path) -> None:
    part = tmp_path / "models--owner--repo/blobs" / f"{server.etags[NAME]}.incomplete"
    part.parent.mkdir(parents=True)
    for wrong in (bytes(500), bytes(len(CONTENT))):
        part.write_bytes(wrong)
        with pytest.raises(DownloadError, match="recorded"):
            hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
        assert not part.exists()
    part.write_bytes(bytes(len(CONTENT) + 1))
    path = hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    assert path.read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(server: FakeHub, tmp_path: Path) -> None:
    server.etags[NAME] = "0" * 64
    with pytest.raises(DownloadError, match="recorded 0000"):
        hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("0*"))


def test_a_file_without_a_hash_or_of_another_commit_is_refused(
    server: FakeHub, tmp_path: Path
) -> None:
    server.commit = "b" * 40
    with pytest.raises(DownloadError, match="answered for commit bbb"):
        hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    server.commit, server.etags[NAME] = COMMIT, "abc"
    with pytest.raises(DownloadError, match="no hash"):
        hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)


def test_a_damaged_cached_file_is_fetched_again(server: FakeHub, tmp_path: Path) -> None:
    path = hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    path.resolve().write_bytes(b"x" * len(CONTENT))
    assert hub.find_cached(REPO, NAME, COMMIT, cache_dir=tmp_path) is None
    again = hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    assert again.read_bytes() == CONTENT


def test_a_file_fetched_by_the_hubs_own_client_is_used(server: FakeHub, tmp_path: Path) -> None:
    theirs = file_download.hf_hub_download(
        REPO, NAME, revision=COMMIT, cache_dir=tmp_path, endpoint=server.url
    )
    asked = len(server.ranges)
    ours = hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
    assert str(ours) == theirs and len(server.ranges) == asked


def test_without_links_the_file_itself_takes_the_name(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError("links are unknown here")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    for _ in range(2):
        path = hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=server.url)
        assert path.read_bytes() == CONTENT and not path.is_symlink()
    assert server.ranges == [None]


def test_a_copy_put_in_place_by_hand_is_found_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError) as caught:
        hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path)
    message = str(caught.value)
    assert "offline mode is on" in message and "--model PATH" in message and "\n" not in message
    place = re.search(r"save it as (\S+),", message)
    assert place is not None
    Path(place[1]).parent.mkdir(parents=True)
    Path(place[1]).write_bytes(b"mine")
    assert hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path).read_bytes() == b"mine"


def test_no_network_is_one_line_that_says_what_to_do(server: FakeHub, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    with pytest.raises(DownloadError) as caught:
        hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path, endpoint=nobody)
    assert f"{nobody}/{REPO}/resolve/{COMMIT}/{NAME}" in str(caught.value)
    assert "no connection" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DownloadError, match="answers 404"):
        hub.fetch(REPO, "none.pt", COMMIT, cache_dir=tmp_path, endpoint=server.url)


def test_a_cache_that_cannot_be_written_is_one_line(server: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError) as caught:
        hub.fetch(REPO, NAME, COMMIT, cache_dir=tmp_path / "file", endpoint=server.url)
    assert "Not a directory" in str(caught.value) and "\n" not in str(caught.value)


def test_only_commits_and_known_names_are_fetched() -> None:
    with pytest.raises(DownloadError, match="not a commit"):
        hub.fetch(REPO, NAME, "main")
    with pytest.raises(InputError, match="xl"):
        hub.fetch_official("xxl")
    with pytest.raises(InputError, match="flan-t5-large"):
        hub.fetch_text_encoder("google/flan-t5-none")


def test_every_pinned_file_names_a_commit_and_a_path() -> None:
    files = [*hub.OFFICIAL_FILES.values(), *sum(hub.TEXT_ENCODER_FILES.values(), ())]
    assert {file.filename for file in hub.OFFICIAL_FILES.values()} == {
        "ckpts/s3/ezaudio_s3_l.pt",
        "ckpts/s3/ezaudio_s3_xl.pt",
        "ckpts/vae/1m.pt",
        "ckpts/controlnet/s3_l_energy.pt",
    }
    assert all(re.fullmatch("[0-9a-f]{40}", file.revision) for file in files)


def test_the_offline_switch_of_the_environment_is_honoured(tmp_path: Path) -> None:
    code = (
        "from ezaudio.hub import fetch_official\n"
        "from ezaudio.errors import DownloadError\n"
        "try:\n    fetch_official('xl')\n"
        "except DownloadError as error:\n    print(error)\n"
    )
    environment = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1 and "offline mode is on" in done.stdout
    assert str(tmp_path) in done.stdout and done.stderr == ""
