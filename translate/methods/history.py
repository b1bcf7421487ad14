"""A memory of generated images, so that a discriminator does not forget what its opponent used to do."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ImageHistory(nn.Module):
    """Keeps up to `size` generated images and gives back old ones in place of new ones half of the time.

    Shrivastava et al. 2017, section 2.3; as in CycleGAN, section 4 (50 images). Size 0 passes everything through.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.images: Tensor | None = None  # (stored, C, H, W)

    def exchange(
        self,
        images: Float[Tensor, "batch channels height width"],
        coins: Float[Tensor, " batch"],
        places: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels height width"]:
        """Take in new images, one after the other, and return as many.

        Until the history is full, an image is stored and returned. After that it is returned unstored, or, where its
        draw in `coins` exceeds 0.5, swapped for the stored image at `places` * size; both draws are from U(0, 1), on
        the CPU.
        """
        if self.size == 0:
            return images
        returned = []
        for image, coin, place in zip(torch.split(images.detach(), 1), coins.tolist(), places.tolist(), strict=True):
            if self.images is None or len(self.images) < self.size:
                self.images = image.clone() if self.images is None else torch.cat([self.images.to(image), image])
                returned.append(image)
            elif coin > 0.5:
                index = int(place * self.size)
                self.images = self.images.to(image.device)
                returned.append(self.images[index : index + 1].clone())
                self.images[index : index + 1] = image
            else:
                returned.append(image)
        return torch.cat(returned)

    def get_extra_state(self) -> Tensor:
        """The stored images, for exact resume."""
        return torch.empty(0) if self.images is None else self.images.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Put stored images back."""
        self.images = state.clone() if len(state) else None
