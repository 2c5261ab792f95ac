#!/usr/bin/env bash
# Runs seer under mpirun on two hosts named in a host file: two network namespaces, connected by a virtual cable, each with its own
# host name. They must generate what one process generates. After the cable is cut, rank 0 must report that --comm-timeout has passed.
#   two_hosts_test.sh SEER MODEL      exits with 77 if there are no namespaces or no mpirun
set -euo pipefail
seer=$1 model=$2
skip() { echo "SKIPPED: $*" && exit 77; }
command -v mpirun >/dev/null || skip "mpirun is not installed"
command -v ip >/dev/null || skip "ip (iproute2) is not installed"
id=$$ work=$(mktemp -d)
a=seer-a-$id b=seer-b-$id
# Processes that a failed run leaves behind are in these namespaces, and all of them belong to this test.
clean() {
  for name in "$a" "$b"; do
    ip netns pids "$name" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "$name" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean EXIT
ip netns add "$a" 2>/dev/null || skip "network namespaces are not allowed here"
ip netns add "$b"
ip link add "va$id" type veth peer name "vb$id" 2>/dev/null || skip "virtual network devices are not allowed here"
for end in "$a va$id 10.231.77.1" "$b vb$id 10.231.77.2"; do
  read -r name device address <<<"$end"
  ip link set "$device" netns "$name"
  ip -n "$name" address add "$address/24" dev "$device"
  ip -n "$name" link set lo up
  ip -n "$name" link set "$device" up
done
unshare --uts true 2>/dev/null || skip "host names of their own are not allowed here"
printf '10.231.77.1 slots=1\n10.231.77.2 slots=1\n' >"$work/hosts"
# mpirun calls this script instead of ssh: agent HOST COMMAND...
cat >"$work/agent" <<END
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c "hostname seer-b; \$*"
END
chmod +x "$work/agent"

on_hosts() {
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 LSAN_OPTIONS=detect_leaks=0 \
    timeout -k 5 100 ip netns exec "$a" unshare --uts sh -c "hostname seer-a; exec \"\$@\"" sh \
    mpirun -np 2 --hostfile "$work/hosts" --map-by node --bind-to none --mca plm_rsh_agent "$work/agent" \
    --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 2 \
    --mca btl tcp,self --mca btl_tcp_if_include 10.231.77.0/24 --mca oob_tcp_if_include 10.231.77.0/24 "$@" </dev/null
}
prompt=(generate -m "$model" --device cpu -p "It was a dark night" --temp 0 --ids -q --ignore-eos)
"$seer" "${prompt[@]}" -n 24 >"$work/alone"
on_hosts "$seer" "${prompt[@]}" -n 24 >"$work/both"
# mpirun passes output through a terminal, which adds carriage returns.
if ! cmp "$work/alone" <(tr -d '\r' <"$work/both"); then
  echo "FAILED: two hosts generate other tokens than one" && exit 1
fi
on_hosts sh -c hostname | tr -d '\r' | sort | tr '\n' ' ' >"$work/names"
if [ "$(cat "$work/names")" != "seer-a seer-b " ]; then
  echo "FAILED: the ranks ran on $(cat "$work/names"), not on two hosts" && exit 1
fi

# The test checks only that rank 0 notices and says so. When mpirun gives up a host depends on mpirun.
on_hosts "$seer" "${prompt[@]}" -n 6000 -c 8192 --comm-timeout 2 >"$work/long" 2>"$work/err" &
# await SECONDS COMMAND...: repeats the command until it succeeds, for so long at most
await() {
  local tries=$(($1 * 10))
  shift
  while ! "$@"; do
    if [ $((tries -= 1)) -le 0 ]; then return 1; fi
    sleep 0.1
  done
}
await 60 test -s "$work/long" || { echo "FAILED: nothing was generated" && cat "$work/err" && exit 1; }
ip -n "$a" link set "va$id" down
if ! await 60 grep -qs 'seer: error: rank 0 of 2 (seer-a): waited 2 s for the other ranks' "$work/err"; then
  echo "FAILED: the cable was cut, and the run said" && cat "$work/err" && exit 1
fi
echo "two hosts: the same tokens as one; a cut cable is noticed"
