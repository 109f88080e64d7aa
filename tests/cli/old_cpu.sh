#!/usr/bin/env bash
# The program on an emulated x86-64 CPU without AVX: everything runs, and what the CPU lacks is named.
#
#   old_cpu.sh PROGRAM TEST_DATA      (exits with 77 where there is no emulator)
set -euo pipefail
program=$1
data=$2
command -v qemu-x86_64 >/dev/null || exit 77

# Nehalem is of 2008: SSE4.2. On an instruction that it lacks the program would die of SIGILL.
on_old_cpu() { qemu-x86_64 -cpu Nehalem "$program" "$@"; }

expect() {
  if ! grep -qF -- "$1" <<<"$2"; then
    printf 'expected "%s" in:\n%s\n' "$1" "$2" >&2
    exit 1
  fi
}

expect "portable (of portable)" "$(on_old_cpu info)"
expect "▁there" "$(on_old_cpu tokenize "$data/tiny_spm.gguf" "hello there")"
for model in llama qwen3 gemma2 gemma3; do
  for activations in q8 f32; do
    expect "perplexity" \
      "$(on_old_cpu score "$data/tiny_$model.gguf" --ids 1,2,3 --activations $activations)"
  done
done

status=0
message=$(on_old_cpu score "$data/tiny_llama.gguf" --ids 1,2,3 --isa avx2 2>&1) || status=$?
expect "lacks the instruction set 'avx2' (it has: portable)" "$message"
[ $status = 2 ] || { echo "--isa avx2 ended with status $status, expected 2" >&2; exit 1; }
