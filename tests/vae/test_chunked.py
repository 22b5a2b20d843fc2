import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.errors import InputError
from ezaudio.vae import OobleckConfig, SpectralConfig
from ezaudio.vae.chunked import decode_chunked, decode_pieces, encode_chunked

torch.manual_seed(0)
AUTOENCODERS = {
    "oobleck": OobleckConfig(latent_channels=4, base_width=2).build(),
    "spectral": SpectralConfig(cepstra=3, differences=1, width=8, depth=2).build(),
}
families = pytest.mark.parametrize("family", AUTOENCODERS)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) / 2


@families
@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 60), chunk=st.integers(1, 70), more=st.integers(0, 5))
def test_decoding_in_pieces_of_any_size_equals_decoding_at_once(family, frames, chunk, more):
    vae, latent = AUTOENCODERS[family], noise(1, 4, frames)
    chunk = max(chunk, frames // 6 + 1)
    with torch.no_grad():
        whole = vae.decode(latent)
    overlap = vae.receptive_frames + more
    pieces = decode_chunked(vae, latent, chunk_frames=chunk, overlap_frames=overlap)
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=0)


@families
@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 60 * 480), chunk=st.integers(1, 70))
def test_encoding_in_pieces_of_any_size_equals_encoding_at_once(family, samples, chunk):
    vae, wave = AUTOENCODERS[family], noise(1, 1, samples)
    chunk = max(chunk, samples // 480 // 6 + 1)
    with torch.no_grad():
        whole = vae.encode(wave)
    pieces = encode_chunked(vae, wave, chunk_frames=chunk)
    torch.testing.assert_close(pieces.mean, whole.mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(pieces.std, whole.std, atol=1e-4, rtol=0)


@families
def test_without_context_the_seams_are_wrong(family):
    vae, latent = AUTOENCODERS[family], noise(1, 4, 20)
    with torch.no_grad():
        whole = vae.decode(latent)
    cut = decode_chunked(vae, latent, chunk_frames=10, overlap_frames=0)
    assert (cut - whole).abs().max() > 1e-4


@families
def test_no_call_sees_more_than_a_chunk_and_its_context(family, monkeypatch):
    vae, seen = AUTOENCODERS[family], []
    encode, decode = vae.encode, vae.decode
    monkeypatch.setattr(vae, "encode", lambda x: (seen.append(x.shape[-1] / 480), encode(x))[1])
    monkeypatch.setattr(
        vae, "decode", lambda x, noise: (seen.append(x.shape[-1]), decode(x, noise))[1]
    )
    posterior = encode_chunked(vae, noise(1, 1, 150 * 480), chunk_frames=30)
    decode_chunked(vae, posterior.mode, chunk_frames=30)
    assert len(seen) == 10
    assert max(seen) <= 30 + 2 * vae.receptive_frames


@families
def test_pieces_come_in_order_and_need_no_gradients(family):
    vae, latent = AUTOENCODERS[family], noise(2, 4, 25)
    pieces = list(decode_pieces(vae, latent, chunk_frames=10))
    assert [piece.shape for piece in pieces] == [(2, 1, 4800), (2, 1, 4800), (2, 1, 2400)]
    assert not any(piece.requires_grad for piece in pieces)


@pytest.mark.parametrize(
    ("field", "options"),
    [("chunk_frames", {"chunk_frames": 0}), ("overlap_frames", {"overlap_frames": -1})],
)
def test_impossible_chunks_are_refused(field, options):
    vae = AUTOENCODERS["oobleck"]
    with pytest.raises(InputError, match=field):
        decode_chunked(vae, noise(1, 4, 3), **options)
    with pytest.raises(InputError, match=field):
        encode_chunked(vae, noise(1, 1, 480), **options)
