#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that Seer needs and that are missing; does nothing, and needs neither
# network nor root, if none is.
#   tools/install_deps.sh build   what the engine and the command line need (the default)
#   tools/install_deps.sh mpi     that, and what ranks on several machines need
#   tools/install_deps.sh package what the engine and the command line need, and what builds packages of them
#   tools/install_deps.sh test    all of these, and what the tests and the style checks need
# SEER_NO_INSTALL=1 leaves the system alone, for those who provide the dependencies in another way.
set -euo pipefail

build_packages=(cmake ninja-build g++ pkg-config python3 libopenblas-dev libpcre2-dev libutf8proc-dev
  libxxhash-dev libssl-dev libcli11-dev libsentencepiece-dev nlohmann-json3-dev libspdlog-dev libpng-dev
  libedit-dev libboost-dev)
# For ranks that mpirun starts. This is a set of its own, because the development files bring a Fortran compiler and more, which
# ranks on one machine (--tp) do not need.
mpi_packages=(libopenmpi-dev openmpi-bin)
package_packages=(dpkg-dev)
# clang is of the distribution's own version (14, 18 or 19); its run time library has the sanitizers and libFuzzer. Chromium, in
# which the server's page is tested, is not in this list: it takes a download of 122 MB and 24 s to install on two cores, and Ubuntu
# has it only as a snap. Without it that test is skipped.
test_packages=(catch2 curl jq clang libclang-rt-dev)
# The style checks are pinned to one LLVM version, whose layout and findings the sources follow. A distribution
# without it (or a machine whose package lists are empty) still runs the tests.
style_packages=(clang-format-14 clang-tidy-14 shellcheck)

say() { printf 'install_deps: %s\n' "$*" >&2; }

case "${1:-build}" in
  build) wanted=("${build_packages[@]}") style=() ;;
  mpi) wanted=("${build_packages[@]}" "${mpi_packages[@]}") style=() ;;
  package) wanted=("${build_packages[@]}" "${package_packages[@]}") style=() ;;
  test) wanted=("${build_packages[@]}" "${mpi_packages[@]}" "${package_packages[@]}" "${test_packages[@]}") style=("${style_packages[@]}") ;;
  *)
    say "unknown set of packages '$1': say 'build', 'mpi', 'package' or 'test'"
    exit 2
    ;;
esac

if [ "${SEER_NO_INSTALL:-}" = 1 ]; then
  exit 0
fi

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
available() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  say "this is not a Debian or Ubuntu system (no dpkg and apt-get), so nothing was installed."
  say "Seer needs what these Debian packages hold: ${wanted[*]}"
  say "Install their equivalents, then run this again with SEER_NO_INSTALL=1."
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  installed "$package" || missing+=("$package")
done

as_root=()
if [ "$(id -u)" != 0 ]; then
  as_root=(sudo)
  # sudo asks on the terminal itself, so if nobody can answer, it must fail instead of waiting.
  if [ -n "${CI:-}" ] || ! [ -t 0 ] || ! [ -t 2 ]; then as_root=(sudo -n); fi
fi
may_install() { [ "${#as_root[@]}" = 0 ] || command -v sudo >/dev/null; }

if [ "${#missing[@]}" != 0 ] && ! may_install; then
  say "these packages are missing: ${missing[*]}"
  say "Installing them takes root, and there is no sudo here. Ask an administrator to run"
  say "  apt-get install ${missing[*]}"
  exit 1
fi

# apt waits for its lock, because the updates of a fresh machine hold the lock for the first minutes.
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
    apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}

if [ "${#missing[@]}" != 0 ]; then
  say "installing ${missing[*]}"
  apt update || say "apt-get update failed; trying with the package lists at hand"
  if ! apt install -y --no-install-recommends "${missing[@]}"; then
    say "apt-get could not install: ${missing[*]}"
    say "Its message is above. On Ubuntu, some of these are in the component 'universe', which must be enabled."
    exit 1
  fi
fi

optional=()
for package in "${style[@]}"; do
  if ! installed "$package" && available "$package" && may_install; then optional+=("$package"); fi
done
if [ "${#optional[@]}" != 0 ]; then
  say "installing ${optional[*]}"
  apt install -y --no-install-recommends "${optional[@]}" || say "going on without ${optional[*]}"
fi
