#!/usr/bin/env bash
# Makes the key and the self-signed certificate with which the servers show who they are.
set -euo pipefail
umask 077

readonly DAYS=1095 BITS=2048

usage() {
    cat <<'TEXT'
Usage: ./openssl-gen.sh [--force] [--dir DIR] [NAME...]

Makes DIR/privkey.pem (an RSA key of 2048 bits) and DIR/cacert.pem (a self-signed certificate,
valid for 1095 days) without asking anything. The certificate is for localhost, 127.0.0.1, ::1,
this host's name, and every NAME: host names and IP addresses under which clients will reach the
servers. Servers need both files; clients need cacert.pem only.

  --force     replace an existing pair (clients then need the new cacert.pem)
  --dir DIR   where the pair goes (default: keys)
  --help      show this text
TEXT
}

fail() { # message, exit status
    printf 'openssl-gen.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

# Prints a name as it stands among the alternative names of a certificate; fails if it is none.
alternative_name() {
    local name=$1 octet='(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])'
    local label='[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?'
    if [[ $name =~ ^$octet(\.$octet){3}$ ]]; then
        printf 'IP:%s\n' "$name"
    elif [[ $name == *:* && $name =~ ^[0-9A-Fa-f:]+(\.?[0-9.]+)?$ ]]; then
        printf 'IP:%s\n' "$name"
    elif [[ ${#name} -le 253 && $name =~ ^(\*\.)?$label(\.$label)*$ && ! $name =~ ^[0-9.]+$ ]]; then
        printf 'DNS:%s\n' "$name"
    else
        return 1
    fi
}

# The settings of the certificate. It is its own issuer, so it must be allowed to sign
# certificates; strict verification (the default of Python 3.13) also wants the two identifiers.
settings() { # list of alternative names
    cat <<TEXT
[req]
prompt = no
distinguished_name = subject
x509_extensions = extensions
[subject]
CN = localhost
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = $1
TEXT
}

force=no dir=keys
declare -a names=(localhost 127.0.0.1 ::1) given=()
while (($#)); do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --force) force=yes ;;
        --dir) (($# > 1)) || fail '--dir needs a directory' 2; dir=$2; shift ;;
        --dir=*) dir=${1#--dir=} ;;
        --) shift; given+=("$@"); break ;;
        -*) fail "unknown option $1; see --help" 2 ;;
        *) given+=("$1") ;;
    esac
    shift
done
[[ -n $dir ]] || fail '--dir needs a directory' 2

host=$(hostname 2>/dev/null || uname -n)
if alternative_name "$host" >/dev/null; then names+=("$host"); fi
names+=(${given[@]+"${given[@]}"})
list=
for name in "${names[@]}"; do
    entry=$(alternative_name "$name") || fail "\"$name\" is neither a host name nor an IP address" 2
    [[ ,$list, == *",$entry,"* ]] || list+=${list:+,}$entry
done

command -v openssl >/dev/null || fail 'openssl is missing; install it (apt-get install openssl)'
key=$dir/privkey.pem certificate=$dir/cacert.pem
if [[ $force == no && ( -e $key || -e $certificate ) ]]; then
    fail "there are keys in $dir already; --force replaces them"
fi

(umask 022 && mkdir -p -- "$dir") || fail "cannot make the directory $dir"
new=$(mktemp -d "$dir/.new.XXXXXX") || fail "cannot write to $dir"
trap 'rm -rf -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
settings "$list" >"$new/settings"

run() { # what it does, command
    "${@:2}" >"$new/output" 2>&1 || fail "cannot make the $1: $(tail -n 3 "$new/output")"
}
run key openssl genrsa -out "$new/privkey.pem" "$BITS"
run certificate openssl req -new -x509 -sha256 -days "$DAYS" -config "$new/settings" \
    -key "$new/privkey.pem" -out "$new/cacert.pem"

# Everybody may read it: that is what it is for.
chmod 644 -- "$new/cacert.pem" || fail "cannot write to $dir"

# From here to the end nothing may come between: one without the other is no pair.
trap '' HUP INT TERM
mv -f -- "$new/privkey.pem" "$key" || fail "cannot write $key"
mv -f -- "$new/cacert.pem" "$certificate" || { rm -f -- "$key"; fail "cannot write $certificate"; }
printf 'made %s and %s\nvalid for %s days, for %s\n' "$key" "$certificate" "$DAYS" "${list//,/, }"
