"""Files of weights: what is inside is found, what is more than tensors is never run, every mistake has its message."""

import os
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from translate.errors import UserError
from translate.interop.reference_file import read_tensors


def weights(*, bias=1.0):
    return OrderedDict({"model.1.weight": torch.ones(2, 3, 7, 7), "model.1.bias": torch.full((2,), bias)})


@pytest.fixture
def saved(tmp_path):
    """Save anything as torch does."""

    def save(content, name="latest_net_G.pth", **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


def assert_weights(tensors, bias=1.0):
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        name: tensor.tolist() for name, tensor in weights(bias=bias).items()
    }


@pytest.mark.parametrize("name", ["net.pth", "net.pt", "200000-G.ckpt", "net.PTH"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_files_of_torch_of_any_age_are_read(saved, name, is_zip):
    assert_weights(read_tensors(saved(weights(), name, _use_new_zipfile_serialization=is_zip)))


def test_safetensors_are_read(tmp_path):
    save_file(weights(), tmp_path / "net.safetensors")
    assert_weights(read_tensors(tmp_path / "net.safetensors"))


@pytest.mark.parametrize(
    "container",
    [
        lambda weights: {"state_dict": weights},
        lambda weights: {"model": weights, "epoch": 3},
        lambda weights: {"params_ema": weights},
        lambda weights: {"G_A": weights, "steps": torch.tensor(5)},
        lambda weights: {"checkpoint": {"generator": weights}, "optimizer": optimizer_state()},
        lambda weights: {"epoch": 1, "state_dict": {f"netG.{name}": tensor for name, tensor in weights.items()}},
        lambda weights: {**weights, "_metadata": {"version": 1}, "epoch": 7},
        lambda weights: {
            "state_dict": {**{f"netG.{k}": v for k, v in weights.items()}, "vgg.0.weight": torch.ones(2, 2)}
        },
    ],
)
def test_the_only_weights_in_a_container_are_found(saved, container):
    assert_weights(read_tensors(saved(container(weights()))))


def optimizer_state():
    """What Adam's state_dict() holds."""
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.ones(1, 1, 3, 3), "exp_avg_sq": torch.ones(1, 1, 3, 3)}
    return {"state": {0: moments}, "param_groups": [{"lr": 0.0002, "betas": (0.5, 0.999), "params": [0]}]}


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module.module.", "_orig_mod.module.", "module._orig_mod.module."]
)
def test_what_wraps_a_network_is_taken_out_of_names(saved, prefix):
    assert_weights(read_tensors(saved({f"{prefix}{name}": tensor for name, tensor in weights().items()})))


def test_a_compiled_part_is_found_too(saved):
    renamed = {name.replace("model.", "model._orig_mod."): tensor for name, tensor in weights().items()}
    assert_weights(read_tensors(saved(renamed)))


def test_the_same_name_with_and_without_a_wrapper_is_refused(saved):
    with pytest.raises(
        UserError, match=r"latest_net_G\.pth holds model\.1\.weight twice, with and without what wraps networks"
    ):
        read_tensors(saved({**weights(), "module.model.1.weight": torch.zeros(2, 3, 7, 7)}))


def test_of_several_networks_one_is_chosen(saved):
    path = saved({"G_A": weights(), "D": weights(bias=5.0), "optimizer": optimizer_state()})
    with pytest.raises(
        UserError, match=r"holds several networks: G_A \(2 tensors\), D \(2 tensors\)\. Choose .*--part"
    ):
        read_tensors(path)
    assert_weights(read_tensors(path, part="G_A"))
    assert_weights(read_tensors(path, part="D"), bias=5.0)
    with pytest.raises(UserError, match=r"part=G: .* holds G_A \(2 tensors\), D \(2 tensors\)"):
        read_tensors(path, part="G")
    with pytest.raises(UserError, match=r"part=G: .* holds top \(2 tensors\), alone: leave it out"):
        read_tensors(saved(weights()), part="G")


def test_weights_beside_a_dictionary_with_others_have_a_name_too(saved):
    path = saved({**weights(), "average": weights(bias=2.0)})
    assert_weights(read_tensors(path, part="top"))
    assert_weights(read_tensors(path, part="average"), bias=2.0)


def test_of_several_networks_in_one_dictionary_one_is_chosen(saved):
    discriminator = {"main.0.weight": torch.ones(2, 3, 4, 4), "conv1.weight": torch.ones(1, 2, 3, 3)}
    flat = {f"netG.{name}": tensor for name, tensor in weights().items()}
    path = saved({"state_dict": flat | {f"netD.{name}": tensor for name, tensor in discriminator.items()}})
    assert read_tensors(path, part="netD").keys() == discriminator.keys()
    assert_weights(read_tensors(path, part="netG"))


def test_networks_that_end_in_the_same_name_are_told_apart(saved):
    path = saved({"now": {"G": weights()}, "average": {"G": weights(bias=2.0)}})
    assert_weights(read_tensors(path, part="average.G"), bias=2.0)


# --- mistakes ---


class Attack:
    """Its pickle makes a folder when it is loaded carelessly."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_file_is_never_run(saved, tmp_path, is_zip):
    trap = tmp_path / "made by the attack"
    path = saved({**weights(), "extra": Attack(trap)}, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(
        UserError, match=r"holds more than weights: loading it would run \w+\.mkdir, which is never done"
    ):
        read_tensors(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)  # the trap works
    assert trap.exists()


def test_a_whole_network_is_refused_with_the_remedy(saved):
    with pytest.raises(
        UserError, match=r"run torch\.nn\.modules\.\S+, .*whole pickled network.*network\.state_dict\(\)"
    ):
        read_tensors(saved(nn.Conv2d(1, 1, 1)))


def test_a_program_is_refused(tmp_path):
    # What torch.jit.save writes, as far as torch.load looks at it.
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/constants.pkl", b"")
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/version", b"3")
    with pytest.raises(UserError, match="is a TorchScript program, no file of weights"):
        read_tensors(tmp_path / "net.pt")


def test_the_state_of_an_optimizer_is_refused(saved):
    with pytest.raises(UserError, match="the state of an optimiser, no network: give the file of the generator"):
        read_tensors(saved(optimizer_state()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(2, 2), "holds a Tensor, no weights by name: in the program that wrote it"),
        ([1, 2], "holds a list, no weights by name"),
        ({"epoch": 3, "loss": torch.tensor(1.0)}, "holds no weights by name"),
        ({}, "holds no weights by name"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "holds no weights by name"),
    ],
)
def test_files_without_weights_are_refused(saved, content, message):
    with pytest.raises(UserError, match=message):
        read_tensors(saved(content))


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(saved, is_zip, share):
    path = saved(weights(), _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="is truncated or damaged: copy or download it again"):
        read_tensors(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_changed_bytes_give_a_message_or_weights(saved, is_zip):
    path = saved(weights(), _use_new_zipfile_serialization=is_zip)
    content, chance = path.read_bytes(), random.Random(0)
    messages = []
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(3):
            changed[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            assert read_tensors(path)
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all(message.startswith(str(path)) for message in messages)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", b"", "is empty: copy or download it again"),
        ("a.safetensors", b"", "is empty"),
        (
            "a.pth",
            b"<!DOCTYPE html><html>404</html>",
            "is a web page in the place of weights: download the file itself",
        ),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        ("a.pth", b"\xff\xd8\xff\xe0 a photo" * 9, "is no file of weights: torch.save did not write it"),
        ("a.ckpt", b"hello", "is no file of weights"),
        ("a.safetensors", b"hello, this is no header", "is truncated, damaged or no safetensors file"),
    ],
)
def test_foreign_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_tensors(tmp_path / name)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth does not exist: give a file of weights \(\.pth"):
        read_tensors(tmp_path / "nowhere.pth")
    with pytest.raises(UserError, match="is a folder: give a file of weights"):
        read_tensors(tmp_path)


def test_a_part_of_a_model_folder_is_named(tmp_path):
    save_file({"generator.a": torch.ones(1)}, tmp_path / "model.safetensors", metadata={"steps": "4"})
    with pytest.raises(UserError, match=f"is a part of the model folder {tmp_path}: give the folder"):
        read_tensors(Path(tmp_path / "model.safetensors"))


def test_a_part_of_a_run_is_named(tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "state").mkdir()
    torch.save({"networks": {}}, tmp_path / "run" / "state" / "training.pt")
    with pytest.raises(UserError, match=f"is part of the run {tmp_path / 'run'}: give the folder"):
        read_tensors(tmp_path / "run" / "state" / "training.pt")


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_torch_did_not_write_is_called_one(tmp_path, protocol):
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({"a": [1.0]}, protocol=protocol))
    with pytest.raises(
        UserError, match=r"is a pickle of Python objects, which is never run: .*network\.state_dict\(\)"
    ):
        read_tensors(path)
