#!/usr/bin/env bash
# Installs what is missing, builds, and runs every check that continuous integration runs.
#   tools/test.sh                 everything
#   tools/test.sh STEP...         some of: style release asan tsan tidy, and tidy-tests
# Test data outside the project are looked for in $SEER_TEST_DATA, else ../shared; tests that need them are skipped
# where they are absent. Later runs repeat only what changed, and need neither root nor network.
# shellcheck disable=SC2317  # the steps are functions, called by name
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

steps=("$@")
if [ $# = 0 ]; then steps=(style release asan tsan tidy); fi
for step in "${steps[@]}"; do
  case "$step" in
    style | release | asan | tsan | tidy | tidy-tests) ;;
    *)
      sed -n '2,6s/^# //p' "$0" >&2
      case "$step" in -h | --help) exit 0 ;; *) exit 2 ;; esac
      ;;
  esac
done

sources() { find engine kernels models tokenizer tools tests examples -type d -name 'build*' -prune -o -type f \
  \( -name '*.h' -o -name '*.c' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print; }

style() {
  local failed=0 formatter='' name
  python3 tools/check_includes.py . || failed=1
  python3 tools/check_links.py . || failed=1
  for name in clang-format-14 clang-format; do
    if command -v "$name" >/dev/null && "$name" --version | grep -q 'version 14\.'; then formatter=$name; fi
  done
  if [ -n "$formatter" ]; then
    sources | xargs "$formatter" --dry-run --Werror || failed=1
  else
    echo "SKIPPED: the layout of sources was not checked: clang-format 14 is not installed"
  fi
  if command -v shellcheck >/dev/null; then
    shellcheck -x tools/*.sh tools/gpu/*.sh tests/tools/*.sh .ci/run || failed=1
  else
    echo "SKIPPED: shell scripts were not checked: shellcheck is not installed"
  fi
  return "$failed"
}

build_and_test() { # build_and_test PRESET [CTEST OPTION...]
  local preset=$1
  shift
  configure "$preset" -DSEER_BUILD_TESTS=ON &&
    cmake --build --preset "$preset" -j "$(jobs)" &&
    ctest --preset "$preset" -j "$(nproc)" "$@"
}

# Without PTX for GPUs to come, which no test runs and which takes a third of nvcc's time.
release() {
  configure release -DSEER_BUILD_TESTS=ON '-DCMAKE_CUDA_ARCHITECTURES=80-real;90a-real' && build_and_test release
}

# By clang, so that both compilers see the sources, and libFuzzer is there. The packages have been tested by then.
asan() { configure_clang asan && build_and_test asan -LE package; }

# Only what starts threads: the build takes most of the time, and everything else would tell nothing new. By clang, which
# compiles it in half of GCC's time.
tsan_targets=(test_engine_threads test_serve)
tsan() {
  local target status=0
  configure_clang tsan &&
    cmake --build --preset tsan -j "$(jobs)" --target "${tsan_targets[@]}" || return 1
  for target in "${tsan_targets[@]}"; do
    TSAN_OPTIONS="suppressions=$PWD/tests/support/tsan.supp halt_on_error=1 second_deadlock_stack=1" \
      "$(find build/tsan/tests -name "$target" -type f)" --warn NoAssertions || status=1
  done
  return "$status"
}

tidy() { configure release -DSEER_BUILD_TESTS=ON && tools/tidy.py build/release -j "$(jobs)" --without tests; }

# Not one of the usual: the tests are more sources than all else together, and no user meets what is found there.
tidy-tests() { configure release -DSEER_BUILD_TESTS=ON && tools/tidy.py build/release -j "$(jobs)"; }

tools/install_deps.sh test
if ! [ -d "${SEER_TEST_DATA:-../shared}" ]; then
  echo "test: no test data at ${SEER_TEST_DATA:-../shared}: the tests that need them will be skipped"
fi
summary=()
status=0
for step in "${steps[@]}"; do
  printf '\n== %s\n' "$step"
  start=$SECONDS result=passed
  "$step" || result=FAILED status=1
  summary+=("$(printf '%-10s %s (%d s)' "$step" "$result" $((SECONDS - start)))")
done
printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
exit $status
