"""StarGAN: the recorded trajectory of the reference, label sets, requests, and what is computed how often."""

from functools import partial

import pytest
import torch

from translate.batch import Labeled
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.methods.adversary import Adversary
from translate.methods.stargan import StarGAN
from translate.methods.step import Step
from translate.networks.patchgan import PatchGAN
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator
from translate.objectives.adversarial import lsgan, wasserstein
from translate.objectives.penalties import two_sided

WASSERSTEIN = partial(Adversary, objective=wasserstein(), gradient_penalty=two_sided())

ANIMALS = Domains((LabelSet(("cat", "dog", "fox"), "one_hot"),))
FACES = Domains((LabelSet(("black", "blond", "young"), "attributes", (("black", "blond"),)),))
BOTH = Domains((FACES.sets[0], ANIMALS.sets[0]))


class Recorded(Step):
    """A step whose draw is the recorded one."""

    alpha: torch.Tensor

    def uniform(self, count):
        return self.alpha


def small(domains=ANIMALS, **settings):
    return StarGAN(
        generator=partial(StarGANGenerator, width=2, num_blocks=1),
        discriminator=settings.pop("discriminator", partial(StarGANDiscriminator, width=2, num_layers=2, image_size=8)),
        adversary=settings.pop("adversary", WASSERSTEIN),
        source_channels=1,
        target_channels=1,
        domains=domains,
        **settings,
    )


def batch(domains=ANIMALS, count=2):
    labels = torch.tensor([domains.vector(0, [1.0, 0.0, 0.0]), domains.vector(0, [0.0, 1.0, 0.0])])[:count]
    return Labeled(torch.rand(count, 1, 8, 8) * 2 - 1, labels, labels.flip(0))


def test_every_loss_of_every_step_is_the_recorded_one(recording, player):
    recorded = recording("stargan_attributes")
    method = StarGAN(
        generator=partial(StarGANGenerator, width=4, num_blocks=6),
        discriminator=partial(StarGANDiscriminator, width=4, num_layers=6, image_size=64),
        adversary=WASSERSTEIN,
        source_channels=3,
        target_channels=3,
        domains=Domains((LabelSet(tuple("abcde"), "attributes"),)),
        n_critic=2,
    ).double()
    recorded.load(method.generator, "initial-G.ckpt")
    recorded.load(method.discriminator, "initial-D.ckpt")
    playing = player(method, lr=1e-4)
    for number, expected in enumerate(recorded.losses):
        step = Recorded(number)
        step.alpha = recorded.tensor(number, "alpha").flatten()
        losses = playing.play(
            Labeled(*(recorded.tensor(number, name) for name in ("x_real", "label_org", "label_trg"))), step
        )
        weighted = {
            "D/loss_real": losses["discriminator_real"],
            "D/loss_fake": losses["discriminator_fake"],
            "D/loss_cls": losses["discriminator_domain"],
            "D/loss_gp": losses["discriminator_penalty"] / 10,
        }
        if number % 2:
            weighted |= {
                "G/loss_fake": losses["generator_adversarial"],
                "G/loss_rec": losses["generator_reconstruction"] / 10,
                "G/loss_cls": losses["generator_domain"],
            }
        assert weighted == pytest.approx(expected, abs=1e-8)
    assert number >= 3


def test_the_generator_moves_every_n_critic_steps_alone():
    method = small(n_critic=3)
    players = [[turn.player for turn in method.play(batch(), Step(number))] for number in range(6)]
    assert players == [["discriminator"], ["discriminator"], ["discriminator", "generator"]] * 2


def test_the_generator_runs_no_more_than_needed_and_is_not_differentiated_for_the_critic():
    method, calls = small(n_critic=2), []
    method.generator.register_forward_hook(lambda module, inputs, output: calls.append(output.requires_grad))
    list(method.play(batch(), Step(0)))
    assert calls == [False]
    list(method.play(batch(), Step(1)))
    assert calls == [False, True, True]  # the fake, and its way back


def test_each_turn_gives_gradients_to_its_player_alone():
    method = small(n_critic=1)
    for turn in method.play(batch(), Step()):
        method.zero_grad(set_to_none=True)
        sum(turn.losses.values()).backward()
        for name, network in method.networks.items():
            gradients = [parameter.grad is not None for parameter in network.parameters()]
            assert all(gradients) if name == turn.player else not any(gradients)


def test_with_several_label_sets_the_generator_is_told_a_mask_too():
    method = small(BOTH)
    assert method.generator.main[0].in_channels == 1 + 6 + 2
    assert method.discriminator(torch.zeros(1, 1, 8, 8))[1].shape == (1, 6)


def test_translating_needs_a_domain_that_it_knows():
    method = small()
    with pytest.raises(UserError, match="several domains: name one of cat, dog, fox"):
        method.translate(torch.zeros(1, 1, 8, 8))
    with pytest.raises(UserError, match=r"'dgo' is not one of the model's domains \(did you mean dog\?\)"):
        method.translate(torch.zeros(1, 1, 8, 8), "dgo")
    images = torch.rand(2, 1, 8, 8)
    expected = method.generator(images, torch.tensor([[0.0, 1.0, 0.0]] * 2))
    torch.testing.assert_close(method.translate(images, "Dog"), expected)


def test_a_change_of_attributes_keeps_those_that_the_discriminator_sees():
    method = small(FACES)
    logits = torch.tensor([[2.0, 1.0, 3.0], [-1.0, -2.0, -3.0]])
    method.discriminator.forward = lambda images: (None, logits)
    images, told = torch.rand(2, 1, 8, 8), []
    method.generator.forward = lambda images, labels: told.append(labels) or images
    # Of black and blond, both above 0, the likelier counts.
    assert method.recognize(images).tolist() == [[1, 0, 1], [0, 0, 0]]
    method.translate(images, "+blond")
    method.translate(images, "+black -young")
    assert told[0].tolist() == [[0, 1, 1], [0, 1, 0]]
    assert told[1].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert method.translators == ("generator", "discriminator")
    assert small().translators == ("generator",)


def test_the_recognition_works_at_other_sizes_than_that_of_training():
    for discriminator in (
        partial(StarGANDiscriminator, width=2, num_layers=2, image_size=8),
        partial(PatchGAN, num_layers=1, width=2, norm="none"),
    ):
        assert small(FACES, discriminator=discriminator).translate(torch.zeros(1, 1, 16, 12), "+young").shape == (
            1,
            1,
            16,
            12,
        )


def test_samples_show_every_domain():
    assert list(small(BOTH).show(batch(BOTH))) == ["source", "black", "blond", "young", "cat", "dog", "fox"]


def test_without_a_penalty_in_the_objective_there_is_none():
    assert (
        "discriminator_penalty"
        not in next(small(adversary=partial(Adversary, objective=lsgan())).play(batch(), Step())).losses
    )
    assert next(small().play(batch(), Step())).losses["discriminator_penalty"] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(n_critic=0), r"method\.n_critic=0 must be at least 1"),
        (
            lambda: small(discriminator=partial(PatchGAN, num_layers=1, width=2, norm="batch")),
            r"discriminator\.norm=batch does not go with a gradient penalty",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
