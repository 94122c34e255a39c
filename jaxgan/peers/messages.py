r"""What the processes of one run say to each other: each message is a line of JSON that has one of a few shapes.

For example:

    >>> parsed(b'{"gone": 1, "how": "was killed"}')
    {'gone': 1, 'how': 'was killed'}
    >>> parsed(b'{"gone": true, "how": "was killed"}') is None  # a number is not a truth
    True
"""

from typing import Any

from jaxgan import reading

LONGEST = reading.LONGEST
"""Bytes of a message, at most."""

Message = dict[str, Any]

_SHAPES: tuple[dict[str, type], ...] = (
    {"as": str},  # the first of a connection that is to be relayed
    {"as": str, "process": int, "processes": int},  # the first of a process
    {"refused": str},  # its answer: why, or nothing
    {"all": bool},  # all processes are there
    {"calm": bool},  # whether this process may end without the others
    {"facts": dict},  # what it is about to do, by names
    {"verdict": str},  # in what processes differ, or nothing
    {"failed": bool},  # it ends by an error of its own
    {"gone": int, "how": str},  # another process is gone
)


def parsed(line: bytes) -> Message | None:
    """A message, or None for what no process of a run says: any program may write to an open port."""
    try:
        found = reading.parsed_json(line.decode())
    except ValueError:
        return None
    if not isinstance(found, dict) or not any(_fits(found, shape) for shape in _SHAPES):
        return None
    facts = found.get("facts", {})
    return found if all(type(value) is str for value in facts.values()) else None


def _fits(found: Message, shape: dict[str, type]) -> bool:
    return found.keys() == shape.keys() and all(type(found[name]) is kind for name, kind in shape.items())
