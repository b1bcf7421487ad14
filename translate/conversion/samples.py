"""Several translations of each image: a translator whose domains are samples, each with a code of its own."""

from collections.abc import Iterator, Sequence

import numpy as np

from translate.codes import draw_codes
from translate.conversion.engine import Pixels
from translate.conversion.translator import Translator
from translate.errors import UserError


class Sampler(Translator):
    """Translates into `sample_1`, `sample_2`, ...: each has one code, drawn from N(0, 1), for all images.

    Args:
        translator: what translates, with a code.
        count: samples; of more, the first are the same.
        seed: of the codes.

    Raises:
        UserError: the model takes no codes, or the backend none; a count below 1 or a seed below 0.
    """

    def __init__(self, translator: Translator, count: int, seed: int = 0) -> None:
        super().__init__(
            translator.engine,
            resize=translator.resize,
            tile=translator.tile,
            tile_statistics=translator.tile_statistics,
        )
        if count < 1:
            raise UserError(f"--samples {count} is not at least 1")
        if seed < 0:
            raise UserError(f"--seed {seed} is not at least 0")
        codes = draw_codes(count, translator.engine.info.latent, seed)
        self.samples = {f"sample_{place}": translator.with_code(code) for place, code in enumerate(codes, start=1)}

    def requests(self, words: str | Sequence[str]) -> list[str]:
        """The names of the samples; errors as of a translator, for domains that are asked for."""
        super().requests(words)
        return list(self.samples)

    def fingerprint(self, domain: str | None) -> str:
        """That of the model with the code of the sample `domain`."""
        return self.samples[str(domain)].fingerprint(None)

    def translate_batch(self, images: Sequence[np.ndarray], domain: str | None = None) -> list[np.ndarray]:
        """The sample `domain` of images, as a translator with its code gives it."""
        return self.samples[str(domain)].translate_batch(images)

    def translate_strips(self, source: Pixels, domain: str | None = None) -> Iterator[np.ndarray]:
        """The sample `domain` of an image in strips, as a translator with its code gives them."""
        return self.samples[str(domain)].translate_strips(source)
