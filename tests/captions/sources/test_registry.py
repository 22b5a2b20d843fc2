"""What every source has to obey, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezaudio.captions.base import Allowance
from ezaudio.captions.prompts import Prompt, packaged
from ezaudio.captions.record import Event, Item
from ezaudio.captions.sources import SOURCES, source_from
from ezaudio.errors import InputError

OFFLINE = [name for name, cls in SOURCES.items() if not cls(kind=name).asks()]
ITEM = Item(
    "abcdefghijk_10000",
    captions=("Rain  falls.",),
    tags=("Rain",),
    events=(Event("Rain", 0.0, 2.0), Event("Dog", 3.0, 4.0)),
)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_named_as_in_the_registry_and_explains_its_settings(name: str) -> None:
    source = source_from(name, {})
    assert source.kind == name
    assert SOURCES[name].__doc__
    own = set(SOURCES[name].model_fields) - {"kind", "licence"}
    assert not [field for field in own if f"{field}:" not in (SOURCES[name].__doc__ or "")]


@pytest.mark.parametrize("name", SOURCES)
def test_a_fingerprint_changes_with_the_settings_that_matter(name: str) -> None:
    assert source_from(name, {}).fingerprint() == source_from(name, {}).fingerprint()
    changed = source_from(name, {"licence": "mine"})
    assert changed.fingerprint() != source_from(name, {}).fingerprint()


def test_how_patiently_a_server_is_asked_does_not_change_a_fingerprint() -> None:
    slow = source_from("ensemble", {"chat": {"timeout_s": 99, "concurrency": 1}})
    other = source_from("ensemble", {"chat": {"model": "other"}})
    assert slow.fingerprint() == source_from("ensemble", {}).fingerprint() != other.fingerprint()


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_source_gives_every_clip_one_outcome_and_the_same_again(
    name: str, tmp_path: Path
) -> None:
    items = [ITEM, Item("empty"), ITEM]
    writers = [source_from(name, {}).open() for _ in range(2)]
    first, second = (writer.write(items, Allowance(tmp_path / "j")) for writer in writers)
    assert first == second
    assert len(first) == 3
    assert first[0].captions and not first[0].failures
    assert first[1].failures and not first[1].captions
    for writer in writers:
        assert writer.model
        writer.close()


def test_an_unknown_source_or_setting_is_refused() -> None:
    with pytest.raises(InputError, match="strong_labels"):
        source_from("weak_labels", {})
    with pytest.raises(InputError, match="unknown"):
        source_from("audiocaps", {"speed": 3})


@pytest.mark.parametrize("name", packaged())
def test_a_packaged_prompt_has_two_parts_and_fills(name: str) -> None:
    prompt = Prompt.read(name)
    assert prompt.system and prompt.user and len(prompt.hash) == 16
    fields = {"events": "{count}", "count": "1", "captions": "x", "tags": "y"}
    system, user = prompt.filled(fields)
    assert "{events}" not in system + user
    if name == "strong_labels":
        assert user == "{count}"  # what is filled in is no placeholder itself


def test_a_prompt_of_ones_own_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("# mine\n[user]\nSay {this}.")
    prompt = Prompt.read(str(path))
    assert (prompt.system, prompt.user) == ("", "Say {this}.")
    with pytest.raises(InputError, match="events"):
        prompt.filled({"events": ""})
    path.write_text("no part")
    with pytest.raises(InputError, match=r"\[user\]"):
        Prompt.read(str(path))
    with pytest.raises(InputError, match="strong_labels"):
        Prompt.read(str(tmp_path / "absent.txt"))
