"""An evaluation from folders and from a model, with a fake extractor."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.conftest import fake_extractor, write_manifest, write_sounds

from ezaudio.audio import read_audio, write_audio
from ezaudio.errors import InputError
from ezaudio.evaluation import feature_store
from ezaudio.evaluation.extractors import EXTRACTORS
from ezaudio.evaluation.options import EvaluationOptions
from ezaudio.evaluation.partial import keep_what_is_there
from ezaudio.evaluation.prepare import prepare
from ezaudio.evaluation.protocol import PROTOCOLS, Panel, Protocol
from ezaudio.evaluation.report import write_reports
from ezaudio.evaluation.results import Results, joined
from ezaudio.evaluation.run import evaluate, make
from ezaudio.evaluation.systems import GenerationPlan
from ezaudio.evaluation.systems.ezaudio_model import EzAudioConfig
from ezaudio.evaluation.systems.folder import FolderConfig


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    return {"protocol": "fake", "cache": tmp_path / "cache.sqlite"}


def scored(sounds: Path, out: Path, options: dict[str, object], **more: object) -> Results:
    unpaired, partial = (bool(more.pop(name, False)) for name in ("unpaired", "partial"))
    given = EvaluationOptions(**{**options, **more})
    plan, setup = prepare(given, out, sounds=sounds, unpaired=unpaired, partial=partial)
    system = FolderConfig(name="sounds", folder=sounds).build()
    if partial:
        plan, setup = keep_what_is_there([system], plan, setup)
    make(system, plan, setup)
    return evaluate([system], plan, setup)


class TestFolders:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> tuple[Path, Path]:
        return write_sounds(tmp_path / "made", seed=1), write_sounds(tmp_path / "real", seed=2)

    def test_a_folder_is_scored_against_another_with_floors_and_anchors(
        self, folders, tmp_path, options
    ):
        made, real = folders
        results = scored(made, tmp_path / "out", options, reference=real)
        assert [(row.title, row.kind) for row in results.rows] == [
            ("sounds", "system"),
            ("real: the recordings", "floor"),
            ("real: half against half", "floor"),
            ("silence", "anchor"),
            ("noise", "anchor"),
            ("shuffled", "anchor"),
            ("low-passed", "anchor"),
        ]
        own, silence = results.rows[0].scores, results.rows[3].scores
        assert own["fake/fd"].low < own["fake/fd"].value < own["fake/fd"].high
        assert own["fake/fd"].extra["bias"] > 0
        assert silence["fake/fd"].value > 10 * own["fake/fd"].value
        assert silence["waveform/silent"].value == 1
        assert results.rows[5].scores["fake/fd"].value == pytest.approx(0, abs=1e-6)
        assert results.rows[5].scores["fake/kl"].value > 0
        assert own["fake/clap"].reason
        assert own["fake/clap"].value is None

    def test_unequal_file_sets_are_an_error_that_names_files(self, folders, tmp_path, options):
        made, real = folders
        (made / "c03.wav").unlink()
        with pytest.raises(InputError, match="c03"):
            scored(made, tmp_path / "out", options, reference=real)
        shutil.copy(real / "c03.wav", made / "c03.wav")
        (real / "c05.wav").unlink()
        with pytest.raises(InputError, match="c05"):
            scored(made, tmp_path / "out", options, reference=real)

    def test_what_is_there_can_be_scored_and_the_rest_is_listed(self, folders, tmp_path, options):
        made, real = folders
        (made / "c03.wav").unlink()
        (real / "c05.wav").unlink()
        results = scored(made, tmp_path / "out", options, reference=real, partial=True)
        assert results.rows[0].count == 10 and results.rows[0].scores["fake/kl"].value is not None
        assert results.left_out == {"no recording": ("c05",), "no sound": ("c03",)}
        paths = write_reports(results, tmp_path / "out")
        for path in paths[1:]:
            text = path.read_text()
            assert "left out, no recording: c05 (1 of 12 clips)" in text
            assert "left out, no sound: c03 (1 of 12 clips)" in text
        assert Results.load(paths[0]) == results

    @pytest.mark.parametrize("by", ["manifest", "folder"])
    def test_recordings_that_a_manifest_names_and_nobody_has_are_listed(
        self, folders, tmp_path, options, by
    ):
        made, real = folders
        manifest = write_manifest(tmp_path / "clips.csv", real)
        for name in ("c00", "c11"):
            (real / f"{name}.wav").unlink()
        (made / "c04.wav").unlink()
        more = {"manifest": str(manifest), **({"reference": real} if by == "folder" else {})}
        with pytest.raises(InputError):
            scored(made, tmp_path / "out", options, **more)
        results = scored(made, tmp_path / "out", options, partial=True, **more)
        assert results.rows[0].count == 9
        assert results.left_out == {
            "no recording": ("c00", "c11"),
            "no sound in sounds": ("c04",),
        }

    def test_sets_of_other_names_can_be_compared_without_pairs(self, folders, tmp_path, options):
        made, real = folders
        (made / "c03.wav").rename(made / "other.wav")
        results = scored(made, tmp_path / "out", options, reference=real, unpaired=True)
        own = results.rows[0].scores
        assert own["fake/fd"].value > 0
        assert own["fake/kl"].value is None
        assert "same name" in own["fake/kl"].reason

    def test_the_ending_of_a_file_does_not_matter_and_two_of_one_name_are_refused(
        self, folders, tmp_path, options
    ):
        made, real = folders
        shutil.copy(made / "c00.wav", made / "c00.flac")
        with pytest.raises(InputError, match="c00"):
            scored(made, tmp_path / "out", options, reference=real)

    def test_nothing_is_heard_twice(self, folders, tmp_path, options, monkeypatch):
        made, real = folders
        first = scored(made, tmp_path / "out", options, reference=real)
        moved = shutil.copytree(made, tmp_path / "elsewhere")

        def deaf(_: Path | None = None):
            extractor = fake_extractor()

            def extract(*_: object):
                raise AssertionError("heard again")

            return replace(extractor, extract=extract)

        monkeypatch.setitem(EXTRACTORS, "fake", deaf)
        again = scored(moved, tmp_path / "out2", options, reference=real)
        assert again.rows[0].scores["fake/fd"] == first.rows[0].scores["fake/fd"]
        monkeypatch.setitem(EXTRACTORS, "fake", lambda _: fake_extractor(identity="fake-2"))
        other = scored(made, tmp_path / "out3", options, reference=real)
        assert other.hash != first.hash

    def test_reports_are_written_and_read_again(self, folders, tmp_path, options):
        made, real = folders
        results = scored(made, tmp_path / "out", options, reference=real)
        paths = write_reports(results, tmp_path / "out", paper=True)
        assert Results.load(paths[0]) == results
        text = paths[1].read_text()
        assert results.hash in text
        assert "bias of FD" in text
        assert "paper: FD" in text
        page = paths[2].read_text()
        assert "<audio" in page
        assert "data:image/png" in page
        assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
        assert json.loads(paths[0].read_text())["rows"][0]["scores"]["fake/clap"]["value"] is None

    def test_results_are_joined_only_under_one_hash_and_for_the_same_clips(
        self, folders, tmp_path, options
    ):
        made, real = folders
        a = scored(made, tmp_path / "a", options, reference=real)
        b = scored(write_sounds(tmp_path / "b", seed=5), tmp_path / "bo", options, reference=real)
        assert len(joined([a, b]).systems) == 2
        with pytest.raises(InputError, match="one table has one protocol"):
            joined([a, b.model_copy(update={"hash": "0" * 12})])
        with pytest.raises(InputError, match="the same clips"):
            joined([a, b.model_copy(update={"clip_set": "0" * 12})])


class TestModel:
    @pytest.fixture
    def manifest(self, tmp_path: Path) -> Path:
        write_sounds(tmp_path / "clips", 8, seconds=0.5)
        return write_manifest(tmp_path / "clips.csv", tmp_path / "clips")

    def prepared(self, manifest, out, options, **more):
        given = {**options, "manifest": str(manifest), **more}
        return prepare(EvaluationOptions(**given), out)

    def test_a_model_makes_the_manifests_sounds_and_is_scored(
        self, manifest, tmp_path, options, model
    ):
        system = EzAudioConfig(name="tiny", model=str(model), device="cpu").build()
        plan, setup = self.prepared(manifest, tmp_path / "out", options, seeds=2)
        make(system, plan, setup)
        results = evaluate([system], plan, setup)
        row = results.rows[0]
        assert (row.count, row.seeds) == (8, 2)
        assert row.scores["fake/clap"].value is not None
        assert row.scores["fake/diversity"].value > 0
        assert row.scores["waveform/duration_error"].value == pytest.approx(0, abs=1e-4)
        assert len(row.clips[0].files) == 2
        assert row.facts["model"] == "tiny"

    def test_what_is_made_stays_and_what_is_missing_is_made(
        self, manifest, tmp_path, options, model
    ):
        system = EzAudioConfig(name="tiny", model=str(model), device="cpu").build()
        plan, setup = self.prepared(manifest, tmp_path / "out", options, batch_size=1)
        make(system, plan, setup)
        sounds = sorted((tmp_path / "out" / "sounds").rglob("*.wav"))
        content = {path: path.read_bytes() for path in sounds}
        sounds[0].unlink()
        sounds[1].write_bytes(sounds[1].read_bytes()[:200])
        times = {path: path.stat().st_mtime_ns for path in sounds[2:]}
        make(system, plan, setup)
        assert {path: path.read_bytes() for path in sounds} == content
        assert {path: path.stat().st_mtime_ns for path in sounds[2:]} == times

    def test_another_setting_makes_everything_anew(self, manifest, tmp_path, options, model):
        plan, setup = self.prepared(manifest, tmp_path / "out", options, limit=2)
        sound = tmp_path / "out" / "sounds" / "tiny" / "seed-0" / "c00.wav"
        made = []
        for scale in (3.0, 1.0):
            config = EzAudioConfig(
                name="tiny", model=str(model), settings={"guidance_scale": scale}, device="cpu"
            )
            make(config.build(), plan, setup)
            made.append(sound.read_bytes())
        assert made[0] != made[1]

    def test_shards_make_together_what_one_process_makes(self, manifest, tmp_path, options, model):
        system = EzAudioConfig(name="tiny", model=str(model), device="cpu").build()
        options = {**options, "batch_size": 1}
        whole, setup = self.prepared(manifest, tmp_path / "whole", options)
        make(system, whole, setup)
        for number in range(3):
            part, shared = self.prepared(manifest, tmp_path / "parts", options, shard=f"{number}/3")
            make(system, part, shared)
        one, other = (sorted((tmp_path / n / "sounds").rglob("*.wav")) for n in ("whole", "parts"))
        assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]
        assert len(one) == 8

    def test_a_missing_sound_is_named(self, manifest, tmp_path, options, model):
        system = EzAudioConfig(name="tiny", model=str(model), device="cpu").build()
        plan, setup = self.prepared(manifest, tmp_path / "out", options, shard="0/2")
        make(system, plan, setup)
        with pytest.raises(InputError, match="4 missing, such as seed-0/c01"):
            evaluate([system], plan, setup)

    def test_other_recordings_of_the_same_kinds_are_the_floor(
        self, tmp_path, options, model, manifest
    ):
        write_sounds(tmp_path / "more", 10, seed=9)
        rows = manifest.read_text()
        extra = write_manifest(tmp_path / "more.csv", tmp_path / "more", split="train")
        extra_rows = extra.read_text().split("\n", 1)[1].replace("c0", "c0")
        for path in sorted((tmp_path / "more").iterdir()):
            path.rename(path.with_name(f"x{path.name}"))
        manifest.write_text(rows + extra_rows.replace("more/c", "more/xc"))
        plan, setup = self.prepared(manifest, tmp_path / "out", options, split="valid")
        assert len(plan.items) == 8
        system = EzAudioConfig(name="tiny", model=str(model), device="cpu").build()
        make(system, plan, setup)
        floor = {row.title: row for row in evaluate([system], plan, setup).rows}
        row = floor["real: other recordings"]
        assert row.count == 8
        assert row.scores["fake/kl"].value > 0


def test_the_order_of_two_events_is_heard(tmp_path, options, monkeypatch):
    """Low then high, as asked, and the other way round."""
    times = np.arange(4000) / 16_000
    low, high = (np.sin(2 * np.pi * hz * times) for hz in (300, 5000))
    folder = tmp_path / "made"
    folder.mkdir()
    write_audio(folder / "right.wav", np.concatenate([low, high]).astype(np.float32), 16_000)
    write_audio(folder / "wrong.wav", np.concatenate([high, low]).astype(np.float32), 16_000)
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(
        "name,caption,events\nright,low then high,low;high\nwrong,low then high,low;high\n"
    )
    plan, setup = prepare(
        EvaluationOptions(**options, manifest=str(manifest)), tmp_path / "out", sounds=folder
    )
    system = FolderConfig(name="made", folder=folder).build()
    scores = evaluate([system], plan, setup).rows[0].scores
    assert scores["fake/events"].value == 1
    assert scores["fake/order"].value == 0.5


def test_seeds_follow_from_the_name_and_the_take_alone():
    from ezaudio.evaluation.clips import Item
    from ezaudio.evaluation.systems.base import generations_of

    items = tuple(Item(f"n{i}", "x") for i in range(4))
    jobs = generations_of(GenerationPlan(items, seeds=2), Path("x"), {}, 1.0)
    part = generations_of(GenerationPlan(items[2:], seeds=2), Path("x"), {}, 1.0)
    seeds = {(job.item.name, job.take): job.seed for job in jobs}
    assert {(job.item.name, job.take): job.seed for job in part}.items() <= seeds.items()
    assert len(set(seeds.values())) == 8


def test_copies_of_training_recordings_are_found_and_looked_for_once(
    tmp_path, options, monkeypatch
):
    """Two of four sounds are a training recording at another level; a second run compares none."""
    for seed, name in enumerate(("valid", "train")):
        write_sounds(tmp_path / name, 4, seed=seed, seconds=1.5)
    for file in sorted((tmp_path / "train").iterdir()):
        file.rename(file.with_name(f"t{file.name}"))
    rows = write_manifest(tmp_path / "clips.csv", tmp_path / "valid").read_text()
    other = write_manifest(tmp_path / "train.csv", tmp_path / "train", split="train").read_text()
    (tmp_path / "clips.csv").write_text(rows + other.split("\n", 1)[1])
    made = write_sounds(tmp_path / "made", 4, seed=2, seconds=1.5)
    for name in ("c01", "c03"):
        clip = read_audio(tmp_path / "train" / f"t{name}.wav")
        write_audio(made / f"{name}.wav", 0.5 * clip.samples, clip.sample_rate)
    protocol = Protocol(name="p", panels=(Panel(extractor="prints", metrics=("near_copies",)),))
    monkeypatch.setitem(PROTOCOLS, "fake", protocol)
    given = EvaluationOptions(**options, manifest=str(tmp_path / "clips.csv"), split="valid")
    plan, setup = prepare(given, tmp_path / "out", sounds=made, copies=True)
    system = FolderConfig(name="made", folder=made).build()
    row = evaluate([system], plan, setup).rows[0]
    assert [clip.scores["prints/near_copies"] for clip in row.clips] == [(0,), (1,), (0,), (1,)]
    monkeypatch.setattr(feature_store, "likeness", lambda *_: pytest.fail("compared again"))
    assert evaluate([system], plan, setup).rows[0] == row
