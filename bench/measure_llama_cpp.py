"""Measures llama.cpp through the low-level calls of the PyPI package llama-cpp-python.

Run by compare_llama_cpp, one process per comparison, so that the model is loaded and the deep cache
filled only once:

    python measure_llama_cpp.py MODEL.gguf --threads 2 --prompt 512 --gen 64 --depth 0,4096

It prints one JSON object when it is ready, then one JSON list of rows for every line read from
standard input, until that ends:

    {"test": "prefill" | "decode", "tokens": N, "depth": D, "tokens_per_second": R}

What is measured: a prompt of N tokens in one llama_decode call on top of D cached tokens, with
logits for its last token only; then N single-token decodes with given ids, without sampling.
"""

import argparse
import ctypes
import json
import os
import sys
import time

import llama_cpp

FLASH_ATTENTION_AUTO = -1
TYPE_F16 = 1


def token_ids(count, start=0):
    """The same ids for every engine: spread over the vocabulary, none of them special."""
    return [(i * 7919) % 40000 + 100 for i in range(start, start + count)]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def silence(_level, _text, _data):
    pass


class DepthBench:
    """One context that holds `depth` tokens and measures on top of them, again and again."""

    def __init__(self, model, depth, prompt, gen, threads):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = depth + prompt + gen + 64
        params.n_batch = 2048
        params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = FLASH_ATTENTION_AUTO
        params.type_k = params.type_v = TYPE_F16
        params.swa_full = False  # as llama-cli runs: sliding-window layers keep only their window
        self.context = llama_cpp.llama_init_from_model(model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp made no context of {params.n_ctx} tokens")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.depth, self.prompt, self.gen = depth, prompt, gen
        self.decode(token_ids(depth))

    def decode(self, ids):
        """Appends `ids` in batches of at most n_batch tokens; returns the seconds it took."""
        begin = time.perf_counter()
        for first in range(0, len(ids), 2048):
            part = ids[first : first + 2048]
            array = (llama_cpp.llama_token * len(part))(*part)
            status = llama_cpp.llama_decode(
                self.context, llama_cpp.llama_batch_get_one(array, len(part))
            )
            if status != 0:
                raise SystemExit(f"llama_decode failed with status {status}")
        llama_cpp.llama_synchronize(self.context)
        return time.perf_counter() - begin

    def rewind(self):
        """Back to `depth` cached tokens."""
        if self.depth == 0:
            llama_cpp.llama_memory_clear(self.memory, True)
        elif not llama_cpp.llama_memory_seq_rm(self.memory, 0, self.depth, -1):
            raise SystemExit(f"llama.cpp could not cut its cache back to {self.depth} tokens")

    def measure(self):
        self.rewind()
        prefill = self.decode(token_ids(self.prompt, start=self.depth))
        self.rewind()
        decode = sum(self.decode([token]) for token in token_ids(self.gen, start=self.depth))
        return [
            self.row("prefill", self.prompt, prefill),
            self.row("decode", self.gen, decode),
        ]

    def row(self, test, tokens, seconds):
        return {
            "test": test,
            "tokens": tokens,
            "depth": self.depth,
            "tokens_per_second": tokens / seconds,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=64)
    parser.add_argument("--depth", default="0,4096")
    options = parser.parse_args()

    # Loading reports on both standard streams: keep ours for the rows.
    rows_out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    llama_cpp.llama_log_set(silence, None)
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()  # repacks weights where it knows how
    model = llama_cpp.llama_model_load_from_file(options.model.encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp could not load {options.model}")
    benches = [
        DepthBench(model, int(depth), options.prompt, options.gen, options.threads)
        for depth in options.depth.split(",")
    ]

    def say(value):
        print(json.dumps(value), file=rows_out, flush=True)

    say(
        {
            "version": llama_cpp.__version__,
            "system": llama_cpp.llama_print_system_info().decode().strip(),
        }
    )
    for _ in sys.stdin:
        say([row for bench in benches for row in bench.measure()])


if __name__ == "__main__":
    main()
