#!/usr/bin/env bash
# Builds packages for the Debian or Ubuntu that it runs on: seer, libseer-engine0 and libseer-engine-dev.
#   tools/package.sh [-DOPTION=VALUE...]          for CPUs; the options are CMake's
#   tools/package.sh --cuda [-DOPTION=VALUE...]   with CUDA and NCCL; takes NVIDIA's CUDA Toolkit and libnccl-dev
# stdout gets the names of the packages, everything else goes to stderr. tools/package/README.md says what is in them.
# DEBFULLNAME and DEBEMAIL name their maintainer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

preset=package options=()
for argument in "$@"; do
  case "$argument" in
    --cuda) preset=package-cuda ;;
    -D?*=*) options+=("$argument") ;;
    *)
      sed -n '2,6s/^# //p' "$0" >&2
      case "$argument" in -h | --help) exit 0 ;; *) exit 2 ;; esac
      ;;
  esac
done

tools/install_deps.sh package
# Prints the distribution's own options, except two. -g is left out because the static library would keep all debugging information.
# Optimisation while linking, which Ubuntu asks for, is left out because it must not merge code for different instruction sets.
flags() {
  DEB_BUILD_MAINT_OPTIONS='hardening=+bindnow optimize=-lto' DEB_CFLAGS_MAINT_STRIP=-g DEB_CXXFLAGS_MAINT_STRIP=-g \
    dpkg-buildflags --get "$1"
}
CXXFLAGS="$(flags CXXFLAGS) $(flags CPPFLAGS)" LDFLAGS="$(flags LDFLAGS)"
export CXXFLAGS LDFLAGS
# All files of a package get the time of the last commit, so that building it again gives the same bits.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH

cmake --preset "$preset" --fresh "${options[@]}" >&2
cmake --build --preset "$preset" -j "$(jobs)" >&2
rm -f "build/$preset/packages"/*.deb
(cd "build/$preset" && cpack -G DEB) >&2
ls "build/$preset/packages"/*.deb
