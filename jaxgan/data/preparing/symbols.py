"""Which emoji are variants of one symbol, and splits that keep variants together.

For example:

    >>> base("1F469-1F3FE-200D-1F680")  # an astronaut is a person with a rocket, in any gender and skin tone
    '1F9D1-1F680'
    >>> base("1F469-1F3FE-200D-1F680") == base("1F468-200D-1F680")
    True
    >>> first, second, third = for_test([["a"], ["a", "b"], ["b"]])
    >>> first == second == third
    True
"""

import hashlib
from collections.abc import Sequence

_TONES = frozenset(f"{code:X}" for code in range(0x1F3FB, 0x1F400))
_DROPPED = _TONES | {"FE0F", "200D", "2640", "2642", "27A1"}  # joiners, gender signs, "facing right"
_PEOPLE = {
    **dict.fromkeys(("1F468", "1F469", "1F9D1"), "1F9D1"),  # man, woman, person
    **dict.fromkeys(("1F466", "1F467", "1F9D2"), "1F9D2"),  # boy, girl, child
    **dict.fromkeys(("1F474", "1F475", "1F9D3"), "1F9D3"),  # old man, woman, person
    **dict.fromkeys(("1F46B", "1F46C", "1F46D"), "1F9D1-1F91D-1F9D1"),  # two who hold hands
}
TEST = 8
"""One group of so many is tested on, about."""


def base(code: str) -> str:
    """What variants of a symbol in skin tone, gender and direction share.

    Args:
      code: Its code points, such as "1F469-1F3FE-200D-1F680", in either case.
    """
    parts = [_PEOPLE.get(part, part) for part in code.upper().split("-")]
    kept = "-".join(part for part in parts if part not in _DROPPED)
    if "2764" in kept and kept.startswith("1F9D1"):
        return "1F48F" if "1F48B" in kept else "1F491"  # kisses and couples of any two
    if kept.startswith(("1F9D1-1F9D1", "1F9D1-1F9D2")):
        return "1F46A"  # families
    return kept or code.upper()


def for_test(keys: Sequence[Sequence[str]]) -> list[bool]:
    """Whether each of some examples is to be tested on: about one in `TEST`, the same ones in every run.

    Examples that share a key, or share one with an example that shares another, are all on one side.

    Args:
      keys: What each example shares with its variants, at least one key.
    """
    groups: dict[str, str] = {}

    def root(key: str) -> str:
        while groups.setdefault(key, key) != key:
            key = groups[key]
        return key

    for first, *others in keys:
        for other in others:
            low, high = sorted((root(first), root(other)))
            groups[high] = low
    chosen = [hashlib.sha256(root(first).encode()).digest() for first, *_ in keys]
    return [digest[0] % TEST == 0 for digest in chosen]
