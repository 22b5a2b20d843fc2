from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.listening.conftest import RATE, sounds

from ezaudio.audio import read_audio
from ezaudio.errors import InputError, OutputError
from ezaudio.evaluation.listening.options import StudyOptions
from ezaudio.evaluation.listening.study import Study, at_loudness, build_study
from ezaudio.evaluation.metrics.signal_checks import loudness_lufs
from ezaudio.types import Clip


def test_every_system_makes_the_same_prompts_and_the_recordings_take_part(study):
    rated = [trial for trial in study.trials if trial.expected is None]
    assert {(t.system, t.item) for t in rated} == {
        (system, f"clip{i}") for system in ("ours", "theirs", "reference") for i in range(3)
    }
    assert study.reference == "reference"


def test_what_a_listener_can_see_names_no_system(folder, study):
    seen = {trial.id for trial in study.trials}
    assert len(seen) == len(study.trials) == 10
    assert {path.stem for path in (folder / "clips").iterdir()} == seen
    assert not any(name in trial.id for trial in study.trials for name in study.systems)


def test_all_sounds_have_one_loudness(folder, study):
    found = []
    for trial in study.trials:
        clip = read_audio(folder / "clips" / f"{trial.id}.wav")
        found.append(loudness_lufs(clip.samples, clip.sample_rate))
    np.testing.assert_allclose(found, -23, atol=0.2)


def test_a_quiet_sound_is_not_raised_without_bound_and_silence_stays_silent():
    whisper = 1e-3 * np.sin(np.arange(RATE, dtype=np.float32))
    assert loudness_lufs(at_loudness(Clip(whisper, RATE)).samples, RATE) < -35
    assert not at_loudness(Clip(np.zeros(RATE, np.float32), RATE)).samples.any()


def test_each_listener_has_an_order_of_his_own_that_stays(study):
    orders = {code: [t.id for t in study.order_for(code)] for code in ("anna", "ben", "cleo")}
    assert len({tuple(order) for order in orders.values()}) == 3
    assert orders["anna"] == [t.id for t in study.order_for("anna")]
    assert all(sorted(order) == sorted(t.id for t in study.trials) for order in orders.values())


def test_no_caption_comes_twice_in_a_row(study):
    for code in "abcdef":
        items = [trial.item for trial in study.order_for(code) if trial.expected is None]
        assert all(a != b for a, b in pairwise(items))


def test_a_listener_of_a_part_hears_every_system_equally_often(study):
    part = study.model_copy(update={"per_listener": 6})
    systems = [t.system for t in part.order_for("anna") if t.expected is None]
    assert {name: systems.count(name) for name in study.systems} == dict.fromkeys(study.systems, 2)


def test_sets_of_other_clips_are_refused_by_name(tmp_path):
    whole, part = sounds(tmp_path / "a", 0), sounds(tmp_path / "b", 1)
    part = type(part)("b", part.items[:2], part.sources[:2])
    with pytest.raises(InputError, match="clip2"):
        build_study({"a": whole, "b": part}, None, StudyOptions(prompts=1), tmp_path / "study")


def test_a_study_is_not_built_over_another(folder, tmp_path):
    with pytest.raises(OutputError, match="holds a study"):
        build_study({"a": sounds(tmp_path / "a", 0)}, None, StudyOptions(prompts=1), folder)


def test_a_folder_without_a_study_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="listen build"):
        Study.load(tmp_path)
