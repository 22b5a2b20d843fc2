"""Encoding once: latents in shards, resumed, shared, with mixes; read back as they were."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

import ezaudio.training.encode as encoding
from ezaudio.data.batches import BatchConfig, LatentBatches
from ezaudio.data.clips import ClipRow
from ezaudio.data.latents import LatentStore
from ezaudio.data.mixing import MixConfig
from ezaudio.data.normalisation import Normalisation
from ezaudio.data.shards import Part
from ezaudio.data.waveforms import WaveformStore
from ezaudio.errors import AudioFileError, InputError
from ezaudio.training.encode import EncodeConfig, LatentEncoder, encode_latents
from ezaudio.vae import Autoencoder

RATE, HOP = 8000, 160


class Energies(Autoencoder):
    """A latent frame: mean, and mean square, of its samples; a fixed deviation."""

    def __init__(self):
        super().__init__(sample_rate=RATE, hop_samples=HOP, latent_channels=2)
        self.unused = nn.Parameter(torch.zeros(1))

    def _encode(self, wave):
        frames = wave.unflatten(-1, (-1, HOP))
        mean = torch.cat([frames.mean(-1), frames.square().mean(-1)], 1)
        return mean, torch.full_like(mean, 0.25)


@pytest.fixture(scope="module")
def waveforms(tmp_path_factory):
    import soundfile

    root = tmp_path_factory.mktemp("encode")
    rows, generator = [], np.random.default_rng(0)
    for i in range(8):
        samples = generator.uniform(-0.5, 0.5, 4000 if i % 2 else 3000 + 100 * i)
        soundfile.write(root / f"{i}.wav", samples, RATE)
        label = ("rain", "dog", "bell", "wind")[i % 4]
        split = "valid" if i == 7 else "train"
        rows.append(ClipRow(file=f"{i}.wav", split=split, label=label, caption=f"A {label}."))
    return WaveformStore.pack(rows, root, root / "packed", RATE)


CONFIG = EncodeConfig(
    trim=False, peak=None, clips_per_shard=3, mixes=MixConfig(count=4, duration_s=(1, 2))
)


def encoder_of(waveforms, **changes):
    return LatentEncoder(waveforms, Energies(), CONFIG.model_copy(update=changes), source="v")


@pytest.fixture
def folder(waveforms, tmp_path):
    made = encode_latents(encoder_of(waveforms), tmp_path / "latents")
    assert made.clips == 12 and not made.quarantined
    return tmp_path / "latents"


def raw(waveforms, index):
    samples = waveforms.read(index)
    frames = np.pad(samples, (0, -len(samples) % HOP)).reshape(-1, HOP)
    return np.stack([frames.mean(1), np.square(frames).mean(1)], 1)


def raw_of(store, index, generator):
    return store.sample(index, generator) * store.scale + store.shift


def test_latents_come_back_whole_and_in_parts(waveforms, folder):
    store, generator = LatentStore(folder, spread=0.0), torch.Generator()
    assert (len(store), store.channels, store.frame_rate) == (12, 2, 50.0)
    for i in range(8):
        meant = (torch.from_numpy(raw(waveforms, i)) - store.shift) / store.scale
        assert store.frames(i) == len(meant) and store.rows[i].file == f"{i}.wav"
        torch.testing.assert_close(store.sample(i, generator).double(), meant.double(),
                                   atol=0.02, rtol=0.02)  # fmt: skip
        part = store.sample(i, generator, 3, 7)
        torch.testing.assert_close(part, store.sample(i, generator)[3:10])


def test_channels_are_normalised_over_the_training_split_alone(waveforms, folder):
    store, generator = LatentStore(folder, spread=0.0), torch.Generator()
    train = [i for i in range(8) if waveforms.rows[i].split == "train"]
    values = torch.cat([store.sample(i, generator) for i in train])
    torch.testing.assert_close(values.mean(0), torch.zeros(2), atol=0.01, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(2), atol=0.02, rtol=0)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_draws_have_mean_zero_and_deviation_one_over_the_training_split(folder, spread):
    store, generator = LatentStore(folder, spread=spread), torch.Generator().manual_seed(0)
    train = [i for i, row in enumerate(store.rows) if (row.split, row.scene) == ("train", "single")]
    values = torch.cat([store.sample(i, generator) for i in train for _ in range(20)])
    torch.testing.assert_close(values.mean(0), torch.zeros(2), atol=0.03, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(2), atol=0.03, rtol=0)


def test_a_models_own_statistics_take_the_place_of_those_of_a_store(folder):
    raw, generator = Normalisation.none(2), torch.Generator()
    store = LatentStore(folder, spread=0.0, normalisation=raw)
    measured = LatentStore(folder, spread=0.0)
    torch.testing.assert_close(store.sample(0, generator), raw_of(measured, 0, generator))


def test_the_authors_way_levels_to_one_keeps_silence_and_pads_with_zeros():
    theirs = EncodeConfig(trim=False, peak=1.0, pad_s=0.5)
    knock = np.zeros(3000, np.float32)
    knock[1000] = -0.25
    sound = theirs.prepared(knock, RATE)
    assert len(sound) == 4000 and sound[1000] == -1.0 and np.count_nonzero(sound) == 1
    assert len(theirs.prepared(np.ones(5000, np.float32), RATE)) == 5000
    assert not theirs.prepared(np.zeros(10, np.float32), RATE).any()
    assert len(EncodeConfig().prepared(knock, RATE)) == 2 * round(0.02 * RATE)


def test_draws_have_the_posteriors_deviation(folder):
    store, generator = LatentStore(folder), torch.Generator().manual_seed(0)
    mean = raw_of(LatentStore(folder, spread=0.0), 1, generator)
    draws = torch.stack([raw_of(store, 1, generator) for _ in range(400)])
    deviation = (draws - mean).std((0, 1))
    torch.testing.assert_close(deviation, torch.full((2,), 0.25), atol=0.01, rtol=0)


def test_silence_is_encoded_too(folder):
    store = LatentStore(folder, spread=0.0)
    quiet = store.silence(400, torch.Generator()) * store.scale + store.shift
    assert quiet.shape == (400, 2)
    torch.testing.assert_close(quiet, torch.zeros(400, 2), atol=1e-3, rtol=0)


def test_mixes_are_rows_of_their_own_and_batches_draw_them(folder):
    store = LatentStore(folder)
    mixed = store.takes("train", mixed=True)
    assert sorted(i for clips in mixed.values() for i in clips) == [8, 9, 10, 11]
    assert all(store.rows[i].scene != "single" for i in range(8, 12))
    config = BatchConfig(rows=8, duration_s=(2, 2), mixed_share=0.5, sequence_share=0.25)
    batches = LatentBatches(store, config, seed=0)
    ids = [name for index in range(4) for name in batches.batch(index).ids]
    assert sum(name.startswith("mix/") for name in ids) == 16
    assert batches.batch(0).x0.shape == (8, 2, 100)


def test_without_deviations_the_room_is_half_and_draws_are_the_mean(waveforms, folder, tmp_path):
    encode_latents(encoder_of(waveforms, std=False), tmp_path / "means")
    both, mean = LatentStore(folder, spread=0.0), LatentStore(tmp_path / "means")
    generator = torch.Generator()
    torch.testing.assert_close(both.sample(5, generator), mean.sample(5, generator))
    assert torch.equal(both.scale, mean.scale)
    assert mean.silence(3, generator).shape == (3, 2)


def test_clips_of_one_length_share_a_batch_and_the_batch_changes_nothing(waveforms, tmp_path):
    for name, seconds in (("one", 0.1), ("many", 60.0)):
        config = {"batch_s": seconds, "clips_per_shard": 8}
        encode_latents(encoder_of(waveforms, **config), tmp_path / name)
    names = [(tmp_path / name / "shard-000000.tar").read_bytes() for name in ("one", "many")]
    assert names[0] == names[1]


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    waveforms, folder, tmp_path, monkeypatch
):
    encode = encoding.encode
    calls = iter(range(100))

    def dying(*arguments, **options):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return encode(*arguments, **options)

    monkeypatch.setattr(encoding, "encode", dying)
    with pytest.raises(KeyboardInterrupt):
        encode_latents(encoder_of(waveforms), tmp_path / "again")
    with pytest.raises(InputError, match="to the end"):
        LatentStore(tmp_path / "again")
    encode_latents(encoder_of(waveforms), tmp_path / "again")
    for path in folder.glob("*.tar"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "again" / "index.json").read_text() == (folder / "index.json").read_text()


def test_parts_share_the_shards(waveforms, folder, tmp_path):
    first = encode_latents(encoder_of(waveforms), tmp_path / "l", part=Part(0, 2), workers=2)
    assert (first.clips, first.missing_shards) == (0, 2)
    encode_latents(encoder_of(waveforms), tmp_path / "l", part=Part(1, 2))
    assert (tmp_path / "l" / "index.json").read_text() == (folder / "index.json").read_text()


def test_another_autoencoder_needs_another_folder(waveforms, folder):
    other = LatentEncoder(waveforms, Energies(), CONFIG, source="another")
    with pytest.raises(InputError, match="new folder"):
        encode_latents(other, folder)


def test_a_clip_that_cannot_be_read_is_left_out_and_listed(waveforms, tmp_path):
    shutil.copytree(waveforms.folder, tmp_path / "packed")
    path = tmp_path / "packed" / "shard-000000.tar"
    path.write_bytes(path.read_bytes()[:-20000])  # the last clips lose their ends
    made = encode_latents(encoder_of(WaveformStore(tmp_path / "packed"),
                                     mixes=MixConfig()), tmp_path / "latents")  # fmt: skip
    assert made.clips + len(made.quarantined) == 8 and made.quarantined
    assert {entry.reason for entry in made.quarantined} == {"unreadable"}
    assert len(LatentStore(tmp_path / "latents")) == made.clips


def test_a_damaged_latent_is_an_error_of_its_clip_and_batches_go_on(folder):
    path = folder / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:600])
    store = LatentStore(folder)
    with pytest.raises(AudioFileError, match="truncated"):
        store.sample(4, torch.Generator())
    batches = LatentBatches(store, BatchConfig(rows=4, duration_s=(0.5, 0.5)), seed=0)
    for index in range(8):
        assert torch.isfinite(batches.batch(index).x0).all()
    assert batches.unreadable


def test_latents_are_raw_also_from_an_autoencoder_that_was_bundled_with_its_statistics():
    waves = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 8 * HOP))
    bundled = Energies()
    bundled.latent_shift.copy_(torch.tensor([[3.0], [-2.0]]))
    bundled.latent_scale.copy_(torch.tensor([[2.0], [0.5]]))
    expected = encoding.encode(Energies(), waves, std=True)
    found = encoding.encode(bundled, waves, std=True)
    np.testing.assert_allclose(found.astype(float), expected.astype(float), atol=4e-3)
    assert np.abs(expected[..., 2:].astype(float) - 0.25).max() < 1e-3
