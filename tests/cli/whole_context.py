#!/usr/bin/env python3
"""Fills the whole context of a real model: whole_context.py PROGRAM MODEL

The prompt is as long as the context allows. The run must end in memory for the file, the cache that
it reports and 64 MiB besides; a prompt that is too long must be refused with both numbers.
"""
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

TEXT = (pathlib.Path(__file__).parent.parent / "data" / "kjv_judges.txt").read_text() * 4
GENERATED = 8
ALLOWANCE = 64 << 20


def foveate(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def tokens_of(program, model, file, length):
    file.write_text(TEXT[:length])
    counted = foveate(program, "tokenize", model, "--no-special", "--count", "-f", str(file))
    if counted.returncode != 0:
        sys.exit(counted.stderr)
    return int(counted.stdout)


def longest_within(program, model, file, limit):
    """Letters of the text that make at most `limit` tokens."""
    low, high = 0, len(TEXT)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens_of(program, model, file, middle) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def check_refusal(program, model, file, context):
    tokens = tokens_of(program, model, file, len(TEXT))
    refused = foveate(program, "run", model, "--raw", "-f", str(file))
    if refused.returncode != 2 or not (
        f"{tokens} tokens" in refused.stderr and f"holds {context}" in refused.stderr
    ):
        sys.exit(f"{tokens} tokens were not refused as too long for {context}: {refused.stderr}")


def main():
    program, model = sys.argv[1:]
    config = json.loads(foveate(program, "inspect", model, "--json").stdout)["config"]
    context = config["context"]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "prompt.txt"
        check_refusal(program, model, file, context)
        length = longest_within(program, model, file, context - GENERATED)
        tokens_of(program, model, file, length)
        started = time.monotonic()
        options = ("--raw", "--temp", "0", "--ignore-eos", "-n", str(GENERATED), "--json")
        run = foveate(program, "run", model, "-f", str(file), *options)
        seconds = time.monotonic() - started
    if run.returncode != 0:
        sys.exit(run.stderr)
    result = json.loads(run.stdout)
    # The kernel's figure (VmHWM) rather than the program's own.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    limit = result["bytes"]["file"] + result["bytes"]["kv_cache"] + ALLOWANCE
    print(
        f"{model}: {result['prompt_tokens']} + {result['completion_tokens']} tokens of {context} "
        f"in {seconds:.0f} s, peak memory {peak / 1e6:.0f} MB (at most {limit / 1e6:.0f})"
    )
    if result["completion_tokens"] != GENERATED or peak > limit:
        sys.exit(f"{model}: more memory than the file, the cache and 64 MiB")


if __name__ == "__main__":
    main()
