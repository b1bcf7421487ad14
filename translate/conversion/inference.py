"""The same generator, faster on the CPU: layers that compute the same, up to rounding, in less time."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold, linear, pad
from torch.overrides import handle_torch_function, has_torch_function_unary

from translate.networks.layers import BatchNorm, Deconvolution
from translate.networks.resnet import ResNet
from translate.networks.stargan import ImageNorm, StarGANGenerator
from translate.networks.unet import UNet

Features = Float[Tensor, "batch channels height width"]
OUTPUTS, INPUTS = 4, 6
"""Side of a Winograd tile, of what it gives and of what it reads."""
POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
"""Where its polynomials are evaluated, and at infinity. With these the convolution is as exact as the plain one; with
the usual 0, 1, -1, 2, -2 its error is 2.5 times as large."""
FEW_PIXELS = 64
MANY_PIXELS = 1024
"""From so many features per channel on, Winograd's algorithm gains more than transforming its weights takes."""


def prepare_network(network: nn.Module, device: torch.device) -> nn.Module:
    """`network` as it runs fastest on `device`, in evaluation, equal up to rounding.

    On the CPU the generators of this package become a copy that shares the weights, whose memory order changes to
    channels last, under the same names. Weights must not change afterwards. Other networks, which may count on the
    usual memory order, and other devices get `network` itself.
    """
    if device.type != "cpu" or type(network) not in (ResNet, UNet, StarGANGenerator):
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    prepared = copy.deepcopy(network, shared)
    for layer in prepared.modules():
        _replace(layer)
    return prepared


def _replace(layer: nn.Module) -> None:
    """Give a layer the class that computes the same faster; what it holds stays."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    if type(layer) is nn.Conv2d:
        channels = sorted((layer.in_channels, layer.out_channels))
        if layer.kernel_size == (3, 3) and layer.stride == (1, 1) and channels[0] >= 128 and channels[1] <= 512:
            layer.__class__ = WinogradConvolution
        elif layer.stride == (1, 1) and layer.out_channels <= 4 and layer.padding_mode == "zeros":
            layer.__class__ = RowConvolution
        else:
            layer.__class__ = Convolution
    elif type(layer) in (nn.ConvTranspose2d, Deconvolution):
        layer.__class__ = TransposedConvolution
    elif type(layer) in (nn.InstanceNorm2d, ImageNorm):
        layer.__class__ = InstanceNorm
    elif type(layer) is BatchNorm:
        layer.__class__ = ImageBatchNorm


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm by each image's own statistics that keeps channels last."""

    def forward(self, features: Features) -> Tensor:
        return normalize_images(features, self.weight, self.bias, self.eps)


class ImageBatchNorm(BatchNorm):
    """Batch norm that keeps channels last also where it uses each image's own statistics."""

    def forward(self, features: Features) -> Tensor:
        if self.per_image_at_test:
            return normalize_images(features, self.weight, self.bias, self.eps)
        return super().forward(features)


def normalize_images(features: Features, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Subtract each image's mean and divide by its standard deviation, per channel; scale and shift.

    The library's norms that keep channels last (`group_norm`, `batch_norm`) add up the pixels of an image in one chain
    of float32, which at 1024 x 1024 is wrong by 0.002. Here they do so for strips of about 1024 pixels, whose moments
    are put together (Chan et al. 1979).
    """
    if has_torch_function_unary(features):  # tiles replace what is measured here
        return handle_torch_function(normalize_images, (features,), features, weight, bias, eps)
    features = features.contiguous(memory_format=torch.channels_last)
    batch, _, height, width = features.shape
    strips = torch.split(features, max(1024 // width, 1), 2)
    shares = torch.tensor([strip.shape[2] / height for strip in strips], dtype=torch.float64)[:, None]
    moments = []
    for image in range(batch):
        pairs = [torch.batch_norm_update_stats(strip[image : image + 1], None, None, 0.0) for strip in strips]
        means, variances = (torch.stack(each).double() for each in zip(*pairs, strict=True))  # (strips, C)
        mean = (shares * means).sum(0)
        moments.append(torch.stack([mean, (shares * (variances + (means - mean) ** 2)).sum(0)]))
    mean, variance = torch.stack(moments, 1)  # (B, C)
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    scale, shift = (each[:, :, None, None].to(features.dtype) for each in (scale, shift))
    return torch.addcmul(shift, features, scale)


class Convolution(nn.Conv2d):
    """A convolution that for few pixels is a matrix product: the library would reorder all weights in every call."""

    def forward(self, features: Features) -> Tensor:
        if not isinstance(features, Tensor):  # a feature map in tiles
            return super().forward(features)
        features = features.contiguous(memory_format=torch.channels_last)
        step, (rows, columns) = self.stride[0], self.kernel_size
        if features.shape[2] * features.shape[3] > FEW_PIXELS * step**2 or self.padding_mode != "zeros":
            return super().forward(features)
        down, across = map(int, self.padding)
        patches = pad(features, (across, across, down, down)).permute(0, 2, 3, 1)
        patches = patches.unfold(1, rows, step).unfold(2, columns, step)  # (B, H, W, in, rows, columns)
        batch, height, width = patches.shape[:3]
        patches = patches.permute(0, 1, 2, 4, 5, 3).reshape(batch * height * width, -1)
        output = linear(patches, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)
        return output.view(batch, height, width, -1).permute(0, 3, 1, 2)


class WinogradConvolution(Convolution):
    """A 3x3 convolution of stride 1 with a quarter of the multiplications, as F(4x4, 3x3) of Lavin and Gray 2016.

    The weights are transformed in every call: kept, they would take four times the memory of the weights.
    """

    def forward(self, features: Features) -> Tensor:
        if not isinstance(features, Tensor):
            return handle_torch_function(WinogradConvolution.forward, (features,), self, features)
        if features.shape[2] * features.shape[3] < MANY_PIXELS:
            return super().forward(features)
        border = int(self.padding[0])
        if border and self.padding_mode != "zeros":
            features, border = pad(features, [border] * 4, mode=self.padding_mode), 0
        return self.convolve(features, border)

    def convolve(self, features: Features, border: int = 0) -> Tensor:
        """The convolution of features with a `border` of zeros."""
        batch, channels, height, width = features.shape
        height, width = height + 2 * border - 2, width + 2 * border - 2  # of the output
        rows, columns = -(-height // OUTPUTS), -(-width // OUTPUTS)
        rest = [border + count * OUTPUTS - size for count, size in ((columns, width), (rows, height))]
        if border or any(rest):
            features = pad(features, (border, rest[0], border, rest[1]))
        tiles = features.permute(0, 2, 3, 1).unfold(1, INPUTS, OUTPUTS).unfold(2, INPUTS, OUTPUTS)
        output = features.new_empty(batch, rows, OUTPUTS, columns, OUTPUTS, self.out_channels)
        # (36, in, out): the weight lies in memory as (out, 3 * 3, in)
        weight = (WEIGHT_TRANSFORM @ self.weight.permute(0, 2, 3, 1).flatten(1, 2)).permute(1, 2, 0)
        at_once = max(256 // columns, 1)  # rows of tiles: what they become stays in the cache
        for image in range(batch):
            for row in range(0, rows, at_once):
                part = tiles[image, row : row + at_once].permute(3, 4, 0, 1, 2).reshape(INPUTS**2, -1)
                products = (INPUT_TRANSFORM @ part).view(INPUTS**2, -1, channels) @ weight
                result = OUTPUT_TRANSFORM @ products.view(INPUTS**2, -1)
                result = result.view(OUTPUTS, OUTPUTS, -1, columns, self.out_channels)
                if self.bias is not None:
                    result += self.bias
                output[image, row : row + at_once] = result.permute(2, 0, 3, 1, 4)
        output = output.view(batch, rows * OUTPUTS, columns * OUTPUTS, self.out_channels)
        return output[:, :height, :width].permute(0, 3, 1, 2)


def _powers(count: int) -> Tensor:
    """The powers 0 to count - 1 of every point; of infinity the last alone."""
    powers = torch.tensor([[point**power for power in range(count)] for point in POINTS], dtype=torch.float64)
    infinity = torch.eye(count, dtype=torch.float64)[-1:]
    return torch.cat([powers, infinity])


def _both_ways(matrix: Tensor) -> Tensor:
    """The transform of a square, flattened, whose rows and columns are transformed by `matrix`."""
    return torch.kron(matrix, matrix)


INPUT_TRANSFORM = _both_ways(torch.linalg.inv(_powers(INPUTS)).T).float()  # (36, 36)
WEIGHT_TRANSFORM = _both_ways(_powers(INPUTS - OUTPUTS + 1)).float()  # (36, 9)
OUTPUT_TRANSFORM = _both_ways(_powers(OUTPUTS).T).float()  # (16, 36)


class RowConvolution(nn.Conv2d):
    """A convolution of stride 1 into few channels: one per row of the kernel into a channel each, then their sum.

    A processor computes 16 channels in about the time of 3.
    """

    def forward(self, features: Features) -> Tensor:
        if not isinstance(features, Tensor):
            return super().forward(features)
        out, _, rows, _ = self.weight.shape
        weight = self.weight.permute(2, 0, 1, 3).flatten(0, 1)[:, :, None]  # (rows * out, in, 1, columns)
        parts = conv2d(features, weight.contiguous(memory_format=torch.channels_last), padding=self.padding)
        height = parts.shape[2] - rows + 1
        rest = (parts[:, row * out : (row + 1) * out, row : row + height] for row in range(1, rows))
        output = sum(rest, parts[:, :out, :height])
        return output if self.bias is None else output + self.bias[:, None, None]


class TransposedConvolution(nn.ConvTranspose2d):
    """A transposed convolution of stride 2 that doubles the size; for few pixels a matrix product, as `Convolution`."""

    def forward(self, features: Features, output_size: list[int] | None = None) -> Tensor:
        if not isinstance(features, Tensor):
            return super().forward(features, output_size)
        features = features.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = features.shape
        if height * width > FEW_PIXELS:
            return super().forward(features, output_size)
        rows, columns = self.kernel_size
        pixels = features.permute(0, 2, 3, 1).reshape(-1, channels)
        parts = pixels @ self.weight.permute(0, 2, 3, 1).flatten(1)  # (B * H * W, rows * columns * out)
        parts = parts.view(batch, height * width, rows * columns, -1).permute(0, 3, 2, 1).flatten(1, 2)
        output = fold(parts, (2 * height, 2 * width), (rows, columns), stride=2, padding=1)
        return output if self.bias is None else output + self.bias[:, None, None]
