"""Recipes are the papers' experiments: their settings, checked against the papers' by hand, and what they say of it."""

from typing import Any

import pytest

from translate.build import LOCAL, build
from translate.config import choices, compose_settings, conf_directory, describe_group, flatten
from translate.errors import UserError

# Those on drawn letters and the one for few images are the toolkit's own, and not any paper's.
OWN = ("none", "demo", "few_shot", "compare_objectives")
RECIPES = [name for name in choices("recipe") if name not in OWN and not name.startswith("glyphs")]
HAIR = ["Black_Hair", "Blond_Hair", "Brown_Hair"]

PIX2PIX = {
    "method._target_": "translate.methods.pix2pix.Pix2Pix",
    "method.l1_weight": 100.0,
    "objective._target_": "translate.objectives.adversarial.nonsaturating",
    "generator.num_downs": 8,
    "generator.dropout": 0.5,
    "norm_at_test": "image",
    "dropout_at_test": True,
    "image_size": 256,
    "batch_size": 1,
    "epochs": 200,
    "steps": None,
    "data.direction": "AtoB",
    "data.validation_fraction": 0,
    "data.augmentation.load_size": None,
    "data.augmentation.horizontal_flip": 0.5,
    "optimizer.lr": 0.0002,
    "schedule.constant": 0.5,
}
CYCLEGAN = {
    "method._target_": "translate.methods.cyclegan.CycleGAN",
    "method.cycle_weight_source": 10.0,
    "method.identity_weight": 0.0,
    "method.history_size": 50,
    "objective._target_": "translate.objectives.adversarial.lsgan",
    "generator.num_blocks": 9,
    "data._target_": "translate.data.unpaired.UnpairedData",
    "data.direction": "AtoB",
    "data.validation_fraction": 0,
    "image_size": 256,
    "batch_size": 1,
    "epochs": 200,
    "steps": None,
    "optimizer.lr": 0.0002,
    "schedule.constant": 0.5,
}
UNPAIRED = CYCLEGAN | {"data._target_": "translate.data.paired.PairedData"}
STARGAN = {
    "method._target_": "translate.methods.stargan.StarGAN",
    "method.n_critic": 5,
    "gradient_penalty.weight": 10.0,
    "image_size": 128,
    "batch_size": 16,
    "epochs": None,
    "optimizer.lr": 0.0001,
    "schedule._target_": "translate.training.schedule.linear",
    "schedule.constant": 0.5,
}
EDGES = {"batch_size": 4, "epochs": 15, "data.augmentation.load_size": 256}
PAPER: dict[str, dict[str, Any]] = {
    "facades": PIX2PIX | {"data.direction": "BtoA"},
    "maps": PIX2PIX,
    "cityscapes": PIX2PIX | {"data.direction": "BtoA"},
    "edges2shoes": PIX2PIX | EDGES | {"data.augmentation.horizontal_flip": 0.0},
    "edges2handbags": PIX2PIX | EDGES,
    "day2night": PIX2PIX | {"data.direction": "BtoA", "batch_size": 4, "epochs": 17},
    "horse2zebra": CYCLEGAN,
    "apple2orange": CYCLEGAN,
    "summer2winter": CYCLEGAN,
    "monet2photo": CYCLEGAN | {"method.identity_weight": 0.5},
    "iphone2dslr_flower": CYCLEGAN | {"method.identity_weight": 0.5},
    "facades_unpaired": UNPAIRED | {"data.direction": "BtoA"},
    "maps_unpaired": UNPAIRED,
    "cityscapes_unpaired": UNPAIRED | {"data.direction": "BtoA", "image_size": 128, "generator.num_blocks": 6},
    "celeba": STARGAN
    | {
        "steps": 200000,
        "data.label_file": "/faces/img_align_celeba/../list_attr_celeba.txt",
        "data.domains": [*HAIR, "Male", "Young"],
        "data.exclusive": [HAIR],
        "data.augmentation.center_crop": 178,
        "data.augmentation.load_size": 128,
        "data.validation_fraction": 0,
    },
    "rafd": STARGAN
    | {
        "epochs": 200,
        "steps": None,
        "data.domains": None,
        "data.exclusive": None,
        "data.test_fraction": 0.1,
        "data.augmentation.center_crop": 256,
        "data.augmentation.load_size": 128,
    },
    "celeba_rafd": STARGAN
    | {
        "steps": 400000,
        "data.first.label_file": "/faces/img_align_celeba/../list_attr_celeba.txt",
        "data.first.exclusive": [HAIR],
        "data.first.augmentation.center_crop": 178,
        "data.first.augmentation.load_size": 128,
        "data.second.label_file": None,
        "data.second.augmentation.center_crop": 256,
        "data.second.augmentation.load_size": 128,
    },
}


def words_for(name: str) -> list[str]:
    """The command in the recipe's header without `translate train`, its folders filled in."""
    text = (conf_directory() / "recipe" / f"{name}.yaml").read_text(encoding="utf-8")
    package, command, *_ = text.splitlines()
    assert package == "# @package _global_"
    assert command.startswith("# translate train recipe=")
    places = {"FOLDER": "/faces/img_align_celeba", "CELEBA": "/faces/img_align_celeba", "RAFD": "/faces/rafd"}
    words = [word.split("=") for word in command.removeprefix("# translate train ").split()]
    return [f"{key}={places.get(value, value)}" for key, value in words]


def test_every_recipe_is_checked_here() -> None:
    assert sorted(PAPER) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_settings_of_the_paper(name: str) -> None:
    tree = compose_settings(words_for(name)).tree
    found = dict(flatten(tree))
    found |= {f"{part}._target_": tree[part]["_target_"] for part in ("method", "objective", "data", "schedule")}
    assert {key: found[key] for key in PAPER[name]} == PAPER[name]
    build(tree["data"], LOCAL)


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_in_the_header_is_the_recipe_s_own(name: str) -> None:
    assert words_for(name)[0] == f"recipe={name}"


@pytest.mark.parametrize("name", [name for name in choices("recipe") if name != "none"])
def test_a_recipe_says_what_it_is_and_what_is_known_of_its_result(name: str) -> None:
    said = dict(describe_group("recipe"))[name]
    assert said.startswith(("Pix2Pix ", "CycleGAN ", "StarGAN ", "Any method "))
    if name not in RECIPES:
        assert "Measured:" in said
        return
    assert "et al. 201" in said
    assert said.index("Data: ") < said.index("Cost: ") < said.index("Expected: ")
    assert "paper" in said.partition("Expected: ")[2]
    assert "not measured here" in said.lower()


def test_celeba_holds_out_the_2000_images_of_the_paper() -> None:
    data = compose_settings(words_for("celeba")).tree["data"]
    assert round(data["test_fraction"] * 202599) == 2000


@pytest.mark.parametrize(("name", "key"), [("celeba", "data.root"), ("celeba_rafd", "data.first.root")])
def test_a_recipe_asks_for_its_folder_even_where_another_path_depends_on_it(name: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"^{key} is not set"):
        compose_settings([f"recipe={name}"])


def test_words_win_over_a_recipe() -> None:
    settings = compose_settings(["recipe=edges2shoes", "data.root=somewhere", "steps=7", "batch_size=2"]).settings
    assert (settings.steps, settings.epochs, settings.batch_size) == (7, None, 2)


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan", "stargan"])
def test_few_shot_goes_with_every_method_and_leaves_its_paper_s_settings(method: str) -> None:
    plain, few = (
        dict(flatten(compose_settings([f"method={method}", "data.root=here", *words]).tree))
        for words in ([], ["recipe=few_shot"])
    )
    changed = {key for key, value in few.items() if plain.get(key) != value} | {"epochs"}  # StarGAN counts steps
    assert {key for key in changed if not key.startswith("discriminator_augmentation.")} == {
        "steps",
        "epochs",
        "average_decay",
        "sample_every",
        "save_every",
    }
    assert few["discriminator_augmentation.probability"] == 1
