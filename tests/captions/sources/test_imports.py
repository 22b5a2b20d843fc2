"""Published lists. The rows are quoted from AudioCaps (MIT), AudioSet and VGGSound (CC BY 4.0)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ezaudio.captions.base import Allowance
from ezaudio.captions.record import BadLine, Item
from ezaudio.captions.sources import source_from
from ezaudio.errors import InputError

CLASSES = """index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
74,/m/068hy,"Domestic animals, pets"
75,/m/0bt9lr,"Dog"
"""


def read(kind: str, path: Path, **settings: Any) -> tuple[list[Item], list[tuple[str, str]]]:
    found = list(source_from(kind, settings).items(path))
    items = [item for item in found if isinstance(item, Item)]
    return items, [(line.where, line.reason) for line in found if isinstance(line, BadLine)]


def captions(kind: str, items: list[Item], tmp_path: Path, **settings: Any) -> list[str]:
    outcomes = source_from(kind, settings).open().write(items, Allowance(tmp_path / "j"))
    return [caption for outcome in outcomes for caption in outcome.captions]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_audiocaps_rows_become_captions_with_their_span(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.csv",
        "audiocap_id,youtube_id,start_time,caption\n"
        "91139,r1nicOVtvkQ,130,A woman talks nearby as water pours\n"
        '11542,3eJ9RynJzP8,80,"The wind is blowing, insects are singing, and rustling occurs"\n',
    )
    items, bad = read("audiocaps", path, audio_pattern="{clip}.flac")
    assert not bad
    assert [(i.clip_id, i.start_s, i.end_s, i.audio) for i in items] == [
        ("r1nicOVtvkQ_130000", 130.0, 140.0, "r1nicOVtvkQ_130000.flac"),
        ("3eJ9RynJzP8_80000", 80.0, 90.0, "3eJ9RynJzP8_80000.flac"),
    ]
    assert captions("audiocaps", items, tmp_path)[1].startswith("The wind is blowing, insects")


def test_bad_lines_of_audiocaps_are_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(
        b"audiocap_id,youtube_id,start_time,caption\n"
        b"1,r1nicOVtvkQ,130,\n"
        b"2,short,130,Rain\n"
        b"3,r1nicOVtvkQ,soon,Rain\n"
        b"4,r1nicOVtvkQ\n"
        b"5,r1nicOVtvkQ,130,Rain \xff falls\n"
        b"\n"
        b'6,r1nicOVtvkQ,130,"Rain\nfalls"\n'
    )
    items, bad = read("audiocaps", path)
    assert [reason for _, reason in bad] == [
        "empty caption", "not a YouTube id", "no start time", "wrong number of columns",
        "not UTF-8",
    ]  # fmt: skip
    assert captions("audiocaps", items, tmp_path) == ["Rain falls"]


def test_weak_labels_are_read_from_both_published_layouts(tmp_path: Path) -> None:
    names = str(write(tmp_path / "class_labels_indices.csv", CLASSES))
    segments = write(
        tmp_path / "eval_segments.csv",
        "# Segments csv created Sun Mar  5 10:54:25 2017\n"
        "# num_ytids=20371, num_segs=20371, num_unique_labels=527, num_positive_labels=51804\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"\n'
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
        '--ZhevVpy1s, 50.000, 60.000, "/m/012xff"\n',
    )
    items, bad = read("audioset_weak", segments, names=names)
    assert [(i.clip_id, i.tags) for i in items] == [
        ("--4gqARaEJE_0", ("Domestic animals, pets", "Dog")),
        ("--PJHxphWEs_30000", ("Speech",)),
    ]
    unknown = [("eval_segments.csv", line, "unknown label") for line in (4, 4, 5, 6)]
    assert bad == [(f"{file}:{line}", reason) for file, line, reason in unknown]
    table = write(
        tmp_path / "weak.tsv",
        "filename\tevent_label\n--PJHxphWEs_30\t/m/09x0r\n--4gqARaEJE_0\t/m/068hy\n"
        "--4gqARaEJE_0\t/m/0bt9lr\nnothing\n",
    )
    again, bad = read("audioset_weak", table, names=names)
    assert {(i.clip_id, i.tags) for i in again} == {(i.clip_id, i.tags) for i in items}
    assert bad == [("weak.tsv:5", "not a clip and a label")]


def test_a_sentence_of_tags_claims_no_order(tmp_path: Path) -> None:
    items = [Item(f"c{n}", tags=("Dog", "Speech", "Rain")) for n in range(60)]
    texts = captions("audioset_weak", items, tmp_path)
    assert len(set(texts)) > 20
    assert not [t for t in texts if any(w in t.lower() for w in ("then", "after", "before"))]
    assert all(t[0].isupper() and t.endswith(".") for t in texts)


def test_vggsound_is_read_from_both_published_layouts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "test.csv",
        "glLQrEijrKg_000300.mp4,playing hammond organ\n"
        'abcdefghijk,12,"bird chirping, tweeting",train\n'
        "nothing,rain\n",
    )
    items, bad = read("vggsound", path)
    assert [(i.clip_id, i.start_s, i.tags) for i in items] == [
        ("glLQrEijrKg_300000", 300.0, ("playing hammond organ",)),
        ("abcdefghijk_12000", 12.0, ("bird chirping, tweeting",)),
    ]
    assert bad == [("test.csv:3", "not a clip and a label")]
    assert "laying hammond organ" in captions("vggsound", items, tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "clip"),
    [
        ("youtube_id,caption\nr1nicOVtvkQ_130000,Rain falls.\n", "r1nicOVtvkQ_130000"),
        ("youtube_id,caption\nr1nicOVtvkQ_130,Rain falls.\n", "r1nicOVtvkQ_130000"),
        ("youtube_id,caption\nr1nicOVtvkQ_000130,Rain falls.\n", "r1nicOVtvkQ_130000"),
        ("id,start_time,caption\nr1nicOVtvkQ,130,Rain falls.\n", "r1nicOVtvkQ_130000"),
        ("caption,audio\nRain falls.,wav/r1nicOVtvkQ_130.wav\n", "r1nicOVtvkQ_130000"),
    ],
)
def test_auto_acd_is_read_however_the_start_is_written(
    tmp_path: Path, text: str, clip: str
) -> None:
    items, bad = read("auto_acd", write(tmp_path / "acd.csv", text))
    assert (items[0].clip_id, items[0].captions, bad) == (clip, ("Rain falls.",), [])


def test_wavcaps_is_read_object_by_object(tmp_path: Path) -> None:
    rows = [
        {"id": "Yb0RFKhbpFJA.wav", "caption": "Rain falls.", "duration": 10.0},
        {"id": 17, "caption": "A dog barks.", "duration": 3},
        {"id": "x", "caption": "", "duration": 1},
        {"caption": "No name.", "duration": 1},
        {"id": "y", "caption": "Too odd.", "duration": "long"},
        "what",
    ]
    path = write(tmp_path / "sl.json", json.dumps({"num_captions_per_audio": 1, "data": rows}))
    items, bad = read("wavcaps", path)
    assert [(i.clip_id, i.captions, i.end_s) for i in items] == [
        ("Yb0RFKhbpFJA", ("Rain falls.",), 10.0),
        ("17", ("A dog barks.",), 3.0),
    ]
    assert [reason for _, reason in bad] == [
        "empty caption", "no id", "no duration", "not an object",
    ]  # fmt: skip


def test_a_truncated_json_gives_what_came_before_the_damage(tmp_path: Path) -> None:
    many = [{"id": str(n), "caption": "Rain " * 40, "duration": 1} for n in range(2000)]
    text = json.dumps({"data": many}, indent=1)
    items, bad = read("wavcaps", write(tmp_path / "cut.json", text[: len(text) // 2]))
    assert 900 < len(items) < 1100
    assert [reason for _, reason in bad] == ["not JSON"]


@pytest.mark.parametrize("kind", ["audiocaps", "auto_acd", "wavcaps", "audioset_weak"])
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / ("odd.tsv" if kind == "audioset_weak" else "odd.csv"), "a;b\n1;2\n")
    with pytest.raises(InputError) as error:
        list(source_from(kind, {}).items(path))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="readable file"):
        list(source_from(kind, {}).items(tmp_path / "absent.csv"))
