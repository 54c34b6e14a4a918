#!/usr/bin/env bash
# Runs fsx, which does random things to one file and knows what must be in it then: eight seeds,
# two at a time, each on a mount of its own; and one seed whose file is now on one mount and now on
# another: it is reached through a symbolic link that changes sides, and opened anew now and then.
#
#   HTFS_FSX_OPERATIONS  how many for each seed (100000)
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

program=${FSX:-$tools/fsx}
[[ -x $program ]] || die "there is no $program"
operations=${HTFS_FSX_OPERATIONS:-100000}
settings=$repository/tests/suites/fsx.toml
start_cluster
start_mount a
start_mount b
passed=0 failed=0

# name, seed, path, settings
run() {
    # Its own number is told first.
    timeout 600 bash -c 'echo $$ >"$0" && exec "$@"' "$work/$1.pid" \
        "$program" -q -N "$operations" -S "$2" -f "$4" -P "$work" "$3" >"$work/$1.out" 2>&1
}

# name, exit status
judge() {
    if (($2 == 0)); then
        ((++passed))
        say "$1: passed, at $SECONDS s"
    else
        ((++failed))
        say "$1: FAILED, exit status $2"
        # Behind what is wrong comes a long list of what was done before.
        grep -nEim 20 'error|miscompare|mismatch|bad data|panic' "$work/$1.out" >&2
        tail -n 30 "$work/$1.out" >&2
    fi
}

# Both mounts at once, each with a file of its own.
for seed in 1 3 5 7; do
    run "seed-$seed" "$seed" "$work/a/file-$seed" "$settings" &
    first=$!
    run "seed-$((seed + 1))" "$((seed + 1))" "$work/b/file-$((seed + 1))" "$settings" &
    second=$!
    wait "$first"
    judge "seed-$seed" $?
    wait "$second"
    judge "seed-$((seed + 1))" $?
done

# Between two system calls, until `kill -CONT`: it stops when it leaves the one that it is in. A call
# whose path leads to another mount while the kernel follows it anew (ESTALE) may fail.
stop() { # process
    local state=
    kill -STOP "$1" 2>/dev/null || return
    while read -r _ _ state _ <"/proc/$1/stat" && [[ $state != [TZ] ]]; do sleep 0.001; done 2>/dev/null
}

# Taking turns: close and open are what the mounts promise to each other, so there are more of them.
sed 's/^close_open = .*/close_open = 4/' "$settings" >"$work/turns.toml"
mkdir "$work/turns"
ln -s "$work/a/shared" "$work/turns/file"
run turns 9 "$work/turns/file" "$work/turns.toml" &
runner=$!
turns=0
until [[ -s $work/turns.pid ]] || ! kill -0 "$runner"; do sleep 0.01; done
fsx=$(<"$work/turns.pid")
while kill -0 "$runner" 2>/dev/null; do
    for side in b a; do
        ln -s "$work/$side/shared" "$work/turns/next"
        stop "$fsx"
        mv -T "$work/turns/next" "$work/turns/file"
        kill -CONT "$fsx" 2>/dev/null
        ((++turns))
        sleep 0.02
    done
done
wait "$runner"
judge turns $?
finish "$passed" "$failed" "$operations operations each, $turns turns"
