#!/usr/bin/env bash
# Runs every check and every test of htfs, on a fresh Debian machine too: installs what is missing,
# builds, and ends with a line that says how many passed. Exit status 0 only if all did.
set -uo pipefail

usage() {
    cat <<'TEXT'
Usage: tests/run.sh

Installs what the tests need and the machine lacks (Debian packages with apt-get, as root or with
sudo; fusepy into target/venv; pjdfstest and fsx, with cargo install, into target/tools), then runs cargo
fmt --check, cargo clippy with warnings denied, all tests (those of the crate, the interop matrix with
the Python programs, the report's tests), and the suites of others on a mount: pjdfstest, fsx, fio.
These need root.

The last line is "N passed, N failed", with ", N skipped" if a test could not run for want of
Python 2.7. Everything else that is missing is a failure.

  HTFS_PYTHON2  a Python 2.7 for the interop tests (default: python2.7, or one that pyenv has)
  HTFS_FSX_OPERATIONS  operations of fsx for each seed (default: 100000)
  HTFS_PYTHON3  a Python 3 that can import fusepy (default: the one in target/venv)
TEXT
}

case ${1-} in
    '') ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
target=${CARGO_TARGET_DIR:-target}
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
started=$SECONDS

say() { printf '[%4ds] %s\n' "$((SECONDS - started))" "$*"; }
fail() { # message: ends the run, with the line that everybody looks for
    say "FAILED: $*"
    echo '0 passed, 1 failed'
    exit 1
}

# --- what the tests need ---------------------------------------------------------------------

# Debian's name of the package with libfuse 2: newer releases have renamed it.
libfuse2() {
    if apt-cache show libfuse2t64 >/dev/null 2>&1; then echo libfuse2t64; else echo libfuse2; fi
}

missing_packages() {
    have() { command -v "$1" >/dev/null 2>&1; }
    have fusermount3 || echo fuse3
    have tcpdump || echo tcpdump
    have openssl || echo openssl
    have fio || echo fio
    have strace || echo strace
    have sqlite3 || echo sqlite3
    have git || echo git
    have rsync || echo rsync
    have setfacl && have getfacl || echo acl
    have setfattr || echo attr
    have cc && have make || echo build-essential
    have python3 || echo python3
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3-venv
    [[ $(ldconfig -p) == *libfuse.so.2* ]] || libfuse2
}

install_packages() {
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    command -v apt-get >/dev/null || { say "there is no apt-get: install $*"; return 1; }
    "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy \
            --no-install-recommends "$@"
}

prepare_python() {
    local python=$target/venv/bin/python3 old
    if [[ -z ${HTFS_PYTHON3-} ]] && ! "$python" -c 'import fuse' >/dev/null 2>&1; then
        python3 -m venv --clear "$target/venv" &&
            "$python" -m pip install -q --disable-pip-version-check fusepy==3.0.1 || return 1
    fi
    # Python 2 is optional, and so is its fusepy: without it, it takes part without a mount.
    for old in "${HTFS_PYTHON2-}" python2.7 ~/.pyenv/versions/2.7*/bin/python2.7; do
        if [[ -n $old ]] && "$old" -c 'import ssl, xmlrpclib' >/dev/null 2>&1; then
            [[ -e $target/python2-packages/fuse.py ]] ||
                "$old" -m pip install -q --disable-pip-version-check --no-warn-script-location \
                    --target "$target/python2-packages" fusepy==3.0.1 2>/dev/null ||
                say "no fusepy for $old"
            say "Python 2: $old"
            return 0
        fi
    done
    say 'Python 2: none; the interop tests go without it'
}

mapfile -t packages < <(missing_packages)
if ((${#packages[@]})); then
    say "installing ${packages[*]}"
    install_packages "${packages[@]}" || fail "cannot install ${packages[*]}"
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]} == 0)) || fail "still missing: ${packages[*]}"
fi
command -v cargo >/dev/null || fail 'there is no cargo: install Rust 1.95 or newer (https://rustup.rs)'
[[ -c /dev/fuse ]] || fail 'there is no /dev/fuse: the kernel, or the container, does not offer FUSE'
mkdir -p "$target"
prepare_python || fail 'cannot make a virtual environment with fusepy'
# Suites of others, at versions whose numbers of tests are known.
missing_tools=()
tools=(pjdfstest@0.2.0 fsx@0.3.2)
for tool in "${tools[@]}"; do
    [[ -x $target/tools/bin/${tool%@*} ]] || missing_tools+=("$tool")
done
if ((${#missing_tools[@]})); then
    say "installing ${missing_tools[*]}"
    cargo install --quiet --locked --root "$target/tools" "${missing_tools[@]}" ||
        fail "cannot install ${missing_tools[*]}"
fi
# Listed first, the component is installed with its toolchain where rustup manages them.
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

# --- the checks and the tests ----------------------------------------------------------------

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

check() { # name, command: one check, which passes or fails as a whole
    local name=$1
    shift
    say "$name …"
    if "$@"; then
        ((++passed))
        say "$name: passed"
    else
        ((++failed))
        say "$name: FAILED"
    fi
}

check 'format' cargo fmt --check
check 'clippy' cargo clippy --quiet --all-targets --locked -- -D warnings

say 'tests …'
# Every test has an end of its own; this one is for what nobody thought of.
timeout --kill-after=20 2700 cargo test --locked --no-fail-fast 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
say "tests: exit status $status"

# What nobody here wrote, on mounts of the programs that the tests have just built. Each suite ends
# in the words of the test runner, so its numbers are added to those of the tests.
broken=0
for suite in pjdfstest fsx fio; do
    say "$suite …"
    CARGO_TARGET_DIR=$target timeout --kill-after=20 1500 "tests/suites/$suite.sh" 2>&1 | tee -a "$log"
    ((PIPESTATUS[0] == 0)) || tail -n 1 "$log" | grep -q '^test result: FAILED' || ((++broken))
done

# The runner's own words: "test result: ok. 12 passed; 0 failed; 1 ignored; …", once per program.
sum() { # word
    grep -Eo "^test result: .*" "$log" | grep -Eo "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'
}
said_skipped=$(grep -c '^SKIPPED: ' "$log")
((skipped = $(sum ignored) + said_skipped))
((passed += $(sum passed) - said_skipped))
((failed += $(sum failed) + broken))
# A program that does not build, or dies in the middle, has no result line to be counted.
if ((status != 0 && failed == 0)); then ((++failed)); fi
if ((passed == 0)); then ((++failed)); fi

if ((failed)); then grep -E '^(test .* FAILED|error(\[|:).*|    [a-z_:]+)$' "$log" | sort -u; fi
if ((skipped)); then grep -E '^SKIPPED: ' "$log" | sort | uniq -c; fi
say 'done'
line="$passed passed, $failed failed"
if ((skipped)); then line+=", $skipped skipped"; fi
echo "$line"
((failed == 0))
