#!/usr/bin/env bash
# Compares several ranks on a machine with GPUs with one rank, and times them in the same run. Builds nothing.
#   tools/gpu/check_ranks.sh --build DIR [OPTION...]
#     --build DIR     the programs of this build folder (build/gpu)
#     --out DIR       models, logs and results (build/gpu-ranks)
#     --ranks N       how many (2)
#     --device NAME   cuda: a GPU for each rank if there are so many, else they share; or cuda:N, or cpu
#     --config FILE   the shape of the random weights (examples/configs/llama-3.1-8b.json)
#     --layers N      how many layers of that shape are checked (4)
#     --no-bench      do not measure times, for which all layers of the shape run
# Checks tokens and logits on the demo model, dense, sparse and with gates for decoding, and on the shape of --config. Prints a table
# of times, and one for --cp with gates for decoding if there is a file NAME-decode.json with such a shape next to NAME.json. If ranks
# on GPUs differ, the CPU's float32 logits show whether several ranks are further from the right ones than one rank is. Exits with 1
# if anything is wrong. Runs the ranks under mpirun too, if it is installed and the build has MPI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() { sed -n '2,14s/^# //p' tools/gpu/check_ranks.sh >&2; }

build=build/gpu out=build/gpu-ranks config=examples/configs/llama-3.1-8b.json ranks=2 device=cuda layers=4 bench=1
while [ $# != 0 ]; do
  case "$1" in
    --build | --out | --ranks | --device | --config | --layers)
      if [ $# = 1 ]; then echo "check_ranks: $1 needs a value" >&2 && exit 2; fi
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --no-bench) bench='' ;;
    -h | --help) usage && exit 0 ;;
    *) echo "check_ranks: unknown option '$1'" >&2 && usage && exit 2 ;;
  esac
  shift
done
seer=$build/bin/seer
if ! [ -x "$seer" ]; then echo "check_ranks: no program $seer: build it first, or name the folder with --build" >&2 && exit 2; fi
mkdir -p "$out"
rm -f "$out"/*.log "$out"/*.json "$out"/*-reference
n_gpus=0
if command -v nvidia-smi >/dev/null; then n_gpus=$(nvidia-smi -L 2>/dev/null | wc -l); fi
echo "GPUs: $n_gpus, ranks: $ranks, device: $device"
# NCCL takes ranks on one GPU for different hosts, so it needs a network between them, which is the loopback device here.
if [ "$n_gpus" -lt "$ranks" ] || [ "${device#cuda:}" != "$device" ]; then export NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1; fi
# If ranks share a GPU, each takes its part of the memory that is left. A single rank would otherwise leave nothing for others.
model=(--device "$device" --gpu-memory-utilization 0.8)
failed=0

fail() {
  printf 'FAILED: %s\n' "$*"
  failed=1
}

# try NAME COMMAND...: runs a command. Its messages go to NAME.log, and its output to standard output.
try() {
  local name=$1 rc=0
  shift
  timeout -k 10 240 "$@" 2>"$out/$name.log" || rc=$?
  if [ "$rc" != 0 ]; then
    printf 'FAILED: %s (exit code %s):\n' "$name" "$rc" >&2
    tail -n 8 "$out/$name.log" >&2
  fi
  return "$rc"
}

# forced NAME: sets `logits` to the options by which `seer inspect` computes the logits of the last tokens of NAME.ids. If $decode_rule
# is set, the last 32 tokens are decoded under this rule.
forced() {
  logits=(--tokens-file "$out/$1.ids" --logits-last 33)
  if [ -z "$decode_rule" ]; then return 0; fi
  logits=(--tokens-file "$out/$1.ids" --prompt-tokens $(($(head -n 1 "$out/$1.ids" | wc -w) - 32)) --sparse-decode "$decode_rule")
}

# one NAME PROMPT... -- MODEL...: generates 32 tokens on one rank. Writes them to NAME-1.ids, the prompt and them to NAME.ids, and
# their logits to NAME-one. On a GPU, if $reference is set, also writes the float32 logits of the CPU to NAME-reference.
one() {
  local name=$1 prompt=() decode=()
  if [ -n "$decode_rule" ]; then decode=(--sparse-decode "$decode_rule"); fi
  shift
  while [ "$1" != -- ]; do prompt+=("$1") && shift; done
  shift
  try "$name-ids" "$seer" inspect "$@" "${model[@]}" "${prompt[@]}" --dump "$out/$name-prompt" >/dev/null || return 1
  try "$name-1" "$seer" generate "$@" "${model[@]}" "${prompt[@]}" "${decode[@]}" -n 32 --temp 0 --ids -q --ignore-eos \
    >"$out/$name-1.ids" || return 1
  python3 - "$out/$name-prompt" "$out/$name-1.ids" >"$out/$name.ids" <<'PY' || return 1
import array, json, struct, sys
with open(sys.argv[1], "rb") as file:
    n = struct.unpack("<Q", file.read(8))[0]
    begin, end = json.loads(file.read(n))["input_ids"]["data_offsets"]
    file.seek(8 + n + begin)
    ids = array.array("i")
    ids.frombytes(file.read(end - begin))
print(*ids, open(sys.argv[2]).read())
PY
  forced "$name"
  try "$name-dump-1" "$seer" inspect "$@" "${model[@]}" "${logits[@]}" --dump "$out/$name-one" >/dev/null || return 1
  if [ -z "$reference" ] || [ "$device" = cpu ]; then return 0; fi
  try "$name-reference" "$seer" inspect "$@" --device cpu "${logits[@]}" --dump "$out/$name-reference" >/dev/null
}

# same NAME START MODEL...: compares several ranks with the results that one() wrote. START says how they are started: tp and mpi
# (they divide the model), or cp (they divide the prompt).
same() {
  local name=$1 start=$2 many=("$seer") split=(--tp "$ranks") decode=() compare=("$out/$1-one" "$out/$1-many")
  shift 2
  if [ -n "$decode_rule" ]; then decode=(--sparse-decode "$decode_rule") compare+=(--entry decode.logits); fi
  if [ "$start" = cp ]; then split=(--cp "$ranks"); fi
  if [ "$start" = mpi ]; then many=(mpirun -np "$ranks" --oversubscribe --bind-to none "$seer") split=(); fi
  forced "$name"
  head -n 1 "$out/$name.ids" | tr ' ' '\n' | head -n -32 | tr '\n' ' ' >"$out/$name-only-prompt.ids"
  try "$name-$start" "${many[@]}" generate "$@" "${model[@]}" "${split[@]}" "${decode[@]}" --tokens-file "$out/$name-only-prompt.ids" \
    -n 32 --temp 0 --ids -q --ignore-eos >"$out/$name-n.ids" || return 1
  try "$name-dump-$start" "${many[@]}" inspect "$@" "${model[@]}" "${split[@]}" "${logits[@]}" --dump "$out/$name-many" \
    >/dev/null || return 1
  printf '%-28s ' "$name ($start)"
  if cmp -s <(tr -d '\r' <"$out/$name-1.ids") <(tr -d '\r' <"$out/$name-n.ids"); then
    printf 'the same 32 tokens; '
  else
    printf 'tokens part (see whether at a tie); '
  fi
  if [ -f "$out/$name-reference" ]; then compare+=(--reference "$out/$name-reference"); fi
  python3 tools/gpu/compare_ranks.py "${compare[@]}"
}

demo=(-m examples/demo-model/model -g examples/demo-model/gates -c 16384)
demo_decode=(-m examples/demo-model/model -g examples/demo-model/decode-gates -c 16384)
random=$out/$(basename "$config" .json)-$layers
if ! [ -f "$random/prompt.ids" ]; then
  python3 tools/gpu/random_model.py "$config" "$random" --layers "$layers"
fi
starts=(tp cp)
if command -v mpirun >/dev/null && ldd "$seer" | grep -q libmpi; then
  starts+=(mpi)
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
head -c 6000 examples/long-document/document.txt >"$out/short.txt"
# check NAME PROMPT... -- MODEL...: one() and, for every way to start several ranks, same()
check() {
  local name=$1 start
  one "$@" || { fail "$name on one rank" && return; }
  while [ "$1" != -- ]; do shift; done
  shift
  for start in "${starts[@]}"; do same "$name" "$start" "$@" || fail "$name $start"; done
}
reference=1 decode_rule=
for rule in dense threshold=0.01; do
  check "demo-$rule" -f examples/long-document/document.txt -- "${demo[@]}" --sparse "$rule"
  check "demo-short-$rule" -f "$out/short.txt" -- "${demo[@]}" --sparse "$rule"
done
reference=
for decode_rule in ratio=0.1 threshold=0.01 budget=1024; do
  check "demo-decode-$decode_rule" -f examples/long-document/document.txt -- "${demo_decode[@]}"
  check "demo-short-decode-$decode_rule" -f "$out/short.txt" -- "${demo_decode[@]}"
done
decode_rule=
check "random-$layers-layers" --tokens-file "$random/prompt.ids" -- -m "$random" -c 4096

# times NAME RANKS_BY CONFIG OPTION...: prints a table of `seer bench` on random weights, with one rank and with several. RANKS_BY is
# --tp or --cp.
times() {
  local name=$1 ranks_by=$2 config=$3 n
  shift 3
  for n in 1 "$ranks"; do
    try "$name-$n" "$seer" bench --config "$config" --random-weights "$@" --output json "${model[@]}" "$ranks_by" "$n" \
      >"$out/$name-$n.json" || fail "$name $ranks_by $n"
  done
  python3 - "$out/$name" "$ranks" "$ranks_by" "$(basename "$config" .json)" <<'PY' || fail "$name table"
import json, sys
files, n, ranks_by, name_of_shape = sys.argv[1:]
rows = {}
for ranks in ("1", n):
    for row in json.load(open(f"{files}-{ranks}.json")):
        test = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']} after {row['n_depth']}"
        rule = row["sparse"] if row["n_prompt"] else row["sparse_decode"]
        rows.setdefault((test, rule), {})[ranks] = row["avg_ts"]
print(f"\n| {name_of_shape} | 1 rank, t/s | {ranks_by} {n}, t/s | times |\n|---|---:|---:|---:|")
for (test, rule), rates in rows.items():
    print(f"| {test}, {rule} | {rates['1']:.1f} | {rates[n]:.1f} | {rates[n] / rates['1']:.2f} |")
PY
}
decode_config=${config%.json}-decode.json
if [ -n "$bench" ]; then
  times bench --tp "$config" --sparse "dense,nz_ratio=0.1" -p 8192 -n 128 -r 3
  if [ -f "$decode_config" ]; then
    times bench-decode --cp "$decode_config" --sparse-decode "dense,ratio=0.1" -p 0 -n 128 -d "0,65536" -r 1
  fi
fi
exit "$failed"
