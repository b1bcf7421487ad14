"""The layers that generators and discriminators share: normalisation, padding, upsampling, initialisation, labels."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import fold, instance_norm, pad
from torch.nn.utils.parametrizations import spectral_norm
from torch.overrides import handle_torch_function, has_torch_function_unary

from translate.errors import UserError, check_choice
from translate.networks.attention import SelfAttention

Norm = Literal["batch", "instance", "none", "pixel"]
Padding = Literal["reflect", "replicate", "zero"]
Upsample = Literal["deconv", "resize"]
Initialization = Literal["normal", "xavier", "kaiming", "orthogonal"]
Choice = TypeVar("Choice")

PatchLogits = Float[Tensor, "batch 1 rows columns"]
DomainLogits = Float[Tensor, "batch num_domains"]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy 2015) that in evaluation can use each image's own statistics.

    With `per_image_at_test` an image's output does not depend on the images it shares a batch with.
    """

    per_image_at_test = False

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        if self.per_image_at_test and not self.training:
            return instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(features)


class PixelNorm(nn.Module):
    """Divide the features of every pixel by the root of their mean square. Karras et al. 2018 (ProGAN), section 4.2."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        return normalize_pixels(features)


def normalize_pixels(features: Float[Tensor, "batch channels height width"]) -> Tensor:
    """x / sqrt(mean of x^2 over the channels + 1e-8)."""
    if has_torch_function_unary(features):  # a feature map in tiles
        normalized: Tensor = handle_torch_function(normalize_pixels, (features,), features)
        return normalized
    return features * torch.rsqrt(features.square().mean(1, keepdim=True) + 1e-8)


class Deconvolution(nn.ConvTranspose2d):
    """A transposed convolution of stride 2 and padding 1 that doubles height and width.

    Trained on the CPU it runs as a matrix product where the maps are of few pixels, as in a U-Net's bottleneck: there
    the library's transposed convolution takes twice as long. Equal to it up to rounding.
    """

    def forward(
        self, features: Float[Tensor, "batch channels height width"], output_size: list[int] | None = None
    ) -> Tensor:
        batch, _, height, width = features.shape
        if not self.training or features.device.type != "cpu" or batch * height * width > 64:
            return super().forward(features, output_size)
        columns = self.weight.flatten(1).T @ features.flatten(2)  # (B, out * kernel * kernel, H * W)
        output = fold(columns, (2 * height, 2 * width), self.kernel_size, stride=2, padding=1)
        return output if self.bias is None else output + self.bias[:, None, None]


class TakesLabels(nn.Module):
    """A layer that is called with features and the labels (B, width) of the network, as `condition` makes them."""


class ConditionalNorm(TakesLabels):
    """norm(x) * (1 + scale(labels)) + shift(labels), both linear in the labels, a number per channel each.

    Conditional instance normalisation (Dumoulin et al. 2017). Were the labels constant channels of the input instead,
    the first instance norm would subtract them with the mean. Without labels it is norm(x), as with labels of zeros.

    Args:
        norm: what normalises.
        channels: features.
        num_domains: length of the label vectors.
    """

    def __init__(self, norm: nn.Module, channels: int, num_domains: int) -> None:
        super().__init__()
        self.norm = norm
        # Wide draws, so that domains are far apart from the start: a tenth as wide, learning takes twice the steps.
        self.scale = nn.Parameter(torch.randn(num_domains, channels) * 0.2)
        self.shift = nn.Parameter(torch.randn(num_domains, channels) * 0.5)

    def forward(
        self,
        features: Float[Tensor, "batch channels height width"],
        labels: Float[Tensor, "batch num_domains"] | None = None,
    ) -> Tensor:
        if labels is None:
            plain: Tensor = self.norm(features)
            return plain
        scale, shift = ((labels @ weight)[:, :, None, None] for weight in (self.scale, self.shift))  # (B, C, 1, 1)
        output: Tensor = self.norm(features) * (1 + scale) + shift
        return output


def run_layers(layers: nn.Sequential, features: Tensor, labels: Tensor | None) -> Tensor:
    """Call the layers in turn, and hand the labels to those that take them."""
    for layer in layers:
        features = layer(features, labels) if isinstance(layer, TakesLabels) else layer(features)
    return features


def generator_stages(layers: nn.Sequential) -> dict[str, list[nn.Module]]:
    """The layers of a generator that halves, runs blocks and doubles, by stage: `encoder_1`, ..., `block_1`, ...,
    `decoder_1`, ... What comes after the blocks is the decoder. Self-attention is a stage of its own."""
    stages: dict[str, list[nn.Module]] = {}
    counts = {"encoder": 0, "block": 0, "decoder": 0}
    part = "encoder"
    for group in _by_convolution(layers):
        if isinstance(group[0], SelfAttention):
            stages["attention"] = group
            continue
        inside = [each for layer in group for each in layer.modules()]
        if not isinstance(group[0], nn.Conv2d | nn.ConvTranspose2d | nn.Sequential):
            part = "block"
        elif part != "encoder" or any(isinstance(each, nn.ConvTranspose2d | nn.Upsample) for each in inside):
            part = "decoder"
        counts[part] += 1
        stages[f"{part}_{counts[part]}"] = group
    return stages


def discriminator_stages(layers: nn.Sequential, domain_head: nn.Module | None) -> dict[str, list[nn.Module]]:
    """The layers of a discriminator by stage: `layer_1`, ..., the last of which gives the logits, `attention` and
    `domain_head`."""
    groups = _by_convolution(layers)
    plain = [group for group in groups if not isinstance(group[0], SelfAttention)]
    stages = {f"layer_{count}": group for count, group in enumerate(plain, start=1)}
    for group in groups:
        if isinstance(group[0], SelfAttention):
            stages["attention"] = group
    return stages if domain_head is None else stages | {"domain_head": [domain_head]}


def stage_features(layers: nn.Sequential, images: Tensor) -> list[Tensor]:
    """What every stage of a discriminator makes of images, but the last, which gives the logits."""
    features = []
    for group in _by_convolution(layers)[:-1]:
        for layer in group:
            images = layer(images)
        features.append(images)
    return features


def _by_convolution(layers: nn.Sequential) -> list[list[nn.Module]]:
    """Groups of layers, each from one with a convolution in it up to the next."""
    groups: list[list[nn.Module]] = []
    for layer in layers:
        if any(isinstance(each, nn.Conv2d | nn.ConvTranspose2d) for each in layer.modules()):
            groups.append([layer])
        elif groups:  # a border before the first has no weights
            groups[-1].append(layer)
    return groups


def check_labels(labels: Tensor | None, source: Tensor, num_domains: int) -> None:
    """Raise UserError when a generator of `num_domains` is not given one label vector of that length per image."""
    if not num_domains:
        assert labels is None, "labels were given to a generator without domains"
    elif labels is None or labels.shape != (len(source), num_domains):
        given = "none" if labels is None else f"labels of shape {tuple(labels.shape)}"
        raise UserError(
            f"this generator translates into {num_domains} domains: {len(source)} images need labels of shape "
            f"({len(source)}, {num_domains}), and {given} were given"
        )


def check_latent(latent: int) -> None:
    """Raise UserError for a length of a code that is none."""
    if latent < 0:
        raise UserError(f"generator.latent={latent} must be at least 0; 0 is a generator without a code")


def condition(
    source: Tensor, labels: Tensor | None, code: Tensor | None, *, num_domains: int, latent: int
) -> Tensor | None:
    """What the layers of a generator are told: (B, num_domains + latent), the labels and behind them the code.

    No code is a code of zeros; None, where there are no labels either, means zeros to layers.

    Raises:
        UserError: labels or a code are missing, of another length, or not one for each image.
    """
    check_labels(labels, source, num_domains)
    if code is None:
        return labels if labels is None or not latent else pad(labels, (0, latent))
    if not latent or code.shape != (len(source), latent):
        takes = f"codes of shape ({len(source)}, {latent})" if latent else "no code"
        raise UserError(
            f"this generator takes {takes}, and one of shape {tuple(code.shape)} was given: generator.latent={latent}"
        )
    return code if labels is None else torch.cat([labels, code], 1)


def norm_layer(norm: Norm, channels: int, num_domains: int = 0) -> nn.Module:
    """The normalisation of `channels` features; `none` keeps its place, so that names do not depend on the choice.

    Instance normalisation (Ulyanov et al. 2016) has neither affine parameters nor running statistics, as in the
    reference implementation. With `num_domains` it is conditional, also when it is `none`.
    """
    layers: dict[str, type[nn.Module]] = {
        "batch": BatchNorm,
        "instance": nn.InstanceNorm2d,
        "none": nn.Identity,
        "pixel": PixelNorm,
    }
    layer = _choose("norm", norm, layers)(channels)
    return ConditionalNorm(layer, channels, num_domains) if num_domains else layer


def needs_bias(norm: Norm) -> bool:
    """Whether a convolution followed by `norm` has a bias: the reference gives it one before instance norm alone, and
    ProGAN before pixel norm, which subtracts no mean."""
    return norm in ("instance", "pixel")


def halving_layers(in_channels: int, widths: Sequence[int], norm: Norm, *, last_stride: int = 2) -> list[nn.Module]:
    """The 4x4 convolutions of a discriminator, to `widths` filters in turn, each of which halves height and width.

    Each is followed by a leaky rectifier, and each but the first by `norm` before it. `last_stride` is the stride of
    the last one, if it is not the first.
    """
    layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for place, (before, after) in enumerate(pairwise(widths), start=2):
        stride = last_stride if place == len(widths) else 2
        layers += [
            nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=needs_bias(norm)),
            norm_layer(norm, after),
            nn.LeakyReLU(0.2),
        ]
    return layers


def padding_layer(padding: Padding, width: int) -> nn.Module:
    """Pad every side by `width` pixels."""
    layers: dict[str, type[nn.Module]] = {
        "reflect": nn.ReflectionPad2d,
        "replicate": nn.ReplicationPad2d,
        "zero": nn.ZeroPad2d,
    }
    return _choose("padding", padding, layers)(width)


def padding_mode(padding: Padding) -> Literal["reflect", "replicate", "zeros"]:
    """The same choice as `padding_layer`, in the words of `nn.Conv2d(padding_mode=...)`."""
    modes: dict[str, Literal["reflect", "replicate", "zeros"]] = {
        "reflect": "reflect",
        "replicate": "replicate",
        "zero": "zeros",
    }
    return _choose("padding", padding, modes)


def upsampling_layer(
    upsample: Upsample, in_channels: int, out_channels: int, *, kernel: int, padding: Padding, bias: bool
) -> nn.Module:
    """Double height and width.

    `deconv` is the reference's transposed convolution of stride 2; `resize` is nearest-neighbour enlargement and a
    3x3 convolution, which leaves no checkerboard (Odena et al. 2016).
    """
    if _choose("upsample", upsample, {"deconv": True, "resize": False}):
        return Deconvolution(
            in_channels, out_channels, kernel, stride=2, padding=1, output_padding=4 - kernel, bias=bias
        )
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode=padding_mode(padding), bias=bias)
    enlarge = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(enlarge, convolution)


def initialize(network: nn.Module, initialization: Initialization, gain: float) -> None:
    """Draw the first weights: convolutions by `initialization`, batch norm scales from N(1, gain), biases 0.

    `normal` is N(0, gain), the reference's choice (gain 0.02); `xavier` (Glorot and Bengio 2010) and `orthogonal`
    (Saxe et al. 2014) scale by `gain`; `kaiming` (He et al. 2015) sets its own scale.

    Raises:
        UserError: `initialization` is none of the four.
    """
    draw = _choose(
        "initialization",
        initialization,
        {
            "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
            "xavier": lambda weight: nn.init.xavier_normal_(weight, gain),
            "kaiming": lambda weight: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
            "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain),
        },
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = module.weight.detach()
            if isinstance(module, nn.ConvTranspose2d) and initialization == "orthogonal":
                filters = weight.transpose(0, 1).contiguous()  # which are what is to be orthogonal
                draw(filters)  # type: ignore[no-untyped-call]
                weight.copy_(filters.transpose(0, 1))
            else:
                draw(module.weight)  # type: ignore[no-untyped-call]
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)


def normalize_spectrally(network: nn.Module) -> None:
    """Divide the weights of every convolution by their largest singular value. Miyato et al. 2018.

    The value is followed by a power iteration in every training pass. Call it after `initialize`.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(module)


def _choose(setting: str, value: str, choices: dict[str, Choice]) -> Choice:
    check_choice(setting, value, tuple(choices))
    return choices[value]
