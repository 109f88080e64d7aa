#!/usr/bin/env bash
# package.sh BUILD_FOLDER: makes both packages and tries what can be tried without installing them.
set -euo pipefail
build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cpack --config "$build/CPackConfig.cmake" -B "$scratch" >"$scratch/cpack.log" 2>&1 || {
  cat "$scratch/cpack.log" >&2
  exit 1
}

mkdir "$scratch/tar" "$scratch/deb"
tar -xzf "$scratch"/*.tar.gz -C "$scratch/tar" --strip-components=1
env -i "$scratch/tar/bin/foveate" --version
# With the bundle beside it the program must use no library of the system but the C and C++ runtime.
outside=$(ldd "$scratch/tar/bin/foveate" | awk '$2 == "=>" { print $3 }' |
  grep -v "^$scratch" | grep -vE '/lib(c|m|stdc\+\+|gcc_s|resolv)\.so' || true)
if [ -n "$outside" ]; then
  printf 'not bundled: %s\n' $outside >&2
  exit 1
fi

dpkg-deb -x "$scratch"/*.deb "$scratch/deb"
env -i "$scratch/deb/usr/bin/foveate" --version
depends=$(dpkg-deb -f "$scratch"/*.deb Depends)
echo "Depends: $depends"
[[ $depends == *libcurl4* ]]
test -f "$scratch/deb/usr/share/doc/foveate/LICENSE"
