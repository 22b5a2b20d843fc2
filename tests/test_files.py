"""Folders, parts, downloads and kept bytes: one way each."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from ezaudio.errors import InputError, OutputError
from ezaudio.files import BlobStore, download, make_folder, read_part


def test_a_folder_is_made_with_its_parents_or_it_is_said_why_not(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for impossible in (tmp_path / "file", tmp_path / "file" / "x", Path("bad\0name")):
        with pytest.raises(OutputError, match="cannot make the folder"):
            make_folder(impossible)


def test_a_part_is_k_of_n() -> None:
    assert read_part("0/1", "shard") == (0, 1)
    assert read_part("3/12", "shard") == (3, 12)


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "1/0", "a/b", "0/2/3", "1.0/2", "²/3"])
def test_what_is_no_part_is_refused_in_the_words_of_its_option(text: str) -> None:
    with pytest.raises(InputError, match="K/N") as caught:
        read_part(text, "part")
    assert caught.value.field == "part"


class Sender:
    """Sends ten bytes, and may break off."""

    def __init__(self, *, breaks_after: int = 10) -> None:
        self.begun: list[int] = []
        self.breaks_after = breaks_after

    def __call__(self, file: BinaryIO, have: int) -> None:
        self.begun.append(have)
        file.write(b"0123456789"[have : self.breaks_after])
        if self.breaks_after < 10:
            raise OSError("no connection")


def brought(folder: Path, sender: Sender, *, size: int | None = None) -> bytes:
    def check(part: Path) -> None:
        if part.read_bytes() != b"0123456789":
            raise ValueError("another content")

    download(
        folder / "whole",
        folder / "part",
        lock=folder / "lock",
        bring=sender,
        whole=lambda path: path.read_bytes() == b"0123456789",
        check=check,
        size=size,
    )
    return (folder / "whole").read_bytes()


def test_a_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no connection"):
        brought(tmp_path, Sender(breaks_after=4))
    sender = Sender()
    assert brought(tmp_path, sender) == b"0123456789"
    assert sender.begun == [4]
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert brought(tmp_path, sender) == b"0123456789"
    assert sender.begun == [4]  # it is there


def test_a_download_that_is_longer_than_the_file_begins_again(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"x" * 11)
    sender = Sender()
    assert brought(tmp_path, sender, size=10) == b"0123456789"
    assert sender.begun == [0]


def test_another_content_is_removed_and_gets_no_name(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"xx")
    with pytest.raises(ValueError, match="another content"):
        brought(tmp_path, Sender())
    assert not (tmp_path / "part").exists()
    assert not (tmp_path / "whole").exists()


@pytest.mark.parametrize("kept", [True, False])
def test_bytes_are_given_back_by_key(tmp_path: Path, kept: bool) -> None:
    store = BlobStore(tmp_path / "new" / "s.sqlite" if kept else None)
    store.put({f"k{number}": bytes([number % 256]) for number in range(1200)})
    store.put({b"k0": b"bytes"})
    store.put({"k1": b"newer"})
    keys = [f"k{number}" for number in range(1200)]
    assert store.get([*keys, "absent", b"k0"]) == {
        **{f"k{number}": bytes([number % 256]) for number in range(1200)},
        "k1": b"newer",
        b"k0": b"bytes",
    }
    assert store.get([]) == {}
    store.close()


def test_threads_and_processes_share_a_store(tmp_path: Path) -> None:
    stores = [BlobStore(tmp_path / "s.sqlite") for _ in range(2)]

    def write(number: int) -> None:
        for index in range(20):
            stores[number % 2].put({f"{number}-{index}": b"x"})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [f"{number}-{index}" for number in range(4) for index in range(20)]
    assert len(stores[0].get(keys)) == 80
    for store in stores:
        store.close()


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 99)
    with pytest.raises(OutputError, match=r"s\.sqlite"):
        BlobStore(tmp_path / "s.sqlite")
