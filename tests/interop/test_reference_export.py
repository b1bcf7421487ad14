"""`translate export --format reference`: what is written loads where the reference implementations load theirs."""

from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import translate
from translate.build import TRUSTED
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.interop.architecture import configuration
from translate.interop.checkpoint import import_reference
from translate.interop.reference_export import export_reference
from translate.methods.cyclegan import CycleGAN
from translate.methods.pix2pix import Pix2Pix
from translate.methods.stargan import StarGAN
from translate.model import Model, assemble
from translate.networks.patchgan import PatchGAN
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANGenerator
from translate.networks.unet import UNet
from translate.pixels import Side


class PlainResNet(nn.Module):
    """The reference's ResNet with instance norm, restated from its list of layers."""

    def __init__(self, *, width, num_blocks):
        super().__init__()

        def after(convolution):
            return [convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]

        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *after(nn.Conv2d(3, width, 7)),
            *after(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)),
            *after(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)),
            *(PlainBlock(4 * width) for _ in range(num_blocks)),
            *after(nn.ConvTranspose2d(4 * width, 2 * width, 3, stride=2, padding=1, output_padding=1)),
            *after(nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, images):
        return self.model(images)


class Wider(ResNet):
    """A network of somebody's own."""


class PlainBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features):
        return features + self.conv_block(features)


def assert_equal_files(first, second):
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert tensor.shape == second[name].shape
        assert tensor.equal(second[name]), name


@pytest.mark.parametrize(
    "name", ["G_resnet_9blocks_instance", "G_resnet_6blocks_batch", "G_unet_256_instance", "G_stargan_4_5"]
)
def test_recorded_files_come_out_as_they_went_in(name, recorded, command, tmp_path):
    """In names, their order, shapes, types and every byte of every tensor."""
    assert command("import", recorded(name), "--output", tmp_path / "model").code == 0
    for checkpoint in (tmp_path / "model", recorded(name)):
        done = command("export", checkpoint, "--output", tmp_path / "x" / "net_G.pth", "--format", "reference")
        assert done.code == 0, done.err
        written = torch.load(tmp_path / "x" / "net_G.pth", weights_only=True)
        assert_equal_files(written, torch.load(recorded(name), weights_only=True))
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["net_G.pth"]


def test_the_generator_of_cut_comes_out_as_it_went_in(cut, command, tmp_path):
    assert command("import", cut, "--output", tmp_path / "model").code == 0
    done = command("export", tmp_path / "model", "--output", tmp_path / "net_G.pth", "--format", "reference")
    assert done.code == 0
    assert "CUT loads it with --netG ResnetGenerator(n_blocks=1) --ngf 2 --norm instance" in done.out
    assert_equal_files(torch.load(tmp_path / "net_G.pth"), torch.load(cut))


def test_a_restated_network_loads_both_directions_of_a_cyclegan(command, tmp_path, noise):
    model, strong = tmp_path / "model", {"width": 2, "initialization": "kaiming"}
    method = model_of(ResNet, method=CycleGAN, num_blocks=6, **strong).method
    for direction, network in (("AtoB", method.generator_forward), ("BtoA", method.generator_backward)):
        torch.save(network.state_dict(), tmp_path / f"{direction}.pth")
    done = command("import", tmp_path / "AtoB.pth", "--back", tmp_path / "BtoA.pth", "--output", model)
    assert done.code == 0, done.err
    image = torch.from_numpy(noise((16, 20, 3))).permute(2, 0, 1)[None] / 127.5 - 1
    outputs = []
    for direction, suffix in (("AtoB", ".pth"), ("BtoA", ".safetensors")):
        file = tmp_path / f"net_G_{direction}{suffix}"
        done = command("export", model, "--output", file, "--format", "reference", "--direction", direction)
        assert done.code == 0, done.err
        assert "pix2pix and CycleGAN load it with --netG resnet_6blocks --ngf 2 --norm instance" in done.out
        state = load_file(file) if suffix == ".safetensors" else torch.load(file, weights_only=True)
        network = PlainResNet(width=2, num_blocks=6)
        network.load_state_dict(state, strict=True)
        engine = translate.load(model, accelerator="cpu", direction=direction).engine
        with torch.no_grad():
            outputs.append(network(image))
            assert (outputs[-1] - engine.translate_tensor(image)).abs().max() < 1e-5
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (lambda: UNet(in_channels=1, out_channels=3, num_downs=8, width=1), "--netG unet_256 --ngf 1 --norm batch"),
        (
            lambda: UNet(in_channels=1, out_channels=3, num_downs=6, width=1),
            r"--netG UnetGenerator(num_downs=6) --ngf 1",
        ),
        (lambda: ResNet(in_channels=3, out_channels=2, num_blocks=9, width=1), "--output_nc 2 --no_dropout"),
        (
            lambda: ResNet(in_channels=3, out_channels=3, num_blocks=9, width=1, downsample="blur"),
            "CUT loads it with --netG resnet_9blocks --ngf 1 --norm instance --input_nc 3 --output_nc 3 --no_dropout "
            "--no_antialias_up",
        ),
        (
            lambda: StarGANGenerator(in_channels=3, out_channels=3, num_domains=4, num_blocks=2, width=1),
            "StarGAN loads it with --c_dim 4 --g_conv_dim 1 --g_repeat_num 2",
        ),
    ],
)
def test_the_options_that_load_it_are_told(network, options, tmp_path):
    torch.save(network().state_dict(), tmp_path / "in.pth")
    assert options in export_reference(import_reference(tmp_path / "in.pth").model, tmp_path / "out.pth")


# --- what the reference implementations cannot express ---


SIDE = Side(3, "uint8", 0, 255)


def model_of(generator, *, method=Pix2Pix, domains=None, **changed):
    """A model whose generator has settings of its own; its weights do not matter."""
    settings = {
        "method": {"_target_": f"{method.__module__}.{method.__qualname__}"},
        "generator": configuration(generator, {"width": 1, **changed}),
        "discriminator": configuration(PatchGAN, {"norm": "instance"}),
        "objective": {"_target_": "translate.objectives.adversarial.lsgan"},
    }
    built = assemble(settings, source=SIDE, target=SIDE, domains=domains, allowed=(*TRUSTED, f"{__name__}."))
    return Model(built, SIDE, SIDE, domains, settings, 0)


ONE = LabelSet(("a", "b"), "one_hot")
OTHER = LabelSet(("c", "d"), "one_hot")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (partial(model_of, ResNet, padding="replicate"), r"generator\.padding=replicate instead of reflect"),
        (partial(model_of, ResNet, upsample="resize"), r"generator\.upsample=resize instead of deconv"),
        (partial(model_of, UNet, padding="reflect"), r"generator\.padding=reflect instead of zero"),
        (partial(model_of, UNet, upsample="resize"), r"generator\.upsample=resize instead of deconv"),
        (partial(model_of, ResNet, norm="pixel"), r"generator\.norm=pixel instead of batch or instance"),
        (partial(model_of, UNet, attention=True), r"generator\.attention=true"),
        (partial(model_of, UNet, num_downs=4), r"generator\.num_downs=4; a U-Net has at least 5"),
        (partial(model_of, ResNet, method=StarGAN, domains=Domains((ONE,))), "ResNet that is told 2 domains"),
        (partial(model_of, UNet, method=StarGAN, domains=Domains((ONE,))), "U-Net that is told 2 domains"),
        (partial(model_of, StarGANGenerator), "generator=stargan without domains"),
        (
            partial(model_of, StarGANGenerator, method=StarGAN, domains=Domains((ONE, OTHER))),
            r"2 label sets in one model \(data=domains_joint\)",
        ),
        (partial(model_of, Wider), "generator=Wider, a network of another kind"),
    ],
)
def test_settings_of_our_own_are_refused_by_name(model, message, tmp_path):
    refusal = f"--format reference: the reference implementation has no {message}; --format onnx writes any network"
    with pytest.raises(UserError, match=refusal):
        export_reference(model(), tmp_path / "net_G.pth")
    assert not (tmp_path / "net_G.pth").exists()


def test_stargans_of_other_images_are_refused(tmp_path):
    network = StarGANGenerator(in_channels=1, out_channels=1, num_domains=2, num_blocks=1, width=1)
    torch.save(network.state_dict(), tmp_path / "in.pth")
    with pytest.raises(UserError, match="has no StarGAN of images of 1 channels instead of 3"):
        export_reference(import_reference(tmp_path / "in.pth").model, tmp_path / "out.pth")


def test_the_file_and_the_direction_are_checked(recorded, command, tmp_path):
    file = recorded("G_resnet_6blocks_batch")
    named = command("export", file, "--output", tmp_path / "net.onnx", "--format", "reference")
    assert named.code == 2
    assert "net.onnx must be a file that ends in .pth, .pt, .ckpt, .safetensors" in named.err
    back = command("export", file, "--output", tmp_path / "net.pth", "--format", "reference", "--direction", "BtoA")
    assert back.code == 2
    assert "translates one way alone" in back.err
