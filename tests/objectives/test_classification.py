"""Domain classification losses, by hand."""

import torch

from translate.domains import Domains, LabelSet
from translate.objectives.classification import domain_loss

ANIMALS = Domains((LabelSet(("cat", "dog", "fox"), "one_hot"),))
FACES = Domains((LabelSet(("black", "blond", "young"), "attributes", (("black", "blond"),)),))
BOTH = Domains((FACES.sets[0], ANIMALS.sets[0]))


def test_domains_that_exclude_one_another_are_judged_by_cross_entropy():
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    labels = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    expected = (torch.log(torch.tensor(3.0)) + torch.log(torch.exp(torch.tensor(2.0)) + 2) - 2) / 2
    torch.testing.assert_close(domain_loss(logits, labels, ANIMALS), expected)


def test_attributes_are_judged_by_binary_cross_entropy_summed_and_divided_by_the_batch():
    logits = torch.zeros(2, 3)
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(domain_loss(logits, labels, FACES), 3 * torch.log(torch.tensor(2.0)))


def test_with_several_label_sets_an_image_counts_in_its_own_alone():
    logits = torch.tensor([[0.0, 0.0, 0.0, 9.0, -9.0, 5.0], [7.0, -7.0, 3.0, 0.0, 0.0, 0.0]])
    labels = torch.tensor([BOTH.vector(0, [1, 0, 0]), BOTH.vector(1, [0, 0, 1])])
    expected = (3 * torch.log(torch.tensor(2.0)) + torch.log(torch.tensor(3.0))) / 2
    torch.testing.assert_close(domain_loss(logits, labels, BOTH), expected)
