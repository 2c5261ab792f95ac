#!/usr/bin/env bash
# Installs what is missing, builds, and runs every check that continuous integration runs.
#   tools/test.sh                 everything
#   tools/test.sh STEP...         some of: style release asan tsan tidy, and tidy-tests
# Test data outside the project are looked for in $SEER_TEST_DATA, else ../shared; tests that need them are skipped
# if they are absent. The last lines say what was skipped, and why. Later runs repeat only what changed, and need neither
# root nor network.
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
      sed -n '2,7s/^# //p' "$0" >&2
      case "$step" in -h | --help) exit 0 ;; *) exit 2 ;; esac
      ;;
  esac
done

# skip WHAT...: says what is skipped, and keeps it for the list at the end.
skipped=()
skip() {
  echo "SKIPPED: $*"
  skipped+=("$step: $*")
}

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
    skip "the layout of sources was not checked: clang-format 14 is not installed"
  fi
  if command -v shellcheck >/dev/null; then
    shellcheck -x tools/*.sh tools/gpu/*.sh tests/tools/*.sh tests/package/*.sh .ci/run || failed=1
  else
    skip "shell scripts were not checked: shellcheck is not installed"
  fi
  return "$failed"
}

build_and_test() { # build_and_test PRESET [CTEST OPTION...]
  local preset=$1 status=0 line log=build/$1/Testing/Temporary/LastTest.log
  shift
  configure "$preset" -DSEER_BUILD_TESTS=ON && cmake --build --preset "$preset" -j "$(jobs)" || return 1
  rm -f "$log"
  ctest --preset "$preset" -j "$(nproc)" "$@" || status=1
  if [ -f "$log" ]; then
    while IFS= read -r line; do skipped+=("$step: $line"); done < <(python3 tools/skipped.py "$log")
  fi
  return "$status"
}

# This build leaves out PTX for newer GPUs, because no test runs it and it takes a third of nvcc's time. Sources of tests are
# compiled together, which takes less time.
release() {
  local status=0 seer=build/release/bin/seer line
  configure release -DSEER_BUILD_TESTS=ON -DSEER_JOIN_TESTS=ON '-DCMAKE_CUDA_ARCHITECTURES=80-real;90a-real' &&
    build_and_test release || status=1
  if [ -x "$seer" ]; then
    while read -r line; do skip "neither built nor tested: $line"; done < <("$seer" --help | sed '1,/^Left out/d')
  fi
  return "$status"
}

# clang builds this one, so that both compilers see the sources, and because libFuzzer is clang's. The tests of the installed
# package are left out, because the release build has run them.
asan() { configure_clang asan && build_and_test asan -LE package; }

# Only tests that start threads are built: the build takes most of the time, and ThreadSanitizer finds nothing in the others.
# clang compiles them in half of GCC's time.
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

run_tidy() { # run_tidy JOIN [OPTION...]; JOIN: whether the build folder joins the sources of tests
  local join=$1 status=0 log=build/release/tidy.log
  shift
  configure release -DSEER_BUILD_TESTS=ON "-DSEER_JOIN_TESTS=$join" || return 1
  tools/tidy.py build/release -j "$(jobs)" "$@" | tee "$log" || status=1
  if grep -q SKIPPED "$log"; then skip "sources were not checked: clang-tidy 14 is not installed"; fi
  return "$status"
}

tidy() { run_tidy ON --without tests; }

# This step runs only if it is named: the tests are more sources than everything else together, and no user meets what
# clang-tidy finds in them. It needs a build folder that compiles the tests' sources one by one, because tidy.py takes from
# that folder the list of sources.
tidy-tests() { run_tidy OFF; }

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
if [ "${#skipped[@]}" = 0 ]; then
  echo 'nothing was skipped'
else
  printf '\n== skipped\n'
  printf '%s\n' "${skipped[@]}"
fi
exit $status
