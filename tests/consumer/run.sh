#!/usr/bin/env bash
# run.sh BUILD_FOLDER CXX: installs the build's library to a fresh folder, then configures, builds and
# runs the consumer against it.
set -euo pipefail
build=$1 cxx=$2
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/prefix" --component development >/dev/null
if [ -e "$scratch/prefix/include/base" ]; then
  echo "internal headers were installed" >&2
  exit 1
fi
cmake -S "$here" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$scratch/build"
"$scratch/build/consumer"
