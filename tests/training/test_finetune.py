"""Fine-tuning from the command line: what is frozen stays, what is new warms up, an interruption changes nothing."""

import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning_fabric.strategies.ddp import DDPStrategy
from safetensors.torch import load_file
from torch import Tensor, nn

from translate.model import read_model
from translate.model_folder import find_model
from translate.networks.resnet import ResNet
from translate.networks.unet import UNet
from translate.training.begin import read_origin
from translate.training.checkpoint import read_state
from translate.training.devices import distributed_strategy
from translate.training.log import RunLog
from translate.training.parts import Learning, choose_learning, learning_table, select
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
    rates = ["finetune.rates={decoder: 0.5}", "finetune.rates.encoder_1=0.1", "finetune.rates.generator.encoder_2=0.1"]
    assert finetune("steps=1", *rates, "optimizer.lr=0.01").code == 0
    state = read_state(tmp_path / "new")
    found = [group["initial_lr"] for group in state["optimizers"]["generator"]["param_groups"]]
    assert sorted(found) == pytest.approx([0.001, 0.005, 0.01])
    assert [group["initial_lr"] for group in state["optimizers"]["discriminator"]["param_groups"]] == [0.01]


def test_the_words_of_the_readme_name_parts(trained, finetune) -> None:
    trained()
    text = (Path(__file__).parents[2] / "README.md").read_text()
    spans = re.findall(r"`('?finetune\.(?:freeze|fresh|rates)[.=][^`]+)`", text)
    assert len(spans) == 6
    for span in spans:
        done = finetune(*shlex.split(span), "--no-estimate", verb="check")
        assert done.code == 0, done.err
        assert re.search("frozen|finetune.fresh|of the rate", done.out)


# --- a new discriminator ---


def test_the_generator_waits_for_a_new_discriminator(trained, finetune, stop_after, tmp_path: Path) -> None:
    before = networks_of(trained())
    words = ["steps=4", "finetune.keep_discriminator=false", "finetune.warmup=3"]
    stop_after(3)
    assert finetune(*words).code == 128 + signal.SIGTERM
    learned = changed(before, networks_of(tmp_path / "new"))
    assert not {name for name in learned if name.startswith("generator") and name.endswith("weight")}
    assert "discriminator.model.0.weight" in learned
    assert finetune(*words).code == 0
    learned = changed(before, networks_of(tmp_path / "new"))
    assert "generator.model.model.0.weight" in learned


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["finetune.keep_discriminator=false", "steps=5000"],
            "the generator waits 200 steps for the new discriminator",
        ),
        (["finetune.keep_discriminator=false", "steps=50"], "the generator waits 5 steps for the new discriminator"),
        (["finetune.warmup=7", "steps=8"], "the generator waits 7 steps for the discriminator"),
        (["steps=5000"], None),
    ],
)
def test_check_tells_how_long_the_generator_waits(trained, finetune, words: Words, expected: str | None) -> None:
    trained()
    done = finetune(*words, "--no-estimate", verb="check")
    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if "wait" in line] == ([expected] if expected else [])
    is_new = "finetune.keep_discriminator=false" in words
    assert ("discriminator: new; finetune.keep_discriminator=false" in done.out.splitlines()) == is_new


def test_a_generator_that_is_new_neither_waits_nor_is_pulled_to_its_first_weights(
    trained, finetune, tmp_path: Path
) -> None:
    resnet = ["generator=resnet_6blocks", "generator.num_blocks=1", "generator.norm=instance", "generator.dropout=0"]
    trained("pix2pix", *resnet)
    words = ["method=cyclegan", *resnet, "generator.width=2", "discriminator.num_layers=1", "discriminator.width=2"]
    done = finetune("steps=10", "finetune.distance_weight=0.1", *words, method="cyclegan")
    assert done.code == 0, done.err
    restraint = read_state(tmp_path / "new")["memories"]["restraint"]
    assert int(restraint["warmup"]) == 0
    pulled = restraint["generators_pulled"].tolist()
    half = len(pulled) // 2
    assert pulled == [True] * half + [False] * half  # there, and back
    assert half > 0


@pytest.fixture
def attributes(domains: Path, tmp_path: Path) -> Words:
    """KEY=VALUE words for images with two attributes and a discriminator that tells them."""
    images = [path.relative_to(tmp_path) for path in sorted(domains.rglob("*.png"))]
    rows = [f"{image},{place % 2},{place // 2 % 2}" for place, image in enumerate(images)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,Male,Young", *rows]))
    return [f"data.root={tmp_path / 'labels.csv'}", "method.n_critic=1"]


def test_a_discriminator_that_recognises_attributes_is_one_like_others(
    trained, finetune, stop_after, attributes: Words, tmp_path: Path
) -> None:
    judge = ["discriminator=stargan", "discriminator.num_layers=2", "discriminator.width=2"]
    old = trained("stargan", *attributes, *judge, "average_decay=0.9")
    before = networks_of(old)
    taken = read_origin(old).tensors("discriminator")  # as it was trained, not averaged
    assert changed({name: before[f"discriminator.{name}"] for name in taken}, dict(taken)) == set()
    assert read_origin(old, discriminator=False).tensors("discriminator") is None
    words = [*attributes, "average_decay=0", "steps=2", "finetune.warmup=1"]
    done = finetune(*words, "image_size=32", method="stargan", name="larger")
    assert done.code == 0, done.err
    assert "discriminator: new; conv2.weight has the shape" in (tmp_path / "larger" / "log.txt").read_text()
    stop_after(1)
    assert finetune(*words, method="stargan").code == 128 + signal.SIGTERM
    averaged = load_file(old / "model" / "model.safetensors")
    before |= {name: tensor for name, tensor in averaged.items() if name.startswith("generator")}
    learned = changed(before, networks_of(tmp_path / "new"))
    assert {name.partition(".")[0] for name in learned} == {"discriminator"}


def test_a_fresh_part_begins_anew_and_nothing_pulls_it_back(trained, finetune, tmp_path: Path) -> None:
    before = networks_of(trained())
    words = ["finetune.fresh=[decoder_3]", "finetune.distance_weight=100", "steps=1", "seed=1"]
    done = finetune(*words)
    assert done.code == 0, done.err
    assert "  generator.decoder_3: new; finetune.fresh" in (tmp_path / "new" / "log.txt").read_text()
    after, last = networks_of(tmp_path / "new"), "generator.model.model.3.weight"
    moved = {
        name: float((after[name] - before[name]).abs().mean()) for name in (last, "generator.model.model.0.weight")
    }
    assert moved[last] > 20 * moved["generator.model.model.0.weight"]
    restraint = read_state(tmp_path / "new")["memories"]["restraint"]
    assert restraint["generator_pulled"].logical_not().sum() == 2  # weight and bias


def test_a_model_folder_alone_is_enough(trained, finetune, tmp_path: Path) -> None:
    (trained() / "model").rename(tmp_path / "alone")
    done = finetune(f"from={tmp_path / 'alone'}", "steps=1")
    assert done.code == 0, done.err
    assert "discriminator: new; there is none in the checkpoint" in (tmp_path / "new" / "log.txt").read_text()


def test_what_was_dropped_from_a_file_of_another_project_is_said_first(finetune, tmp_path: Path) -> None:
    tensors = ResNet(in_channels=3, out_channels=3, num_blocks=1, width=2).state_dict()
    for norm, width in (("model.2", 2), ("model.5", 4)):  # as old versions of PyTorch saved them
        tensors |= {f"{norm}.running_mean": torch.zeros(width), f"{norm}.running_var": torch.ones(width)}
    torch.save(tensors, tmp_path / "old.pth")
    words = ["image_size=16", "discriminator.num_layers=1", "discriminator.width=2", "--no-estimate"]
    done = finetune(f"from={tmp_path / 'old.pth'}", *words, verb="check")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("generator: 16 tensors"))
    assert lines[place - 2].startswith(f"{tmp_path / 'old.pth'}: ResNet (generator): num_blocks=1, width=2")
    assert lines[place - 1].startswith(f"{tmp_path / 'old.pth'}: dropped 4 running statistics")


# --- interrupted ---


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a run be asked to stop once it has done so many steps."""
    advance = RunLog.advance

    def plan(step: int) -> None:
        def stopping(log: RunLog, done: int) -> None:
            advance(log, done)
            if done == step:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(RunLog, "advance", stopping)

    return plan


@pytest.mark.parametrize(
    "words",
    [
        ["finetune.keep_discriminator=false", "finetune.warmup=2", "finetune.distance_weight=0.1"],
        ["finetune.freeze_norm=true", "norm_at_test=image", "sample_every=1"],
    ],
)
def test_an_interrupted_fine_tuning_ends_with_the_weights_of_an_unbroken_one(
    trained, finetune, stop_after, tmp_path: Path, words: Words
) -> None:
    before = trained()
    assert finetune("steps=5", *words, name="whole").code == 0
    stop_after(1)
    assert finetune("steps=5", *words).code == 128 + signal.SIGTERM
    before.rename(tmp_path / "gone")  # to go on, nothing is needed but the run itself
    stop_after(3)
    assert finetune("steps=5", *words).code == 128 + signal.SIGTERM
    assert finetune("steps=5", *words).code == 0
    assert changed(networks_of(tmp_path / "whole"), networks_of(tmp_path / "new")) == set()
    ends = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "new")]
    assert changed(*ends) == set()


# --- what holds back ---


def test_the_pull_back_is_the_gradient_of_the_squared_distance_but_for_what_is_fresh() -> None:
    network = nn.Linear(2, 1)
    nn.init.ones_(network.weight)
    restraint = Restraint(
        {"generator": network},
        ["generator"],
        {"generator": ["generator"]},
        fresh={"generator.bias"},
        warmup=0,
        distance_weight=0.5,
        fixed=[],
    )
    restraint.prepare()
    with torch.no_grad():
        network.weight += torch.tensor([[3.0, -2.0]])
        network.bias += 1
    network.weight.grad, network.bias.grad = torch.tensor([[10.0, 10.0]]), torch.tensor([10.0])
    restraint.pull("generator")
    assert network.weight.grad.tolist() == [[13.0, 8.0]]
    assert network.bias.grad.tolist() == [10.0]


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
        NETWORKS,
        ["generator_forward"],
        {"generators": ["generator_forward"]},
        fresh=[],
        freeze=["encoder"],
        freeze_norm=False,
        rates={"generator_backward": 0.5},
    )
    assert learning_table(NETWORKS, learning) == [
        ("generator_forward.encoder_1", 1, "frozen"),
        ("generator_forward.decoder_1", 3, "learns"),
        ("generator_backward.encoder_1", 1, "learns at 0.5 of the rate"),
        ("generator_backward.decoder_1", 3, "learns at 0.5 of the rate"),
        ("discriminator.weight", 3, "learns"),
        ("discriminator.bias", 1, "learns"),
    ]


def test_discriminators_learn_at_a_rate_of_their_own() -> None:
    learning = choose_learning(
        NETWORKS,
        ["generator_forward"],
        {"generators": ["generator_forward"], "discriminators": ["discriminator"]},
        fresh=[],
        freeze=[],
        freeze_norm=False,
        rates={"discriminator.bias": 0.5, "decoder": 0.1},
        discriminator_rate=4.0,
    )
    assert learning_table(NETWORKS, learning) == [
        ("generator_forward.encoder_1", 1, "learns"),
        ("generator_forward.decoder_1", 3, "learns at 0.1 of the rate"),
        ("generator_backward.encoder_1", 1, "learns"),
        ("generator_backward.decoder_1", 3, "learns"),
        ("discriminator.weight", 3, "learns at 4 of the rate"),
        ("discriminator.bias", 1, "learns at 2 of the rate"),
    ]


def freeze_norms(generator: nn.Module, *fresh: str) -> Learning:
    return choose_learning(
        {"generator": generator},
        ["generator"],
        {"generator": ["generator"]},
        fresh=fresh,
        freeze=[],
        freeze_norm=True,
        rates={},
    )


def test_frozen_norms_stay_so_where_several_gpus_put_others_in_their_place() -> None:
    generator = UNet(in_channels=3, out_channels=3, num_downs=3, width=2)
    learning = freeze_norms(generator)
    nn.SyncBatchNorm.convert_sync_batchnorm(generator)
    restraint = Restraint(
        {"generator": generator},
        ["generator"],
        {"generator": ["generator"]},
        fresh=(),
        warmup=0,
        distance_weight=0,
        fixed=learning.fixed,
    )
    generator.train()
    restraint.prepare()
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.SyncBatchNorm)]
    assert [norm.training for norm in norms] == [False] * len(learning.fixed)
    assert generator.training


def test_norms_that_labels_steer_are_frozen_too() -> None:
    generator = ResNet(in_channels=3, out_channels=3, num_domains=2, num_blocks=1, width=2)
    steered = {f"generator.{name}" for name, _ in generator.named_parameters() if name.endswith(("scale", "shift"))}
    assert freeze_norms(generator).frozen == steered
    assert len(steered) == 2 * 7


def test_norms_of_what_is_fresh_learn() -> None:
    generator = UNet(in_channels=3, out_channels=3, num_downs=3, width=2)
    everything, learning = freeze_norms(generator), freeze_norms(generator, "decoder_2")
    norm = "generator.model.model.1.model.6"
    assert everything.fixed - learning.fixed == {norm}
    assert everything.frozen - learning.frozen == {f"{norm}.weight", f"{norm}.bias"}


@pytest.mark.parametrize("ways", [{}, {"upsample": "resize"}, {"downsample": "blur", "upsample": "blur"}])
def test_every_resnet_has_the_same_parts(ways: dict[str, Any]) -> None:
    network = ResNet(in_channels=3, out_channels=3, num_blocks=2, width=2, **ways)
    assert list(network.stages) == [
        *("encoder_1", "encoder_2", "encoder_3", "block_1", "block_2"),
        *("decoder_1", "decoder_2", "decoder_3"),
    ]


def test_a_network_that_is_frozen_as_a_whole_shares_no_gradients_with_other_processes(monkeypatch) -> None:
    monkeypatch.setattr(DDPStrategy, "setup_module", lambda strategy, module: "shared")
    network = nn.Linear(1, 1)
    assert distributed_strategy().setup_module(network) == "shared"
    network.requires_grad_(False)
    assert distributed_strategy().setup_module(network) is network


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


def test_check_refuses_what_fine_tuning_would(trained, command, tiny, tmp_path: Path) -> None:
    old, root = trained(), next(word for word in tiny if word.startswith("data.root="))
    done = command("check", f"from={old}", root, "finetune.freeze=[generator]", f"output={tmp_path / 'new'}")
    assert done.code == 2
    assert "finetune.freeze=['generator'] leaves nothing of generator to learn" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finetune.freeze=[encodr]"], "no part is called 'encodr' (did you mean encoder?)"),
        (["finetune.rates={encoder: 0}"], "finetune.rates.encoder=0.0 must be more than 0"),
        (["finetune.freeze=[generator]"], "leaves nothing of generator to learn"),
        (["finetune.fresh=[decodr]"], "finetune.fresh: no part is called 'decodr' (did you mean decoder?)"),
        (
            ["finetune.fresh=[decoder]", "finetune.freeze=[decoder_1]"],
            "finetune.freeze=['decoder_1'] both name generator.decoder_1: new weights have to learn",
        ),
        (["finetune.freeze_norm=true"], "finetune.freeze_norm=true: no normalisation of generator learns"),
        (["finetune.warmup=-1"], "finetune.warmup=-1 must be at least 0"),
        (
            ["finetune.warmup=1"],
            "finetune.warmup=1: for so many steps no generator moves, and the run has 1: use fewer",
        ),
        (["finetune.distance_weight=-1"], "finetune.distance_weight=-1.0 must be at least 0"),
        (["generator.width=4"], "does not fit the generator"),
        (["method=cyclegan", "method.identity_weight=0", "data=paired"], "Leave out generator="),
        (["from=nowhere"], "nowhere does not exist"),
        (["from="], "from= is missing: give the run, model folder or file of weights to go on from"),
        (["data.root=???"], "data.root is not set"),
        (["generator.widht=3"], "generator.widht is not a setting (did you mean generator.width?)"),
        (["finetune.channels=mean"], "finetune.channels=mean"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    trained, finetune, tmp_path: Path, words: Words, message: str
) -> None:
    trained(*(["pix2pix", "generator.norm=instance"] if "freeze_norm" in words[0] else []))
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
    assert model.lineage[0]["sha256"] == read_model(find_model(old)).fingerprint
    lines = command("list", tmp_path / "newer").out.splitlines()
    assert sum("finetune" in line for line in lines) == 2
    assert finetune("steps=4").code == 0  # continued, it still knows
    assert len(read_model(tmp_path / "new" / "model").lineage) == 1


def test_the_log_begins_with_what_the_checkpoint_is_and_which_parts_do_not_learn_as_usual(
    trained, finetune, tmp_path: Path
) -> None:
    trained("pix2pix", "data.direction=BtoA")
    words = ["steps=1", "image_size=24", "batch_size=1", "optimizer.lr=0.1", "finetune.freeze=[encoder_1]"]
    words += ["finetune.rates.decoder_1=0.5"]
    told = [
        "from the checkpoint: Pix2Pix, UNet, BtoA, 16 (here 24) pixels",
        "other than in it: batch_size=1 (was 2), optimizer.lr=0.1 (was 0.0002)",
    ]
    assert "\n".join(told) in finetune(*words, "--no-estimate", verb="check").out
    assert finetune(*words).code == 0
    lines = [line[20:] for line in (tmp_path / "new" / "log.txt").read_text().splitlines()]
    assert lines[1:3] == told
    assert {"  generator.encoder_1: frozen", "  generator.decoder_1: learns at 0.5 of the rate"} <= {*lines}
    assert not any(line.endswith("learns") for line in lines)
