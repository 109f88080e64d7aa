#!/usr/bin/env bash
# Formats every C++ file of the repository; with --check it only reports what is not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --check ]; then mode=(--dry-run -Werror); else mode=(-i); fi
find . -path ./build -prune -o \( -name '*.cc' -o -name '*.h' \) -print0 |
  xargs -0 -r clang-format-19 "${mode[@]}"
