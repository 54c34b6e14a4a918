# For the suites: a master, three chunk servers and mounts of them, from the programs in $HTFS_BIN,
# in a directory of their own that is gone afterwards. To be sourced by bash.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$(cd "$repository" && realpath -m "${CARGO_TARGET_DIR:-target}")
HTFS_BIN=${HTFS_BIN:-$target/debug}
tools=$target/tools/bin
# In memory if there is room: these suites are about what is right, and sync again and again.
place=${TMPDIR:-/tmp}
if free=$(df --output=avail -B1M /dev/shm 2>/dev/null | tail -n 1) && ((free > 2048)); then
    place=/dev/shm
fi
work=$(mktemp -d "$place/htfs-suite.XXXXXX")
pids=()
mounts=()

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { say "FAILED: $*"; exit 1; }

leave() {
    local status=$? mount pid
    trap - EXIT
    for mount in "${mounts[@]}"; do fusermount3 -uz "$mount" 2>/dev/null || umount -l "$mount"; done
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
    if ((status)) && [[ -n ${HTFS_KEEP-} ]]; then
        say "logs are kept in $work"
    else
        rm -rf "$work"
    fi
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT TERM

# name, what its standard output begins with when it is ready, program and arguments: starts a
# program and sets `answer` to the rest of that line.
begin() {
    local name=$1 ready=$2 line deadline=$((SECONDS + 60))
    shift 2
    "$@" >"$work/$name.out" 2>"$work/$name.log" </dev/null &
    pids+=($!)
    while ! line=$(grep -sm1 "^$ready" "$work/$name.out"); do
        kill -0 "${pids[-1]}" 2>/dev/null || die "$name ended: $(tail -n 3 "$work/$name.log")"
        ((SECONDS < deadline)) || die "$name is not ready after a minute"
        sleep 0.05
    done
    answer=${line#"$ready"}
}

start_cluster() {
    local n
    keys=$work/keys
    bash "$repository/openssl-gen.sh" --dir "$keys" >/dev/null 2>&1 || die 'no keys'
    local identity=(--cert "$keys/cacert.pem" --key "$keys/privkey.pem")
    begin master 'listening on ' "$HTFS_BIN/master" --listen localhost:0 \
        --data-dir "$work/master" "${identity[@]}"
    master=$answer
    for n in 1 2 3; do
        begin "chunk-$n" 'listening on ' "$HTFS_BIN/chunk" 0 --master "$master" \
            --data-dir "$work/chunk-$n" "${identity[@]}" --ca "$keys/cacert.pem"
    done
}

# name: mounts at $work/NAME, with all that POSIX knows.
start_mount() {
    mkdir "$work/$1"
    begin "client-$1" 'mounted on ' "$HTFS_BIN/client" "$work/$1" --suid --dev \
        --master "$master" --ca "$keys/cacert.pem"
    mounts+=("$work/$1")
}

# passed, failed, remark: the suite's last line, in the words of cargo's test runner, so that
# tests/run.sh adds it up with the others. Ends the suite.
finish() {
    local verdict=ok
    (($2 == 0)) || verdict=FAILED
    echo "test result: $verdict. $1 passed; $2 failed; $(basename "$0" .sh): $3, ${SECONDS} s"
    exit "$(($2 > 0))"
}
