import pytest
import torch

from ezaudio.dit import DIT_PRESETS, Condition, DiTConfig
from ezaudio.dit.adaln import ADALN_VARIANTS, SolaAdaLN
from ezaudio.dit.growth import load_without_text
from ezaudio.errors import CheckpointError, InputError
from ezaudio.types import TextEmbedding


def randomise(network, seed=0):
    """Give every weight a value, so that no zero hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def make(**changes):
    torch.manual_seed(0)
    settings = DIT_PRESETS["tiny"].model_dump() | changes
    return randomise(DiTConfig.model_validate(settings).build())


def latent(batch=3, frames=13, seed=1):
    return torch.randn(batch, 4, frames, generator=torch.Generator().manual_seed(seed))


def text(batch=3, length=5, seed=2):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.arange(batch) % length + 1
    return TextEmbedding(
        torch.randn(batch, length, 16, generator=generator),
        torch.arange(length) < lengths[:, None],
    )


@pytest.mark.parametrize("kind", ADALN_VARIANTS)
@pytest.mark.parametrize("long_skips", [True, False])
@pytest.mark.parametrize("patch_size", [1, 2, 3])
def test_every_variant_keeps_the_contract(kind, long_skips, patch_size):
    network = make(adaln={"kind": kind}, long_skips=long_skips, patch_size=patch_size)
    x_t, prompts, steps = latent(), text(), torch.tensor([0, 500, 999])
    kept = [x_t.clone(), prompts.tokens.clone(), steps.clone()]
    with torch.inference_mode():
        condition = network.prepare(prompts, steps)
        velocity = network(x_t, steps, condition)
        again = network(x_t, steps, condition)
    assert velocity.shape == x_t.shape
    assert velocity.dtype == torch.float32
    assert velocity.isfinite().all()
    assert torch.equal(velocity, again)
    given = [x_t, prompts.tokens, steps]
    assert all(torch.equal(a, b) for a, b in zip(kept, given, strict=True))


@pytest.mark.parametrize("kind", ADALN_VARIANTS)
@pytest.mark.parametrize("form", [int, float, torch.tensor, lambda t: torch.full((3,), t)])
@torch.inference_mode()
def test_prepared_steps_equal_steps_computed_afresh(kind, form):
    network = make(adaln={"kind": kind})
    prepared = network.prepare(text(), torch.tensor([999, 640, 0]))
    bare = network.prepare(text())
    expected = network(latent(), torch.full((3,), 640), bare)
    close = {"rtol": 1e-5, "atol": 1e-5}  # sums of one row and of three are rounded differently
    torch.testing.assert_close(network(latent(), form(640), prepared), expected, **close)
    torch.testing.assert_close(network(latent(), form(640), bare), expected, **close)


@torch.inference_mode()
def test_a_step_that_was_not_prepared_is_computed():
    network = make()
    prepared = network.prepare(text(), torch.tensor([999]))
    assert torch.equal(
        network(latent(), 12, prepared), network(latent(), 12, network.prepare(text()))
    )


@torch.inference_mode()
def test_prepared_steps_spare_the_modulation_layers(monkeypatch):
    network = make()
    prepared = network.prepare(text(), torch.tensor([999, 640]))
    monkeypatch.setattr(network.adaln, "forward", lambda *_: pytest.fail("computed again"))
    network(latent(), 640, prepared)


@torch.inference_mode()
def test_a_row_is_the_same_alone_and_in_a_batch_with_padded_text():
    network = make()
    short = TextEmbedding(text(1, 2).tokens, torch.ones(1, 2, dtype=torch.bool))
    alone = network(latent(1), 300, network.prepare(short))
    others = text(2, 7, seed=5)
    x_t = torch.cat([latent(1), latent(2, seed=7)])
    together = network(x_t, 300, network.prepare(TextEmbedding.cat([short, others])))
    assert torch.allclose(together[:1], alone, atol=1e-5)
    joined = Condition.cat([network.prepare(short), network.prepare(others)])
    assert torch.allclose(network(x_t, 300, joined)[:1], alone, atol=1e-5)


@torch.inference_mode()
def test_masked_tokens_have_no_influence():
    network = make()
    prompts = text()
    changed = torch.where(prompts.attend[..., None], prompts.tokens, torch.tensor(100.0))
    one = network(latent(), 300, network.prepare(prompts))
    other = network(latent(), 300, network.prepare(TextEmbedding(changed, prompts.attend)))
    assert torch.equal(one, other)
    assert not torch.equal(one, network(latent(), 300, network.prepare(text(seed=9))))


@torch.inference_mode()
def test_a_prompt_without_any_token_gives_finite_numbers():
    network = make()
    nothing = TextEmbedding(text().tokens, torch.zeros(3, 5, dtype=torch.bool))
    assert network(latent(), 300, network.prepare(nothing)).isfinite().all()


@torch.inference_mode()
def test_one_condition_row_serves_many_latents():
    network = make()
    row = network.prepare(text(1))
    repeated = row.select([0, 0, 0])
    assert repeated.batch == 3
    assert torch.allclose(network(latent(), 300, row), network(latent(), 300, repeated), atol=1e-6)


@pytest.mark.parametrize("kind", ADALN_VARIANTS)
@torch.inference_mode()
def test_fresh_cross_attention_leaves_the_audio_only_network_as_it_was(kind):
    plain = make(adaln={"kind": kind}, text_width=None)
    torch.manual_seed(3)
    settings = DIT_PRESETS["tiny"].model_dump() | {"adaln": {"kind": kind}}
    grown = DiTConfig.model_validate(settings).build().eval()
    load_without_text(grown, plain.state_dict())
    expected = plain(latent(), 300, plain.prepare())
    assert torch.equal(grown(latent(), 300, grown.prepare(text())), expected)


def test_weights_of_another_network_do_not_grow():
    grown = DIT_PRESETS["tiny"].build()
    deeper = make(text_width=None, depth=4).state_dict()
    with pytest.raises(CheckpointError, match="adaln"):
        load_without_text(grown, deeper)
    lacking = make(text_width=None).state_dict()
    del lacking["unknown"]
    with pytest.raises(CheckpointError, match="unknown"):
        load_without_text(grown, lacking)


@torch.inference_mode()
def test_without_a_known_latent_everything_is_regenerated():
    network = make()
    condition = network.prepare(text())
    everywhere = torch.ones(3, 1, 13, dtype=torch.bool)
    plain = network(latent(), 300, condition)
    masked = network(latent(), 300, condition, known=latent(seed=8), regenerate=everywhere)
    assert torch.equal(plain, masked)
    one_row = network(latent(), 300, condition, known=latent(seed=8), regenerate=everywhere[:1])
    assert torch.equal(one_row, masked)


@torch.inference_mode()
def test_what_is_hidden_of_the_known_latent_has_no_influence_and_the_rest_has():
    network = make()
    condition = network.prepare(text())
    regenerate = torch.zeros(3, 1, 13, dtype=torch.bool)
    regenerate[..., 4:9] = True
    one, other = latent(seed=8), latent(seed=9)
    same_kept = torch.where(regenerate, other, one)

    def velocity(known):
        return network(latent(), 300, condition, known=known, regenerate=regenerate)

    assert torch.equal(velocity(one), velocity(same_kept))
    assert not torch.equal(velocity(one), velocity(other))


@torch.inference_mode()
def test_odd_lengths_are_padded_to_whole_patches_as_unknown_silence():
    network = make(patch_size=2)
    condition = network.prepare(text())
    x_t, known = latent(frames=13), latent(frames=13, seed=8)
    regenerate = torch.arange(13).ge(6).expand(3, 1, 13)
    padded = network(
        torch.nn.functional.pad(x_t, (0, 1)),
        300,
        condition,
        known=torch.nn.functional.pad(known, (0, 1), value=5.0),
        regenerate=torch.nn.functional.pad(regenerate, (0, 1), value=True),
    )
    odd = network(x_t, 300, condition, known=known, regenerate=regenerate)
    assert torch.equal(odd, padded[..., :13])


def test_conditions_join_only_with_their_like():
    network, plain = make(), make(text_width=None)
    with pytest.raises(ValueError, match="text"):
        Condition.cat([network.prepare(text()), plain.prepare()])
    with pytest.raises(ValueError, match="at least one"):
        Condition.cat([])
    steps = plain.prepare(timesteps=torch.tensor([5]))
    joined = Condition.cat([plain.prepare(), steps])
    assert joined.batch == 1
    assert joined.steps is steps.steps
    assert joined.select([0, 0]) is joined


def test_text_must_fit_the_network():
    with pytest.raises(ValueError, match="width 16 expected, got None"):
        make().prepare()
    with pytest.raises(ValueError, match="width None expected, got 16"):
        make(text_width=None).prepare(text())
    with pytest.raises(ValueError, match="width 8 expected, got 16"):
        make(text_width=8).prepare(text())


def test_arguments_that_do_not_fit_together_are_refused():
    network = make()
    condition = network.prepare(text())
    with pytest.raises(ValueError, match="together"):
        network(latent(), 3, condition, known=latent())
    with pytest.raises(ValueError, match="2 latents"):
        network(latent(2), 3, condition)
    with pytest.raises(ValueError, match="timesteps"):
        network(latent(), torch.tensor([1, 2]), condition)
    with pytest.raises(ValueError, match="residuals"):
        network(latent(), 3, condition, residuals=[])


@pytest.mark.parametrize("kind", ADALN_VARIANTS)
def test_a_fresh_network_predicts_zero_and_every_weight_learns_within_a_few_steps(kind):
    torch.manual_seed(0)
    settings = DIT_PRESETS["tiny"].model_dump() | {"adaln": {"kind": kind}}
    network = DiTConfig.model_validate(settings).build()
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.0)
    steps = torch.tensor([100, 400, 800])
    regenerate = torch.arange(13).ge(6).expand(3, 1, 13)
    losses = []
    for _ in range(8):
        velocity = network(
            latent(), steps, network.prepare(text()), known=latent(seed=8), regenerate=regenerate
        )
        loss = (velocity - latent(seed=4)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(latent(seed=4).square().mean().item())
    assert losses[-1] < losses[0]
    assert [n for n, p in network.named_parameters() if torch.equal(p, start[n])] == []


def test_the_stream_keeps_its_size_through_a_fresh_deep_network():
    torch.manual_seed(0)
    config = DiTConfig(latent_channels=4, width=64, depth=24, heads=4, adaln=SolaAdaLN(rank=2))
    network = config.build().eval()
    sizes = []
    for block in network.blocks:
        block.register_forward_hook(lambda *args: sizes.append(args[-1].std().item()))
    with torch.inference_mode():
        network(latent(frames=40), 500, network.prepare())
    assert max(sizes) < 4 * min(sizes)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        network = make().train()
        network.gradient_checkpointing = recompute
        network(
            latent(), torch.tensor([1, 2, 3]), network.prepare(text())
        ).square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_training_works_after_sampling_under_inference_mode():
    network = make()
    with torch.inference_mode():
        network(latent(), 3, network.prepare(text()))
    network(latent(), 3, network.prepare(text())).sum().backward()


def test_dropout_acts_in_training_alone():
    network = make(dropout=0.5)
    condition = network.prepare(text())
    assert torch.equal(network(latent(), 3, condition), network(latent(), 3, condition))
    network.train()
    assert not torch.equal(network(latent(), 3, condition), network(latent(), 3, condition))


@torch.inference_mode()
def test_half_precision_stays_close_and_gives_its_own_type():
    network = make()
    expected = network(latent(), 300, network.prepare(text()))
    half = make().to(torch.bfloat16)
    condition = half.prepare(text(), torch.tensor([300]))
    velocity = half(latent().to(torch.bfloat16), 300, condition)
    assert velocity.dtype == torch.bfloat16
    assert (velocity.float() - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"depth": 3}, "depth"),
        ({"heads": 5}, "DiTConfig"),
        ({"adaln": {"kind": "solo"}}, "adaln.kind"),
        ({"adaln": {"kind": "sola", "rank": 0}}, "adaln.sola.rank"),
        ({"qk_norm": "batchnorm"}, "qk_norm"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_settings_that_cannot_be_built_are_named(changes, field):
    from ezaudio.config import load_config

    with pytest.raises(InputError) as caught:
        load_config(DiTConfig, DIT_PRESETS["tiny"].model_dump() | changes)
    assert caught.value.field == field


@torch.inference_mode()
def test_texts_in_turn_are_each_read_in_their_own_part_alone():
    network = make()
    two = network.prepare(text(2))
    first, second = two.select([0]), two.select([1])
    both = Condition.in_turn([first, second], 7)
    assert both.batch == 1 and both.attend.shape[:3] == (1, 1, 7)
    read = [torch.equal(both.attend[0, 0, t], both.attend[0, 0, 0]) for t in range(7)]
    assert read == [True] * 4 + [False] * 3
    alone = Condition.in_turn([first], 7)
    x_t = latent()[..., :7]
    expected = network(x_t, 300, first)
    assert torch.allclose(network(x_t, 300, alone), expected, atol=1e-6)
    twice = Condition.in_turn([first, first], 7)
    assert torch.allclose(network(x_t, 300, twice), expected, atol=1e-6)


@pytest.mark.parametrize(("overlap", "both"), [(0, []), (1, [7, 8]), (9, [6, 7, 8, 9])])
@torch.inference_mode()
def test_around_a_boundary_the_texts_of_both_sides_are_read(overlap, both):
    two = make().prepare(text(2))
    parts = [two.select([0]), two.select([1])]
    turn = Condition.in_turn(parts, 16, overlap=overlap)  # at most 2
    first = parts[0].attend.shape[-1]
    reads = [(bool(row[:first].any()), bool(row[first:].any())) for row in turn.attend[0, 0]]
    expected = [(t < 8 or t in both, t >= 8 or t in both) for t in range(16)]
    assert reads == expected


@torch.inference_mode()
def test_texts_in_turn_share_a_batch_with_whole_ones():
    network = make()
    two = network.prepare(text(2))
    first, second = two.select([0]), two.select([1])
    turn = Condition.in_turn([first, second], 7)
    x_t = latent()[:2, :, :7]
    together = network(x_t, 300, Condition.cat([turn, second]))
    assert torch.allclose(together[:1], network(x_t[:1], 300, turn), atol=1e-6)
    assert torch.allclose(together[1:], network(x_t[1:], 300, second), atol=1e-6)
