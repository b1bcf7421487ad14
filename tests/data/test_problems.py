"""How many problems of one kind are told."""

from collections import Counter

import pytest

from translate.data.check import Inspection, group_problems
from translate.errors import UserError


def test_of_many_problems_each_kind_is_told_once_with_its_count() -> None:
    small = [f"/a {place}.png: is {place}x9, smaller than image_size=64: use a smaller one" for place in range(20)]
    problems = [*small[:5], "/b.png: cannot be read", *small[5:]]
    assert group_problems(problems) == [(small[0], 20), ("/b.png: cannot be read", 1)]
    with pytest.raises(UserError) as raised:
        Inspection({}, {}, Counter(), problems).raise_problems()
    assert str(raised.value).splitlines() == [
        "the data has 21 problems:",
        f"  {small[0]} (and 19 more like it)",
        "  /b.png: cannot be read",
        "  `translate check` with the same keys lists all",
    ]


def test_few_problems_are_all_told() -> None:
    problems = ["/a.png: is gone", "/b.png: is gone"]
    with pytest.raises(UserError, match=r"2 problems:\n  /a\.png: is gone\n  /b\.png: is gone$"):
        Inspection({}, {}, Counter(), problems).raise_problems()
