"""Own lists: what is read in each format, and what a malformed one says."""

import pytest

from ezaudio.data.clips import BadLine, ClipRow, Event, joined, split_in, split_of
from ezaudio.data.manifest import read_manifest, rows_of, write_manifest
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


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_written_is_read_again(tmp_path, ending):
    odd = ClipRow(file="d.wav", caption='5" pipe, "bang"', captions=("a|b", "two\nlines"))
    rows = [FULL, ClipRow(file="c.wav"), odd, ClipRow(file="e.wav", captions=("[one",))]
    write_manifest(tmp_path / f"clips.{ending}", iter(rows))
    assert read_manifest(tmp_path / f"clips.{ending}") == rows
    with pytest.raises(InputError, match="parquet"):
        write_manifest(tmp_path / "clips.txt", rows)


def test_json_lines_and_parquet_keep_everything(tmp_path):
    plain = ClipRow(file="c.wav")
    write_manifest(tmp_path / "clips.jsonl", [FULL, plain])
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
    with pytest.raises(InputError, match=r"clips.csv:3.*long.*duration"):
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


def read(path):
    """Rows, and what was skipped: number of the line and reason."""
    found = list(rows_of(path))
    rows = [row for row in found if isinstance(row, ClipRow)]
    bad = [(b.where.rpartition(":")[2], b.reason) for b in found if isinstance(b, BadLine)]
    return rows, bad


HEADERS = ["file,caption", "file_name,caption", "filename,text", "File,Caption",
           " file , prompt ", "audio_path;caption", "file\tcaption", "Path\tText",
           "Audio Path,Description"]  # fmt: skip


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("header", HEADERS)
def test_usual_names_of_columns_and_what_stands_between_them_are_understood(tmp_path, header, mark):
    between = next(letter for letter in ";\t," if letter in header)
    path = write(tmp_path, f"{mark}{header}\r\ndog.wav{between}a dog\r\n")
    assert read(path) == ([ClipRow(file="dog.wav", caption="a dog")], [])


def test_the_csv_of_the_papers_authors_is_read(tmp_path):
    text = "audio_path,caption,split\nAudioCaps/a.wav,A dog barks.,train\nb.wav,Rain.,val\n"
    rows = read_manifest(write(tmp_path, text))
    assert [(r.file, r.caption, r.split) for r in rows] == [
        ("AudioCaps/a.wav", "A dog barks.", "train"), ("b.wav", "Rain.", "valid")]  # fmt: skip


def test_a_list_of_windows_is_read(tmp_path):
    text = "file\tcaption\r\nsounds\\dog.wav\tein Hund im Flur, müde\r\n"
    (tmp_path / "clips.tsv").write_bytes(text.encode("utf-16"))
    (row,) = read_manifest(tmp_path / "clips.tsv")
    assert (row.file, row.caption) == ("sounds/dog.wav", "ein Hund im Flur, müde")


def test_an_unquoted_comma_is_told_by_line_and_no_caption_is_cut(tmp_path):
    text = "file,caption\na.wav,a door slams\nb.wav,a camera, clicking twice\nc.wav,rain\n"
    rows, bad = read(write(tmp_path, text))
    assert [row.file for row in rows] == ["a.wav", "c.wav"]
    assert bad == [("3", "wrong number of columns")]


def test_a_quotation_mark_that_is_never_closed_spoils_its_own_line_only(tmp_path):
    text = (
        'file,caption\na.wav,"a dog\nb.wav,"rain, then wind"\nc.wav,"two\nlines"\nd.wav,5" pipe\n'
    )
    rows, bad = read(write(tmp_path, text))
    assert [(r.file, r.caption) for r in rows] == [
        ("b.wav", "rain, then wind"), ("c.wav", "two\nlines"), ("d.wav", '5" pipe')]  # fmt: skip
    assert bad == [("2", "quotation marks that do not match")]


def test_blank_lines_and_quoted_line_breaks_keep_the_numbers_of_lines(tmp_path):
    text = '\nfile,caption,duration\n\na.wav,"x\ny",1\n,,\nb.wav,z,long\n'
    rows, bad = read(write(tmp_path, text))
    assert [row.file for row in rows] == ["a.wav"]
    assert bad[0][0] == "7" and bad[0][1].startswith("duration")


def test_bytes_that_are_no_text_spoil_their_own_line_only(tmp_path):
    (tmp_path / "clips.csv").write_bytes(b"file,caption\na.wav,caf\xe9\nb.wav,rain\n")
    rows, bad = read(tmp_path / "clips.csv")
    assert [row.file for row in rows] == ["b.wav"] and bad == [("2", "not UTF-8")]


@pytest.mark.parametrize("ending", ["jsonl", "ndjson"])
def test_null_nan_and_a_mark_in_json_lines_are_not_given(tmp_path, ending):
    text = '\ufeff{"file": "a.wav", "caption": "a dog", "label": null, "split": null}\n'
    text += '{"file": "b.wav", "duration": NaN, "text": ["one", "two", null], "label": 7}\n'
    rows, bad = read(write(tmp_path, text, f"clips.{ending}"))
    assert bad == []
    assert (rows[0].caption, rows[0].label, rows[0].split) == ("a dog", "", "train")
    assert (rows[1].caption, rows[1].captions, rows[1].duration) == ("one", ("two",), 0.0)
    assert rows[1].label == "7"


def test_a_json_array_is_read(tmp_path):
    path = write(tmp_path, '[{"path": "a.wav", "text": "rain"}, 3]', "clips.json")
    rows, bad = read(path)
    assert [(r.file, r.caption) for r in rows] == [("a.wav", "rain")] and len(bad) == 1


def test_usual_names_of_splits_are_understood_and_others_told_by_line(tmp_path):
    names = ["Train", "validation", "val", "", "DEV", "eval", "test ", "later"]
    text = "file,split\n" + "".join(f"{i}.wav,{name}\n" for i, name in enumerate(names))
    rows, bad = read(write(tmp_path, text))
    assert [row.split for row in rows] == [
        "train", "valid", "valid", "train", "valid", "test", "test"]  # fmt: skip
    assert bad[0][0] == "9" and "split" in bad[0][1]


def test_the_split_in_a_name_is_a_word_of_its_own():
    told = {"audiocaps_train_latest": "train", "retrieval_train": "train", "festival": "train",
            "medieval_music": "train", "eval_segments": "test", "v2_val": "valid",
            "AudioCapsTest": "test", "balanced_train_segments": "train",
            "test2": "test"}  # fmt: skip
    assert {name: split_in(name) for name in told} == told
    assert split_of("music") is None


def test_a_list_without_a_column_for_files_says_so(tmp_path):
    with pytest.raises(InputError, match="a list with a column `file`"):
        list(rows_of(write(tmp_path, "name,caption\ndog,a dog\n")))
    with pytest.raises(InputError, match="every column once"):
        list(rows_of(write(tmp_path, "file,file\na,b\n")))


def test_spans_and_times_have_to_make_sense(tmp_path):
    text = "file,start,end,duration\na.wav,3,1,\nb.wav,-1,,\nc.wav,1,1,\nd.wav,,,inf\n"
    rows, bad = read(write(tmp_path, text))
    assert [row.file for row in rows] == ["c.wav"] and [line for line, _ in bad] == ["2", "3", "5"]


def test_rows_of_one_clip_become_one_with_all_of_its_captions():
    rows = [
        ClipRow(file="a.wav", caption="A dog.", label="dog", split="train"),
        ClipRow(file="b.wav", caption="Rain."),
        ClipRow(file="a.wav", caption="A puppy.", label="puppy", split="test", license="CC0"),
        ClipRow(file="a.wav", caption="A dog."),
    ]
    dog, rain = joined(rows)
    assert (dog.caption, dog.captions) == ("A dog.", ("A puppy.",)) and rain == rows[1]
    assert (dog.label, dog.tags, dog.split, dog.license) == ("dog", ("dog", "puppy"), "test", "CC0")


def test_parts_of_one_recording_have_names_of_their_own():
    rows = joined(ClipRow(file="long.wav", start=s, end=s + 4) for s in (0, 4, 8))
    assert [row.id for row in rows] == ["long_0", "long_4000", "long_8000"]
    assert joined([ClipRow(file="a.b.wav", start=3, end=5)])[0].id == "a.b"


def test_events_are_timed_or_a_row_of_labels(tmp_path):
    text = 'file,events\na.wav,dog; rain\nb.wav,"[{""label"": ""dog"", ""start"": 1}]"\n'
    rows, bad = read(write(tmp_path, text))
    assert [[(e.label, e.start) for e in row.events] for row in rows] == [
        [("dog", 0.0), ("rain", 0.0)], [("dog", 1.0)]]  # fmt: skip
    assert bad == []
