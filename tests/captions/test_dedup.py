from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ezaudio.audio import write_audio
from ezaudio.captions.dedup import DedupSettings, DedupSummary, dedup_set
from ezaudio.captions.fingerprint import fingerprint_of
from ezaudio.captions.record import CaptionRecord, now
from ezaudio.captions.store import CaptionSet, SetWriter
from ezaudio.types import Clip

RATE_HZ = 24_000


def record(clip_id: str, caption: str, audio: str = "") -> CaptionRecord:
    plain = CaptionRecord(
        clip_id, caption, "s", "m", "", audio, 0.0, 1.0, "", "en", False, None, "", now()
    )
    return replace(plain)


def write_set(folder: Path, records: list[CaptionRecord], *, rows_per_part: int = 3) -> Path:
    target = CaptionSet(folder)
    target.write_card({"format": 1})
    writer = SetWriter(target, rows_per_part=rows_per_part)
    writer.extend(records)
    writer.flush()
    return folder


def dedup(
    tmp_path: Path, records: list[CaptionRecord], **settings: object
) -> tuple[DedupSummary, list[tuple[str, str]]]:
    given = write_set(tmp_path / "given", records)
    summary = dedup_set([given], tmp_path / "made", settings=DedupSettings(**settings))
    return summary, [(r.clip_id, r.caption) for r in CaptionSet(tmp_path / "made").records()]


def sound(seed: int, seconds: float = 1.5) -> np.ndarray:
    """Bursts of filtered noise: something with a shape in time and frequency."""
    draw = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    total = 0.005 * draw.standard_normal(len(t))
    for _ in range(6):
        start, hz = draw.uniform(0, 0.8 * seconds), draw.uniform(150, 3000)
        shape = np.where(t >= start, np.exp(-(t - start) * draw.uniform(3, 20)), 0)
        total = total + draw.uniform(0.1, 0.4) * shape * np.sin(2 * np.pi * hz * t)
    return (total / np.abs(total).max() * 0.8).astype(np.float32)


def test_captions_of_one_clip_are_kept_once_and_those_of_others_are_left_alone(
    tmp_path: Path,
) -> None:
    summary, kept = dedup(
        tmp_path,
        [
            record("a", "A dog barks loudly in the park."),
            record("b", "A dog barks loudly in the park."),
            record("a", "A cat meows."),
            record("a", "a dog  barks loudly, in the park"),
            record("a", "A big dog barks loudly in the park."),
            record("a", "A dog barks, then a cat meows."),
        ],
        similarity=0.6,
    )
    assert kept == [
        ("a", "A dog barks loudly in the park."),
        ("b", "A dog barks loudly in the park."),
        ("a", "A cat meows."),
        ("a", "A dog barks, then a cat meows."),
    ]
    assert summary.reasons == {"duplicate caption": 1, "near-duplicate caption": 1}
    noted = list(CaptionSet(tmp_path / "made").failures())
    assert [failure.detail for failure in noted][1] == "a dog barks loudly in the park"


def test_words_in_another_order_are_another_caption(tmp_path: Path) -> None:
    order = ["A dog barks, then a cat meows and rain falls.",
             "Rain falls and a cat meows, then a dog barks."]  # fmt: skip
    _, kept = dedup(tmp_path, [record("a", text) for text in order], similarity=0.8)
    assert len(kept) == 2


def test_near_captions_are_found_across_a_whole_set(tmp_path: Path) -> None:
    base = [f"A {a} {b} while a {c} passes by the old stone bridge near town"
            for a in ("dog", "cat", "cow", "bird", "horse")
            for b in ("calls", "runs", "sleeps") for c in ("car", "train")]  # fmt: skip
    texts = base + [f"{text} today" for text in base[:10]]
    records = [record(f"c{n}", text) for n, text in enumerate(texts)]
    summary, kept = dedup(tmp_path, records, within="set", similarity=0.9)
    assert summary.reasons == {"near-duplicate caption": 10}
    assert [text for _, text in kept] == base


def test_clips_with_the_same_bytes_become_one_that_keeps_the_captions_of_both(
    tmp_path: Path,
) -> None:
    for name, seed in (("a.wav", 1), ("b.wav", 1), ("c.wav", 2)):
        write_audio(tmp_path / name, sound(seed), RATE_HZ)
    records = [
        record("a", "A bell rings.", "a.wav"),
        record("b", "A bell rings.", "b.wav"),
        record("b", "Something metallic rings twice.", "b.wav"),
        record("c", "A bell rings.", "c.wav"),
        record("d", "Nothing to hear.", "absent.wav"),
    ]
    summary, kept = dedup(tmp_path, records, sounds="exact", audio_root=str(tmp_path))
    assert kept == [
        ("a", "A bell rings."),
        ("a", "Something metallic rings twice."),
        ("c", "A bell rings."),
        ("d", "Nothing to hear."),
    ]
    assert summary.reasons == {
        "duplicate audio": 1, "duplicate caption": 1, "unreadable audio": 1,
    }  # fmt: skip
    moved = list(CaptionSet(tmp_path / "made").records())[1]
    assert moved.audio == "a.wav"


def changed(samples: np.ndarray, how: str) -> np.ndarray:
    draw = np.random.default_rng(9)
    if how == "quieter":
        return 0.2 * samples
    if how == "noisy":
        return samples + 0.003 * draw.standard_normal(len(samples)).astype(np.float32)
    if how == "padded":
        return np.pad(samples, (RATE_HZ // 4, RATE_HZ // 3))
    return samples


@pytest.mark.parametrize("how", ["quieter", "noisy", "padded", "coded"])
def test_one_recording_is_known_again_after_a_change(tmp_path: Path, how: str) -> None:
    records = []
    for seed in range(12):
        write_audio(tmp_path / f"{seed}.wav", sound(seed), RATE_HZ)
        ending = "ogg" if how == "coded" else "wav"
        write_audio(tmp_path / f"{seed}x.{ending}", changed(sound(seed), how), RATE_HZ)
        records.append(record(f"{seed}", "A sound.", f"{seed}.wav"))
        records.append(record(f"{seed}x", "A sound.", f"{seed}x.{ending}"))
    summary, kept = dedup(tmp_path, records, sounds="near", audio_root=str(tmp_path))
    assert summary.reasons["near-duplicate audio"] == 12
    assert [clip for clip, _ in kept] == [str(seed) for seed in range(12)]


def test_silence_and_clicks_have_no_print() -> None:
    assert fingerprint_of(Clip(np.zeros(24_000, np.float32), RATE_HZ)) is None
    assert fingerprint_of(Clip(sound(1)[:1000], RATE_HZ)) is None
    assert fingerprint_of(Clip(sound(1), RATE_HZ)) is not None
