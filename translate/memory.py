"""How much memory is left, inside a container too."""

from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = {
    2: ("", "memory.max", "memory.current", "inactive_file"),
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By version: the controller's folder, its files of the limit and of what is used, and the part that can be freed."""


def available_memory() -> int:
    """Bytes that can be allocated before the machine swaps or the container's limit ends the process."""
    return int(max(0, min([psutil.virtual_memory().available, *_left_in_cgroups(Path("/"))])))


def _left_in_cgroups(root: Path) -> Iterator[int]:
    """What each control group that this process is in leaves it; groups without a limit are left out."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, limit, used, reclaimable = CGROUPS[1 if controllers else 2]
        top = root / "sys/fs/cgroup" / folder
        own = top / group.lstrip("/")
        # In a container the path is often the host's and does not exist; its limit is then at the top.
        for place in (own, *(parent for parent in own.parents if parent.is_relative_to(top))):
            try:
                statistics = dict(row.split() for row in (place / "memory.stat").read_text().splitlines())
                taken = int((place / used).read_text()) - int(statistics.get(reclaimable, 0))
                yield int((place / limit).read_text()) - taken
            except (OSError, ValueError):  # no such group, or a limit of "max"
                continue
