#!/usr/bin/env bash
# Fetches the default text of `foveate eval`, the King James Bible (4.4 MB, public domain), from
# Debian's package bible-kjv into the cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/packages.sh

install_missing bible-kjv bible-kjv-text
folder=${XDG_CACHE_HOME:-$HOME/.cache}/foveate/texts
mkdir -p "$folder"
part=$(mktemp "$folder/kjv.XXXXXX")
trap 'rm -f "$part"' EXIT
PATH=$PATH:/usr/games bible -f 'gen1:1-rev22:21' >"$part"
if [ "$(stat -c %s "$part")" -lt 4000000 ]; then
  echo "bible -f 'gen1:1-rev22:21' printed $(stat -c %s "$part") bytes, expected more than 4000000" >&2
  exit 1
fi
chmod 644 "$part"
mv "$part" "$folder/kjv.txt"
trap - EXIT
echo "$folder/kjv.txt"
