#!/usr/bin/env bash
# Fuzzes the readers of untrusted input for some minutes each, several targets at a time, and prints a table.
#   tools/fuzz.sh [TARGET...] [--minutes N] [--jobs N]
# Without targets, all of them run: their names are those of the sources in tests/fuzz/targets. --minutes is the
# time of each target (default 10), and --jobs is how many run at a time (default: the number of processors). Inputs that a run finds
# useful are kept in build/fuzz/TARGET/corpus and used by the next. Exits with 1 after a finding, whose input is kept next to the corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

minutes=10 at_a_time=$(nproc) targets=()
while [ $# != 0 ]; do
  case "$1" in
    --minutes) minutes=${2:?--minutes takes a number} && shift ;;
    --jobs) at_a_time=${2:?--jobs takes a number} && shift ;;
    -h | --help)
      sed -n '2,6s/^# //p' "$0"
      exit 0
      ;;
    *)
      if ! [ -f "tests/fuzz/targets/$1.cc" ]; then
        echo "fuzz: unknown target '$1'; expected one of" tests/fuzz/targets/*.cc >&2
        exit 2
      fi
      targets+=("$1")
      ;;
  esac
  shift
done
seconds=$(awk -v m="$minutes" 'BEGIN {if (m + 0 <= 0) exit 1; print int(m * 60 + 0.5)}') || {
  echo "fuzz: --minutes takes a number above 0, found '$minutes'" >&2
  exit 2
}
if [ "${#targets[@]}" = 0 ]; then
  for source in tests/fuzz/targets/*.cc; do targets+=("$(basename "$source" .cc)"); done
fi

configure_clang asan
cmake --build --preset asan -j "$(jobs)" --target seer_fuzz

fuzz_one() { # fuzz_one TARGET
  local folder=build/fuzz/$1
  mkdir -p "$folder/corpus"
  SEER_FUZZ_TARGET=$1 build/asan/tests/fuzz/seer_fuzz "-max_total_time=$seconds" -print_final_stats=1 \
    "-artifact_prefix=$folder/found-" "$folder/corpus" "tests/fuzz/seeds/$1" >"$folder/log" 2>&1 ||
    touch "$folder/failed"
}

running=0
for target in "${targets[@]}"; do
  rm -f "build/fuzz/$target/failed"
  if [ "$running" -ge "$at_a_time" ]; then
    wait -n
    running=$((running - 1))
  fi
  fuzz_one "$target" &
  running=$((running + 1))
done
wait

status=0
printf '%-18s %12s %9s %8s  %s\n' target executions edges corpus findings
for target in "${targets[@]}"; do
  folder=build/fuzz/$target finding=none
  if [ -e "$folder/failed" ]; then
    status=1
    finding=$(sed -n 's/.*Test unit written to //p' "$folder/log" | tail -1)
    finding="${finding:-see $folder/log}: $(grep -m1 -o -E '== broken: .*|SUMMARY: .*|ERROR: .*' "$folder/log" || echo unknown)"
  fi
  printf '%-18s %12s %9s %8s  %s\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")" \
    "$(grep -o 'cov: [0-9]*' "$folder/log" | tail -1 | cut -d' ' -f2)" \
    "$(find "$folder/corpus" -type f | wc -l)" "$finding"
done
exit $status
