"""Measures attention in PyTorch on the CPU.

Run by compare_attention, one process per comparison, so that compiled kernels and data are kept:

    python measure_torch.py --threads 2 --reps 3

It prints one JSON object when it is ready, then one for every cell (a JSON object as
compare_attention makes them) that it reads as a line of standard input, until that ends:

    {"pairs": attended by one head, "seconds": [of each repetition]}   or   {"skipped": "why"}

What is measured: scaled_dot_product_attention, two matrix products with a softmax between them,
flex_attention after torch.compile with a block mask that was made before, or NATTEN's neighborhood
attention, on tensors [1, H, N, D] of normal numbers, without gradients.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import sys
import sysconfig
import time

# Compile in this process: no workers beside what is measured.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def parse_spec(spec):
    """The name and the parameters of window:left=3,right=0; a/b and axb/cxd become tensors."""
    name, _, text = spec.partition(":")
    fields = dict(part.split("=") for part in text.split(",") if part)

    def value(text):
        if "x" in text:
            return torch.tensor([[int(n) for n in pair.split("x")] for pair in text.split("/")])
        return torch.tensor([int(n) for n in text.split("/")]) if "/" in text else int(text)

    return name, {key: value(text) for key, text in fields.items()}


# mask_mod functions of flex_attention: whether row i attends key j. Rows and keys are as many.


def window(left, right):
    return lambda b, h, i, j: (i - j <= left) & (j - i <= right)


def power(block, window_blocks, sink_blocks):
    def attends(b, h, i, j):
        distance = i // block - j // block
        far = (distance & (distance - 1)) == 0
        return (j <= i) & ((j < sink_blocks * block) | (distance < window_blocks) | far)

    return attends


def document_causal(cu):
    document = torch.bucketize(torch.arange(cu[-1]), cu[1:], right=True)
    return lambda b, h, i, j: (document[i] == document[j]) & (j <= i)


def block_sparse(bq, bk, tiles):
    attended = torch.zeros(tuple(tiles.max(dim=0).values + 1), dtype=torch.bool)
    attended[tiles[:, 0], tiles[:, 1]] = True
    return lambda b, h, i, j: attended[i // bq, j // bk]


def axes(value, count):
    """The numbers of a parameter, one for each axis."""
    numbers = value.flatten().tolist() if torch.is_tensor(value) else [value]
    return numbers * count if len(numbers) == 1 else numbers


def grid(shape, window, stride=1, dilation=1):
    """(length, window, stride, dilation) of each axis; none is causal here."""
    lengths = axes(shape, 1)
    others = (axes(value, len(lengths)) for value in (window, stride, dilation))
    return list(zip(lengths, *others))


def neighborhood(**parameters):
    def attends(b, h, i, j):
        seen = True
        for length, window, stride, dilation in reversed(grid(**parameters)):
            x, y = i % length, j % length
            i, j = i // length, j // length
            group, member = x % dilation, x // dilation
            members = (length - group + dilation - 1) // dilation
            leader = torch.minimum(member // stride * stride + stride // 2, members - 1)
            begin = torch.minimum((leader - window // 2).clamp(min=0), members - window)
            at = y // dilation
            seen = seen & (y % dilation == group) & (at >= begin) & (at < begin + window)
        return seen

    return attends


MASKS = {
    mask.__name__: mask for mask in (window, power, document_causal, block_sparse, neighborhood)
}


def count_pairs(attends, queries, keys):
    rows, columns = torch.arange(queries)[:, None], torch.arange(keys)[None, :]
    return int(attends(0, 0, rows, columns).sum())


def what_compile_lacks():
    if not shutil.which("g++") and not shutil.which("clang++"):
        return "torch.compile needs a C++ compiler"
    if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
        return "torch.compile needs Python's headers (python3-dev)"
    return None


class Skip(Exception):
    pass


class CellRun:
    """The tensors of a cell and what it calls."""

    def __init__(self, cell):
        heads, kv_heads = (int(count) for count in cell["heads"].split("/"))
        keys = cell["keys"]
        queries = cell["queries"] or keys

        def tensor(heads, rows):
            return torch.randn(1, heads, rows, cell["dim"]).to(DTYPES[cell["dtype"]])

        self.tensors = tensor(heads, queries), tensor(kv_heads, keys), tensor(kv_heads, keys)
        self.gqa = heads != kv_heads
        make = getattr(self, f"make_{cell['call']}")
        self.pairs, self.call = make(cell, queries, keys)

    def make_sdpa(self, cell, queries, keys):
        causal = cell["attention"] == "causal"
        pairs = keys * (keys + 1) // 2 if causal else queries * keys
        return pairs, lambda: F.scaled_dot_product_attention(
            *self.tensors, is_causal=causal, enable_gqa=self.gqa
        )

    def make_gemms(self, cell, queries, keys):
        """For dense attention with as many KV heads as query heads."""
        query, key, value = self.tensors
        scale = cell["dim"] ** -0.5

        def call():
            return torch.softmax(query * scale @ key.mT, dim=-1) @ value

        return queries * keys, call

    def make_flex(self, cell, queries, keys):
        if lacking := what_compile_lacks():
            raise Skip(lacking)
        name, parameters = parse_spec(cell["attention"])
        attends = MASKS[name](**parameters)
        blocks = create_block_mask(
            attends, None, None, queries, keys, device="cpu", BLOCK_SIZE=cell["block"]
        )
        compiled = torch.compile(flex_attention, dynamic=False)
        call = lambda: compiled(*self.tensors, block_mask=blocks, enable_gqa=self.gqa)
        try:
            call()
        except Exception as error:  # of many kinds, from the tracer down to the compiler
            first_line = str(error).partition("\n")[0]
            raise Skip(f"torch.compile failed: {type(error).__name__}: {first_line}") from error
        return count_pairs(attends, queries, keys), call

    def make_natten(self, cell, queries, keys):
        """As installed, on tensors [1, *shape, H, D]; by default it compiles nothing."""
        import natten

        sizes = grid(**parse_spec(cell["attention"])[1])
        shape, window, stride, dilation = (tuple(values) for values in zip(*sizes))
        call = {1: natten.na1d, 2: natten.na2d, 3: natten.na3d}[len(shape)]
        tensors = [
            tensor.transpose(1, 2).reshape(1, *shape, -1, cell["dim"]).contiguous()
            for tensor in self.tensors
        ]
        return keys * math.prod(window), lambda: call(
            *tensors, kernel_size=window, stride=stride, dilation=dilation
        )

    def seconds(self):
        begin = time.perf_counter()
        self.call()
        return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(1)

    def say(value):
        print(json.dumps(value), flush=True)

    say({"version": torch.__version__, "isa": torch.backends.cpu.get_cpu_capability()})
    runs = {}
    for line in sys.stdin:
        cell = json.loads(line)
        try:
            if cell["name"] not in runs:
                runs[cell["name"]] = CellRun(cell)
        except Skip as reason:
            say({"skipped": str(reason)})
            continue
        run = runs[cell["name"]]
        run.seconds()
        say({"pairs": run.pairs, "seconds": [run.seconds() for _ in range(options.reps)]})


if __name__ == "__main__":
    main()
