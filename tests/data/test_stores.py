"""Small parts: reading pieces of tars, work in threads, numbers of a manifest."""

import pickle
import threading

import pytest

from ezaudio.data.clips import ClipRow
from ezaudio.data.prefetch import Prefetch
from ezaudio.data.shards import TarFiles, finished, new_shard, read_head, write_head
from ezaudio.data.statistics import of_rows
from ezaudio.data.tables import write_columns
from ezaudio.data.work import in_order
from ezaudio.errors import AudioFileError, CheckpointError, InputError


@pytest.mark.parametrize("has_pread", [True, False])
def test_members_are_found_by_place_in_another_process_too(tmp_path, monkeypatch, has_pread):
    if not has_pread:  # as on Windows
        monkeypatch.delattr("os.pread", raising=False)
    with new_shard(tmp_path / "a.tar") as tar:
        places = [tar.add(f"{i}.bin", bytes([i]) * (500 + i)) for i in range(5)]
    files = TarFiles(tmp_path, ["a.tar", "none.tar"])
    for copy in (files, pickle.loads(pickle.dumps(files))):
        assert copy.read(0, places[3], 503) == b"\3" * 503
    with pytest.raises(AudioFileError, match=r"none\.tar"):
        files.read(1, 0, 1)
    with pytest.raises(AudioFileError, match="truncated"):
        files.read(0, places[4], 10**6)


def test_a_shard_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), new_shard(tmp_path / "a.tar") as tar:
        tar.add("a", b"x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_finished_when_its_table_says_what_it_is_made_of(tmp_path):
    assert not finished(tmp_path, 0, "m")
    with new_shard(tmp_path / "shard-000000.tar"):
        pass
    assert not finished(tmp_path, 0, "m")
    write_columns(tmp_path / "shard-000000.parquet", {"a": [1]}, facts={"mark": "m"})
    assert finished(tmp_path, 0, "m") and not finished(tmp_path, 0, "other")
    (tmp_path / "shard-000000.parquet").write_bytes(b"half a tab")
    assert not finished(tmp_path, 0, "m")


def test_a_head_of_another_kind_or_format_is_refused(tmp_path):
    write_head(tmp_path, "latents", {"a": 1})
    assert read_head(tmp_path, "latents")["a"] == 1
    with pytest.raises(InputError, match="waveforms"):
        read_head(tmp_path, "waveforms")
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        read_head(tmp_path, "latents")


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order_and_few_items_are_on_their_way(workers):
    ahead, most, lock = [0], [0], threading.Lock()

    def items():
        for i in range(60):
            with lock:
                ahead[0] += 1
                most[0] = max(most[0], ahead[0])
            yield i

    got = []
    for result in in_order(lambda i: i * i, items(), workers=workers):
        got.append(result)
        with lock:
            ahead[0] -= 1
    assert got == [i * i for i in range(60)]
    assert most[0] <= max(1, 4 * workers)


def test_an_error_in_a_thread_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda i: 1 // (i - 3), range(20), workers=2))


def test_a_manifest_in_numbers():
    rows = [ClipRow(file=f"{i}", label="ab"[i % 2], caption="x", duration=i) for i in range(5)]
    told = of_rows([*rows, ClipRow(file="m", scene="far", split="valid", license="CC0")])
    assert (told["clips"], told["labels"], told["captions"]) == (6, 2, 5)
    assert told["splits"] == {"train": 5, "valid": 1}
    assert told["most_frequent_labels"] == {"a": 3, "b": 2}
    assert told["seconds_percentiles"]["100%"] == 4
    assert told["licences"] == {"not stated": 5, "CC0": 1}


def test_batches_made_ahead_are_those_that_are_asked_for():
    made = []

    def batch(index):
        made.append(index)
        if index == 9:
            raise ZeroDivisionError
        return index * 10

    ahead = Prefetch(batch, depth=2, last=12)
    assert [ahead(i) for i in (0, 1, 2)] == [0, 10, 20]
    assert ahead(7) == 70 and ahead(8) == 80  # a jump, as after a resume
    with pytest.raises(ZeroDivisionError):
        ahead(9)
    assert [ahead(10), ahead(11)] == [100, 110]
    ahead.close()
    assert max(made) == 11 and made.count(8) == 1
    assert Prefetch(batch, depth=0)(3) == 30
