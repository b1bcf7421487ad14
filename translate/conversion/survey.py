"""What is left to do of a plan: what OUTPUT holds already, what has changed since, and what is not to be touched."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from translate.conversion.manifest import Manifest, Stamp
from translate.conversion.plan import LOGS, Job, Plan, Shard
from translate.errors import UserError
from translate.files import PARTIAL

STALE, STALE_ELSEWHERE = 300, 3600
"""Seconds after which a file under a temporary name is abandoned; with shards, other machines may be at work."""


@dataclass
class Survey:
    """What is left to do.

    Attributes:
        jobs: what is to be converted, in the order of the plan.
        new: outputs among them that are not there.
        changed: outputs that are there, but of another input, model or options, or were not finished.
        done: outputs that need nothing.
        foreign: (input, reason) of outputs that are there and were made by something else or of another INPUT.
        leftovers: files that a killed run left under a temporary name.
    """

    jobs: list[Job] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    done: int = 0
    foreign: list[tuple[str, str]] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Outputs to be made."""
        return self.new + self.changed


def survey(
    plan: Plan, manifest: Manifest | None, keys: dict[str | None, str], *, shard: Shard | None, overwrite: bool
) -> Survey:
    """Compare a plan with what is in OUTPUT, whose folders are listed once each.

    `keys` are those of the model and options by domain, see `result_key`. Without a manifest, whatever is in OUTPUT
    is somebody else's.

    Raises:
        OSError: a folder of OUTPUT cannot be listed.
        UserError: a link makes a folder of OUTPUT one of INPUT.
    """
    found = Survey()
    all_domains = tuple(plan.places)
    for folder, files in plan.tree.items():
        if plan.is_folder:
            _check_links(plan, folder)
        listings = {domain: _listing(plan, folder, domain, shard, found.leftovers) for domain in all_domains}
        for file in files:
            name = f"{folder}/{file}" if folder else file
            if shard is not None and name not in shard:
                continue
            written = plan.written_as(file)
            domains = tuple(
                domain
                for domain in all_domains
                if _is_pending(plan, manifest, keys, name, domain, listings[domain].get(written), overwrite, found)
            )
            if domains:
                found.jobs.append(Job(name, all_domains if len(domains) == len(all_domains) else domains))
    if manifest is not None:
        found.leftovers += [entry.path for entry in existing(str(plan.output / LOGS)) if _is_leftover(entry, shard)]
    return found


def _is_pending(
    plan: Plan,
    manifest: Manifest | None,
    keys: dict[str | None, str],
    name: str,
    domain: str | None,
    there: "os.DirEntry[str] | None",
    overwrite: bool,
    found: Survey,
) -> bool:
    """Whether an output is to be made, which is counted; `there` is the file of its name."""
    if there is None:
        found.new += 1
        return True
    if overwrite:
        found.changed += 1
        return True
    output = plan.output_of(name, domain)
    record = None if manifest is None else manifest.records.get(output)
    if record is None or manifest is None or record.source != manifest.source:
        if record is not None:
            why = f", made from INPUT {record.source}: use another OUTPUT, or --overwrite if INPUT has moved"
        else:
            why = f"{' and was not made by this tool' * plan.is_folder}: move it away, or use --overwrite"
        found.foreign.append((name, f"{plan.output / output} is there already{why}"))
        return False
    try:
        stamp = Stamp.of(os.path.join(plan.folder, name))
        is_done = record[1:4] == (keys[domain], stamp, there.stat().st_size)
    except OSError:  # which is said when it is read
        is_done = False
    found.done += is_done
    found.changed += not is_done
    return not is_done


def _check_links(plan: Plan, folder: str) -> None:
    source = os.path.join(plan.folder, folder)
    for place in plan.places.values():
        target = os.path.join(plan.output, place, folder)
        if os.path.exists(target) and os.path.samefile(source, target):
            raise UserError(
                f"OUTPUT {target} is {source} of INPUT by a link, which would be overwritten: remove the link"
            )


def _listing(
    plan: Plan, folder: str, domain: str | None, shard: Shard | None, leftovers: list[str]
) -> dict[str, "os.DirEntry[str]"]:
    """The files of a folder of OUTPUT by name."""
    files = {}
    for entry in existing(os.path.join(plan.output, plan.places[domain], folder)):
        if _is_leftover(entry, shard):
            leftovers.append(entry.path)
        elif not PARTIAL.fullmatch(entry.name):
            files[entry.name] = entry
    return files


def existing(folder: str) -> Iterator["os.DirEntry[str]"]:
    """What lies in a folder; nothing if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return


def remove_leftovers(paths: list[str]) -> None:
    """Delete what killed runs left."""
    for path in paths:
        Path(path).unlink(missing_ok=True)


def _is_leftover(entry: "os.DirEntry[str]", shard: Shard | None) -> bool:
    match = PARTIAL.fullmatch(entry.name)
    if match is None:
        return False
    try:
        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return False
    if shard is not None:
        return age > STALE_ELSEWHERE
    return age > STALE or not _is_running(int(match[1]))


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere os.kill ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
