"""What a conversion makes of its input: which files, under which names, before anything is read or written."""

import hashlib
import os
import re
import stat
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from translate.conversion.video import EXTENSIONS as VIDEOS
from translate.data.image import EXTENSIONS, TYPES, can_hold
from translate.errors import UserError

Format = Literal["keep", "png", "jpeg", "webp", "tiff"]
FORMATS: dict[str, str | None] = {"keep": None, "png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}
ALIASES = {".jpg": {".jpg", ".jpeg"}, ".tif": {".tif", ".tiff"}}
FAILURES = "failures.jsonl"
FAILURE_LISTS = re.compile(r"failures(-\d+-of-\d+)?\.jsonl")
LOGS = ".translate"
NAMED = 10
"""Collisions that are named one by one."""
PIPES = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


class Job(NamedTuple):
    """One input and what becomes of it.

    Attributes:
        name: the input below INPUT, with forward slashes.
        domains: what it is translated into; `(None,)` for a model without domains.
    """

    name: str
    domains: tuple[str | None, ...]


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count`. An input belongs to a part by a hash of its name alone, so that the parts are
    the same whatever is done already, and stay so when inputs are added."""

    index: int
    count: int

    def __contains__(self, name: str) -> bool:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1

    @classmethod
    def parse(cls, given: "str | tuple[int, int] | Shard | None") -> "Shard | None":
        """The shard that `"I/N"` or `(I, N)` means.

        Raises:
            UserError: it is no such pair, or I is not between 1 and N.
        """
        if given is None or isinstance(given, Shard):
            return given
        match = re.fullmatch(r"(\d+)/(\d+)", given if isinstance(given, str) else "/".join(map(str, given)))
        index, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= index <= count:
            raise UserError(f"--shard {given} is not I/N with I from 1 to N, as 1/4 for the first of four parts")
        return cls(index, count)


UNREAD = frozenset(
    {".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".exr", ".hdr", ".psd", ".cr2", ".cr3", ".nef", ".arw", ".dng"}
    | {".czi", ".nd2", ".lif", ".dcm", ".svs", ".wmv", ".mpg", ".mpeg", ".flv"}
)
"""Pictures and videos that are not read, and not passed over in silence."""
REMEDY = "convert it to PNG or TIFF (a video to MP4) first"


@dataclass
class Plan:
    """What is converted into what.

    Attributes:
        folder: where the inputs lie.
        output: the folder that the outputs go into.
        tree: the names of the inputs by folder below `folder`, both sorted; "" is `folder` itself.
        places: the folder of each domain below `output`, "" for a single one.
        suffixes: the extension of the output for each of an input.
        problems: (name, reason) of what cannot be an input: unreadable folders, pipes named like images.
        renamed: the output, where a single image was given one by name.
        is_folder: whether INPUT is a folder.
        adapts: whether pixels may be changed to fit the output's format, because the user named one.
    """

    folder: Path
    output: Path
    tree: dict[str, list[str]]
    places: dict[str | None, str]
    suffixes: Mapping[str, str]
    problems: list[tuple[str, str]] = field(default_factory=list)
    renamed: str | None = None
    is_folder: bool = True
    adapts: bool = False

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return sum(map(len, self.tree.values()))

    def names(self) -> Iterator[str]:
        """Every input below `folder`."""
        for folder, files in self.tree.items():
            yield from (f"{folder}/{file}" if folder else file for file in files)

    def written_as(self, file: str) -> str:
        """The name of the output of an input file, without folders."""
        if self.renamed is not None:
            return self.renamed
        stem, dot, extension = file.rpartition(".")
        suffix = dot + extension
        wanted = self.suffixes[suffix.lower()]
        return file if wanted == suffix.lower() else stem + wanted

    def output_of(self, name: str, domain: str | None) -> str:
        """The output of an input in a domain, below `output`, with forward slashes."""
        folder, slash, file = name.rpartition("/")
        place = self.places[domain]
        return f"{place}{'/' * bool(place)}{folder}{slash}{self.written_as(file)}"


def make_plan(
    input_path: Path,
    output: Path,
    *,
    format: Format = "keep",
    channels: int,
    domains: Sequence[str] = (),
) -> Plan:
    """Find the inputs and name the outputs, which have `channels`; see `convert_folder` for the rules.

    Several `domains` become a folder each in `output`.

    Raises:
        UserError: there is nothing to convert; a format that cannot hold the outputs; OUTPUT lies in INPUT or is
            INPUT; two inputs would become one output, or two domains one folder.
    """
    if format not in FORMATS:
        raise UserError(f"--format {format} is not one of {', '.join(FORMATS)}")
    if not input_path.exists():
        raise UserError(f"INPUT {input_path} does not exist: give an image, a video or a folder of them")
    places: dict[str | None, str] = dict.fromkeys(domains or (None,), "")
    suffixes = _suffixes(format, channels)
    if input_path.is_file():
        return _plan_one(input_path, output, format, channels, places, suffixes)
    if not input_path.is_dir():
        raise UserError(f"INPUT {input_path} is neither a file nor a folder")
    if len(domains) > 1:
        _check_is_folder(output, f"{len(domains)} {_kind(domains)} were asked for")
        places.update(_places(domains, output))
    if output.is_file():
        raise UserError(f"OUTPUT {output} is a file, but INPUT {input_path} is a folder: give a folder")
    _check_apart(input_path, output, places.values())
    tree, problems = find_inputs(input_path)
    if not tree and not problems:
        known = ", ".join(sorted(EXTENSIONS | VIDEOS))
        raise UserError(f"INPUT {input_path} holds no images or videos (looked for {known})")
    plan = Plan(input_path, output, tree, places, suffixes, problems, adapts=format != "keep")
    _check_collisions(plan)
    return plan


def find_inputs(root: Path) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The images and videos below a folder, as `Plan.tree`, and (name, reason) of what cannot be read.

    Hidden files and folders and `__MACOSX` are left out. Links are followed, but every folder is entered once, and
    by its own name where it has one below `root`: links cannot lead round in circles.
    """
    tree: dict[str, list[str]] = {}
    problems: list[tuple[str, str]] = []
    known = EXTENSIONS | VIDEOS
    visited: set[tuple[int, int]] = set()
    linked: list[str] = []
    waiting = [""]
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)
        files: list[str] = []
        path = os.path.join(root, folder)
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    below = f"{folder}/{name}" if folder else name
                    if name.startswith(".") or name == "__MACOSX":
                        continue
                    if _is_folder(entry):
                        (linked if entry.is_symlink() else waiting).append(below)
                    elif (suffix := os.path.splitext(name)[1].lower()) in UNREAD:
                        problems.append((below, f"is a {suffix} file, which is not read: {REMEDY}"))
                    elif suffix not in known:
                        continue
                    elif _is_pipe(entry):
                        problems.append((below, "is no regular file"))
                    else:
                        files.append(name)
        except OSError as error:
            problems.append((folder, f"cannot be opened: {error.strerror or error}"))
        linked.sort()
        if files:
            tree[folder] = sorted(files)
    return dict(sorted(tree.items())), sorted(problems)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_pipe(entry: "os.DirEntry[str]") -> bool:
    """Whether opening it might wait for ever. What cannot be looked at fails when it is read."""
    try:
        return not entry.is_file() and stat.S_IFMT(entry.stat().st_mode) in PIPES
    except OSError:
        return False


def _suffixes(format: Format, channels: int) -> dict[str, str]:
    """The extension of outputs of `channels` for each extension of an input."""
    wanted = FORMATS[format]
    if wanted is not None and not _holds(wanted, channels) and not (wanted == ".jpg" and channels == 4):
        raise UserError(
            f"--format {format} cannot hold the {channels} channels that this model makes: use --format tiff"
        )
    kept = {suffix: suffix if _holds(suffix, channels) else ".tif" for suffix in EXTENSIONS}
    if channels == 3:
        kept[".pgm"] = ".ppm"
    if channels == 1:
        kept[".ppm"] = ".pgm"
    images = kept if wanted is None else dict.fromkeys(EXTENSIONS, wanted)
    for suffix in ALIASES.get(wanted or "", ()):
        images[suffix] = suffix  # a `.jpeg` is of the format already
    return images | {suffix: suffix for suffix in VIDEOS}


def _holds(suffix: str, channels: int) -> bool:
    """Whether files of this extension hold results of `channels` in some pixel type."""
    return any(can_hold(suffix, dtype, channels) for dtype in TYPES)


def _plan_one(
    path: Path,
    output: Path,
    format: Format,
    channels: int,
    places: dict[str | None, str],
    suffixes: Mapping[str, str],
) -> Plan:
    """One image or video, into a file that OUTPUT names or into a folder."""
    known = EXTENSIONS | VIDEOS
    suffix, named = path.suffix.lower(), output.suffix.lower()
    if suffix not in known:
        raise UserError(f"INPUT {path} is no image or video by its extension: {', '.join(sorted(known))}")
    if named in UNREAD:
        raise UserError(f"OUTPUT {output} is a {named} file, which is not written: name it .png or .tif, or a folder")
    if len(places) > 1:
        domains = [domain for domain in places if domain is not None]
        _check_is_folder(output, f"{len(domains)} {_kind(domains)} were asked for")
        places.update(_places(domains, output))
    is_named = named in known and not output.is_dir()
    if is_named:
        wanted = FORMATS[format]
        if (suffix in VIDEOS) != (named in VIDEOS):
            kind = "a video" if suffix in VIDEOS else "an image"
            raise UserError(f"OUTPUT {output} cannot hold INPUT {path}, which is {kind}: give another extension")
        if wanted is not None and suffix not in VIDEOS and named not in ALIASES.get(wanted, {wanted}):
            raise UserError(f"OUTPUT {output} contradicts --format {format}: leave one of them out")
        if named not in VIDEOS and not _holds(named, channels) and not (named in ALIASES[".jpg"] and channels == 4):
            raise UserError(f"OUTPUT {output}: {named} files cannot hold {channels} channels: name it .tif")
    elif output.is_file():
        raise UserError(f"OUTPUT {output} is a file without the extension of an image: give a folder or an image")
    plan = Plan(
        path.parent,
        output.parent if is_named else output,
        {"": [path.name]},
        places,
        suffixes,
        renamed=output.name if is_named else None,
        is_folder=False,
        adapts=format != "keep" or (is_named and named != suffix),
    )
    for domain in places:
        result = plan.output / plan.output_of(path.name, domain)
        if result.exists() and result.samefile(path):
            raise UserError(f"OUTPUT {result} is INPUT itself: give another name or folder")
    return plan


def _kind(domains: Sequence[str]) -> str:
    """What people call the domains: those of a `Sampler` are samples."""
    return "samples" if all(re.fullmatch(r"sample_\d+", domain) for domain in domains) else "domains"


def _check_is_folder(output: Path, why: str) -> None:
    if output.suffix.lower() in EXTENSIONS | VIDEOS and not output.is_dir():
        raise UserError(f"OUTPUT {output} is one image, but {why}: give a folder")


def _check_apart(input_path: Path, output: Path, places: Iterable[str]) -> None:
    """Outputs must not become inputs, and no output may overwrite an input."""
    source = input_path.resolve()
    for place in places:
        target = (output / place).resolve()
        if target == source or source in target.parents:
            raise UserError(
                f"OUTPUT {output / place} lies in INPUT {input_path}, where outputs would become inputs: use another "
                "folder"
            )
        if target in source.parents:
            first = source.relative_to(target).parts[0]
            if (source / first).is_dir():
                raise UserError(
                    f"INPUT {input_path} lies in OUTPUT {output / place} and holds a folder {first} itself, so that "
                    "outputs could overwrite inputs: use another folder"
                )


def _places(domains: Sequence[str], output: Path) -> dict[str, str]:
    """The folder of each domain in `output`: its name, with `_` for what no folder can be called everywhere."""
    places: dict[str, str] = {}
    takers: dict[str, str] = {}
    for domain in domains:
        name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", domain)
        is_file = PurePosixPath(name).suffix.lower() in EXTENSIONS | VIDEOS
        if not name.strip(".") or name == LOGS or FAILURE_LISTS.fullmatch(name) or is_file:
            name += "_"  # neither `..` nor what looks like a file
        taker = takers.setdefault(_as_disks_compare(name), domain)
        if taker != domain:
            raise UserError(
                f"the domains {taker!r} and {domain!r} would both become the folder {output / name}: ask for one at a "
                "time, each with its own OUTPUT"
            )
        places[domain] = name
    return places


def _check_collisions(plan: Plan) -> None:
    """Every output is of one input, and none is a folder of another."""
    paths = [folder.split("/") for folder in plan.tree if folder]
    folders = {"/".join(parts[:end]) for parts in paths for end in range(1, len(parts) + 1)}
    if lists := [folder for folder in folders if FAILURE_LISTS.fullmatch(folder)]:
        raise UserError(f"INPUT {plan.folder} holds a folder {lists[0]}, which OUTPUT needs as a file: rename it")
    alike = _alike(plan, folders)
    exact = [group for group in alike if len({output for _, output in group}) < len(group)]
    if exact:
        _refuse(plan, exact, "use --format keep, or rename one of them")
    if alike and not _tells_apart(plan.output):
        _refuse(plan, alike, "the disk of OUTPUT does not tell the names apart: rename one of them")


def _alike(plan: Plan, folders: set[str]) -> list[list[tuple[str, str]]]:
    """Groups of (input, output) whose outputs differ in case or Unicode normalisation at most."""

    def outputs() -> Iterator[tuple[str, str]]:
        yield from ((folder, folder) for folder in sorted(folders))
        for folder, files in plan.tree.items():
            start = f"{folder}/" if folder else ""
            yield from ((start + file, start + plan.written_as(file)) for file in files)

    # Numbers first: a million names are held only where some are alike.
    seen: set[int] = set()
    twice: set[int] = set()
    for _, output in outputs():
        number = hash(_as_disks_compare(output))
        (twice if number in seen else seen).add(number)
    if not twice:
        return []
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, output in outputs():
        if hash(key := _as_disks_compare(output)) in twice:
            groups[key].append((name, output))
    # Folders that are alike become one, which loses nothing.
    return [
        sorted(group) for group in groups.values() if len(group) > 1 and any(name not in folders for name, _ in group)
    ]


def _refuse(plan: Plan, groups: Sequence[Sequence[tuple[str, str]]], remedy: str) -> None:
    lines = [
        f"{plan.folder / first} and {plan.folder / second} would both become {plan.output / output}"
        for (first, _), (second, output) in (group[:2] for group in groups[:NAMED])
    ]
    if len(groups) > NAMED:
        lines.append(f"and {len(groups) - NAMED} more")
    raise UserError("\n".join(lines) + f": {remedy}")


def _as_disks_compare(name: str) -> str:
    """Names that some disk takes for one are equal in this form."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _tells_apart(output: Path) -> bool:
    """Whether the disk of OUTPUT tells names apart that differ in case or Unicode normalisation alone."""
    place = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.is_dir())
    try:
        with tempfile.NamedTemporaryFile(prefix=".translate-a\N{LATIN SMALL LETTER E WITH ACUTE}-", dir=place) as file:
            name = os.path.basename(file.name)
            others = (name.swapcase(), unicodedata.normalize("NFD", name))
            return not any((place / other).exists() for other in others)
    except OSError:  # nothing can be written there, which is said when it is tried
        return True
