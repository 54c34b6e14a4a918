#!/usr/bin/env bash
# Runs pjdfstest, the POSIX conformance tests, on a fresh mount. Needs root.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"
start_cluster
start_mount mnt
chmod 0755 "$work"
cd "$work/mnt" || die 'no mount'
PJD=${PJD:-$tools/pjdfstest}
mkdir "$work/second"; chmod 755 "$work/second"; "$PJD" -s "$work/second" -c "$repository/tests/suites/pjdfstest.toml" -p "$work/mnt" >"$work/out" 2>&1; status=$?
cp "$work/out" ${OUT:-/dev/null}
tail -5 "$work/out"
cd /
exit $status
