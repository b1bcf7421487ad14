"""Label files: which domains an image shows, as a CSV file or in the format of CelebA's list_attr_celeba.txt."""

import csv
import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from translate.data.splits import SPLIT_OF
from translate.domains import Kind
from translate.errors import UserError

VALUES = {"1": 1.0, "true": 1.0, "0": 0.0, "-1": 0.0, "false": 0.0}
"""What a label may be in a file, in lower case."""

Line = TypeVar("Line")
Label = TypeVar("Label")


class Row(NamedTuple):
    """One image: the line it is listed on, its path as listed, a number per domain, its split ("" where none is)."""

    line: int
    path: str
    values: tuple[float, ...]
    split: str


class LabelFile(NamedTuple):
    """What a label file says. `kind` is None where the values decide whether they are one-hot or attributes."""

    names: tuple[str, ...]
    kind: Kind | None
    rows: list[Row]
    problems: list[str]


def choose(wanted: Sequence[str] | None, found: Sequence[str], *, setting: str, where: str) -> tuple[str, ...]:
    """The `wanted` names, which must be among the `found` ones; all of those where nothing is wanted.

    Raises:
        UserError: a name is not there (the message gives the choices), or is wanted twice.
    """
    names = tuple(found if wanted is None else wanted)
    for name in names:
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"{setting} names {name!r}, but {where} holds {', '.join(found) or 'none'}{hint}")
        if names.count(name) > 1:
            raise UserError(f"{setting} names {name!r} twice: once is enough")
    return names


def read_csv(path: Path, wanted: Sequence[str] | None, *, node: str, setting: str) -> LabelFile:
    """Read a CSV file with columns image, maybe split, and either domain (a name) or one column per attribute.

    `wanted` are the domains to use, None for all; rows of other domains are left out. `node` and `setting` are where
    the data set and this path stand in the configuration.

    Raises:
        UserError: no CSV file, columns are missing, or a wanted domain is.
    """
    lines = _csv_lines(path, setting)
    columns = next(lines, (0, list[str]()))[1]
    labels = [column for column in columns if column not in ("", "image", "split")]
    if "image" not in columns or not labels:
        raise UserError(
            f"{setting}={path} needs a column image and either a column domain or one column per attribute; its "
            f"columns are {', '.join(columns) or 'none'}"
        )
    repeated = [column for column in labels if columns.count(column) > 1]
    if repeated:
        raise UserError(f"{setting}={path} has several columns named {repeated[0]!r}: rename or remove one")

    def cells_of(cells: list[str]) -> dict[str, str]:
        if len(cells) != len(columns):
            raise ValueError(f"has {len(cells)} cells, but the first line names {len(columns)} columns")
        row = dict(zip(columns, cells, strict=True))
        if row.get("split") and row["split"] not in SPLIT_OF:
            raise ValueError(f"has split={row['split']!r}, which is not one of {', '.join(SPLIT_OF)}")
        return row

    def with_attributes(cells: list[str]) -> tuple[str, tuple[float, ...], str]:
        row = cells_of(cells)
        values = _values(names, [row[name] for name in names], node)
        return row["image"], values, SPLIT_OF.get(row.get("split", ""), "")

    def with_domain(cells: list[str]) -> tuple[str, str, str]:
        row = cells_of(cells)
        if not row["domain"]:
            raise ValueError("names no domain")
        return row["image"], row["domain"], SPLIT_OF.get(row.get("split", ""), "")

    if "domain" not in columns:
        names = choose(wanted, labels, setting=f"{node}.domains", where=str(path))
        attributes, problems = _rows(path, lines, with_attributes)
        return LabelFile(names, None, [Row(*row) for row in attributes], problems)
    found, problems = _rows(path, lines, with_domain)
    known = sorted({domain for _, _, domain, _ in found})
    names = choose(wanted, known, setting=f"{node}.domains", where=f"the column domain of {path}") if known else ()
    one_hot = {name: tuple(float(other == name) for other in names) for name in names}
    rows = [Row(line, image, one_hot[domain], split) for line, image, domain, split in found if domain in one_hot]
    return LabelFile(names, "one_hot", rows, problems)


def read_list_attr(path: Path, wanted: Sequence[str] | None, *, node: str, setting: str) -> LabelFile:
    """Read CelebA's format: the number of images, a line of attribute names, then `file.jpg -1 1 ...` per image.

    Raises:
        UserError: the file is not in this format, or a wanted attribute is missing.
    """
    lines = _text_lines(path, setting)
    count = next(lines, (0, ""))[1]
    columns = next(lines, (0, ""))[1].split()
    if not count.strip().isdecimal() or not columns:
        raise UserError(
            f"{setting}={path} is not a list of attributes: its first line is to be the number of images, the second "
            f"the names of the attributes; a CSV file is read with {node}.layout=csv"
        )
    names = choose(wanted, columns, setting=f"{node}.domains", where=str(path))
    places = [columns.index(name) + 1 for name in names]

    def parse(text: str) -> tuple[str, tuple[float, ...], str]:
        cells = text.rsplit(maxsplit=len(columns))  # from the right: the name of the file may hold spaces
        if len(cells) != len(columns) + 1:
            raise ValueError(f"does not hold a file and {len(columns)} values")
        return cells[0], _values(names, [cells[place] for place in places], node), ""

    rows, problems = _rows(path, lines, parse)
    if len(rows) + len(problems) != int(count):
        problems.insert(0, f"{path}: says {int(count)} images, but lists {len(rows) + len(problems)}: is it complete?")
    return LabelFile(names, None, [Row(*row) for row in rows], problems)


def _rows(
    path: Path, lines: Iterator[tuple[int, Line]], parse: Callable[[Line], tuple[str, Label, str]]
) -> tuple[list[tuple[int, str, Label, str]], list[str]]:
    """What `parse` (image, labels, split) makes of every line, and as problems the ValueErrors it raises instead."""
    rows: list[tuple[int, str, Label, str]] = []
    problems: list[str] = []
    first: dict[str, int] = {}
    for line, content in lines:
        try:
            image, label, split = parse(content)
            if not image:
                raise ValueError("names no image")
            if first.setdefault(image, line) != line:
                raise ValueError(f"lists {image} again, which is on line {first[image]} already")
        except ValueError as wrong:
            problems.append(f"{path}: line {line} {wrong}")
        else:
            rows.append((line, image, label, split))
    return rows, problems


def _values(names: Sequence[str], cells: Sequence[str], node: str) -> tuple[float, ...]:
    values = tuple(VALUES.get(cell.lower(), -1.0) for cell in cells)
    if -1.0 in values:
        place = values.index(-1.0)
        raise ValueError(
            f"has {names[place]}={cells[place]!r}, which is not one of {', '.join(VALUES)} ({node}.domains chooses "
            "the columns that are read)"
        )
    return values


def _csv_lines(path: Path, setting: str) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{setting}={path} cannot be read as a CSV file: {error}") from error


def _text_lines(path: Path, setting: str) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from ((line, text) for line, text in enumerate(file, start=1) if text.strip())
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{setting}={path} cannot be read as text: {error}") from error
