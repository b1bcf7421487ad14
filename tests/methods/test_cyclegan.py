"""CycleGAN: the recorded trajectory of the reference, the history of images, and what does not go together."""

from functools import partial

import pytest
import torch

from translate.batch import Unpaired
from translate.errors import UserError
from translate.methods.adversary import Adversary
from translate.methods.cyclegan import CycleGAN
from translate.methods.history import ImageHistory
from translate.methods.step import Step
from translate.networks.patchgan import PatchGAN
from translate.networks.resnet import ResNet
from translate.objectives.adversarial import lsgan, wasserstein
from translate.objectives.penalties import two_sided

LEAST_SQUARES = partial(Adversary, objective=lsgan())
WASSERSTEIN = partial(Adversary, objective=wasserstein(), gradient_penalty=two_sided())


def small(**settings):
    settings = {
        "adversary": LEAST_SQUARES,
        "source_channels": 1,
        "target_channels": 1,
    } | settings
    return CycleGAN(
        generator=partial(ResNet, num_blocks=1, width=2),
        discriminator=partial(PatchGAN, num_layers=1, width=2, norm=settings.pop("norm", "instance")),
        **settings,
    )


def images(count=2, channels=1, size=8):
    return torch.rand(count, channels, size, size) * 2 - 1


def test_every_loss_of_every_step_is_the_recorded_one(recording, player):
    recorded = recording("cyclegan_lsgan")
    method = CycleGAN(
        generator=partial(ResNet, num_blocks=6, width=4),
        discriminator=partial(PatchGAN, width=4, norm="instance"),
        adversary=LEAST_SQUARES,
        source_channels=3,
        target_channels=3,
        history_size=0,
    ).double()
    for name, file in (
        ("generator_forward", "initial_net_G_A.pth"),
        ("generator_backward", "initial_net_G_B.pth"),
        ("discriminator_target", "initial_net_D_A.pth"),  # the reference's D_A judges side B
        ("discriminator_source", "initial_net_D_B.pth"),
    ):
        recorded.load(getattr(method, name), file)
    playing = player(method, lr=2e-4)
    for step, expected in enumerate(recorded.losses):
        losses = playing.play(Unpaired(recorded.tensor(step, "A"), recorded.tensor(step, "B")), Step(step))
        names = {
            "G_A": "generator_forward_adversarial",
            "G_B": "generator_backward_adversarial",
            "cycle_A": "cycle_source",
            "cycle_B": "cycle_target",
            "idt_A": "identity_target",
            "idt_B": "identity_source",
        }
        assert {theirs: losses[ours] for theirs, ours in names.items()} == pytest.approx(
            {theirs: expected[theirs] for theirs in names}, abs=1e-8
        )
        for theirs, ours in (("D_A", "discriminator_target"), ("D_B", "discriminator_source")):
            assert losses[f"{ours}_real"] + losses[f"{ours}_fake"] == pytest.approx(expected[theirs], abs=1e-8)
    assert step >= 2


def test_each_turn_gives_gradients_to_its_player_alone():
    method = small()
    for turn in method.play(Unpaired(images(), images()), Step()):
        method.zero_grad(set_to_none=True)
        sum(turn.losses.values()).backward()
        for name, network in method.networks.items():
            gradients = [parameter.grad is not None for parameter in network.parameters()]
            assert all(gradients) if name in method.players[turn.player] else not any(gradients)


def test_generators_move_first():
    assert [turn.player for turn in small().play(Unpaired(images(), images()), Step())] == [
        "generators",
        "discriminators",
    ]


def test_cycle_and_identity_losses_have_their_own_weights():
    torch.manual_seed(0)
    method = small(cycle_weight_source=3.0, cycle_weight_target=5.0, identity_weight=0.5)
    source, target = images(), images()
    losses = next(method.play(Unpaired(source, target), Step())).losses
    there, back = method.generator_forward, method.generator_backward
    torch.testing.assert_close(losses["cycle_source"], 3 * (back(there(source)) - source).abs().mean())
    torch.testing.assert_close(losses["cycle_target"], 5 * (there(back(target)) - target).abs().mean())
    torch.testing.assert_close(losses["identity_target"], 2.5 * (there(target) - target).abs().mean())
    torch.testing.assert_close(losses["identity_source"], 1.5 * (back(source) - source).abs().mean())


def test_identity_weight_zero_leaves_the_identity_losses_out():
    losses = next(small(identity_weight=0.0).play(Unpaired(images(), images()), Step())).losses
    assert not [name for name in losses if name.startswith("identity")]


def test_unequal_channels_refuse_the_identity_loss_and_work_without_it():
    with pytest.raises(UserError, match=r"method\.identity_weight=0\.5 compares images of 1 channels with images of 3"):
        small(target_channels=3)
    method = small(target_channels=3, identity_weight=0.0)
    assert len(list(method.play(Unpaired(images(), images(channels=3)), Step()))) == 2
    assert method.translate(images()).shape == (2, 3, 8, 8)
    assert method.translate_back(images(channels=3)).shape == (2, 1, 8, 8)


def test_the_discriminators_may_move_several_times_for_each_move_of_the_generators():
    method = small(n_critic=2)
    turns = [[turn.player for turn in method.play(Unpaired(images(), images()), Step(step))] for step in range(4)]
    assert turns == [["discriminators"], ["generators", "discriminators"]] * 2
    with pytest.raises(UserError, match=r"method\.n_critic=0 must be at least 1"):
        small(n_critic=0)


def test_wasserstein_penalises_both_discriminators_and_refuses_batch_norm():
    turns = list(small(adversary=WASSERSTEIN).play(Unpaired(images(), images()), Step()))
    assert {name for name in turns[1].losses if name.endswith("penalty")} == {
        "discriminator_target_penalty",
        "discriminator_source_penalty",
    }
    with pytest.raises(UserError, match=r"discriminator\.norm=batch does not go with a gradient penalty"):
        small(adversary=WASSERSTEIN, norm="batch")


def test_the_discriminators_see_old_images_once_the_history_is_full():
    method = small(history_size=2)
    seen = []
    method.discriminator_target.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    fakes = []
    method.generator_forward.register_forward_hook(lambda module, inputs, output: fakes.append(output))
    for number in range(12):
        list(method.play(Unpaired(images(1), images(1)), Step(number)))
    # Of two calls a step, the second judges real and fake together; the first of three is the way there.
    shown, new = [judged[1:] for judged in seen[1::2]], fakes[0::3]
    is_new = [torch.equal(old, fake) for old, fake in zip(shown, new, strict=True)]
    assert is_new[:2] == [True, True]
    assert False in is_new
    assert method.history_target.images.shape == (2, 1, 8, 8)


def numbered(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def test_the_history_fills_then_swaps_where_the_coin_says_so():
    history = ImageHistory(2)
    half = torch.tensor([0.5, 0.5])
    assert history.exchange(numbered(1, 2), half, half).flatten().tolist() == [1, 2]
    # The first coin keeps the memory as it is; the second swaps with the stored image at 0.6 * 2 -> 1.
    returned = history.exchange(numbered(3, 4), torch.tensor([0.4, 0.9]), torch.tensor([0.0, 0.6]))
    assert returned.flatten().tolist() == [3, 2]
    assert history.images.flatten().tolist() == [1, 4]
    # Within one batch an image may meet the one before it.
    returned = history.exchange(numbered(5, 6), torch.tensor([0.9, 0.9]), torch.tensor([0.0, 0.0]))
    assert returned.flatten().tolist() == [1, 5]
    assert history.images.flatten().tolist() == [6, 4]


def test_a_history_of_size_zero_passes_everything_through():
    history, new = ImageHistory(0), numbered(1, 2)
    assert history.exchange(new, torch.ones(2), torch.zeros(2)) is new
    assert history.images is None


@pytest.mark.parametrize("stored", [0, 1, 3])
def test_a_history_is_restored_from_its_state(stored):
    history, copy = ImageHistory(3), ImageHistory(3)
    for value in range(stored):
        history.exchange(numbered(value), torch.ones(1), torch.ones(1))
    copy.load_state_dict(history.state_dict())
    for value in range(10, 14):
        draws = torch.tensor([0.9]), torch.tensor([0.5])
        assert torch.equal(history.exchange(numbered(value), *draws), copy.exchange(numbered(value), *draws))


def test_draws_are_those_of_the_global_batch_whatever_the_number_of_processes():
    whole = Step(number=3, seed=1).uniform(4)
    halves = [Step(number=3, seed=1, rank=rank, world_size=2).uniform(2) for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), whole)
    assert not torch.equal(Step(number=4, seed=1).uniform(4), whole)
    assert not torch.equal(Step(number=3, seed=2).uniform(4), whole)
    step = Step(number=3, seed=1)
    step.uniform(4)
    assert not torch.equal(step.uniform(4), whole)
