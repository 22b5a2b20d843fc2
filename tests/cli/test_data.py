"""`ezaudio data`: from a folder of recordings to latents and token vectors, and what goes wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tests.cli.words import with_set

from ezaudio.data.latents import LatentStore
from ezaudio.data.manifest import read_manifest
from ezaudio.data.texts import TextStore
from ezaudio.data.waveforms import WaveformStore

RATE = 24_000


@pytest.fixture
def sounds(tmp_path):
    for i in range(6):
        path = Path("sounds") / ("dog_barking", "rain")[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.random.default_rng(i).uniform(-0.3, 0.3, 7200 + 480 * i)
        soundfile.write(path, wave, RATE)
    soundfile.write("sounds/rain/quiet.wav", np.zeros(RATE), RATE)
    Path("sounds/rain/broken.ogg").write_bytes(b"OggS not really")
    return Path("sounds")


@pytest.fixture
def data(ezaudio, sounds):
    """`ezaudio data ...` in a folder with recordings, quietly, on one thread."""

    def call(action, *arguments):
        workers = [] if action == "stats" else ["--workers", 1]
        return ezaudio("data", action, *with_set(arguments), "--quiet", *workers)

    return call


def test_checking_lists_what_is_unfit(data):
    code, out, _ = data("check", "sounds", "-o", "q.csv", "--usable", "ok.jsonl")
    assert code == 0
    assert "6 of 8 clips are usable" in out and "silent 1" in out and "unreadable 1" in out
    assert Path("q.csv").read_text().splitlines()[0] == "file,reason,detail,start,end"
    assert [row.label for row in read_manifest(Path("ok.jsonl"))] == ["dog barking"] * 3 + [
        "rain"
    ] * 3
    told = data("check", "sounds")[1].splitlines()
    assert any(line.startswith("rain/quiet.wav: silent") for line in told)


def test_the_whole_way_from_a_folder_to_latents_and_token_vectors(data, folder):
    code, out, _ = data("pack", "sounds", "-o", "packed", "audio=wav", "clips_per_shard=3")
    assert code == 0 and out.splitlines()[-1] == "packed" and out.startswith("6 clips")
    assert WaveformStore(Path("packed")).sample_rate == RATE
    code, out, _ = data("encode", "packed", "--vae", folder / "vae.safetensors", "-o", "latents",
                        "mixes.count=3")  # fmt: skip
    assert code == 0 and out.startswith("9 clips")
    assert len(LatentStore(Path("latents"))) == 9
    code, out, _ = data("encode", "packed", "--text", "fake", "-o", "texts")
    assert code == 0 and "prompts" in out
    assert "a rain" not in (texts := TextStore(Path("texts"))) and "rain" in texts
    for name, kind in (("packed", "waveforms"), ("latents", "latents"), ("texts", "texts")):
        told = yaml.safe_load(data("stats", name)[1])
        assert told["kind"] == kind
        assert json.loads(data("stats", name, "--json")[1]) == told
    assert yaml.safe_load(data("stats", "packed")[1])["quarantine"] == {
        "unreadable": 1, "silent": 1}  # fmt: skip


def test_a_list_with_its_recordings_elsewhere_and_parts(data):
    Path("lists").mkdir()
    Path("lists/clips.csv").write_text("file,label\nrain/1.wav,rain\nrain/3.wav,rain\n")
    data("check", "sounds", "-o", "q.csv")
    options = ["lists/clips.csv", "--audio", "sounds", "-o", "p", "clips_per_shard=1"]
    code, out, err = data("pack", *options, "--shard", "0/2", "--split", "valid")
    assert (code, out) == (0, "") and "1 shards are left" in err
    code, out, _ = data("pack", *options, "--shard", "1/2", "--split", "valid")
    assert code == 0 and out.startswith("2 clips")
    assert [row.split for row in WaveformStore(Path("p")).rows] == ["valid", "valid"]
    code, out, _ = data("pack", "sounds", "--quarantine", "q.csv", "-o", "clean")
    assert code == 0 and "quarantine" not in out


def test_statistics_of_a_list(data):
    told = yaml.safe_load(data("stats", "sounds")[1])
    assert (told["clips"], told["labels"], told["clips_of_unknown_length"]) == (8, 2, 1)
    assert told["seconds_percentiles"]["0%"] == 0.3 and told["seconds_percentiles"]["100%"] == 1.0


def test_the_usable_clips_are_listed_relative_to_their_list(data):
    Path("lists").mkdir()
    code, _, _ = data("check", "sounds", "--usable", "lists/ok.csv")
    assert code == 0
    assert data("check", "lists/ok.csv")[1].startswith("6 of 6 clips are usable")
    code, _, err = data("check", "sounds", "--usable", "ok.xyz")
    assert code == 2 and ".jsonl" in err


def test_lines_that_give_no_clip_are_told_and_the_others_read(data, ezaudio):
    text = "file,caption\nrain/1.wav,rain\nrain/3.wav,rain, then wind\nrain/1.wav,drops\n"
    Path("sounds/list.csv").write_text(text)
    code, out, err = ezaudio("data", "check", "sounds/list.csv", "-o", "q.csv")
    assert code == 0 and "list.csv:3: wrong number of columns" in err
    assert "1 of 1 clips are usable" in out and "1 skipped: wrong number of columns 1" in out
    assert (
        Path("q.csv").read_text().splitlines()[1].startswith("list.csv:3,wrong number of columns")
    )
    assert "split `valid`" in err
    data("pack", "sounds/list.csv", "-o", "p", "--quarantine", "q.csv")
    (row,) = WaveformStore(Path("p")).rows
    assert (row.caption, row.captions) == ("rain", ("drops",))


def test_clips_are_kept_out(data):
    Path("held.txt").write_text("rain/1.wav\n")
    Path("sounds/held.csv").write_text("file\nrain/3.wav\n")
    options = ["--exclude", "held.txt", "--exclude", "sounds/held.csv"]
    code, out, _ = data("check", "sounds", *options)
    assert code == 0 and "4 of 6 clips are usable" in out and "2 kept out" in out
    assert yaml.safe_load(data("stats", "sounds", *options)[1])["kept_out"] == 2
    code, _, err = data("pack", "sounds", "-o", "p", "--exclude", "none.csv")
    assert code == 2 and "`--exclude`" in err


BAD = [
    (["pack", "sounds"], "`--output`"),
    (["pack", "none.csv", "-o", "p"], "exists"),
    (["pack", "sounds", "-o", "p", "--kind", "x"], "`--kind`"),
    (["pack", "sounds", "-o", "p", "--shard", "2/2"], "`--shard`"),
    (["pack", "sounds", "-o", "p", "--shard", "half"], "`--shard`"),
    (["pack", "sounds", "-o", "p", "--audio", "nowhere"], "nowhere"),
    (["pack", "sounds", "-o", "p", "rate=3"], "rate"),
    (["pack", "sounds", "-o", "p", "audio=mp3"], "flac"),
    (["pack", "sounds", "-o", "p", "check.min_s=-1"], "min_s"),
    (["pack", "sounds", "-o", "sounds/rain/1.wav"], "`--output`"),
    (["pack", "sounds", "-o", "p", "--quarantine", "sounds/rain/1.wav"], "`--quarantine`"),
    (["pack", "sounds", "-o", "p", "--labels", "none.csv"], "`--labels`"),
    (["encode", "sounds", "-o", "l", "--text", "fake"], "waveforms"),
    (["encode", "sounds", "-o", "l"], "`--vae`"),
    (["stats", "none"], "none"),
    (["paint", "sounds"], "No such"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line_and_nothing_is_written(data, arguments, said):
    code, out, err = data(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert [path.name for path in Path().iterdir()] == ["sounds"]


def test_a_text_encoder_or_checkpoint_that_is_none_is_one_line(data):
    data("pack", "sounds", "-o", "packed")
    for options in (["--text", "wav2vec"], ["--vae", "sounds/rain/1.wav"]):
        code, out, err = data("encode", "packed", "-o", "made", *options)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert not Path("made").exists()
