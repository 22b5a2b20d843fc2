"""Own lists: what is read in each format, and what a malformed one says."""

import pytest

from ezaudio.data.manifest import (
    ClipRow,
    Event,
    frequent_labels,
    read_manifest,
    split_rows,
    write_jsonl,
)
from ezaudio.data.tables import RowTable, read_facts, read_table, write_table
from ezaudio.errors import CheckpointError, InputError

HEADER = "file,split,label,caption,duration,extra\n"
FULL = ClipRow(
    file="a/b.ogg",
    split="valid",
    label="dog barking",
    caption="A dog barking.",
    captions=("A dog barks twice.", "Barking, then silence."),
    tags=("dog", "bark"),
    duration=1.5,
    license="CC0 1.0",
    events=(Event(label="bark", caption="a bark", start=0.2, end=0.4),),
)


def write(tmp_path, text, name="clips.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_rows_are_read_and_unknown_columns_ignored(tmp_path):
    path = write(tmp_path, HEADER + "a.ogg,train,dog barking,A dog barking.,1.5,x\n")
    (row,) = read_manifest(path)
    assert (row.file, row.label, row.duration) == ("a.ogg", "dog barking", 1.5)


def test_only_the_file_is_required_and_lists_stand_in_cells(tmp_path):
    head = "path,captions,tags,duration,licence,events\n"
    cells = 'x/a.ogg,one|two , ,,CC0,"[{""label"": ""b""}]"\n'
    (row,) = read_manifest(write(tmp_path, head + cells))
    assert (row.captions, row.tags, row.duration) == (("one", "two"), (), 0.0)
    assert (row.split, row.license, row.id) == ("train", "CC0", "x/a")
    assert row.events == (Event(label="b"),)


def test_json_lines_and_parquet_keep_everything(tmp_path):
    plain = ClipRow(file="c.wav")
    write_jsonl(tmp_path / "clips.jsonl", [FULL, plain])
    write_table(tmp_path / "clips.parquet", [FULL, plain], {"shard": [0, 1]}, facts={"a": [1]})
    assert read_manifest(tmp_path / "clips.jsonl") == [FULL, plain]
    assert read_manifest(tmp_path / "clips.parquet") == [FULL, plain]
    assert read_facts(tmp_path / "clips.parquet") == {"a": [1]}


def test_a_table_gives_rows_and_takes_by_label(tmp_path):
    far = FULL.model_copy(update={"scene": "far", "split": "train"})
    rows = [ClipRow(file=f"{i}.wav", label="ab"[i % 2]) for i in range(5)]
    write_table(tmp_path / "t.parquet", [*rows, FULL, far], {})
    table = RowTable(read_table(tmp_path / "t.parquet"))
    assert len(table) == 7 and table[5] == FULL and table[-1] == far
    assert [row.file for row in table[1:3]] == ["1.wav", "2.wav"]
    assert {k: v.tolist() for k, v in table.takes("train").items()} == {"a": [0, 2, 4], "b": [1, 3]}
    mixed = {k: v.tolist() for k, v in table.takes("train", mixed=True).items()}
    assert mixed == {"dog barking": [6]}
    assert table.takes("test") == {}
    with pytest.raises(IndexError):
        table[7]


def test_a_damaged_table_is_one_line(tmp_path):
    path = write(tmp_path, "no parquet", "t.parquet")
    for read in (read_table, read_facts, read_manifest):
        with pytest.raises(CheckpointError, match=r"t\.parquet"):
            read(path)


def test_a_malformed_row_is_named_by_line_and_field(tmp_path):
    path = write(tmp_path, HEADER + "a.ogg,train,dog,A dog.,1,x\nb.ogg,train,dog,A dog.,long,x\n")
    with pytest.raises(InputError, match=r"clips.csv:3 duration"):
        read_manifest(path)


@pytest.mark.parametrize("line", ["{", "[1]", '{"file": 3}', '{"label": "x"}'])
def test_a_malformed_line_of_json_is_named(tmp_path, line):
    path = write(tmp_path, '{"file": "a.wav"}\n\n' + line + "\n", "clips.jsonl")
    with pytest.raises(InputError, match=r"clips.jsonl:3"):
        read_manifest(path)


@pytest.mark.parametrize("text", ["", HEADER])
def test_a_manifest_without_clips_is_an_error(tmp_path, text):
    with pytest.raises(InputError, match="at least one clip"):
        read_manifest(write(tmp_path, text))


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl", "none.txt"])
def test_a_missing_manifest_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match="manifest"):
        read_manifest(tmp_path / name)


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    (tmp_path / "clips.csv").write_bytes(b"file\n\xff\xfe\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_manifest(tmp_path / "clips.csv")


def test_splits_and_frequent_labels(tmp_path):
    lines = [
        f"{i}.ogg,{split},{label},C.,1,x\n"
        for i, (split, label) in enumerate(
            [("train", "rain"), ("train", "rain"), ("train", "dog"), ("valid", "rain")]
        )
    ]
    rows = read_manifest(write(tmp_path, HEADER + "".join(lines)))
    assert len(split_rows(rows, "valid")) == 1
    assert frequent_labels(split_rows(rows, "train"), 2) == ["rain"]
