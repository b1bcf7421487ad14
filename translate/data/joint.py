"""Two sets of labelled images that know different labels, trained on as one (Choi et al. 2018, section 3.3)."""

from collections import Counter
from dataclasses import replace

from translate.data.check import Inspection
from translate.data.labeled import LabeledData, LabeledItems, LabeledPicture, LabeledSource
from translate.data.loading import Cache, Picture
from translate.data.source import Progress
from translate.domains import Domains
from translate.errors import UserError


class JointData(LabeledSource):
    """Images of two data sets in turn, such as faces labelled with attributes and faces labelled with expressions.

    A label vector holds the labels of both sets and a mask that says which of them is known (`translate.domains`).
    An epoch shows every image of the larger set once, and those of the smaller one again and again.

    Args:
        first: one data set.
        second: the other; its images have the same channels, pixel type and value range.
        workers: processes that load images; None chooses. Those of the two sets are not used.
        cache_gib: memory for decoded and resized images, in GiB over all workers; 0 is off.
    """

    def __init__(
        self, *, first: LabeledData, second: LabeledData, workers: int | None = None, cache_gib: float = 0.0
    ) -> None:
        super().__init__(workers=workers, cache_gib=cache_gib)
        self.sets = (first, second)
        first.node, second.node = "data.first", "data.second"
        self._lifted: tuple[dict[str, list[LabeledPicture]], ...] = ()

    def inspect(self, image_size: int, progress: Progress | None = None, *, advise: bool = False) -> Inspection:
        """Inspect both data sets.

        Raises:
            UserError: there is nothing to look at in one of them, or both know a domain of the same name.
        """
        first, second = self.sets
        for data in self.sets:
            data.find(image_size)
        shared = [name for name in second.domains.names if name in first.domains.names]
        if shared:
            raise UserError(
                f"both data.first.root={first.root} and data.second.root={second.root} know {', '.join(shared)}: "
                "rename that folder or column in one, or leave it out of data.first.domains or data.second.domains"
            )
        self._domains = Domains(first.domains.sets + second.domains.sets)
        self._lifted = tuple(
            {
                split: [replace(member, vector=self._domains.vector(index, member.vector)) for member in members]
                for split, members in data.splits.items()
            }
            for index, data in enumerate(self.sets)
        )
        self.splits = {split: self._lifted[0][split] + self._lifted[1][split] for split in self._lifted[0]}
        one, other = (data.look(image_size, progress, advise=advise) for data in self.sets)
        self.side = first.side
        counts = one.counts | other.counts | {f"{split} images": len(members) for split, members in self.splits.items()}
        problems = one.problems + other.problems + self._compare_sides()
        sizes = Counter(one.sizes) + Counter(other.sizes)
        warnings = [] if problems else one.warnings + other.warnings
        return Inspection(counts, {"images": self.side}, sizes, problems, warnings)

    def know(self, domains: Domains | None) -> None:
        own = self.domains
        super().know(domains)
        self._lifted = tuple(
            {
                split: [replace(each, vector=self.domains.lift(each.vector, own)) for each in members]
                for split, members in part.items()
            }
            for part in self._lifted
        )

    def items(self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0) -> LabeledItems:
        """The images of one split, those of the first set at even places; call `inspect` before.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        return LabeledItems(
            [
                (data.loader(image_size, Cache(cache_gib / 2), augment=augment), lifted[split])
                for data, lifted in zip(self.sets, self._lifted, strict=True)
            ],
            seed,
        )

    def twin(self, split: str, subject: str, domain: str) -> Picture | None:
        """The image of `subject` that shows `domain`, in whichever set knows it."""
        return next((found for data in self.sets if (found := data.twin(split, subject, domain))), None)

    def _compare_sides(self) -> list[str]:
        """How the images of the sets differ, as problems."""
        first, second = self.sets
        a, b = first.side, second.side
        if a is None or b is None or a == b:
            return []
        if a.channels != b.channels:
            most = max(a.channels, b.channels)
            grey = "data.first" if a.channels < b.channels else "data.second"
            remedy = f"set {grey}.channels={most}" if {a.channels, b.channels} == {1, 3} else "convert one of them"
            how = f"{b.channels} channels, but those in {first.root} have {a.channels}: {remedy}"
        elif a.dtype != b.dtype:
            how = f"{b.dtype} pixels, but those in {first.root} have {a.dtype}: convert one of them"
        else:
            how = (
                f"values from {b.low:g} to {b.high:g}, but those in {first.root} from {a.low:g} to {a.high:g}: set "
                f"data.second.value_range=[{a.low:g},{a.high:g}]"
            )
        return [f"{second.root}: the images have {how}"]
