"""Packing: what goes in comes out, what is unfit is told, what was done is not done again."""

import io
import json
import tarfile
from collections import Counter

import numpy as np
import pytest
import soundfile
from tests.data.conftest import RATE, noise, write

import ezaudio.data.pack as packing
from ezaudio.data.checks import (
    CheckConfig,
    Quarantined,
    duplicates,
    read_quarantine,
    without_quarantined,
    write_quarantine,
)
from ezaudio.data.clips import ClipRow
from ezaudio.data.collections import read_list
from ezaudio.data.pack import PackConfig, check_clips, pack_clips
from ezaudio.data.shards import Part
from ezaudio.data.waveforms import WaveformStore
from ezaudio.errors import AudioFileError, InputError

CONFIG = PackConfig(sample_rate=RATE, clips_per_shard=4)


@pytest.fixture(params=["flac", "wav"])
def store(request, recordings, tmp_path):
    root, rows = recordings
    config = CONFIG.model_copy(update={"audio": request.param})
    pack_clips(rows, root, tmp_path / "packed", config)
    return WaveformStore(tmp_path / "packed")


def test_a_packed_clip_reads_back_whole_and_in_parts(store):
    assert len(store) == 10 and store.sample_rate == RATE
    for i in (0, 5, 9):
        wave = noise(i, 0.4 + 0.02 * i)
        assert store.length(i) == len(wave)
        np.testing.assert_allclose(store.read(i), wave, atol=1e-4)
        np.testing.assert_allclose(store.read(i, 100, 50), wave[100:150], atol=1e-4)
        assert len(store.read(i, len(wave) - 10, 500)) == 10


def test_rows_keep_what_the_manifest_said_and_gain_the_duration(store):
    row = store.rows[9]
    assert (row.label, row.split, row.duration) == ("wind", "valid", 0.58)
    assert [row.file for row in store.rows[:3]] == ["0.wav", "1.wav", "2.wav"]
    takes = store.takes("train")
    assert {label: list(clips) for label, clips in takes.items()}["rain"] == [0, 5]
    assert list(store.takes("valid")["wind"]) == [9] and store.takes("test") == {}


def test_shards_are_plain_webdataset_tars(store):
    with tarfile.open(store.folder / "shard-000001.tar") as tar:
        names = tar.getnames()
        sound = tar.extractfile(names[0]).read()
        told = json.load(tar.extractfile(names[1]))
    assert names[0].partition(".")[0] == names[1].partition(".")[0]
    assert names[1].endswith(".json") and told["file"] == "4.wav"
    samples, rate = soundfile.read(io.BytesIO(sound))
    assert (rate, len(samples)) == (RATE, store.length(4))


def test_shards_can_be_packed_again_as_a_source(store, tmp_path):
    rows = read_list(store.folder).rows
    assert [row.label for row in rows] == [row.label for row in store.rows]
    assert rows[4].file.startswith("shard-000001.tar/")
    pack_clips(rows, store.folder, tmp_path / "again", CONFIG)
    again = WaveformStore(tmp_path / "again")
    np.testing.assert_array_equal(again.read(4), store.read(4))


@pytest.mark.parametrize("workers", [1, 3])
def test_unfit_clips_are_listed_with_the_reason_and_nothing_stops(unsound, tmp_path, workers):
    root, rows, why = unsound
    packed = pack_clips(rows, root, tmp_path / "packed", CONFIG, workers=workers)
    assert {entry.file: entry.reason for entry in packed.quarantined} == why
    assert packed.clips == 10 and len(WaveformStore(tmp_path / "packed")) == 10
    assert tuple(read_quarantine(tmp_path / "packed" / "quarantine.csv")) == packed.quarantined
    detail = {entry.file: entry.detail for entry in packed.quarantined}
    assert "3.wav" in detail["copy.flac"] and "broken.flac" in detail["broken.flac"]


def test_checking_finds_the_same_and_writes_nothing(unsound, tmp_path):
    root, rows, why = unsound
    before = sorted(root.iterdir())
    found = {row.file: fault.reason for row, _, fault in check_clips(rows, root, CONFIG) if fault}
    assert found == {name: reason for name, reason in why.items() if reason != "duplicate"}
    assert sorted(root.iterdir()) == before


def test_a_shard_of_nothing_but_unfit_clips_is_no_obstacle(recordings, tmp_path):
    root, rows = recordings
    gone = [ClipRow(file=f"gone{i}.wav") for i in range(4)]
    packed = pack_clips([*gone, *rows], root, tmp_path / "packed", CONFIG)
    assert packed.clips == 10
    np.testing.assert_allclose(WaveformStore(tmp_path / "packed").read(0), noise(0, 0.4), atol=1e-4)


def test_no_usable_clip_at_all_is_an_error(recordings, tmp_path):
    root, _ = recordings
    with pytest.raises(InputError, match="one usable clip"):
        pack_clips([ClipRow(file="gone.wav")], root, tmp_path / "packed", CONFIG)


def test_a_killed_run_goes_on_with_the_shard_it_was_at(recordings, tmp_path, monkeypatch):
    root, rows = recordings
    done = Counter()
    examine = packing.examine

    def dying(row, files, config, **options):
        done[row.file] += 1
        if row.file == "6.wav" and done["6.wav"] == 1:
            raise KeyboardInterrupt
        return examine(row, files, config, **options)

    monkeypatch.setattr(packing, "examine", dying)
    with pytest.raises(KeyboardInterrupt):
        pack_clips(rows, root, tmp_path / "packed", CONFIG)
    with pytest.raises(InputError, match="to the end"):
        WaveformStore(tmp_path / "packed")
    assert pack_clips(rows, root, tmp_path / "packed", CONFIG).clips == 10
    assert [done[f"{i}.wav"] for i in range(10)] == [1, 1, 1, 1, 2, 2, 2, 1, 1, 1]
    whole = pack_clips(rows, root, tmp_path / "whole", CONFIG)
    names = sorted(path.name for path in (tmp_path / "packed").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "whole").iterdir())
    for name in ("shard-000000.tar", "shard-000001.tar", "index.json"):
        one, two = (tmp_path / folder / name for folder in ("packed", "whole"))
        assert one.read_bytes() == two.read_bytes()
    assert whole.clips == 10


def test_several_machines_share_the_shards_and_the_last_completes_the_store(recordings, tmp_path):
    root, rows = recordings
    first = pack_clips(rows, root, tmp_path / "packed", CONFIG, part=Part(1, 2))
    assert (first.clips, first.missing_shards) == (0, 2)
    assert pack_clips(rows, root, tmp_path / "packed", CONFIG, part=Part(0, 2)).clips == 10
    with pytest.raises(InputError, match="0/N"):
        Part(2, 2)


def test_a_folder_with_another_store_is_refused(recordings, tmp_path):
    root, rows = recordings
    pack_clips(rows, root, tmp_path / "packed", CONFIG)
    with pytest.raises(InputError, match="a new folder"):
        pack_clips(rows[:9], root, tmp_path / "packed", CONFIG)
    assert len(WaveformStore(tmp_path / "packed")) == 10


def test_a_damaged_shard_is_an_error_of_that_clip_alone(store):
    path = store.folder / "shard-000001.tar"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:600])
    fresh = WaveformStore(store.folder)
    with pytest.raises(AudioFileError, match="truncated"):
        fresh.read(4)
    assert len(fresh.read(0)) == fresh.length(0) and len(fresh.read(9)) == fresh.length(9)


def test_copies_across_splits_leave_the_training_side():
    rows = [ClipRow(file=f"{name}.wav") for name in "abcd"]
    rows[1] = ClipRow(file="b.wav", split="valid")
    found = duplicates(rows, ["x", "x", "y", ""])
    assert list(found) == [0] and "b.wav (split valid)" in found[0].detail
    assert list(duplicates([rows[0], rows[2]], ["x", "x"])) == [1]


def test_the_same_audio_at_another_level_or_rate_is_no_copy(tmp_path):
    for name, factor in (("a", 1.0), ("b", 0.5)):
        write(tmp_path / f"{name}.wav", noise(0) * np.float32(factor))
    rows = [ClipRow(file="a.wav"), ClipRow(file="b.wav")]
    assert pack_clips(rows, tmp_path, tmp_path / "packed", CONFIG).clips == 2


def test_stereo_at_another_rate_becomes_mono_at_the_stores_rate(tmp_path):
    time = np.arange(22_050) / 44_100
    tone = np.sin(2 * np.pi * 1500 * time).astype(np.float32) * 0.5
    hiss = np.random.default_rng(0).normal(0, 1e-3, tone.shape).astype(np.float32)
    write(tmp_path / "a.wav", np.stack([tone + hiss, hiss], 1), 44_100)
    pack_clips([ClipRow(file="a.wav")], tmp_path, tmp_path / "packed", CONFIG)
    samples = WaveformStore(tmp_path / "packed").read(0)
    assert len(samples) == 4000
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * RATE / 4000 == pytest.approx(1500, abs=3)
    assert np.abs(samples[500:-500]).max() == pytest.approx(0.25, abs=0.01)


def test_limits_can_be_changed(recordings, tmp_path):
    root, rows = recordings
    strict = CONFIG.model_copy(update={"check": CheckConfig(min_s=0.45)})
    packed = pack_clips(rows, root, tmp_path / "packed", strict)
    assert Counter(entry.reason for entry in packed.quarantined) == {"short": 3}


def durations(folder):
    return {row.file: row.duration for row in WaveformStore(folder).rows}


def test_recordings_that_have_changed_are_packed_again_and_those_that_are_gone_kept(tmp_path):
    root, packed = tmp_path / "r", tmp_path / "packed"
    for name in "abc":
        write(root / f"{name}.wav", noise(ord(name)))
    (root / "d.wav").write_bytes(b"junk")
    rows = [ClipRow(file=f"{name}.wav") for name in "abcd"]
    one = CONFIG.model_copy(update={"clips_per_shard": 1})
    pack_clips(rows, root, packed, one)
    before = (packed / "shard-000001.tar").stat().st_mtime_ns
    write(root / "a.wav", noise(7, 1.0))
    write(root / "d.wav", noise(8))
    (root / "c.wav").unlink()
    assert pack_clips(rows, root, packed, one).clips == 4
    assert durations(packed) == {"a.wav": 1.0, "b.wav": 0.5, "c.wav": 0.5, "d.wav": 0.5}
    np.testing.assert_allclose(WaveformStore(packed).read(0), noise(7, 1.0), atol=1e-4)
    assert (packed / "shard-000001.tar").stat().st_mtime_ns == before


def test_a_pack_that_failed_leaves_a_folder_that_can_be_used(recordings, tmp_path):
    root, rows = recordings
    with pytest.raises(InputError, match="missing, not below elsewhere"):
        pack_clips(rows, tmp_path / "elsewhere", tmp_path / "packed", CONFIG)
    assert pack_clips(rows[:3], root, tmp_path / "packed", CONFIG).clips == 3
    left = sorted(path.name for path in (tmp_path / "packed").glob("shard-*"))
    assert left == ["shard-000000.parquet", "shard-000000.tar"]


def test_parts_of_one_recording_are_cut_out(tmp_path):
    write(tmp_path / "long.wav", noise(0, 3.0))
    spans = [(0, 1), (1, 2.5), (2.5, 9), (4, 5)]
    rows = [ClipRow(file="long.wav", start=a, end=b) for a, b in spans]
    packed = pack_clips(rows, tmp_path, tmp_path / "packed", CONFIG)
    store = WaveformStore(tmp_path / "packed")
    assert [row.duration for row in store.rows] == [1.0, 1.5, 0.5]
    np.testing.assert_allclose(store.read(1), noise(0, 3.0)[RATE : 5 * RATE // 2], atol=1e-4)
    assert [(q.reason, q.start) for q in packed.quarantined] == [("outside", 4.0)]
    again = read_list(tmp_path / "packed").rows
    pack_clips(again, tmp_path / "packed", tmp_path / "again", CONFIG)
    assert [r.duration for r in WaveformStore(tmp_path / "again").rows] == [1.0, 1.5, 0.5]


@pytest.mark.parametrize(
    ("name", "start", "end", "seconds"),
    [("video.wav", 0.5, 1.5, 1.0), ("video.wav", 0, 2.95, 3.0), ("video.wav", 30, 33, 3.0),
     ("video.wav", 2, 0, 1.0), ("oPRC3zComfA_1.wav", 1, 2, 3.0)],
)  # fmt: skip
def test_a_span_is_cut_where_it_lies_inside_its_file(tmp_path, name, start, end, seconds):
    write(tmp_path / name, noise(0, 3.0))
    pack_clips([ClipRow(file=name, start=start, end=end)], tmp_path, tmp_path / "packed", CONFIG)
    assert durations(tmp_path / "packed") == {name: seconds}


def test_a_quarantine_leaves_out_rows_and_not_all_rows_of_a_file(tmp_path):
    rows = [ClipRow(file="a.wav", start=s, end=s + 1) for s in range(3)] + [ClipRow(file="b.wav")]
    entries = [Quarantined("a.wav", "silent", "x", 1, 2), Quarantined("b.wav", "missing", "")]
    write_quarantine(tmp_path / "q.csv", entries)
    assert read_quarantine(tmp_path / "q.csv") == entries
    assert without_quarantined(rows, entries) == [rows[0], rows[2]]
    (tmp_path / "own.csv").write_text("file\na.wav\n")
    assert without_quarantined(rows, read_quarantine(tmp_path / "own.csv")) == [rows[3]]


FORMATS = {"wav": {}, "flac": {}, "ogg": {}, "mp3": {}, "aiff": {}, "au": {}, "caf": {}}


@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_that_breaks_off_is_told_in_every_format(tmp_path, name):
    soundfile.write(tmp_path / f"whole.{name}", noise(0, 4.0), RATE)
    content = (tmp_path / f"whole.{name}").read_bytes()
    (tmp_path / f"cut.{name}").write_bytes(content[: len(content) * 6 // 10])
    rows = [ClipRow(file=f"whole.{name}"), ClipRow(file=f"cut.{name}")]
    packed = pack_clips(rows, tmp_path, tmp_path / "packed", CONFIG)
    assert packed.clips == 1
    assert [(q.file, q.reason) for q in packed.quarantined] == [(f"cut.{name}", "unreadable")]


def test_a_header_that_leaves_the_size_open_is_believed(tmp_path):
    write(tmp_path / "stream.wav", noise(0, 1.0))
    content = bytearray((tmp_path / "stream.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = b"\xff\xff\xff\xff"
    (tmp_path / "stream.wav").write_bytes(content)
    pack_clips([ClipRow(file="stream.wav")], tmp_path, tmp_path / "packed", CONFIG)
    assert durations(tmp_path / "packed") == {"stream.wav": 1.0}
