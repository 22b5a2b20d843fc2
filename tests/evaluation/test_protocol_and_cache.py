from pathlib import Path

import numpy as np
import pytest

from ezaudio.audio import write_audio
from ezaudio.errors import InputError
from ezaudio.evaluation.cache import FeatureCache
from ezaudio.evaluation.metrics import METRICS, MetricSettings
from ezaudio.evaluation.protocol import PROTOCOLS, Panel, find_protocol, require_one_hash
from ezaudio.evaluation.sources import content_hash
from ezaudio.files import BlobStore
from ezaudio.types import Clip

WEIGHTS = {"panns-16k": "a" * 64, "clap-general": "b" * 64}


def test_the_papers_protocol_is_as_specified():
    protocol = PROTOCOLS["ezaudio-2409.10819"]
    panns, clap = protocol.panels
    assert panns.loading.model_dump() == {
        "channel": "first",
        "subtract_mean": True,
        "resampler": "windowed-sinc",
        "shortest_samples": 32_000,
    }
    assert (panns.extractor, clap.extractor) == ("panns-16k", "clap-general")
    assert {"fd", "kl", "is"} <= set(panns.metrics)
    assert (protocol.settings.is_splits, protocol.settings.is_shuffle_seed) == (10, 2020)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_asks_for_metrics_that_exist(name):
    assert {metric for _, metric in find_protocol(name).columns} <= set(METRICS)


def test_whatever_decides_a_score_changes_the_hash():
    protocol = PROTOCOLS["ezaudio-2409.10819"]
    panel = protocol.panels[0]
    loading = panel.loading.model_copy(update={"resampler": "soxr"})
    changed = [
        protocol.model_copy(update={"settings": MetricSettings(is_splits=5)}),
        protocol.model_copy(update={"panels": protocol.panels[:1]}),
        protocol.model_copy(
            update={"panels": (panel.model_copy(update={"loading": loading}), *protocol.panels[1:])}
        ),
    ]
    hashes = [protocol.hash(WEIGHTS), protocol.hash({**WEIGHTS, "panns-16k": "c" * 64})]
    hashes += [other.hash(WEIGHTS) for other in changed]
    assert len(set(hashes)) == len(hashes)
    assert protocol.hash(WEIGHTS) == protocol.hash(dict(reversed(WEIGHTS.items())))
    assert protocol.model_copy(update={"summary": "other words"}).hash(WEIGHTS) == hashes[0]


def test_a_protocol_of_ones_own_is_a_file(tmp_path: Path):
    (tmp_path / "own.yaml").write_text(
        "name: own\npanels: [{extractor: panns-16k, metrics: [fd]}]\n"
    )
    assert find_protocol(tmp_path / "own.yaml").panels[0] == Panel(
        extractor="panns-16k", metrics=("fd",)
    )
    (tmp_path / "bad.yaml").write_text(
        "name: own\npanels: [{extractor: panns-16k, metrics: [fid]}]\n"
    )
    with pytest.raises(InputError, match="fid"):
        find_protocol(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="ezaudio-2409"):
        find_protocol("unknown")


def test_scores_under_different_hashes_are_refused_in_one_table():
    assert require_one_hash({"a": "1", "b": "1"}) == "1"
    with pytest.raises(InputError, match="one table has one protocol"):
        require_one_hash({"a": "1", "b": "2"})


class TestCache:
    def test_what_was_kept_comes_back(self, tmp_path):
        path = tmp_path / "deep" / "cache.sqlite"
        cache = FeatureCache(path)
        cache.put("k", {"features": np.arange(3, dtype=np.float32)})
        cache.close()
        found = FeatureCache(path).get("k")
        assert found is not None
        np.testing.assert_array_equal(found["features"], [0, 1, 2])
        assert FeatureCache(path).get("other") is None

    def test_the_key_is_the_content_and_not_the_place(self, tmp_path):
        wave = np.zeros(100, np.float32)
        for name in ("a.wav", "b.wav"):
            write_audio(tmp_path / name, wave, 8000)
        write_audio(tmp_path / "c.wav", wave + 0.5, 8000)
        hashes = [content_hash(tmp_path / f"{name}.wav") for name in "abc"]
        assert hashes[0] == hashes[1] != hashes[2]
        assert content_hash(Clip(wave, 8000)) != content_hash(Clip(wave, 16_000))

    def test_extractor_and_loading_are_in_the_key(self):
        keys = {FeatureCache.key(*parts) for parts in (("c", "e", "l"), ("c", "e2", "l"))}
        keys |= {FeatureCache.key("c", "e", "l2"), FeatureCache.key("ce", "", "l")}
        assert len(keys) == 4

    def test_a_damaged_entry_counts_as_absent(self, tmp_path):
        BlobStore(tmp_path / "c.sqlite").put({"k": b"\x00\xff"})
        assert FeatureCache(tmp_path / "c.sqlite").get("k") is None
