"""The perceptual loss: values by a network that does little, the true one's layers, and weights that are none."""

import urllib.request
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import vgg16, vgg19

from translate.errors import UserError
from translate.objectives import perceptual
from translate.objectives.perceptual import LAYERS, PerceptualLoss, vgg19_layers


def scale(factor, channels=3):
    layer = nn.Conv2d(channels, channels, 1, bias=False)
    layer.weight.data = factor * torch.eye(channels)[:, :, None, None]
    return layer


@pytest.fixture
def loss(monkeypatch):
    """A loss whose network doubles in layer 0 and makes four times of that in layer 2; both count."""
    monkeypatch.setattr(perceptual, "LAYERS", {0: 0.5, 2: 2.0})
    loss = PerceptualLoss("unread", channels=3)
    loss.network = nn.Sequential(scale(2.0), nn.Identity(), scale(4.0))
    return loss


@pytest.fixture(scope="module")
def weights():
    """Weights as in a file of torchvision's VGG19; one number stands for all of a tensor, so they take no room."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg19(init_weights=False).features.state_dict().items()}
    return {f"features.{name}": torch.full((1,) * len(shape), 0.5).expand(shape) for name, shape in shapes.items()}


def test_it_is_the_weighted_sum_of_the_differences_of_normalised_images(loss):
    output, target = torch.full((2, 3, 16, 16), 0.5), torch.full((2, 3, 16, 16), -0.5)
    # In [0, 1] they differ by 0.5, normalised by 0.5 / deviation; twice that in the first layer, then eight times.
    normalized = sum(0.5 / deviation for deviation in (0.229, 0.224, 0.225)) / 3
    assert loss(output, target).item() == pytest.approx((0.5 * 2 + 2.0 * 8) * normalized, rel=1e-5)


def test_images_are_normalised_as_vgg_was_trained():
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 2 - 1
    (found,) = perceptual._features(nn.Sequential(nn.Identity(), nn.Identity()), mean.expand(1, 3, 2, 2)).values()
    torch.testing.assert_close(found, torch.zeros(1, 3, 2, 2))


def test_a_grey_image_is_one_of_three_equal_channels(loss):
    output, target = torch.rand(2, 2, 1, 16, 16) * 2 - 1
    torch.testing.assert_close(loss(output, target), loss(output.repeat(1, 3, 1, 1), target.repeat(1, 3, 1, 1)))


def test_gradients_flow_into_the_output_alone(loss):
    output, target = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    loss(output, target).backward()
    assert output.grad.abs().min() > 0
    assert target.grad is None


def test_the_layers_that_count_are_those_of_the_paper():
    with torch.device("meta"):
        layers = vgg19(init_weights=False).features
    names, block, place = {}, 1, 0
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            block, place = block + 1, 0
        elif isinstance(layer, nn.ReLU):
            place += 1
            names[index] = f"relu{block}_{place}"
    assert {names[index]: weight for index, weight in LAYERS.items()} == {
        "relu1_1": 1 / 32,
        "relu2_1": 1 / 16,
        "relu3_1": 1 / 8,
        "relu4_1": 1 / 4,
        "relu5_1": 1,
    }


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weights_are_read_from_either_kind_of_file(ending, weights, tmp_path):
    file = tmp_path / f"vgg.{ending}"
    if ending == "pth":
        torch.save(weights, file)
    else:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)
    with torch.device("meta"):  # as when a run is checked
        layers = vgg19_layers(str(file))
    assert len(layers) == 30
    assert {parameter.device.type for parameter in layers.parameters()} == {"cpu"}
    assert not any(parameter.requires_grad for parameter in layers.parameters())
    assert layers[28].weight[0, 0, 0, 0].item() == 0.5
    assert perceptual._features(layers.to("meta"), torch.zeros(1, 1, 16, 16, device="meta"))[29].shape == (1, 512, 1, 1)


def test_a_file_is_read_once_and_again_when_it_has_changed(weights, tmp_path, monkeypatch):
    file = tmp_path / "vgg.pth"
    torch.save(weights, file)
    opened = []
    read = perceptual._open
    monkeypatch.setattr(perceptual, "_open", lambda path: opened.append(path) or read(path))
    first, second = vgg19_layers(str(file)), vgg19_layers(str(file))
    assert first is not second
    assert opened == [file]
    file.write_text("another")
    with pytest.raises(UserError):
        vgg19_layers(str(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"<html>", "damaged, or holds more than tensors"),
        (b"PK\x03\x04 half an archive", "damaged, or holds more than tensors"),
        (b"a file of text", "damaged, or holds more than tensors"),
        ({"model": {"features.0.weight": torch.zeros(1)}}, "no tensors by name"),
        ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "holds other weights than VGG19's"),
        ({"features.conv0.weight": torch.zeros(1)}, "holds other weights than VGG19's"),
    ],
    ids=["none", "web page", "half", "text", "nested", "too few", "another's"],
)
def test_a_file_without_vgg19s_weights_is_refused_with_what_is_needed(content, message, tmp_path):
    file = tmp_path / "vgg.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(UserError, match=rf"method\.perceptual_weights=.*vgg\.pth .*{message}.*vgg19-dcbb9e9d\.pth"):
        vgg19_layers(str(file))


def test_weights_of_another_depth_or_shape_are_refused(weights, tmp_path):
    with torch.device("meta"):
        names = vgg16(init_weights=False).state_dict()
    torch.save({name: torch.zeros(1).expand(tensor.shape) for name, tensor in names.items()}, tmp_path / "vgg16.pth")
    torch.save(weights | {"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "grey.pth")
    for name in ("vgg16", "grey"):
        with pytest.raises(UserError, match=rf"{name}\.pth holds other weights than VGG19's"):
            vgg19_layers(str(tmp_path / f"{name}.pth"))


def test_a_download_that_fails_says_what_to_do(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(UserError, match=r"perceptual_weights=download: .*no route to host.* put the file somewhere"):
        vgg19_layers("download")


def test_what_it_cannot_compare_is_refused_by_name(loss):
    with pytest.raises(
        UserError, match=r"needs VGG19's weights: give .*FILE.*, or method\.perceptual_weights=download"
    ):
        PerceptualLoss(None, channels=3)
    with pytest.raises(UserError, match=r"not the 4 of the target: use method\.perceptual_weight=0"):
        PerceptualLoss("download", channels=4)
    with pytest.raises(UserError, match=r"16 pixels per side at least, not 8: use a larger image_size"):
        loss(torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 8, 16))
