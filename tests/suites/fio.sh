#!/usr/bin/env bash
# Runs fio: two mounts write to separate ranges of one file at once, at random, with checksums that
# fio puts into every block; then each reads what the other one wrote.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

command -v fio >/dev/null || die 'there is no fio'
start_cluster
start_mount a
start_mount b

# file, kind of work, mount of the even ranges, mount of the odd ones. The ranges, and the blocks in
# them, meet within pages and within blocks of our checksums; one lies across the end of a chunk.
describe() {
    local number=0 at=0 size
    cat >"$1" <<JOB
[global]
ioengine=psync
rw=$2
bs=12000
verify=crc32c
verify_fatal=1
verify_dump=0
fallocate=none
thread=1
JOB
    for size in 9000000 10992000 25008000 30000000; do
        printf '[range-%d]\nfilename=%s/file\noffset=%d\nsize=%d\nrandseed=%d\n' \
            "$number" "${*:3 + number % 2:1}" "$at" "$size" "$((number + 1))" >>"$1"
        ((at += size, ++number))
    done
}

passed=0 failed=0
attempt() { # name, fio's arguments
    local name=$1
    shift
    if (cd "$work" && timeout 300 fio --output="$work/$name.out" "$@"); then
        ((++passed))
        say "$name: passed, at $SECONDS s"
    else
        ((++failed))
        say "$name: FAILED"
        head -n 40 "$work/$name.out" >&2
    fi
}

describe "$work/write.fio" randwrite "$work/a" "$work/b"
describe "$work/read.fio" randread "$work/b" "$work/a"
attempt 'write-and-verify' "$work/write.fio"
attempt 'verify-from-the-other-mount' "$work/read.fio"
finish "$passed" "$failed" 'two mounts, one file'
