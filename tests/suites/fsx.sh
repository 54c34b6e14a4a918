#!/usr/bin/env bash
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"
FSX=${FSX:-$tools/fsx}
start_cluster
start_mount mnt
for seed in ${SEEDS:-1}; do
  "$FSX" -q -N ${OPS:-100000} -S $seed -f "${TOML:-$repository/tests/suites/fsx.toml}" -P "$work" "$work/mnt/f$seed" >"$work/fsx.out" 2>&1 || { tail -30 "$work/fsx.out"; die "seed $seed"; }
  echo seed $seed $SECONDS
done
