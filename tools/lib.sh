# Functions for the scripts of tools/, which source this file from the project's root.
# shellcheck shell=bash

# Prints how many compile jobs to run: one for each core, but no more than memory allows (the largest files take about 1 GB each).
jobs() {
  local cores memory_gb
  cores=$(nproc)
  memory_gb=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo 2>/dev/null || true)
  if [ -n "$memory_gb" ] && [ "$memory_gb" -lt "$cores" ]; then cores=$memory_gb; fi
  echo $((cores > 0 ? cores : 1))
}

# configure PRESET [-DOPTION=VALUE ...]: does nothing if the build folder already has these options.
configure() {
  local preset=$1 cache=build/$1/CMakeCache.txt fresh=() option stale=
  shift
  if [ -f "$cache" ]; then
    # If the tree was moved or copied, its cache still names the old place.
    if ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$cache"; then fresh=(--fresh) stale=1; fi
    for option in "$@"; do
      grep -q "^${option#-D}$" <(sed 's/:[A-Z]*=/=/' "$cache") || stale=1
    done
    if [ -z "$stale" ] && [ -f "build/$preset/build.ninja" ]; then return 0; fi
  fi
  cmake --preset "$preset" "${fresh[@]}" "$@"
}

# configure_clang PRESET: configures a preset that clang builds, with tests. A build folder in which GCC was used before is
# removed, because its compiler cannot be changed.
configure_clang() {
  local preset=$1
  if ! command -v clang++ >/dev/null; then
    echo "the $preset preset takes clang, which was not found: run tools/install_deps.sh test, or install clang and libclang-rt-dev" >&2
    return 1
  fi
  if [ -f "build/$preset/CMakeCache.txt" ] && ! grep -q '^CMAKE_CXX_COMPILER:.*clang' "build/$preset/CMakeCache.txt"; then
    rm -r "build/$preset"
  fi
  configure "$preset" -DSEER_BUILD_TESTS=ON
}
