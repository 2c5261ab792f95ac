#!/usr/bin/env bash
# Lets the demo model continue a text of 15,000 tokens: with dense attention, and with attention to the blocks that its gates for
# decoding choose.
#   examples/long-answer/compare.sh [SEER] [TOKENS]     SEER: the program, build/release/bin/seer unless given; TOKENS: 1000
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seer=${1:-$here/../../build/release/bin/seer}
tokens=${2:-1000}
demo=$here/../demo-model
if ! [ -x "$seer" ]; then
  echo "compare: $seer was not found; build it with tools/quickstart.sh, or name the program" >&2
  exit 2
fi
document=$(mktemp) log=$(mktemp)
trap 'rm -f "$document" "$log"' EXIT
head -n -1 "$here/../long-document/document.txt" >"$document" # without the question at its end
echo "$tokens tokens after $("$seer" tokenize -m "$demo/model" -f "$document" | wc -w) tokens of prose, of which a tenth of the blocks is read:"
printf '%-14s %-18s %-12s %s\n' decoding speed 'attended to' 'it ends'
for rule in dense budget=2048 budget=1024 budget=512; do
  text=$("$seer" generate -m "$demo/model" -g "$demo/gates" -g "$demo/decode-gates" -f "$document" --sparse threshold=0.01 \
    --sparse-decode "$rule" -n "$tokens" --ignore-eos --temp 0.8 --top-p 0.95 -s 1 2>"$log") || { cat "$log" >&2 && exit 1; }
  speed=$(sed -n 's/.*, decode [^(]*(\([0-9.]* tokens\/s\)).*/\1/p' "$log")
  density=$(sed -n 's/.*, decode density \([0-9.]*%\) .*/\1/p' "$log")
  printf '%-14s %-18s %-12s ... %s\n' "$rule" "$speed" "${density:-100.0%}" "$(tr '\n' ' ' <<<"$text" | tail -c 61 | sed 's/ $//')"
done
