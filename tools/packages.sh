# The Debian packages that Foveate needs, in one place, and a function that installs what is missing.
# Sourced by quickstart and test.

build_packages=(
  cmake ninja-build g++ pkg-config ca-certificates
  libhwy-dev nlohmann-json3-dev libfmt-dev libcli11-dev libcurl4-openssl-dev libssl-dev libedit-dev
  libpcre2-dev libsqlite3-dev libstb-dev
)
model_packages=(python3 python3-pip)
test_packages=(
  libgtest-dev clang-19 libclang-rt-19-dev clang-format-19 dpkg-dev file qemu-user chromium-driver
)
tidy_packages=(clang-tidy-19)
arm64_packages=(
  g++-12-aarch64-linux-gnu
  libhwy-dev:arm64 libfmt-dev:arm64 libpcre2-dev:arm64 libcurl4-openssl-dev:arm64 libssl-dev:arm64
  libedit-dev:arm64 libsqlite3-dev:arm64 libgtest-dev:arm64
)

is_debian() {
  [ -r /etc/os-release ] && grep -qE '^ID(_LIKE)?=.*debian' /etc/os-release &&
    command -v apt-get >/dev/null
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# A name without an architecture means this machine's; it may be installed for others as well.
is_installed() {
  local wanted="$(dpkg --print-architecture)|all"
  if [[ $1 == *:* ]]; then wanted=${1#*:}; fi
  dpkg-query -W -f='${Architecture} ${db:Status-Status}\n' "$1" 2>/dev/null |
    grep -qxE "($wanted) installed"
}

# install_missing PACKAGE...: says what it installs; nothing if all is there.
install_missing() {
  local package missing=()
  if ! is_debian; then
    if has_build_tools; then return 0; fi
    echo "This system is not Debian. Install the equivalents of these packages, then run again:" >&2
    printf '  %s\n' "$@" >&2
    return 1
  fi
  for package in "$@"; do
    if ! is_installed "$package"; then missing+=("$package"); fi
  done
  if [ ${#missing[@]} = 0 ]; then return 0; fi
  echo "== installing ${missing[*]}"
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "Neither root nor sudo: as root, run  apt-get install ${missing[*]}" >&2
    return 1
  fi
  local quiet=(-qq -o Dpkg::Use-Pty=0 -o APT::Get::Assume-Yes=true)
  as_root apt-get "${quiet[@]}" update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "${quiet[@]}" --no-install-recommends \
      install "${missing[@]}" >/dev/null
}

# Whether the commands that a build needs are there; of the libraries CMake says itself what it lacks.
has_build_tools() {
  local tool
  for tool in cmake ninja c++ pkg-config python3; do
    if ! command -v "$tool" >/dev/null; then return 1; fi
  done
}
