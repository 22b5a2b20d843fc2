"""Runs without a server: chunks, going on, changed inputs, what is on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.captions.conftest import run, run_strong, table

from ezaudio.captions.base import Published, Source, Writer
from ezaudio.captions.record import BadLine, CaptionRecord, Failure, Item, now
from ezaudio.captions.sources import source_from
from ezaudio.captions.store import CaptionSet, read_facts, read_rows, write_rows
from ezaudio.errors import CheckpointError, InputError, OutputError

Strong = Callable[[int], Path]


class Interrupting(Source):
    """Gives items until it is told to fail."""

    kind: Literal["interrupting"] = "interrupting"
    count: int = 10
    fails_at: int | None = None

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        for number in range(self.count):
            if number == self.fails_at:
                raise KeyboardInterrupt
            yield Item(f"c{number}", captions=(f"Sound number {number}.",))

    def fingerprint(self) -> str:
        return "same"

    def open(self) -> Writer:
        return Published()


def test_every_record_says_where_it_came_from(tmp_path: Path, strong: Strong) -> None:
    summary = run_strong(strong(3), tmp_path / "set", {})
    records = list(CaptionSet(tmp_path / "set").records())
    assert (summary.clips, summary.captions, summary.without) == (3, 3, 0)
    first = records[0]
    assert (first.clip_id, first.source, first.model) == ("clip0_0", "strong_labels", "rules")
    assert (first.licence, first.language, first.profane) == ("CC BY 4.0 (labels)", "en", False)
    assert first.score is None
    assert abs((now() - first.created).total_seconds()) < 60
    card = json.loads((tmp_path / "set" / "set.json").read_text())
    assert card["counts"]["captions"] == 3
    assert card["finished"]


def test_chunks_change_nothing_but_the_shards(tmp_path: Path, strong: Strong) -> None:
    inputs = strong(10)
    for chunk in (1, 3, 10, 99):
        run_strong(inputs, tmp_path / str(chunk), {}, chunk=chunk)
    tables = [table(tmp_path / str(chunk)) for chunk in (1, 3, 10, 99)]
    assert all(other == tables[0] for other in tables)
    assert len(CaptionSet(tmp_path / "3").parts()) == 4


def test_a_second_run_passes_over_what_is_done(tmp_path: Path, strong: Strong) -> None:
    run_strong(strong(10), tmp_path / "set", {}, chunk=3)
    times = {path: path.stat().st_mtime_ns for path in CaptionSet(tmp_path / "set").parts()}
    assert run_strong(strong(10), tmp_path / "set", {}, chunk=3).passed_over == 4
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = Interrupting(count=10)
    run(whole, tmp_path, tmp_path / "whole", chunk=2)
    for fails_at in (3, 5, 9):
        with pytest.raises(KeyboardInterrupt):
            run(Interrupting(fails_at=fails_at), tmp_path, tmp_path / "set", chunk=2)
        assert not CaptionSet(tmp_path / "set").read_card()["finished"]
    summary = run(whole, tmp_path, tmp_path / "set", chunk=2)
    assert summary.passed_over == 4
    assert table(tmp_path / "set") == table(tmp_path / "whole")


def test_a_changed_input_changes_only_its_chunk_and_a_shorter_one_leaves_nothing_behind(
    tmp_path: Path, strong: Strong
) -> None:
    run_strong(strong(10), tmp_path / "set", {}, chunk=2)
    path = strong(8)
    path.write_text(path.read_text().replace("clip3_0\t1.0\t2.0\tBark", "clip3_0\t1.0\t2.0\tMeow"))
    summary = run_strong(path, tmp_path / "set", {}, chunk=2)
    assert (summary.passed_over, summary.captions) == (3, 8)
    assert len(CaptionSet(tmp_path / "set").parts()) == 4
    assert len(CaptionSet(tmp_path / "set").parts("failures")) == 4


def test_a_damaged_shard_is_made_again(tmp_path: Path, strong: Strong) -> None:
    run_strong(strong(6), tmp_path / "set", {}, chunk=2)
    before = table(tmp_path / "set")
    part = CaptionSet(tmp_path / "set").part(1)
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="damaged"):
        table(tmp_path / "set")
    assert run_strong(strong(6), tmp_path / "set", {}, chunk=2).passed_over == 2
    assert table(tmp_path / "set") == before


def test_bad_lines_are_in_the_set_beside_the_captions(tmp_path: Path, strong: Strong) -> None:
    path = strong(2)
    path.write_text(path.read_text() + "clip9_0\tx\ty\tBark\nclip9_0\t1\t2\t/m/odd\n")
    summary = run_strong(path, tmp_path / "set", {})
    assert (summary.bad_lines, summary.captions) == (2, 2)
    failures = [(f.clip_id, f.reason) for f in CaptionSet(tmp_path / "set").failures()]
    assert failures == [
        ("strong.tsv:6", "times are not numbers"),
        ("strong.tsv:7", "unknown label"),
    ]
    assert summary.reasons == {"times are not numbers": 1, "unknown label": 1}


def test_a_set_of_another_source_is_not_overwritten(tmp_path: Path, strong: Strong) -> None:
    run_strong(strong(2), tmp_path / "set", {})
    csv = tmp_path / "c.csv"
    csv.write_text("youtube_id,start_time,caption\nr1nicOVtvkQ,1,Rain falls.\n")
    with pytest.raises(InputError, match="strong_labels captions"):
        run(source_from("audiocaps", {}), csv, tmp_path / "set")
    assert len(table(tmp_path / "set")) == 2


def test_two_runs_do_not_meet_in_one_folder(tmp_path: Path) -> None:
    class Nested(Interrupting):
        def items(self, path: Path) -> Iterator[Item | BadLine]:
            with pytest.raises(OutputError, match="another run works on it"):
                run(Interrupting(), tmp_path, tmp_path / "set")
            yield from super().items(path)

    assert run(Nested(count=1), tmp_path, tmp_path / "set").captions == 1


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, strong: Strong) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        run_strong(strong(1), tmp_path / "file" / "set", {})


def test_records_survive_a_shard_and_its_facts_are_read_without_them(tmp_path: Path) -> None:
    record: Any = CaptionRecord(
        "ü", "Rain \U0001f327 falls.", "s", "m", "p", "a.wav", 0.0, 1.5, "CC0", "en", True,
        0.25, "hash", now(),
    )  # fmt: skip
    write_rows(tmp_path / "a.parquet", [record], CaptionRecord, {"finished": True})
    assert list(read_rows(tmp_path / "a.parquet", CaptionRecord)) == [record]
    assert read_facts(tmp_path / "a.parquet") == {"finished": True}
    assert read_facts(tmp_path / "absent.parquet") is None
    with pytest.raises(CheckpointError):
        list(read_rows(tmp_path / "a.parquet", Failure))


def test_an_empty_folder_is_no_caption_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ezaudio caption"):
        list(CaptionSet(tmp_path).records())
