"""The judge of generated sounds, on sounds made here: tones, noise and clicks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from judge import clips, features, measures, report, training
from judge.events import Pair
from judge.kinds import Kind, read_kinds
from judge.network import Judge, ShapeListener, load_judge
from judge.statistics import StatisticsListener, statistics

from ezaudio.checkpoints import save_module
from ezaudio.data.clips import ClipRow
from ezaudio.data.waveforms import WaveformStore
from ezaudio.errors import CheckpointError

RATE = features.SAMPLE_RATE
KINDS = [
    Kind("tone", "a tone", ("note",)),
    Kind("noise", "noise"),
    Kind("clicks", "clicks clicking"),
]
LABELS = [kind.label for kind in KINDS]
QUICK = training.Fit(
    shape_steps=12, pool_draws=8, statistics_steps=60, statistics_listeners=1, seed=1
)


def sound(label: str, seed: int, seconds: float = 1.5) -> np.ndarray:
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    if label in ("tone", "note"):
        pitch = random.uniform(300, 900)
        return (0.5 * sum(np.sin(2 * np.pi * pitch * n * time) / n for n in (1, 2, 3))).astype("f4")
    if label == "noise":
        return (0.2 * random.standard_normal(len(time))).astype(np.float32)
    clicks = np.zeros(len(time), np.float32)
    clicks[:: round(RATE * random.uniform(0.1, 0.2))] = 0.9
    return clicks


def row(label: str, seed: int, split: str) -> ClipRow:
    return ClipRow(
        file=f"{label}{seed}.wav",
        split=split,
        label=label,
        caption=label,
        duration=1.5,
        source_path=f"{label}{seed}",
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rows = [row(label, seed, "train") for label in (*LABELS, "note", "speech") for seed in range(4)]
    rows += [row(label, seed, "valid") for label in LABELS for seed in (7, 8)]
    for one in rows:
        samples = sound(one.label, int(one.file[-5]))
        soundfile.write(folder / one.file, samples, RATE)
    WaveformStore.pack(rows, folder, folder / "packed", RATE)
    return folder / "packed"


@pytest.fixture(scope="module")
def examples(packed: Path) -> training.Examples:
    return training.read_examples(WaveformStore(packed), KINDS, "train")


@pytest.fixture(scope="module")
def judge(examples: training.Examples) -> Judge:
    trained = training.train_judge(examples, LABELS, QUICK)
    trained.facts = {"real_distance_db": report.real_distances(examples, LABELS)}
    return trained


def waves(label: str, seeds: tuple[int, ...] = (20, 21), seconds: float = 3.0) -> torch.Tensor:
    return torch.stack([torch.from_numpy(sound(label, seed, seconds)) for seed in seeds])


def test_the_committed_list_of_kinds_has_distinct_prompts_and_enough_of_them() -> None:
    kinds = read_kinds()
    assert len(kinds) >= 36
    assert len({kind.prompt for kind in kinds}) == len(kinds)
    assert {"rain falling", "dog barking", "clock ticking"} <= {kind.label for kind in kinds}


def test_a_label_listed_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kinds.csv"
    path.write_text("label,prompt,also\nrain,rain,shower;drizzle\nshower,a shower,\n")
    with pytest.raises(ValueError, match="shower more than once"):
        read_kinds(path)


def test_synonyms_join_their_kind_and_other_labels_are_left_out(
    examples: training.Examples,
) -> None:
    assert examples.classes.count(0) == 8
    assert "speech" not in {row.label for row in examples.rows}


def test_the_log_mel_of_a_tone_peaks_in_the_same_band_at_every_level() -> None:
    tone = waves("tone", (3,))
    loud, soft = features.log_mel(tone), features.log_mel(0.1 * tone)
    assert loud.shape == (1, features.N_MELS, 241)
    middle = loud[0, :, 100]
    assert middle.argmax() == soft[0, :, 100].argmax()
    assert middle.max() - soft[0, :, 100].max() == pytest.approx(20, abs=0.1)
    torch.testing.assert_close(
        features.levelled(loud.clamp(min=-40)), features.levelled(loud.clamp(min=-40) - 15)
    )


def test_short_takes_are_chained_with_gaps_and_long_ones_are_cut() -> None:
    generator = torch.Generator().manual_seed(0)
    take = torch.zeros(features.N_MELS, 30)
    chained = features.filled([take, take - 1], 200, generator)
    assert chained.shape == (features.N_MELS, 200)
    assert (chained[:, :30] == 0).all()
    assert {0.0, -1.0, features.FLOOR_DB} == set(chained[0].tolist())
    longest_gap = max(len(run) for run in _runs((chained[0] == features.FLOOR_DB).tolist()))
    assert 4 <= longest_gap <= 40
    assert features.filled([torch.zeros(features.N_MELS, 500)], 200, generator).shape[1] == 200


def _runs(flags: list[bool]) -> list[str]:
    return "".join("x" if flag else " " for flag in flags).split()


def test_augmented_sounds_keep_their_shape_and_stay_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    mel = features.log_mel(waves("tone"))
    coloured = features.coloured(mel, generator)
    shown = features.hidden_spans(features.levelled(coloured), generator)
    assert shown.shape == mel.shape
    assert torch.isfinite(shown).all()
    slower = features.stretched(mel[0], torch.Generator().manual_seed(4))
    assert slower.shape[0] == features.N_MELS
    assert 0.84 * 241 < slower.shape[1] < 1.16 * 241


def test_clips_of_one_recording_share_a_fold_and_each_class_is_spread() -> None:
    rows = [row("tone", seed // 3, "train") for seed in range(12)]
    rows += [row("noise", seed, "train") for seed in range(4)]
    folds = training.recording_folds(rows, [0] * 12 + [1] * 4, 4)
    for start in range(0, 12, 3):
        assert len(set(folds[start : start + 3])) == 1
    assert set(folds[:12]) == set(folds[12:]) == {0, 1, 2, 3}


def test_statistics_and_listeners_do_not_depend_on_what_else_is_in_the_batch() -> None:
    shown = features.levelled(features.log_mel(torch.cat([waves("tone"), waves("clicks")])))
    assert statistics(shown).shape == (4, 736)
    for listener in (StatisticsListener(3).eval(), ShapeListener(3).eval()):
        torch.testing.assert_close(listener(shown)[2:3], listener(shown[2:3]), atol=1e-4, rtol=1e-4)


def test_a_trained_judge_names_sounds_that_it_has_not_heard(judge: Judge) -> None:
    for index, label in enumerate(LABELS):
        heard = judge.probabilities(waves(label))
        assert heard.shape == (2, 3)
        torch.testing.assert_close(heard.sum(dim=1), torch.ones(2))
        assert heard.argmax(dim=1).tolist() == [index, index], label


def test_level_and_short_lengths_do_not_disturb_the_judge(judge: Judge) -> None:
    noise = waves("noise")
    torch.testing.assert_close(
        judge.probabilities(noise), judge.probabilities(noise / 8), atol=0.02, rtol=0
    )
    for seconds in (0.05, 0.4, 6.0):
        assert torch.isfinite(judge.probabilities(waves("clicks", (1, 2), seconds))).all()
    assert torch.isfinite(judge.probabilities(torch.zeros(1, RATE))).all()


def test_training_twice_from_one_seed_gives_one_judge(examples: training.Examples) -> None:
    short = training.Fit(
        shape_steps=2, pool_draws=2, statistics_steps=3, statistics_listeners=1, seed=3
    )
    tone = waves("tone")
    first, second = (training.train_judge(examples, LABELS, short) for _ in range(2))
    torch.testing.assert_close(first.probabilities(tone), second.probabilities(tone))


def test_a_saved_judge_hears_the_same(judge: Judge, tmp_path: Path) -> None:
    judge.save(tmp_path / "judge.safetensors")
    again = load_judge(tmp_path / "judge.safetensors")
    assert again.labels == LABELS
    assert again.facts == judge.facts
    tone = waves("tone")
    torch.testing.assert_close(
        again.probabilities(tone), judge.probabilities(tone), atol=0.01, rtol=0
    )


def test_a_file_that_is_no_judge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_module(path, {"x": torch.zeros(1)}, kind="vae", config={})
    with pytest.raises(CheckpointError, match="expected a `judge`"):
        load_judge(path)


def test_scores_count_first_and_third_places_by_label() -> None:
    heard = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
    result = report.scores(heard, [0, 1, 3], ["a", "b", "c", "d"])
    assert (result["top1"], result["top3"]) == (pytest.approx(1 / 3, abs=1e-4), 0.6667)
    assert result["per_label"]["b"] == {"clips": 1, "top1": 0, "top3": 1, "heard_as": {"d": 1}}
    assert "c" not in result["per_label"]


def test_silent_clipped_and_ending_clips_are_found() -> None:
    good = waves("noise", (1,), 2.0)[0]
    hum = torch.full_like(good, 1e-4)
    loud = (8 * good).clamp(-1, 1)
    ended = good.clone()
    ended[RATE:] = 0
    batch = torch.stack([good, hum, loud, ended])
    assert measures.silent(batch).tolist() == [False, True, False, False]
    assert measures.clipped(batch).tolist() == [False, False, True, False]
    assert measures.silent_tail_s(batch).tolist() == pytest.approx([0, 0, 0, 1.0], abs=0.051)


def test_equal_takes_are_at_no_distance_and_different_ones_are() -> None:
    mel = features.log_mel(waves("tone"))
    assert measures.mel_distance(mel[[0, 0]]) == 0
    assert measures.mel_distance(mel) > 1


def test_a_copied_second_is_found_wherever_it_lies() -> None:
    random = torch.Generator().manual_seed(0)
    envelopes = torch.rand(3, 60, generator=random).repeat_interleave(1200, dim=1)
    noise = torch.randn(3, envelopes.shape[1], generator=random) * envelopes
    finder = measures.CopyFinder(list(features.log_mel(noise[:1])))
    moved = 0.3 * torch.roll(noise[0], 1200 * 7)
    mels = list(features.log_mel(torch.stack([moved, noise[1]])))
    copied, other = finder.likeness(mels).tolist()
    assert copied > 0.95
    assert other < 0.7


def test_opus_keeps_the_length_and_takes_fewer_bits_when_told_so() -> None:
    one = sound("tone", 5, 2.0)
    high, rate = clips.through_opus(one, 64)
    low, low_rate = clips.through_opus(one, 6)
    assert high.shape == low.shape == one.shape
    assert low_rate < rate / 2
    assert np.corrcoef(one, high)[0, 1] > 0.9


def test_a_folder_of_clips_is_judged_from_the_command_line(
    judge: Judge, packed: Path, tmp_path: Path
) -> None:
    import starter_judge

    kinds = "label,prompt,also\n" + "".join(f"{k.label},{k.prompt},\n" for k in KINDS)
    (tmp_path / "kinds.csv").write_text(kinds)
    judge.save(tmp_path / "judge.safetensors")
    for label in LABELS:
        for take in range(2):
            soundfile.write(tmp_path / f"{label}_{take}.wav", sound(label, 30 + take, 2.0), RATE)
    options = ["--kinds", tmp_path / "kinds.csv", "--judge", tmp_path / "judge.safetensors"]
    options += ["--folder", tmp_path, "--waveforms", packed, "--report", tmp_path / "out.json"]
    assert starter_judge.main(["judge", *map(str, options), "--duration", "2"]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["clips"], result["labels"], result["silent"]) == (6, 3, 0)
    assert result["top3"] == 1
    assert set(result["seed_distance"]["ratio_to_real"]) == set(LABELS)
    assert result["copies"]["near_copies"] <= 1


def test_an_empty_folder_is_one_line_and_exit_code_2(
    judge: Judge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import starter_judge

    judge.save(tmp_path / "judge.safetensors")
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = ["judge", "--judge", str(tmp_path / "judge.safetensors"), "--folder", str(empty)]
    assert starter_judge.main(arguments) == 2
    assert "no file named like" in caplog.text


def test_clips_are_asked_for_through_the_public_interface_and_brought_to_24_khz(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Fake:
        @classmethod
        def from_pretrained(cls, model: str) -> Fake:
            asked.append(model)
            return cls()

        def generate(self, prompts: list[str], **settings: object) -> SimpleNamespace:
            asked.append((prompts, settings))
            return SimpleNamespace(audios=torch.zeros(3, 1, 48_000), sample_rate=48_000)

    monkeypatch.setattr("ezaudio.EzAudio", Fake, raising=False)
    request = clips.Asked(takes=3, duration_s=1.0, seed=5, settings={"steps": 2})
    takes = list(clips.generated("starter", KINDS[:1], request))
    assert [(kind.label, tuple(waves.shape)) for kind, waves in takes] == [("tone", (3, RATE))]
    settings = {"duration_s": 1.0, "seed": 5, "num": 3, "steps": 2}
    assert asked == ["starter", (["a tone"], settings)]
    list(clips.generated("starter", KINDS[:1], request, "please make {}"))
    list(clips.generated_pairs("starter", [Pair(KINDS[0], KINDS[1])], request))
    assert [prompts for prompts, _ in asked[3::2]] == [
        ["please make a tone"],
        ["a tone then noise"],
    ]
