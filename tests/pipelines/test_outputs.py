"""Names of results: from prompts or from the user, never twice, never outside the folder."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ezaudio.errors import EzAudioError, InputError, OutputError
from ezaudio.pipelines import outputs
from ezaudio.pipelines.outputs import Wanted, plan_files, stem_of

quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def names(files):
    return [path.name for path in files.paths]


def test_names_come_from_prompts(tmp_path):
    assert names(plan_files(tmp_path, ["A dog, barking!", "rain"])) == [
        "a-dog-barking.wav",
        "rain.wav",
    ]


def test_prompts_that_make_the_same_name_get_numbers(tmp_path):
    files = plan_files(tmp_path, ["A dog!", "a dog", Wanted("a DOG", takes=2)])
    assert names(files) == ["a-dog.wav", "a-dog-2.wav", "a-dog-3.wav", "a-dog-4.wav"]


def test_what_exists_is_not_replaced_by_a_made_name_but_by_a_written_one(tmp_path):
    (tmp_path / "rain.wav").write_bytes(b"old")
    (tmp_path / "Rain-2.png").write_bytes(b"old")
    assert names(plan_files(tmp_path, ["rain"])) == ["rain-2.wav"]
    assert names(plan_files(tmp_path / "rain.wav", ["rain"])) == ["rain.wav"]


def test_the_name_of_the_picture_is_kept_free_too(tmp_path):
    (tmp_path / "rain.png").write_bytes(b"old")
    assert names(plan_files(tmp_path, ["rain"], pictures=True)) == ["rain-2.wav"]
    with pytest.raises(InputError):
        rows = [Wanted("a", output="x.wav"), Wanted("b", output="x.flac")]
        plan_files(tmp_path, rows, pictures=True)


def test_takes_of_a_written_name_are_numbered(tmp_path):
    files = plan_files(tmp_path / "dog.wav", [Wanted("a dog", takes=3)])
    assert names(files) == ["dog-1.wav", "dog-2.wav", "dog-3.wav"]


@quick
@given(
    rows=st.lists(
        st.tuples(
            st.text(alphabet=st.sampled_from("aAbé犬/.\\\0 -_\n:"), max_size=8), st.integers(1, 3)
        ),
        min_size=1,
        max_size=8,
    ),
    existing=st.lists(st.text(alphabet="ab", min_size=1, max_size=3), max_size=3),
)
def test_made_names_never_collide_and_stay_in_the_folder(tmp_path_factory, rows, existing):
    folder = tmp_path_factory.mktemp("out")
    for name in existing:
        (folder / f"{name}.wav").touch()
    files = plan_files(folder, [Wanted(prompt, takes=takes) for prompt, takes in rows])
    assert len(files.paths) == sum(takes for _, takes in rows)
    folded = [str(path).casefold() for path in files.paths]
    assert len(set(folded)) == len(folded)
    for path in files.paths:
        assert path.parent == folder
        assert not path.exists()
        path.touch()


def test_a_stem_keeps_the_letters_of_any_script_with_their_marks():
    names = ("बारिश और हवा", "Cafe\u0301!", "雨")
    assert [stem_of(name) for name in names] == ["बारिश-और-हवा", "caf\u00e9", "雨"]


@quick
@given(st.text(max_size=300))
@example("con")
@example("NUL")
@example("..")
@example("犬" * 200)
@example("/etc/passwd")
def test_a_stem_is_a_plain_name(prompt):
    stem = stem_of(prompt)
    assert stem
    assert len(stem.encode()) < 220
    assert not set(stem) & set('/\\:*?"<>|.\0 ') | set(string.whitespace) & set(stem)
    assert stem not in ("con", "nul")


@pytest.mark.parametrize(
    "output",
    ["../evil.wav", "/tmp/evil.wav", "a/../../evil.wav", "..", ".", "", " ", "a/", "a\\b.wav",
     "a\0b.wav", "a\nb.wav", "sub/../../x.wav", "link/evil.wav", "file.wav"],
)  # fmt: skip
def test_a_row_cannot_leave_the_folder(tmp_path, output):
    folder, outside = tmp_path / "out", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "file.wav").symlink_to(outside / "target.wav")
    with pytest.raises(InputError) as error:
        plan_files(folder, [Wanted("x", output=output)], folder=True)
    assert error.value.field == "output"


@quick
@given(st.text(alphabet="ab./\\~ \0", max_size=10))
def test_whatever_a_row_asks_for_lies_inside(tmp_path, output):
    try:
        [path] = plan_files(tmp_path / "out", [Wanted("x", output=output)], folder=True).paths
    except InputError:
        return
    assert path.resolve().is_relative_to((tmp_path / "out").resolve())
    assert path.suffix == ".wav"


def test_a_row_may_name_a_file_in_a_folder_of_its_own(tmp_path):
    rows = [Wanted("x", output="dogs/big.flac"), Wanted("y", output="v1.2"), Wanted("z")]
    files = plan_files(tmp_path / "out", rows, format="ogg", folder=True)
    assert [str(p.relative_to(tmp_path / "out")) for p in files.paths] == [
        "dogs/big.flac",
        "v1.2.ogg",
        "z.ogg",
    ]
    with files.prepared():
        assert (tmp_path / "out" / "dogs").is_dir()


def test_two_rows_cannot_have_one_name(tmp_path):
    with pytest.raises(InputError, match="no other sound"):
        plan_files(tmp_path, [Wanted("x", output="a.wav"), Wanted("y", output="A.wav")])


@pytest.mark.parametrize(
    ("target", "settings", "field"),
    [
        ("dog.xyz", {}, "output"),
        ("dog.wav", {"folder": True}, "output"),
        ("dog.wav", {"format": "flac"}, "format"),
        ("dogs/", {"format": "opus"}, "format"),
        ("", {}, "output"),
        ("a\0.wav", {}, "output"),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused(target, settings, field):
    with pytest.raises(InputError) as error:
        plan_files(target, ["x"], **settings)
    assert error.value.field == field


def test_without_a_target_the_current_folder_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan_files(None, ["rain"], format="mp3").paths == (Path("rain.mp3"),)


@pytest.mark.parametrize(
    "target", ["/dev/full", "/dev/null/x.wav", "missing/x.wav", "x" * 300 + ".wav"]
)
def test_what_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    if target.startswith("missing"):
        (tmp_path / "missing").write_text("a file where a folder is needed")
    with pytest.raises(EzAudioError), plan_files(target, ["x"]).prepared():
        pytest.fail("the work began")
    left = [path.name for path in tmp_path.iterdir()]
    assert left == (["missing"] if target.startswith("missing") else [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found_before_the_work(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError), plan_files(tmp_path / "x.wav", ["x"]).prepared():
        pytest.fail("the work began")


def test_folders_made_for_nothing_are_removed(tmp_path):
    target = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError), plan_files(target, ["x"]).prepared():
        assert target.is_dir()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), plan_files(target, ["x"]).prepared():
        (target / "x.wav").touch()
        raise RuntimeError
    assert (target / "x.wav").exists()


def test_a_disk_without_room_is_found_before_the_work(tmp_path, monkeypatch):
    files = plan_files(tmp_path / "x.wav", ["x"])
    files.check_space(1000)
    monkeypatch.setattr(
        outputs.shutil, "disk_usage", lambda path: os.terminal_size((1, 1)) and _Usage()
    )
    with pytest.raises(OutputError, match="MB are needed"):
        files.check_space(100_000)


class _Usage:
    free = 1000
