from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.captions.test_dedup import record, sound, write_set

from ezaudio.audio import write_audio
from ezaudio.captions.export import ExportSettings, export_manifest
from ezaudio.captions.report import write_report
from ezaudio.captions.statistics import statistics_of
from ezaudio.data.clips import ClipRow
from ezaudio.data.manifest import read_manifest
from ezaudio.errors import InputError

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> barks, then rain falls.'


@pytest.fixture
def given(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    for number in range(3):
        write_audio(tmp_path / "audio" / f"{number}.wav", sound(number, 0.5), 24_000)
    rows = [
        record("c0", "A dog barks, then a door slams.", "0.wav"),
        record("c0", "A dog barks | a door slams.", "0.wav"),
        record("c1", HOSTILE, "1.wav"),
        record("c2", "Ein Hund bellt.", "2.wav"),
        record("c3", "Rain falls while a bird sings.", "absent.wav"),
    ]
    rows[0] = replace(rows[0], score=0.42)
    rows[1] = replace(rows[1], score=0.51)
    rows[3] = replace(rows[3], language="other")
    return write_set(tmp_path / "set", rows)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_report_shows_counts_scores_and_pairs_that_can_be_played(
    given: Path, tmp_path: Path
) -> None:
    found = write_report(given, tmp_path / "r.html", audio_root=str(tmp_path / "audio"))
    text = (tmp_path / "r.html").read_text()
    assert (found.captions, found.clips, found.scored, found.any_order) == (5, 4, 2, 3)
    for wanted in ("5 captions of 4 clips", "s · m", "followed by", "0.40", "random pairs"):
        assert wanted in text
    page = Page()
    page.feed(text)
    players = [attrs for tag, attrs in page.tags if tag == "audio"]
    assert len(players) == 4
    for player in players:
        kind, _, data = (player["src"] or "").partition(",")
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        assert (kind, rate) == ("data:audio/mpeg;base64", 24_000)
        assert len(samples) == pytest.approx(12_000, abs=1200)
        assert np.abs(samples).max() > 0.1
    assert "sound file not readable" in text


def test_nothing_in_a_caption_becomes_a_part_of_the_page(given: Path, tmp_path: Path) -> None:
    write_report(given, tmp_path / "r.html", audio_root=str(tmp_path / "audio"))
    page = Page()
    page.feed((tmp_path / "r.html").read_text())
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "link"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in (policy or "")


def test_the_table_of_thresholds_agrees_with_the_scores(tmp_path: Path) -> None:
    scores = [0.299, 0.301, 0.349, 0.36, 0.41, 0.449, 0.46, 0.61]
    rows = [replace(record(f"c{i}", "Rain falls."), score=s) for i, s in enumerate(scores)]
    write_report(write_set(tmp_path / "set", rows), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    shown = re.findall(r'<td>(0\.[345]\d)</td><td class="number">(\d+)</td>', text)
    assert shown == [("0.30", "7"), ("0.35", "5"), ("0.40", "4"), ("0.45", "2"), ("0.50", "1")]


def test_each_source_has_a_histogram_of_its_own(tmp_path: Path) -> None:
    rows = [
        replace(record("a", "Rain falls."), score=0.42, source=s) for s in ("one", "two", "two")
    ]
    write_report(write_set(tmp_path / "set", rows), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "one: 1 pairs" in text and "two: 2 pairs" in text
    assert re.findall(r"<title>0.40: (\d)</title>", text) == ["3", "1", "2"]


def test_random_pairs_are_drawn_evenly_and_again_the_same() -> None:
    rows = [record(str(n), "Rain falls.") for n in range(400)]

    def drawn(seed: int) -> list[int]:
        found = statistics_of(rows, pairs=40, generator=np.random.default_rng(seed))
        return [int(r.clip_id) for r in found.pairs]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 150 < np.mean([n for seed in range(20) for n in drawn(seed)]) < 250


def test_clips_are_counted_once_however_their_captions_lie() -> None:
    rows = [record(clip, "Rain falls.") for clip in ("a", "b", "a", "c", "b")]
    assert statistics_of(rows, generator=np.random.default_rng(0)).clips == 3


def test_an_empty_set_has_a_report_too(tmp_path: Path) -> None:
    assert write_report(write_set(tmp_path / "set", []), tmp_path / "r.html").captions == 0


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_manifest_has_a_row_a_clip_and_the_data_room_reads_it(
    given: Path, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"list.{ending}"
    settings = ExportSettings(audio_root=str(tmp_path / "audio"), profane=True)
    summary = export_manifest(given, target, settings=settings)
    assert (summary.clips, summary.captions) == (2, 3)
    assert (summary.flagged, summary.without_audio) == (1, 1)
    if ending != "csv" and "captions" not in ClipRow.model_fields:
        pytest.skip("this manifest reader knows CSV alone")
    first, second = read_manifest(target)
    assert (first.file, first.caption) == ("audio/0.wav", "A dog barks | a door slams.")
    assert first.duration == pytest.approx(0.5)
    assert (second.caption, second.split) == (HOSTILE, "train")
    assert (target.parent / first.file).is_file()


def test_every_caption_of_a_clip_is_in_its_row_the_best_first(given: Path, tmp_path: Path) -> None:
    export_manifest(
        given, tmp_path / "list.jsonl", settings=ExportSettings(audio_root=str(tmp_path / "audio"))
    )
    row = json.loads((tmp_path / "list.jsonl").read_text().splitlines()[0])
    assert row["caption"] == "A dog barks | a door slams."
    assert row["captions"] == ["A dog barks, then a door slams."]
    assert (row["source_repo"], row["source_path"]) == ("s", "c0")


def test_the_split_follows_from_the_name_and_has_the_wanted_share(tmp_path: Path) -> None:
    rows = [record(f"c{n}", "Rain falls.") for n in range(1000)]
    given = write_set(tmp_path / "set", rows, rows_per_part=1000)
    settings = ExportSettings(valid=0.1, check_audio=False)
    for name in ("a.csv", "b.csv"):
        export_manifest(given, tmp_path / name, settings=settings)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    held = sum(row.split == "valid" for row in read_manifest(tmp_path / "a.csv"))
    assert 70 < held < 130


def test_another_ending_and_a_folder_without_a_set_are_refused(given: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.csv"):
        export_manifest(given, tmp_path / "list.txt", settings=ExportSettings())
    with pytest.raises(InputError, match="set"):
        export_manifest(tmp_path, tmp_path / "list.csv", settings=ExportSettings())


def test_profane_captions_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    rows = [replace(record("c0", "What the hell."), profane=True), record("c1", "Rain falls.")]
    given = write_set(tmp_path / "set", rows)
    kept: list[int] = []
    for profane in (False, True):
        settings = ExportSettings(profane=profane, check_audio=False)
        kept.append(export_manifest(given, tmp_path / "l.csv", settings=settings).clips)
    assert kept == [1, 2]
