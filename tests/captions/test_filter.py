"""Scores, the filter and its table; CLAP is the real class with tiny random weights."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.captions.test_dedup import record, sound, write_set
from tests.tiny_clap import RATE_HZ, write_tiny_clap

from ezaudio.audio import read_audio, write_audio
from ezaudio.captions import scoring
from ezaudio.captions.embedding_cache import EmbeddingCache
from ezaudio.captions.executors import executor_from
from ezaudio.captions.filter import FilterSettings, FilterSummary, filter_set
from ezaudio.captions.record import CaptionRecord
from ezaudio.captions.report import write_report
from ezaudio.captions.scoring import ScoreSettings
from ezaudio.captions.statistics import THRESHOLDS, bin_of, reached
from ezaudio.captions.store import CaptionSet
from ezaudio.errors import InputError
from ezaudio.extractors.clap import Clap, ClapConfig

CAPTIONS = ("A bell rings.", "Rain falls on a tin roof.", "Someone speaks while a car idles.")


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips with three captions each; one file is missing and one is no sound."""
    folder = tmp_path_factory.mktemp("given")
    records: list[CaptionRecord] = []
    for number in range(5):
        name = f"{number}.wav"
        if number < 3:
            write_audio(folder / name, sound(number, 0.6), RATE_HZ)
        elif number == 3:
            (folder / name).write_bytes(b"no sound")
        records += [record(f"c{number}", caption, name) for caption in CAPTIONS]
    return write_set(folder / "set", records).parent


def filtered(given: Path, out: Path, clap: Path, **settings: Any) -> FilterSummary:
    score = ScoreSettings(
        clap=ClapConfig(path=str(clap)), audio_root=str(given), device="cpu", batch_size=2
    )
    return filter_set(
        given / "set",
        out,
        settings=FilterSettings(score=score, **settings),
        executor=executor_from("local"),
    )


def test_a_score_is_the_cosine_of_sound_and_caption(
    given: Path, clap: Path, tmp_path: Path
) -> None:
    summary = filtered(given, tmp_path, clap, threshold=-1.0)
    network = Clap(clap)
    records = list(CaptionSet(tmp_path).records())
    assert (summary.pairs, summary.without, summary.kept) == (9, 6, 9)
    for found in records:
        audio = network.embed_audio([read_audio(given / found.audio, network.sample_rate)])
        text = network.embed_text([found.caption])
        assert found.score == pytest.approx(float((audio * text).sum()), abs=2e-3)
        assert found.score_model == network.sha256[:16]
    reasons = [failure.reason for failure in CaptionSet(tmp_path).failures()]
    assert reasons == ["unreadable audio"] * 6


def test_the_threshold_keeps_what_reaches_it_and_the_table_counts_what_others_would(
    given: Path, clap: Path, tmp_path: Path
) -> None:
    filtered(given, tmp_path / "all", clap, threshold=-1.0)
    scores = [r.score or 0.0 for r in CaptionSet(tmp_path / "all").records()]
    middle = sorted(scores)[4]
    summary = filtered(given, tmp_path / "some", clap, threshold=middle)
    assert summary.kept == sum(score >= middle for score in scores)
    assert summary.table == {f"{t:.2f}": sum(s >= t for s in scores) for t in THRESHOLDS}
    expected = np.histogram(scores, bins=40, range=(-1, 1))[0]
    assert list(summary.histogram) == list(summary.by_source["s"]) == expected.tolist()


def test_a_score_that_is_a_threshold_reaches_it() -> None:
    for threshold in THRESHOLDS:
        for score, count in ((threshold, 1), (threshold - 1e-6, 0), (threshold + 1e-6, 1)):
            bins = [0] * 40
            bins[bin_of(score)] += 1
            assert reached(bins, threshold) == count
    assert (bin_of(-1.0), bin_of(1.0), bin_of(1.1)) == (0, 39, 39)


def test_the_report_of_a_filtered_set_counts_all_pairs_that_were_scored(
    given: Path, clap: Path, tmp_path: Path
) -> None:
    filtered(given, tmp_path / "all", clap, threshold=-1.0)
    scores = sorted(r.score or 0.0 for r in CaptionSet(tmp_path / "all").records())
    filtered(given, tmp_path / "some", clap, threshold=scores[-1])
    write_report(tmp_path / "some", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "1 captions of 1 clips" in text
    assert "9 pairs were scored and 1 kept" in text
    shown = re.findall(r"<td>(0\.[345]\d)</td><td class=n>(\d+)</td>", text)
    assert shown == [(f"{t:.2f}", str(sum(s >= t for s in scores))) for t in THRESHOLDS]
    counts = re.findall(r"<title>-?[01]\.\d\d: (\d+)</title>", text)
    assert sum(map(int, counts)) == 9


def test_only_the_best_captions_of_a_clip_are_kept(given: Path, clap: Path, tmp_path: Path) -> None:
    filtered(given, tmp_path / "all", clap, threshold=-1.0)
    best = {}
    for found in CaptionSet(tmp_path / "all").records():
        best.setdefault(found.clip_id, []).append(found)
    filtered(given, tmp_path / "top", clap, threshold=-1.0, top_k=1)
    kept = list(CaptionSet(tmp_path / "top").records())
    assert kept == [max(rows, key=lambda r: r.score or 0.0) for rows in best.values()]


def test_a_sound_is_heard_once_however_often_the_filter_runs(
    given: Path, clap: Path, tmp_path: Path
) -> None:
    first = filtered(given, tmp_path, clap)
    again = filtered(given, tmp_path, clap, threshold=0.5)
    assert (first.heard, again.heard) == (3, 0)
    part = CaptionSet(tmp_path).part(0, "scored")
    part.unlink()  # as if it had been killed: the vectors are still there
    assert filtered(given, tmp_path, clap).heard == 0
    assert (again.pairs, again.without) == (first.pairs, first.without)


def test_other_weights_score_anew(given: Path, clap: Path, tmp_path: Path) -> None:
    filtered(given, tmp_path / "set", clap, threshold=-1.0)
    before = [r.score for r in CaptionSet(tmp_path / "set").records()]
    other = write_tiny_clap(tmp_path / "clap", seed=5)
    assert filtered(given, tmp_path / "set", other, threshold=-1.0).heard == 3
    assert [r.score for r in CaptionSet(tmp_path / "set").records()] != before


def test_the_cache_knows_bytes_and_model_and_makes_a_vector_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make(missing: list[int]) -> np.ndarray:
        made.extend(missing)
        return np.stack([np.full(4, 0.5 + index, np.float32) for index in missing])

    cache = EmbeddingCache(tmp_path, "model")
    keys = [cache.key(b"a"), cache.key(b"b"), cache.key(b"a")]
    rows = cache.vectors(keys, make)
    assert made == [0, 1]
    assert rows[:, 0].tolist() == [0.5, 1.5, 0.5]
    assert cache.vectors([], make).shape[0] == 0
    cache.close()
    later = EmbeddingCache(tmp_path, "model")
    assert later.vectors(keys[:2], make)[:, 0].tolist() == [0.5, 1.5]
    assert made == [0, 1]
    assert EmbeddingCache(tmp_path, "other").key(b"a") != keys[0]


def test_the_records_are_only_given_scores(given: Path, clap: Path, tmp_path: Path) -> None:
    filtered(given, tmp_path, clap, threshold=-1.0)
    plain = [
        r for r in CaptionSet(given / "set").records() if r.audio in ("0.wav", "1.wav", "2.wav")
    ]
    scored = [replace(r, score=None, score_model="") for r in CaptionSet(tmp_path).records()]
    assert scored == plain


def test_a_filter_that_hears_nothing_names_the_folder_and_leaves_nothing(
    given: Path, clap: Path, tmp_path: Path
) -> None:
    score = ScoreSettings(
        clap=ClapConfig(path=str(clap)), audio_root=str(tmp_path / "absent"), device="cpu"
    )
    with pytest.raises(InputError, match=r"`audio`: .*none of 15 pairs .*No such file"):
        filter_set(
            given / "set", tmp_path / "made", settings=FilterSettings(score=score),
            executor=executor_from("local"),
        )  # fmt: skip
    assert not (tmp_path / "made").exists()


def test_long_sounds_are_not_all_in_memory_at_once(
    given: Path, clap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_s, second_s = (read_audio(given / f"{n}.wav").duration_s for n in range(2))
    monkeypatch.setattr(scoring, "_MOST_SECONDS", first_s + second_s - 0.05)
    rows = [record(f"c{n}", "Rain falls.", f"{n}.wav") for n in range(3)]
    write_set(tmp_path / "set", rows, rows_per_part=3)
    heard: list[int] = []
    listen = Clap.embed_audio

    def counting(self: Clap, clips: Any, **settings: Any) -> Any:
        heard.append(len(clips))
        return listen(self, clips, **settings)

    monkeypatch.setattr(Clap, "embed_audio", counting)
    score = ScoreSettings(clap=ClapConfig(path=str(clap)), audio_root=str(given), device="cpu")
    found = filter_set(
        tmp_path / "set", tmp_path / "made", settings=FilterSettings(score=score),
        executor=executor_from("local"),
    )  # fmt: skip
    assert (heard, found.pairs) == ([2, 1], 3)


def test_a_recording_that_was_replaced_gets_the_score_of_what_it_holds_now(
    clap: Path, tmp_path: Path
) -> None:
    for number in range(2):
        write_audio(tmp_path / f"{number}.wav", sound(number, 0.6), RATE_HZ)
    rows = [record(f"c{number}", CAPTIONS[0], f"{number}.wav") for number in range(2)]
    write_set(tmp_path / "set", rows, rows_per_part=1)
    assert filtered(tmp_path, tmp_path / "out", clap, threshold=-1.0).heard == 2
    write_audio(tmp_path / "1.wav", sound(9, 0.6), RATE_HZ)
    assert filtered(tmp_path, tmp_path / "out", clap, threshold=-1.0).heard == 1
    filtered(tmp_path, tmp_path / "fresh", clap, threshold=-1.0)
    again, fresh = (
        [found.score for found in CaptionSet(tmp_path / name).records()]
        for name in ("out", "fresh")
    )
    assert again == fresh


def test_scores_in_another_precision_are_made_anew(given: Path, clap: Path, tmp_path: Path) -> None:
    filtered(given, tmp_path, clap, threshold=-1.0)
    score = ScoreSettings(
        clap=ClapConfig(path=str(clap)), audio_root=str(given), device="cpu", dtype="bfloat16"
    )
    summary = filter_set(
        given / "set", tmp_path, settings=FilterSettings(score=score),
        executor=executor_from("local"),
    )  # fmt: skip
    assert summary.heard == 3
