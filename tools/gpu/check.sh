#!/usr/bin/env bash
# Runs everything that needs a GPU, in one call of under ten minutes: builds, tests, runs sanitizers and measures. In the end prints
# a table, and which of its figures moved since the last ones of the same card (tests/bench/results).
#   tools/gpu/check.sh [OPTION...] [STEP...]   steps: build test sanitize bench attention rivals (all unless named)
#     --build DIR      use the programs of this build folder; the step build is then left out unless named
#     --out DIR        logs and results (build/gpu-check)
#     --limit SECONDS  the limit of the whole call (570); what is left after it is reported as not run
#     --triton FILE, --vsa DIR, --thunderkittens DIR   others' kernels, for attention: see tools/gpu/bench_attention.py
#     --long           attention in full, and rivals at 131072 tokens too
# Exits with 1 if a build, a test, a sanitizer or a bench failed; failures of rivals are only reported. SEER_PCRE2_PREFIX names a
# folder made by `dpkg -x` of libpcre2-dev, libutf8proc-dev, libxxhash-dev, libssl-dev, libedit-dev and libboost1.*-dev, for a machine
# without them; if the machine lacks libedit itself, also of libedit2, libbsd0 and libmd0. SEER_TEST_DATA is as in tools/test.sh.
# shellcheck disable=SC2317  # the steps are functions, called by name
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

usage() { sed -n '2,12s/^# //p' tools/gpu/check.sh >&2; }

build='' out=build/gpu-check limit=570 triton='' vsa='' thunderkittens='' long='' steps=()
while [ $# != 0 ]; do
  case "$1" in
    --build | --out | --limit | --triton | --vsa | --thunderkittens)
      if [ $# = 1 ]; then echo "check: $1 needs a value" >&2 && exit 2; fi
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --long) long=1 ;;
    build | test | sanitize | bench | attention | rivals) steps+=("$1") ;;
    -h | --help) usage && exit 0 ;;
    *) echo "check: unknown step or option '$1'" >&2 && usage && exit 2 ;;
  esac
  shift
done
case "$limit" in '' | *[!0-9]*) echo "check: --limit takes seconds, found '$limit'" >&2 && exit 2 ;; esac
if [ "${#steps[@]}" = 0 ]; then
  steps=(test sanitize bench attention rivals)
  if [ -z "$build" ]; then steps=(build "${steps[@]}"); fi
fi
build=${build:-build/gpu}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/*.log "$out"/*.err "$out"/*.tsv "$out"/*.json
PATH=$PATH:/usr/local/cuda/bin

note() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$out/steps.tsv"; } # note NAME RESULT SECONDS

# run NAME SECONDS COMMAND...: runs a command for so many seconds at most, or as many as the call has left if these are fewer. Its
# output goes to NAME.log and NAME.err, and its result to the table.
run() {
  local name=$1 seconds=$2 start=$SECONDS rc=0 result=passed
  shift 2
  if [ $((limit - SECONDS)) -lt "$seconds" ]; then seconds=$((limit - SECONDS)); fi
  if [ "$seconds" -lt 5 ]; then
    note "$name" 'NOT RUN: time is up' 0
    return 1
  fi
  printf '== %s (at most %d s)\n' "$name" "$seconds"
  timeout -k 10 "$seconds" "$@" >"$out/$name.log" 2>"$out/$name.err" </dev/null || rc=$?
  case $rc in
    0) ;;
    4) result='FAILED: every case was skipped' ;;
    124 | 137) result="FAILED: stopped after $seconds s" ;;
    *) result="FAILED: exit code $rc" ;;
  esac
  note "$name" "$result" $((SECONDS - start))
  if [ "$rc" != 0 ]; then
    printf -- '-- %s: %s; the end of its output:\n' "$name" "$result"
    tail -n 25 "$out/$name.log" "$out/$name.err"
  fi
  return "$rc"
}

# Makes a prefix with PCRE2, utf8proc, xxHash, OpenSSL's libcrypto and libedit from unpacked packages. It gets the static libraries if
# there are some, because the shared ones in such packages are links to nothing. libedit's static library needs other libraries, so the
# shared one is taken.
find_packages() {
  local from=${SEER_PCRE2_PREFIX:-} to=$out/packages name
  if [ -z "$from" ]; then return 0; fi
  # Of Boost only headers are used, straight from this folder, in which cmake looks first.
  if [ -d "$from/usr/include/boost" ]; then export Boost_ROOT=$from/usr; fi
  rm -rf "$to"
  mkdir -p "$to/lib/pkgconfig" "$to/include/editline" # libedit.pc names that folder too
  for name in pcre2-8 utf8proc xxhash crypto edit; do
    local pc header lib shared package=lib${name%-8}-dev
    header=${name%-8}.h
    case "$name" in
      crypto) header='' package=libssl-dev ;;
      edit) header=histedit.h ;;
    esac
    pc=$(find "$from" -name "lib$name.pc" | head -n 1)
    if [ -z "$pc" ] && pkg-config --exists "lib$name"; then continue; fi
    if [ -z "$pc" ]; then
      echo "check: SEER_PCRE2_PREFIX=$from holds no lib$name.pc: unpack $package there with dpkg -x" >&2
      return 1
    fi
    if [ "$name" = crypto ]; then
      # OpenSSL's headers are in two folders, of which the second is that of the architecture (include/x86_64-linux-gnu/openssl).
      mkdir -p "$to/include/openssl"
      find "$from" -path '*/include/*openssl/*.h' -exec cp -t "$to/include/openssl" {} +
    else
      cp "$(find "$from" -name "$header" | head -n 1)" "$to/include"
    fi
    lib=$(dirname "$(dirname "$pc")")
    if [ -f "$lib/lib$name.a" ] && [ "$name" != edit ]; then
      cp "$lib/lib$name.a" "$to/lib"
    else
      shared=$(ldconfig -p | sed -n "s/.*lib$name\\.so\\.[0-9]* .*=> //p" | head -n 1)
      if [ -z "$shared" ]; then
        shared=$(realpath "$(find "$from" -name "lib$name.so.[0-9]" | head -n 1)")
        export LD_LIBRARY_PATH=${shared%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
      fi
      ln -s "$shared" "$to/lib/lib$name.so"
    fi
    sed -e "s|^prefix=.*|prefix=$to|" -e "s|^libdir=.*|libdir=$to/lib|" -e "s|^includedir=.*|includedir=$to/include|" "$pc" \
      >"$to/lib/pkgconfig/lib$name.pc"
  done
  export PKG_CONFIG_PATH=$to/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
}

# Code is compiled for the GPU at hand alone, which takes a third of the time.
architecture() {
  case "$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1)" in
    9.0) echo -DCMAKE_CUDA_ARCHITECTURES=90a-real ;;
    8.*) echo -DCMAKE_CUDA_ARCHITECTURES=80-real ;;
  esac
}

# Eight sources of C++ at a time are compiled together, because headers of libraries take most of the compiler's time.
build() {
  local options=(-DSEER_BUILD_TESTS=ON -DSEER_CUDA=ON -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=8) only
  find_packages || { note build 'FAILED: no PCRE2, utf8proc, xxHash, libcrypto or libedit' 0 && return 1; }
  only=$(architecture)
  if [ -n "$only" ]; then options+=("$only"); fi
  run configure 120 cmake --preset release -B "$build" "${options[@]}" &&
    run build 330 cmake --build "$build" -j "$(jobs)" --target bench_gpu_rates seer test_cuda \
      test_cuda_fault test_models_cuda test_engine_cuda test_engine_cuda_faults test_engine_cuda_lost test_fault \
      test_cuda_ranks bench_gpu_ops bench_serve_load bench_rank_sums seer_attention_bench
}

# An engine takes most of the memory that is free, so those of two tests cannot run at the same time. The tests of kernels take
# little memory and spend most of their time on the host, so they run next to them.
test() {
  local failed=0 kernels
  export SEER_REQUIRE_GPU=1
  test_kernels &
  kernels=$!
  test_engines || failed=1
  wait "$kernels" || failed=1
  return "$failed"
}

test_kernels() {
  local failed=0
  run test-kernels 150 "$build/tests/kernels/test_cuda" || failed=1
  run test-fault 30 "$build/tests/kernels/test_cuda_fault" || failed=1
  run test-ranks 60 "$build/tests/kernels/test_cuda_ranks" || failed=1
  return "$failed"
}

test_engines() {
  local failed=0
  run test-models 90 "$build/tests/models_cuda/test_models_cuda" || failed=1
  run test-engine 150 "$build/tests/engine_cuda/test_engine_cuda" || failed=1
  run test-engine-faults 120 "$build/tests/engine_cuda/test_engine_cuda_faults" || failed=1
  run test-engine-lost 30 "$build/tests/engine_cuda/test_engine_cuda_lost" || failed=1
  run test-mapped-files 60 "$build/tests/fault/test_fault" 'a model whose weights are cut short*' || failed=1
  return "$failed"
}

# The sanitizers run the small cases of every kernel. They slow what the GPU computes, and not the references that the CPU
# computes. Cases that ask the GPU for something it does not have are left out, because memcheck takes the refusal for an error.
# Racecheck looks at shared memory, so it runs on this project's kernels only, without those of cuBLASLt. All of them run at
# the same time, because most of a sanitizer's work is done on the host.
attention='cuda: append_kv*,cuda: dense prefill*,cuda: masked prefill*,cuda: prefill*,cuda: decode attention is*'
parts='cuda: decode attention in parts*'
gate='cuda: gate_project*,cuda: select_blocks*'
rows='cuda: embed*,cuda: rms_norm*,cuda: silu_mul*,cuda: RoPE*'
codes='cuda: products of few rows*'
rounded='cuda: norms and SwiGLUs*,cuda: inputs that*'
many_rows='cuda: products of many rows*'
decode_gate='cuda: decode gate*,cuda: decode attention over kept*'
# Catch2 knows * only at the beginning and at the end of a pattern.
maxima='cuda: attention with block maxima*,cuda: the truth for*'
distill='cuda: heads are *,cuda: queries of a group*,cuda: norms and their*,cuda: the divergence*,cuda: lists of numbers*'
batches='cuda: a batch of 2 *,cuda: a batch of 3 *'
sanitize() {
  local tool choice failed=0 pid pids=()
  export SEER_REQUIRE_GPU=1
  if ! command -v compute-sanitizer >/dev/null; then
    note sanitize 'FAILED: compute-sanitizer was not found' 0
    return 1
  fi
  for tool in memcheck racecheck synccheck; do
    local check=(compute-sanitizer --tool "$tool" --error-exitcode 9)
    run "$tool-attention" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$attention" & pids+=($!)
    run "$tool-parts" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$parts" & pids+=($!)
    run "$tool-gate" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$gate" & pids+=($!)
    run "$tool-rows" 100 "${check[@]}" "$build/tests/kernels/test_cuda" "$rows" & pids+=($!)
    # The tests of the choice have many edges, for which racecheck needs more than these seconds. So it gets only the tests of
    # the gate keys and of attention to the lists.
    choice=$decode_gate
    if [ "$tool" = racecheck ]; then choice='cuda: decode gate keys*,cuda: decode attention over kept*'; fi
    run "$tool-decode-gate" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$choice" & pids+=($!)
    run "$tool-maxima" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$maxima" & pids+=($!)
    run "$tool-distill" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$distill" & pids+=($!)
    # Racecheck needs minutes for all formats, so it gets one format of each kernel.
    if [ "$tool" = racecheck ]; then
      for format in 'e4m3, groups of 64' 'int8, a chunk that is cut' '4 bits, groups of 128'; do
        run "racecheck-codes-${format%%[, ]*}" 100 "${check[@]}" "$build/tests/kernels/test_cuda" "$codes" -c "$format" & pids+=($!)
      done
      continue
    fi
    run "$tool-linear" 100 "${check[@]}" "$build/tests/kernels/test_cuda" 'cuda: linear*' & pids+=($!)
    # By default synccheck tracks fewer barriers than these kernels have, and then faults. With many more, it has no room for
    # the tables of cuBLASLt's kernels above, and each launch takes longer.
    if [ "$tool" = synccheck ]; then check+=(--num-cuda-barriers 4096); fi
    run "$tool-codes" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$codes" & pids+=($!)
    run "$tool-rounded" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$rounded" & pids+=($!)
    run "$tool-many-rows" 150 "${check[@]}" "$build/tests/kernels/test_cuda" "$many_rows" & pids+=($!)
    run "$tool-batches" 150 "${check[@]}" "$build/tests/models_cuda/test_models_cuda" "$batches" & pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return "$failed"
}

bench() {
  local failed=0 shape=(--config examples/configs/llama-3.1-8b.json --random-weights --device cuda --output jsonl)
  case "$(architecture)" in *90a*) run bench-rates 30 "$build/bin/bench_gpu_rates" || failed=1 ;; esac
  run bench-ops 120 "$build/bin/bench_gpu_ops" || failed=1
  run bench-model 120 "$build/bin/seer" bench "${shape[@]}" --sparse dense,nz_ratio=0.1 -p 8192,32768 -n 128 -d 0,32768 ||
    failed=1
  run bench-serve 120 "$build/bin/bench_serve_load" --config examples/configs/llama-3.1-8b.json --device cuda || failed=1
  run bench-long 120 "$build/bin/seer" bench "${shape[@]}" --sparse dense,nz_ratio=0.1 -p 131072 -n 0 -r 1 || failed=1
  return "$failed"
}

# The results of others' kernels are only reported; this project's kernel must run, and its output must be right.
attention() {
  local options=(--lib "$build/lib/libseer_attention_bench.so" --build "$out/vsa" --output "$out/attention.json") seconds=150
  if ! python3 -c 'import torch, numpy' 2>/dev/null; then
    note attention 'skipped: python3 has no torch with numpy' 0
    return 0
  fi
  if [ -n "$triton" ]; then options+=(--triton "$triton"); fi
  if [ -n "$vsa" ]; then options+=(--vsa "$vsa" --thunderkittens "${thunderkittens:-$vsa/fastvideo-kernel/include/tk}"); fi
  if [ -n "$long" ]; then seconds=420; else options+=(--quick); fi
  # It starts nothing new near its end, so that it prints its table before it is stopped.
  if [ $((limit - SECONDS)) -lt "$seconds" ]; then seconds=$((limit - SECONDS)); fi
  PYTHONUNBUFFERED=1 run attention "$seconds" python3 tools/gpu/bench_attention.py "${options[@]}" \
    --seconds $((seconds * 3 / 4))
}

rivals() {
  local options=(--config examples/configs/llama-3.1-8b.json --output "$out/rivals.json")
  if ! python3 -c 'import torch, transformers' 2>/dev/null; then
    note rivals 'skipped: python3 has no torch with transformers' 0
    return 0
  fi
  if [ -n "$long" ]; then options+=(--long); fi
  PYTHONUNBUFFERED=1 run rivals 180 python3 tools/gpu/rivals.py "${options[@]}" || true
}

status=0
for step in "${steps[@]}"; do
  printf '\n== step %s, %d s gone\n' "$step" "$SECONDS"
  if "$step"; then continue; fi
  status=1
  if [ "$step" = build ]; then break; fi # nothing else can run
done
printf '\n'
python3 tools/gpu/table.py "$out"
python3 tools/gpu/compare_results.py "$out" || status=1
exit "$status"
