#!/usr/bin/env python3
"""Fails on any #include in src/ that goes against the order of the rooms in src/README.md.

A room may use itself and the rooms above it in the table; `reference` is for tests only, so no other
room may use it. Public headers (include/foveate) may use only each other.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
# The oracles stand beside the product: they may read files but know none of its arithmetic.
ALLOWED_TO_REFERENCE = {"base", "format", "reference"}


def rooms_in_order():
    table = (ROOT / "src/README.md").read_text()
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def faults(rooms):
    for path in sorted((ROOT / "src").rglob("*.cc")) + sorted((ROOT / "src").rglob("*.h")):
        room = path.relative_to(ROOT / "src").parts[0]
        where = path.relative_to(ROOT)
        if room not in rooms:
            yield f"{where}: the room '{room}' is not in the table of src/README.md"
            continue
        allowed = set(rooms[: rooms.index(room) + 1]) - {"reference"}
        if room == "reference":
            allowed = ALLOWED_TO_REFERENCE
        for included in INCLUDE.findall(path.read_text()):
            target = included.split("/")[0]
            if target in rooms and target not in allowed:
                yield f"{where}: includes {included}, but '{room}' may not use '{target}'"
            if target in ("tests", "bench", "fuzz", "examples"):
                yield f"{where}: includes {included}, which is not part of the product"
    for path in sorted((ROOT / "include").rglob("*.h")):
        for included in INCLUDE.findall(path.read_text()):
            if not included.startswith("foveate/"):
                yield f"{path.relative_to(ROOT)}: includes {included}: public headers stand alone"


def main():
    rooms = rooms_in_order()
    if not rooms:
        sys.exit("src/README.md has no table of rooms")
    found = list(faults(rooms))
    print("\n".join(found) if found else f"{len(rooms)} rooms, every include goes upwards")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
