#!/usr/bin/env bash
# From a fresh clone to text: installs what is missing, builds, and generates with the bundled demo model.
#   tools/quickstart.sh                        a short continuation of a built-in prompt
#   tools/quickstart.sh -p "Once upon" -n 100  options of `seer generate`; the demo model unless -m says otherwise
#   tools/quickstart.sh bench --help           anything that begins with a subcommand goes to seer as it is
# The text goes to stdout, everything else to stderr. Later runs need neither root nor network.
set -euo pipefail

invoked_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
# shellcheck source=tools/lib.sh
. tools/lib.sh

tools/install_deps.sh build
# A tree that test.sh has configured is not configured again: without its tests, their objects would be thrown away.
if ! [ -f build/release/build.ninja ] || ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" build/release/CMakeCache.txt; then
  configure release -DSEER_BUILD_TESTS=OFF >&2
fi
cmake --build --preset release --target seer -j "$(jobs)" >&2

has() {  # has "WANTED ..." ARG...: succeeds if one of the wanted options is among the arguments
  local wanted=$1 arg
  shift
  for arg in "$@"; do
    case " $wanted " in *" ${arg%%=*} "*) return 0 ;; esac
  done
  return 1
}

cd "$invoked_from" # so that file names among the arguments mean what the caller meant
seer=$root/build/release/bin/seer
demo=$root/examples/demo-model
if [ $# != 0 ] && [[ $1 != -* ]]; then exec "$seer" "$@"; fi
defaults=()
if ! has "-m --model" "$@"; then
  defaults+=(-m "$demo/model")
  has "-g --gates" "$@" || defaults+=(-g "$demo/gates")
fi
if ! has "-p --prompt -f --file" "$@"; then
  defaults+=(-p "It was a bright morning, and the whole village")
  has "-n --n-predict" "$@" || defaults+=(-n 64)
fi
exec "$seer" generate "${defaults[@]}" "$@"
