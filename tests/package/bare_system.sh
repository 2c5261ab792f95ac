#!/usr/bin/env bash
# Installs, uses and removes the packages that tools/package.sh built, on a Debian or Ubuntu that has nothing else installed.
#   tests/package/bare_system.sh FOLDER_OF_PACKAGES
# It installs and purges packages of the system it runs on. So run it as root, in a container or a root folder that can be thrown
# away, and confirm that with SEER_THROWAWAY_SYSTEM=1. The project's sources are needed for the demo model and the examples.
set -euo pipefail
packages=$(readlink -f "${1:?name the folder of the packages}")
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ "${SEER_THROWAWAY_SYSTEM:-}" != 1 ] || [ "$(id -u)" != 0 ]; then
  echo "this installs and purges packages; run it as root with SEER_THROWAWAY_SYSTEM=1 in a system that can be thrown away" >&2
  exit 2
fi
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 SEER_DEVICE=cpu
demo=$project/examples/demo-model
prompt="It was a bright morning, and the whole village"
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

# has [OPTION...] PATTERN: like grep -q, but it reads all of stdin, so that the writer is not ended by SIGPIPE.
has() { grep "$@" >/dev/null; }
fail() {
  echo "FAILED: $*" >&2
  exit 1
}
step() { printf '== %s (after %d s)\n' "$*" "$SECONDS"; }
apt() { apt-get -qq -o Dpkg::Use-Pty=0 "$@" >"$work/apt.log" 2>&1 || { cat "$work/apt.log"; fail "apt-get $*"; }; }
one() {  # one NAME: prints the path of the package's file
  local found=("$packages/$1"_*.deb)
  if [ "${#found[@]}" != 1 ] || ! [ -f "${found[0]}" ]; then fail "expected one package $1 in $packages"; fi
  echo "${found[0]}"
}
same_text() { "$@" | has -F "$prompt" || fail "no text from: $*"; }

variant=
if compgen -G "$packages/seer-cuda_*.deb" >/dev/null; then variant=-cuda; fi
program=$(one "seer$variant") library=$(one "libseer-engine0$variant") development=$(one "libseer-engine$variant-dev")
dpkg-query -W -f='${Package}\n' | sort >"$work/before"
version=$(dpkg-deb -f "$program" Version)

step "apt-get update"
apt update
step "apt install seer and its library, $version"
apt install -y --no-install-recommends "$program" "$library"
dpkg-query -W -f='${Package}\n' | sort | comm -13 "$work/before" - | tr '\n' ' '
echo
case "$(seer --version)" in "seer ${version%%-*}") ;; *) fail "seer --version: $(seer --version)" ;; esac
step "seer generate"
same_text seer generate -m "$demo/model" -g "$demo/gates" -p "$prompt" --echo -n 32 --temp 0 -q

step "apt install what the next steps need: curl, man, shells"
apt install -y --no-install-recommends curl man-db zsh fish bash-completion
step "seer serve"
seer serve -m "$demo/model" -g "$demo/gates" --port 0 >"$work/address" 2>"$work/serve.log" &
server=$!
for _ in $(seq 100); do
  if [ -s "$work/address" ]; then break; fi
  sleep 0.1
done
url=$(grep -o 'http://[^ /]*' "$work/address") || fail "seer serve did not listen: $(cat "$work/serve.log")"
curl -sf "$url/health" >/dev/null || fail "GET /health"
curl -sf "$url/v1/completions" -d "{\"prompt\": \"$prompt\", \"max_tokens\": 8}" | has '"text": *"[^"]' || fail "POST /v1/completions"
kill "$server"
wait "$server" || fail "seer serve ended with $?"
server=

step "manual page and completions"
man seer | col -b 2>/dev/null | has '^EXIT STATUS' || fail "man seer"
bash -c '. /usr/share/bash-completion/bash_completion
  if declare -F _comp_load >/dev/null; then _comp_load seer; else _completion_loader seer; fi
  COMP_WORDS=(seer generate --top); COMP_CWORD=2; _seer; echo "${COMPREPLY[*]}"' | has -x -- '--top-k --top-p' || fail "bash's completion"
zsh -f -c 'autoload -Uz compinit && compinit -u -D && [[ $_comps[seer] == _seer ]] && autoload -Uz +X _seer' || fail "zsh's completion"
fish -c 'complete -C "seer generate --top"' | has -- '^--top-k' || fail "fish's completion"

step "apt install the development files and a compiler"
apt install -y --no-install-recommends "$development" g++ cmake make pkg-config
step "find_package and pkg-config, shared"
cmake -S "$project/examples/embed" -B "$work/shared" >/dev/null
cmake --build "$work/shared" >/dev/null
ldd "$work/shared/embed" | has 'libseer_engine.so.0 => /' || fail "the library is not linked"
same_text "$work/shared/embed" "$demo/model" "$prompt"
# shellcheck disable=SC2046  # the flags are several words
cc -std=c99 "$project/examples/05_c_interface.c" -o "$work/c" $(pkg-config --cflags --libs seer_engine)
"$work/c" "$demo/model" "$demo/gates" "$prompt" >/dev/null 2>&1 || fail "examples/05_c_interface.c"
step "find_package, static"
if [ -z "$variant" ]; then  # the variant for CUDA would need the CUDA Toolkit
  apt install -y --no-install-recommends libopenblas-dev libsentencepiece-dev
  cmake -S "$project/examples/embed" -B "$work/static" -DBUILD_SHARED_LIBS=OFF >/dev/null
  cmake --build "$work/static" >/dev/null
  ldd "$work/static/embed" | has libseer_engine && fail "the archive is not linked"
  same_text "$work/static/embed" "$demo/model" "$prompt"
fi

step "apt remove"
names=("seer$variant" "libseer-engine0$variant" "libseer-engine$variant-dev")
dpkg -L "${names[@]}" | grep -E 'seer' | sort -u >"$work/files"
[ "$(wc -l <"$work/files")" -gt 30 ] || fail "dpkg -L names too few files"
apt remove -y "${names[@]}"
while read -r file; do [ ! -e "$file" ] || fail "$file is still there"; done <"$work/files"
for name in "${names[@]}"; do
  ! dpkg-query -W "$name" >/dev/null 2>&1 || fail "dpkg still knows $name: $(dpkg-query -W "$name")"
done
! ldconfig -p | has libseer_engine || fail "ldconfig still knows the library"
step "done"
