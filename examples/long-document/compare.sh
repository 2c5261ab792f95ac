#!/usr/bin/env bash
# Asks the demo model for the number planted in document.txt, with dense attention and with its trained gates.
#   examples/long-document/compare.sh [SEER]     SEER: the program, build/release/bin/seer unless given
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seer=${1:-$here/../../build/release/bin/seer}
demo=$here/../demo-model
if ! [ -x "$seer" ]; then
  echo "compare: $seer was not found; build it with tools/quickstart.sh, or name the program" >&2
  exit 2
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Document: $("$seer" tokenize -m "$demo/model" -f "$here/document.txt" | wc -w) tokens; it ends: $(tail -n 1 "$here/document.txt")"
printf '%-16s %-8s %-10s %s\n' attention answer prefill 'blocks attended to'
for rule in dense threshold=0.01; do
  answer=$("$seer" generate -m "$demo/model" -g "$demo/gates" -f "$here/document.txt" --sparse "$rule" -n 6 --temp 0 2>"$log") ||
    { cat "$log" >&2 && exit 1; }
  seconds=$(sed -n 's/^seer: prompt .* tokens in \([0-9.]* m\?s\) .*, decode .*/\1/p' "$log")
  density=$(sed -n 's/.*, density \([0-9.]*%\) .*/\1/p' "$log")
  printf '%-16s %-8s %-10s %s\n' "$rule" "${answer# }" "$seconds" "$density"
done
