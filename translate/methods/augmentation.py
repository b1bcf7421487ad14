"""Differentiable augmentation of what a discriminator sees, so that it does not learn few images by heart.

Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training: real and generated images are changed
alike, and the generator learns through the changes. Karras et al. 2020, Training Generative Adversarial Networks with
Limited Data: as often as the discriminator's overfitting asks for.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from translate.errors import UserError
from translate.objectives.adversarial import AdversarialObjective

if TYPE_CHECKING:
    from translate.methods.step import Step

Images = Float[Tensor, "batch channels height width"]
PerImage = Float[Tensor, " batch"]
Pixels = Int[Tensor, " batch"]


class DiscriminatorAugmentation(nn.Module):
    """Random changes of images on their way to a discriminator, through which gradients flow.

    Every operation changes an image with the same probability, drawn for each image and operation alone, by
    PyTorch's generator on the images' device. At probability 0 images stay what they are, and nothing is drawn.

    Args:
        color: brightness, saturation and contrast (Zhao et al. 2020, section 4), for any number of channels.
        translation: shifts by whole pixels, up to an eighth of the image; what is uncovered is 0.
        cutout: covers a rectangle of half the height and half the width, anywhere, with 0.
        geometry: mirrors left and right half of the time, turns by any angle, and scales by 2^N(0, 0.2) (Karras et al.
            2020, appendix B); the border is reflected.
        probability: with which each operation changes an image; 1 in Zhao et al. 2020.

    Raises:
        UserError: a probability outside 0 to 1, or no operation.
    """

    def __init__(
        self,
        *,
        color: bool = True,
        translation: bool = True,
        cutout: bool = True,
        geometry: bool = False,
        probability: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise UserError(f"discriminator_augmentation.probability={probability} is outside 0 to 1")
        if not (color or translation or cutout or geometry):
            raise UserError(
                "discriminator_augmentation has none of color, translation, cutout, geometry: switch one on, or use "
                "discriminator_augmentation=none"
            )
        self.color = color
        self.translation = translation
        self.cutout = cutout
        self.geometry = geometry
        self.is_off = probability == 0
        self.probability: Tensor
        self.register_buffer("probability", torch.tensor(float(probability)))

    def attach(self, objective: AdversarialObjective) -> None:
        """Be told the objective whose discriminators it serves.

        Raises:
            UserError: it does not go with it.
        """

    def watch(self, real_logits: Float[Tensor, "batch ..."], step: "Step") -> None:
        """Take in what a discriminator makes of a step's real images."""

    def signals(self) -> dict[str, Tensor]:
        """Its state, by the names under which it is logged beside the losses; scalars."""
        return {}

    def forward(self, *images: Images) -> Images:
        """Images in [-1, 1] that belong together (a source and its output), changed, one after the other in channels.

        Colours are drawn for each of them, what moves or covers pixels once for all.

        Raises:
            UserError: geometry on a GPU that was told to be deterministic.
        """
        if self.is_off:
            return torch.cat(images, 1)
        joined = torch.cat([self._recolor(each) for each in images] if self.color else images, 1)
        count, _, height, width = joined.shape
        if self.geometry:
            if joined.device.type in ("cuda", "mps") and torch.are_deterministic_algorithms_enabled():
                raise UserError(
                    "discriminator_augmentation.geometry=true has no deterministic gradient on a GPU: use "
                    "discriminator_augmentation.geometry=false, or deterministic=false"
                )
            sides = torch.randint(2, (count,), device=joined.device).to(joined) * 2 - 1
            scales = torch.exp2(0.2 * torch.randn(count, device=joined.device, dtype=joined.dtype))
            joined = warp(
                joined,
                side=self._sometimes(sides, 1.0),
                scale=self._sometimes(scales, 1.0),
                angle=self._sometimes(uniform(joined, -180.0, 180.0), 0.0),
            )
        if self.translation:
            steps = [torch.randint(-most, most + 1, (count,), device=joined.device) for most in eighths(height, width)]
            down, right = self._sometimes(torch.stack(steps, 1), 0).unbind(1)
            joined = shift(joined, down=down, right=right)
        if self.cutout:
            halves = [torch.full((count,), side // 2, device=joined.device) for side in (height, width)]
            rows, columns = self._sometimes(torch.stack(halves, 1), 0).unbind(1)
            # Of an even extent the centre lies between two pixels, and so has a place more.
            y, x = (torch.randint(side + 1 - side // 2 % 2, (count,), device=joined.device) for side in (height, width))
            joined = cover(joined, center=(y, x), extent=(rows, columns))
        return joined

    def _recolor(self, images: Images) -> Images:
        images = brighten(images, self._sometimes(uniform(images, -0.5, 0.5), 0.0))
        images = saturate(images, self._sometimes(uniform(images, 0.0, 2.0), 1.0))
        return contrast(images, self._sometimes(uniform(images, 0.5, 1.5), 1.0))

    def _sometimes(self, values: Tensor, neutral: float) -> Tensor:
        """`values` (B, ...), but `neutral` for the images that are drawn to stay what they are."""
        is_changed = torch.rand(len(values), device=values.device) < self.probability
        return torch.where(is_changed.view(-1, *[1] * (values.ndim - 1)), values, neutral)


class AdaptiveAugmentation(DiscriminatorAugmentation):
    """Augmentation as often as needed: its probability rises while the discriminator is too sure of real images.

    The measure is r_t = E[sign(D(real))] (Karras et al. 2020, equation 1): 1 where every real image is known for real,
    0 where the discriminator guesses. Every `interval` steps its mean over these is compared with the target, and the
    probability goes a fixed amount up or down (section 3). D is counted from the objective's middle between real and
    fake. All of it stays on the device: nobody waits for the probability, and so draws are made even while it is 0.

    Args:
        color: brightness, saturation and contrast, for any number of channels.
        translation: shifts by whole pixels, up to an eighth of the image; what is uncovered is 0.
        cutout: covers a rectangle of half the height and half the width, anywhere, with 0.
        geometry: mirrors left and right half of the time, turns by any angle, and scales by 2^N(0, 0.2); the border is
            reflected.
        probability: at the start.
        target: r_t that is aimed at (0.6 in the paper).
        interval: steps between two adjustments (4 in the paper).
        images_to_full: images in which the probability would rise from 0 to 1 (500,000 in the paper).
        max_probability: where it stops. The paper finds that augmentation begins to show in generated images above 0.8.

    Raises:
        UserError: as `DiscriminatorAugmentation`, or a number outside its range.
    """

    def __init__(
        self,
        *,
        color: bool = True,
        translation: bool = True,
        cutout: bool = False,
        geometry: bool = True,
        probability: float = 0.0,
        target: float = 0.6,
        interval: int = 4,
        images_to_full: int = 500_000,
        max_probability: float = 0.8,
    ) -> None:
        super().__init__(
            color=color, translation=translation, cutout=cutout, geometry=geometry, probability=probability
        )
        if not -1 < target < 1:
            raise UserError(f"discriminator_augmentation.target={target} must lie between -1 and 1")
        for name, value in (("interval", interval), ("images_to_full", images_to_full)):
            if value < 1:
                raise UserError(f"discriminator_augmentation.{name}={value} must be at least 1")
        if not probability <= max_probability <= 1 or max_probability == 0:
            raise UserError(
                f"discriminator_augmentation.max_probability={max_probability} must be more than 0, at most 1, and no "
                f"less than discriminator_augmentation.probability={probability}"
            )
        self.target = target
        self.interval = interval
        self.images_to_full = images_to_full
        self.max_probability = max_probability
        self.middle = 0.0
        self.is_off = False
        self.signs: Tensor
        self.watched: Tensor
        self.adjusted_at: Tensor
        self.real_sign: Tensor
        self.register_buffer("signs", torch.tensor(0.0))  # sum of what was watched since the last adjustment
        self.register_buffer("watched", torch.tensor(0))  # how often that was
        self.register_buffer("adjusted_at", torch.tensor(0))  # the step of the last adjustment
        self.register_buffer("real_sign", torch.tensor(0.0))  # r_t of that adjustment

    def attach(self, objective: AdversarialObjective) -> None:
        """Be told the objective whose discriminators it serves.

        Raises:
            UserError: the objective's logits have no middle between real and fake (wasserstein).
        """
        if objective.middle is None:
            raise UserError(
                "discriminator_augmentation=ada follows the sign of the logits of real images, which means nothing "
                "with objective=wasserstein: use discriminator_augmentation=diffaugment, or objective=nonsaturating, "
                "hinge or lsgan"
            )
        self.middle = objective.middle

    @torch.no_grad()
    def watch(self, real_logits: Float[Tensor, "batch ..."], step: "Step") -> None:
        """Take in what a discriminator makes of a step's real images, those of all processes.

        In the first call of a step that is due, the probability is adjusted by what was taken in before. Of several
        discriminators the mean counts.
        """
        real_logits = step.gather(real_logits)
        is_due = step.number - self.adjusted_at >= self.interval
        real_sign = self.signs / self.watched.clamp(min=1)
        amount = self.interval * len(real_logits) / self.images_to_full
        probability = self.probability + amount * (real_sign - self.target).sign()
        probability = probability.clamp(0, self.max_probability)
        self.probability.copy_(torch.where(is_due, probability, self.probability))
        self.real_sign.copy_(torch.where(is_due, real_sign, self.real_sign))
        self.adjusted_at.copy_(torch.where(is_due, step.number, self.adjusted_at))
        self.signs.copy_(torch.where(is_due, 0.0, self.signs) + (real_logits - self.middle).sign().mean())
        self.watched.copy_(torch.where(is_due, 0, self.watched) + 1)

    def signals(self) -> dict[str, Tensor]:
        return {"augmentation_probability": self.probability, "real_sign": self.real_sign}


def brighten(images: Images, amount: PerImage) -> Images:
    """Add a constant to each image."""
    return images + amount.view(-1, 1, 1, 1)


def saturate(images: Images, factor: PerImage) -> Images:
    """Multiply the distance of each pixel's channels from their mean; 0 makes it grey, 1 changes nothing."""
    return images + (factor.view(-1, 1, 1, 1) - 1) * (images - images.mean(1, keepdim=True))


def contrast(images: Images, factor: PerImage) -> Images:
    """Multiply the distance of each value from the image's mean; 1 changes nothing."""
    return images + (factor.view(-1, 1, 1, 1) - 1) * (images - images.mean((1, 2, 3), keepdim=True))


def warp(images: Images, *, side: PerImage, scale: PerImage, angle: PerImage) -> Images:
    """Mirror each image left and right where `side` is -1, turn it by `angle` degrees, enlarge it `scale` times.

    Counter-clockwise about the centre, bilinear, the border reflected. At side 1, scale 1, angle 0 nothing changes.
    """
    # kornia's warp_affine waits for the device (it copies constants to it), and its colour changes cut off gradients.
    height, width = images.shape[2:]
    turn = torch.deg2rad(angle)
    across, along, zero = torch.sin(turn) / scale, torch.cos(turn) / scale, torch.zeros_like(angle)
    # From places in the result to places in the image, in units of half a width and half a height.
    rows = [side * along, -side * across * height / width, zero, across * width / height, along, zero]
    grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    is_still = (side == 1) & (scale == 1) & (angle == 0)
    return torch.where(is_still.view(-1, 1, 1, 1), images, moved)


def shift(images: Images, *, down: Pixels, right: Pixels) -> Images:
    """Move each image by whole pixels; what is uncovered is 0."""
    for axis, steps in ((2, down), (3, right)):
        size = images.shape[axis]
        origin = torch.arange(size, device=images.device) - steps[:, None]  # (B, size): the pixel that comes here
        origin = origin[:, None, :, None] if axis == 2 else origin[:, None, None, :]
        moved = torch.take_along_dim(images, origin.clamp(0, size - 1), axis)
        images = moved.masked_fill((origin < 0) | (origin >= size), 0)
    return images


def cover(images: Images, *, center: tuple[Pixels, Pixels], extent: tuple[Pixels, Pixels]) -> Images:
    """Set a rectangle of each image to 0, `extent` rows and columns about `center`, as far as it lies inside."""
    covered = []
    for axis, middle, count in zip((2, 3), center, extent, strict=True):
        offset = torch.arange(images.shape[axis], device=images.device) - (middle - count // 2)[:, None]
        covered.append((offset >= 0) & (offset < count[:, None]))  # (B, size)
    return images.masked_fill(covered[0][:, None, :, None] & covered[1][:, None, None, :], 0)


def uniform(images: Images, low: float, high: float) -> PerImage:
    """A draw from U(low, high) for each image."""
    return torch.rand(len(images), device=images.device, dtype=images.dtype) * (high - low) + low


def eighths(height: int, width: int) -> tuple[int, int]:
    """An eighth of each side, to the nearest pixel."""
    return round(height / 8), round(width / 8)
