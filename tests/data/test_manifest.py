"""Manifests: what is read, and what a malformed one says."""

import pytest

from ezaudio.data.manifest import frequent_labels, read_manifest, split_rows
from ezaudio.errors import InputError

HEADER = "file,split,label,caption,duration,extra\n"


def write(tmp_path, text):
    path = tmp_path / "clips.csv"
    path.write_text(text)
    return path


def test_rows_are_read_and_unknown_columns_ignored(tmp_path):
    path = write(tmp_path, HEADER + "a.ogg,train,dog barking,A dog barking.,1.5,x\n")
    (row,) = read_manifest(path)
    assert (row.file, row.label, row.duration) == ("a.ogg", "dog barking", 1.5)


def test_a_malformed_row_is_named_by_line_and_field(tmp_path):
    path = write(tmp_path, HEADER + "a.ogg,train,dog,A dog.,1,x\nb.ogg,train,dog,A dog.,long,x\n")
    with pytest.raises(InputError, match=r"clips.csv:3 duration"):
        read_manifest(path)


@pytest.mark.parametrize("text", ["", HEADER])
def test_a_manifest_without_clips_is_an_error(tmp_path, text):
    with pytest.raises(InputError, match="at least one clip"):
        read_manifest(write(tmp_path, text))


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(InputError, match="manifest"):
        read_manifest(tmp_path / "none.csv")


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
