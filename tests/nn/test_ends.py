import torch

from ezaudio.nn.ends import WAVES, Ends, place_features


def test_places_are_told_from_both_ends():
    features = place_features(7)
    assert features.shape == (7, WAVES + 2)
    mirrored = features.flip(0)
    signs = torch.tensor([(-1.0) ** k for k in range(1, WAVES + 1)])
    assert torch.allclose(features[:, :WAVES], mirrored[:, :WAVES] * signs, atol=1e-5)
    assert torch.equal(features[:, -2], mirrored[:, -1])
    assert features[0, -2] == 0.0 and features[-1, -1] == 0.0


def test_the_first_cosine_falls_from_start_to_end_whatever_the_length():
    for length in (1, 2, 50, 501):
        falling = place_features(length)[:, 0]
        assert (falling.diff() < 0).all() and falling.abs().max() < 1


def test_fresh_vectors_are_zero():
    assert not Ends(16)(5).any()
