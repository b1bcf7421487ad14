"""Fine-tuning from the command line: what is frozen stays, what is new warms up, an interruption changes nothing."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from translate.model import read_model
from translate.training.checkpoint import read_state
from translate.training.parts import choose_learning, learning_table, select
from translate.training.restraint import Restraint

Words = list[str]


def networks_of(run: Path) -> dict[str, Tensor]:
    """Every weight of every network of a run."""
    state = read_state(run)
    assert state is not None
    return {f"{name}.{key}": tensor for name, part in state["networks"].items() for key, tensor in part.items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


# --- what is taken over ---


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan", "stargan"])
def test_every_method_goes_on_from_its_own_run(trained, finetune, tmp_path: Path, method: str) -> None:
    trained(method)
    done = finetune("steps=1", method=method)
    assert done.code == 0, done.err
    config = yaml.safe_load((tmp_path / "new" / "config.yaml").read_text())
    old = yaml.safe_load((tmp_path / "old" / "config.yaml").read_text())
    for key in ("method", "generator", "discriminator", "objective", "image_size"):
        assert config[key] == old[key]
    assert config["epochs"] is None
    assert "generator" in (log := (tmp_path / "new" / "log.txt").read_text())
    assert log.count("tensors taken over") == {"pix2pix": 2, "cyclegan": 4, "stargan": 2}[method]


def test_frozen_parts_stay_bit_for_bit_and_others_learn(trained, finetune, tmp_path: Path) -> None:
    before = networks_of(trained())
    done = finetune("steps=2", "finetune.freeze=[encoder,discriminator.layer_1]")
    assert done.code == 0, done.err
    learned = changed(before, networks_of(tmp_path / "new"))
    down = {f"generator.model.{path}" for path in ("model.0", "model.1.model.1", "model.1.model.3.model.1")}
    assert not {name for name in learned if name.endswith("weight") and name.rpartition(".")[0] in down}
    assert "discriminator.model.0.weight" not in learned
    assert {"generator.model.model.3.weight", "discriminator.model.2.weight"} <= learned


def test_statistics_of_norms_stay_where_asked_for(trained, finetune, tmp_path: Path) -> None:
    before = networks_of(trained())
    assert finetune("steps=2", "finetune.freeze_norm=true", "sample_every=1").code == 0
    learned = changed(before, networks_of(tmp_path / "new"))
    assert not {name for name in learned if name.startswith("generator") and ("running" in name or ".2." in name)}
    assert "discriminator.model.3.running_mean" in learned
    assert "generator.model.model.0.weight" in learned


def test_parts_learn_at_their_own_rates(trained, finetune, tmp_path: Path) -> None:
    trained()
    assert finetune("steps=1", "finetune.rates={decoder: 0.5, encoder_1: 0.1}", "optimizer.lr=0.01").code == 0
    state = read_state(tmp_path / "new")
    rates = [group["initial_lr"] for group in state["optimizers"]["generator"]["param_groups"]]
    assert sorted(rates) == pytest.approx([0.001, 0.005, 0.01])
    assert [group["initial_lr"] for group in state["optimizers"]["discriminator"]["param_groups"]] == [0.01]


# --- a new discriminator ---


def test_the_generator_waits_for_a_new_discriminator(trained, finetune, tmp_path: Path) -> None:
    before = networks_of(trained())
    assert finetune("steps=3", "finetune.keep_discriminator=false", "finetune.warmup=3").code == 0
    learned = changed(before, networks_of(tmp_path / "new"))
    assert not {name for name in learned if name.startswith("generator") and name.endswith("weight")}
    assert "discriminator.model.0.weight" in learned
    assert finetune("steps=4", "finetune.keep_discriminator=false", "finetune.warmup=3").code == 0
    learned = changed(before, networks_of(tmp_path / "new"))
    assert "generator.model.model.0.weight" in learned


@pytest.mark.parametrize(("kept", "expected"), [("true", 0), ("false", 200)])
def test_a_new_discriminator_warms_up_for_200_steps_unless_told_otherwise(
    trained, finetune, tmp_path: Path, kept: str, expected: int
) -> None:
    trained()
    assert finetune("steps=1", f"finetune.keep_discriminator={kept}").code == 0
    assert int(read_state(tmp_path / "new")["memories"]["restraint"]["warmup"]) == expected


def test_a_model_folder_alone_is_enough(trained, finetune, tmp_path: Path) -> None:
    (trained() / "model").rename(tmp_path / "alone")
    done = finetune(f"from={tmp_path / 'alone'}", "steps=1")
    assert done.code == 0, done.err
    assert "discriminator: new; there is none in the checkpoint" in (tmp_path / "new" / "log.txt").read_text()


# --- interrupted ---


def test_an_interrupted_fine_tuning_ends_with_the_weights_of_an_unbroken_one(trained, finetune, tmp_path: Path) -> None:
    before = trained()
    words = [
        "finetune.keep_discriminator=false",
        "finetune.warmup=2",
        "finetune.distance_weight=0.1",
        "schedule=constant",
    ]
    assert finetune("steps=5", *words, name="whole").code == 0
    assert finetune("steps=1", *words).code == 0
    before.rename(tmp_path / "gone")  # to go on, nothing is needed but the run itself
    assert finetune("steps=3", *words).code == 0
    assert finetune("steps=5", *words).code == 0
    assert changed(networks_of(tmp_path / "whole"), networks_of(tmp_path / "new")) == set()
    ends = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "new")]
    assert changed(*ends) == set()


# --- what holds back ---


def test_the_pull_back_is_the_gradient_of_the_squared_distance() -> None:
    network = nn.Linear(2, 1, bias=False)
    nn.init.ones_(network.weight)
    restraint = Restraint(
        {"generator": network}, ["generator"], {"generator": ["generator"]}, warmup=0, distance_weight=0.5, fixed=[]
    )
    with torch.no_grad():
        network.weight += torch.tensor([[3.0, -2.0]])
    network.weight.grad = torch.tensor([[10.0, 10.0]])
    restraint.pull("generator")
    assert network.weight.grad.tolist() == [[13.0, 8.0]]


def test_a_strong_pull_keeps_weights_near_to_where_they_began(trained, finetune, tmp_path: Path) -> None:
    before = networks_of(trained())
    for name, weight in (("free", 0), ("held", 100)):
        words = [f"finetune.distance_weight={weight}", "optimizer.lr=0.01", "steps=6", "schedule=constant"]
        assert finetune(*words, name=name).code == 0
    free, held = (
        sum(
            float((after[name] - before[name]).square().sum())
            for name in before
            if name.startswith("generator") and name.endswith("weight")
        )
        for after in (networks_of(tmp_path / "free"), networks_of(tmp_path / "held"))
    )
    assert held < free / 2


# --- naming parts ---


class Two(nn.Module):
    """A network of two stages, and one without a name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(2, 1)

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        return {"encoder_1": [self.first], "decoder_1": [self.second]}


NETWORKS = {"generator_forward": Two(), "generator_backward": Two(), "discriminator": nn.Linear(3, 1)}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("encoder", {"generator_forward.first.weight", "generator_backward.first.weight"}),
        ("encoder_1", {"generator_forward.first.weight", "generator_backward.first.weight"}),
        ("generator_forward.encoder", {"generator_forward.first.weight"}),
        (
            "generator.decoder_[12]",
            {f"generator_{way}.second.{key}" for way in ("forward", "backward") for key in ("weight", "bias")},
        ),
        (
            "generator_backward",
            {f"generator_backward.{key}" for key in ("first.weight", "second.weight", "second.bias")},
        ),
        ("discriminator", {"discriminator.weight", "discriminator.bias"}),
        ("discriminator.bias", {"discriminator.bias"}),
    ],
)
def test_words_name_parts(word: str, expected: set[str]) -> None:
    assert select("finetune.freeze", [word], NETWORKS, ["generator_forward", "generator_backward"]) == expected


def test_the_table_says_what_learns() -> None:
    learning = choose_learning(
        NETWORKS, ["generator_forward"], freeze=["encoder"], freeze_norm=False, rates={"generator_backward": 0.5}
    )
    assert learning_table(NETWORKS, learning) == [
        ("generator_forward.encoder_1", 1, "frozen"),
        ("generator_forward.decoder_1", 3, "learns"),
        ("generator_backward.encoder_1", 1, "learns at 0.5 of the rate"),
        ("generator_backward.decoder_1", 3, "learns at 0.5 of the rate"),
        ("discriminator.weight", 3, "learns"),
        ("discriminator.bias", 1, "learns"),
    ]


def test_check_shows_what_is_taken_over_and_what_learns(trained, command, tiny, tmp_path: Path) -> None:
    old = trained()
    root = next(word for word in tiny if word.startswith("data.root="))
    done = command("check", f"from={old}", root, "finetune.freeze=[encoder]", f"output={tmp_path / 'new'}")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert any("generator.encoder_1" in line and "frozen" in line for line in lines)
    assert any("generator.decoder_1" in line and "learns" in line for line in lines)
    assert any(line.startswith("discriminator: ") and line.endswith(" tensors taken over") for line in lines)


# --- mistakes ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finetune.freeze=[encodr]"], "no part is called 'encodr' (did you mean encoder?)"),
        (["finetune.rates={encoder: 0}"], "finetune.rates.encoder=0.0 must be more than 0"),
        (["finetune.freeze=[generator]"], "leaves nothing of generator to learn"),
        (["finetune.warmup=-1"], "finetune.warmup=-1 must be at least 0"),
        (["finetune.distance_weight=-1"], "finetune.distance_weight=-1.0 must be at least 0"),
        (["generator.width=4"], "does not fit the generator"),
        (["method=cyclegan", "method.identity_weight=0", "data=paired"], "Leave out generator="),
        (["from=nowhere"], "nowhere does not exist"),
        (["from="], "from= is missing"),
        (["data.root=???"], "data.root is not set"),
        (["generator.widht=3"], "generator.widht is not a setting (did you mean generator.width?)"),
        (["finetune.channels=mean"], "finetune.channels=mean"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    trained, finetune, tmp_path: Path, words: Words, message: str
) -> None:
    trained()
    if "cyclegan" in words[0]:  # whose second generator would be the first one's
        words = [*words, "generator=resnet_6blocks", "discriminator.num_layers=1"]
    done = finetune("steps=1", *words)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "new" / "config.yaml").exists()


def test_a_checkpoint_may_not_name_code_of_others(trained, finetune, edited) -> None:
    edited(trained(), lambda config: config["settings"]["generator"].update(_target_="torch.hub.load"))
    done = finetune("steps=1")
    assert done.code == 2
    assert "_target_='torch.hub.load' may not be built" in done.err


def test_the_lineage_tells_what_a_model_was_made_from(trained, finetune, command, tmp_path: Path) -> None:
    old = trained()
    assert finetune("steps=3").code == 0
    assert finetune(f"from={tmp_path / 'new'}", "steps=1", name="newer").code == 0
    model = read_model(tmp_path / "newer" / "model")
    assert [(entry["kind"], entry["source"], entry["steps"]) for entry in model.lineage] == [
        ("finetune", str(old), 2),
        ("finetune", str(tmp_path / "new"), 3),
    ]
    assert model.lineage[0]["sha256"] == read_model(old / "model").fingerprint
    lines = command("list", tmp_path / "newer").out.splitlines()
    assert sum("finetune" in line for line in lines) == 2
    assert finetune("steps=4").code == 0  # continued, it still knows
    assert len(read_model(tmp_path / "new" / "model").lineage) == 1
