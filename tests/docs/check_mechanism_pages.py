#!/usr/bin/env python3
"""Holds docs/mechanisms against the program: check_mechanism_pages.py FOVEATE...

Every mechanism has a page in the index that gives its formula, its source and all of its parameters;
what a page shows as the output of a command is how the program's output begins; and the examples in
docs/add-a-mechanism.md and docs/attention.md are files that the build compiles.
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = ROOT / "docs/mechanisms"
SHOWN = re.compile(r"^```\n\$ foveate (.*)\n((?:.*\n)*?)```$", re.MULTILINE)
EXAMPLE = re.compile(r"^<!-- the file (\S+) -->\n```cpp\n((?:.*\n)*?)```$", re.MULTILINE)


def output(program, arguments):
    return subprocess.run([*program, *arguments], check=True, capture_output=True, text=True).stdout


def faults_of_page(program, mechanism):
    name = mechanism["name"]
    path = PAGES / f"{name}.md"
    if not path.exists():
        yield f"{path}: missing"
        return
    page = path.read_text()
    for key in ("title", "formula", "paper", "cost"):
        if mechanism[key] not in page:
            yield f"{path}: does not give its {key}: {mechanism[key]}"
    for parameter in mechanism["parameters"] + mechanism["shorthands"]:
        if f"`{parameter['key']}`" not in page:
            yield f"{path}: does not name the parameter `{parameter['key']}`"
    shown = SHOWN.findall(page)
    if not shown:
        yield f"{path}: shows no picture"
    for command, text in shown:
        if not output(program, shlex.split(command)).startswith(text):
            yield f"{path}: foveate {command} prints something else"


def faults_of_examples(path):
    examples = EXAMPLE.findall(path.read_text())
    if not examples:
        yield f"{path}: no example"
    for file, text in examples:
        if (ROOT / file).read_text() != text:
            yield f"{path}: the example is not {file}"


def faults(program):
    index = (PAGES / "README.md").read_text()
    mechanisms = json.loads(output(program, ["mechanisms", "--json"]))
    for mechanism in mechanisms:
        yield from faults_of_page(program, mechanism)
        if f"({mechanism['name']}.md)" not in index:
            yield f"{PAGES}/README.md: does not list {mechanism['name']}"
    names = {mechanism["name"] for mechanism in mechanisms} | {"README"}
    for path in PAGES.glob("*.md"):
        if path.stem not in names:
            yield f"{path}: a page of no mechanism"
    for page in ("add-a-mechanism.md", "attention.md"):
        yield from faults_of_examples(ROOT / "docs" / page)


def main():
    found = list(faults(sys.argv[1:]))
    print("\n".join(found) if found else "every mechanism has its page")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
