#!/usr/bin/env bash
# Runs pjdfstest, the POSIX conformance tests, on a fresh mount. Needs root.
#
# What may be skipped: the tests that remount read-only, which every file system skips that the
# suite is not told to remount, and the one for the largest number of links, which glibc does not
# know of FUSE (the master's own tests have it). A local ext4 skips 15, of which two run here.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

program=${PJDFSTEST:-$tools/pjdfstest}
[[ -x $program ]] || die "there is no $program"
start_cluster
start_mount mnt
# Users without any rights work in there, and the tests of EXDEV need a second file system.
chmod 0755 "$work"
mkdir -m 0755 "$work/second"
sed "s|^\[features\]|&\nsecondary_fs = \"$work/second\"|" \
    "$repository/tests/suites/pjdfstest.toml" >"$work/pjdfstest.toml"
cd "$work/mnt" || die 'no mount'
timeout 300 "$program" -c "$work/pjdfstest.toml" -p "$work/mnt" >"$work/out" 2>&1
status=$?
cd / || exit 1

summary=$(grep '^Summary: ' "$work/out") || { tail -n 20 "$work/out" >&2; die "exit status $status"; }
say "$summary"
[[ $summary =~ ([0-9]+)\ failed,\ ([0-9]+)\ skipped,\ ([0-9]+)\ passed ]] || die 'no numbers'
failed=${BASH_REMATCH[1]} skipped=${BASH_REMATCH[2]} passed=${BASH_REMATCH[3]}
grep -A 3 ' FAILED$' "$work/out" >&2
unexpected=$(grep ' skipped$' "$work/out" | grep -vE '::(erofs_[a-z_]+|link_count_max) ')
if [[ -n $unexpected ]]; then
    say "skipped, and must not be: $unexpected"
    ((++failed))
fi
((status == 0 || failed > 0)) || ((++failed))
finish "$passed" "$failed" "$skipped skipped as on other file systems"
