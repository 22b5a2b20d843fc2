import pytest
import torch

from ezaudio.diffusion import velocity_loss


def test_without_a_mask_it_is_the_mean_squared_error():
    v, target = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).unbind(0)
    torch.testing.assert_close(velocity_loss(v, target), torch.nn.functional.mse_loss(v, target))


def test_only_regenerated_frames_count_whatever_the_others_hold():
    v, target = torch.ones(2, 3, 4), torch.zeros(2, 3, 4)
    regenerate = torch.tensor([[[True, False, False, True]], [[False, False, True, False]]])
    v[0, :, 1] = 1e6
    v[1, :, 0] = float("inf")
    v[1, :, 2] = 2.0
    assert float(velocity_loss(v, target, regenerate)) == pytest.approx((1 + 1 + 4) / 3)


def test_kept_frames_have_no_gradient():
    v = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    regenerate = torch.tensor([[[True, False, True, False]]])
    velocity_loss(v, torch.zeros(1, 2, 4), regenerate).backward()
    assert torch.equal(v.grad.ne(0).any(dim=1), regenerate[:, 0])


def test_frame_weights_make_a_weighted_mean():
    v, target = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.zeros(1, 1, 3)
    weight = torch.tensor([[[1.0, 0.0, 3.0]]])
    assert float(velocity_loss(v, target, frame_weight=weight)) == pytest.approx((1 + 27) / 4)
    regenerate = torch.tensor([[[True, True, False]]])
    assert float(velocity_loss(v, target, regenerate, frame_weight=weight)) == pytest.approx(1.0)


def test_with_nothing_to_regenerate_it_is_zero_and_can_be_differentiated():
    v = torch.ones(1, 2, 3, requires_grad=True)
    loss = velocity_loss(v, torch.zeros(1, 2, 3), torch.zeros(1, 1, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(v.grad, torch.zeros(1, 2, 3))


def test_half_precision_is_summed_in_single():
    v = torch.full((1, 1, 4), 300.0, dtype=torch.float16)
    assert float(velocity_loss(v, torch.zeros_like(v))) == 90_000.0  # beyond float16


def test_shapes_that_would_broadcast_are_refused():
    v = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="disagree"):
        velocity_loss(v, torch.zeros(1, 3, 4))
    with pytest.raises(ValueError, match="regenerate"):
        velocity_loss(v, v, torch.ones(2, 4, dtype=torch.bool))
