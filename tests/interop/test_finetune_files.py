"""`translate finetune from=FILE`: other projects' weights as a beginning, and what cannot be one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from translate.interop import load_reference
from translate.model import read_model
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator

SMALL = ["discriminator.width=2", "batch_size=1", "steps=1", "data.workers=0", "accelerator=cpu", "optimizer.lr=1e-9"]
JUDGES = {"paired": ["discriminator.num_layers=1"], "domains": ["discriminator.num_layers=3", "image_size=64"]}


@pytest.fixture
def finetune(command: Callable[..., Any], pairs: Path, domains: Path, tmp_path: Path) -> Callable[..., Any]:
    """`translate finetune` from a file on pairs or domains, one step too small to change a weight."""

    def run(file: Path, *words: str, data: str = "paired") -> Any:
        root = pairs if data == "paired" else domains
        usual = [f"from={file}", f"data.root={root}", *SMALL, *JUDGES[data], f"output={tmp_path / 'run'}"]
        return command("finetune", *usual, *words)

    return run


def weights(network: torch.nn.Module) -> dict[str, Tensor]:
    """What learns and what is measured, without counters."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("G_resnet_9blocks_instance", ["image_size=64"]),
        ("G_resnet_6blocks_batch", ["image_size=64", "data.channels_b=1", "finetune.freeze_norm=true"]),
        ("G_unet_256_instance", ["data.channels_a=1"]),
    ],
)
def test_a_recorded_generator_goes_on_from_its_weights(
    recorded: Callable[[str], Path], finetune, tmp_path: Path, name: str, words: list[str]
) -> None:
    done = finetune(recorded(name), *words)
    assert done.code == 0, done.err
    model = read_model(tmp_path / "run" / "model")
    before, after = weights(load_reference(recorded(name))), weights(model.method.generator)
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        torch.testing.assert_close(after[key], tensor, atol=1e-6, rtol=0)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"generator: {len(model.method.generator.state_dict())} tensors taken over" in log
    assert "discriminator: new; there is none in the checkpoint" in log
    assert [entry["kind"] for entry in model.lineage] == ["import", "finetune"]


def test_a_recorded_stargan_goes_on_once_its_domains_have_names(
    recorded: Callable[[str], Path], finetune, command, tmp_path: Path
) -> None:
    file = recorded("G_stargan_4_5")
    done = finetune(file, data="domains")
    assert done.code == 2
    assert "called domain_1, domain_2, domain_3, domain_4, domain_5" in done.err
    assert "translate import FILE --domains" in done.err
    command("import", file, "--domains", "light,dark,a,b,c", "--output", tmp_path / "named")
    done = finetune(tmp_path / "named", data="domains")
    assert done.code == 0, done.err
    model = read_model(tmp_path / "run" / "model")
    before = load_reference(file).state_dict()["main.0.weight"]
    torch.testing.assert_close(model.method.generator.main[0].weight, before, atol=1e-6, rtol=0)
    assert "domains without images here: a, b, c" in (tmp_path / "run" / "log.txt").read_text()


# --- mistakes ---


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_is_not_run(finetune, tmp_path: Path) -> None:
    torch.save(Payload(tmp_path / "mark"), tmp_path / "evil.pth")
    done = finetune(tmp_path / "evil.pth")
    assert done.code == 2
    assert f"{tmp_path / 'evil.pth'}" in done.err
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["D_basic3_batch", "D_basic3_instance", "D_pixel3_batch"])
def test_a_discriminator_is_no_generator(recorded: Callable[[str], Path], finetune, name: str) -> None:
    done = finetune(recorded(name))
    assert done.code == 2
    assert "is a discriminator, which judges images and translates none" in done.err


@pytest.mark.parametrize(
    ("name", "words", "data", "message"),
    [
        ("G_stargan_4_5", ["method=pix2pix", "data=paired"], "paired", "leave out method="),
        ("G_stargan_4_5", ["data=paired"], "paired", "the method trains on images labelled"),
        ("G_resnet_9blocks_instance", ["method=stargan"], "domains", "leave out method="),
        ("G_resnet_9blocks_instance", ["generator=resnet_6blocks", "image_size=64"], "paired", "Leave out generator="),
        ("G_resnet_9blocks_instance", ["image_size=62"], "paired", "takes multiples of 4"),
    ],
)
def test_words_that_do_not_go_with_the_file_are_named(
    recorded: Callable[[str], Path], finetune, tmp_path: Path, name: str, words: list[str], data: str, message: str
) -> None:
    done = finetune(recorded(name), *words, data=data)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"weights", "is no file of weights"), (None, "does not exist"), ({"step": 3}, "no weights")],
)
def test_a_file_that_holds_no_network_is_named(finetune, tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "latest_net_G.pth"
    if content is not None:
        file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    done = finetune(file)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_attributes_need_a_model_that_was_imported_with_them(finetune, command, domains: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"in_channels": 3, "num_domains": 2, "width": 2}
    torch.save(StarGANGenerator(**sizes, out_channels=3, num_blocks=1).state_dict(), tmp_path / "20-G.ckpt")
    judge = StarGANDiscriminator(**sizes, image_size=64, num_layers=3)
    torch.save(judge.state_dict(), tmp_path / "20-D.ckpt")
    lines = [
        f"{name}/image {index}.png,{index % 2},{index // 2 % 2}" for name in ("dark", "light") for index in range(6)
    ]
    (domains / "labels.csv").write_text("\n".join(["image,Male,Young", *lines]))
    words = [f"data.root={domains / 'labels.csv'}", "data.kind=attributes"]
    for extra, code in (([], 2), (["--attributes"], 0)):
        model = tmp_path / f"model{len(extra)}"
        command("import", tmp_path / "20-G.ckpt", "--domains", "Male,Young", *extra, "--output", model)
        done = finetune(model, *words, data="domains")
        assert done.code == code, done.err
        assert ("translate import --attributes" in done.err) == (code == 2)
