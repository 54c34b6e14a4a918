#!/usr/bin/env python3
"""Measure htfs beside the networked file systems that Debian carries, in one sitting.

usage: benches/peers/run.py [--runs N] [--only NAMES] [--rows PARTS] [--files N] [--mb M]

Starts each system on this machine with one server for names, three for contents (where it has such)
and one copy of the data, lets mountbench.py measure its mount, and takes it down again; that N times
in turn. Then prints, as a table in Markdown, the median of every row, its spread, and how htfs
stands to the best of the others. A peer that cannot be started is named with the reason.

Wants root, FUSE, and a Debian machine: peers and fio are installed with apt-get, if they are missing
(--no-install leaves that). Build first: cargo build --release. Everything is in a directory of its
own below --work, and is removed at the end; results stay in target/peers.jsonl.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import systems

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PACKAGES = {
    "sshfs": ["sshfs", "openssh-server"],
    "glusterfs": ["glusterfs-server", "glusterfs-client", "openssl"],
    "moosefs": ["moosefs-master", "moosefs-chunkserver", "moosefs-client"],
}
#: Not networked: what the machine itself can do.
LOCAL = ("ext4",)


def main():
    arguments = parse()
    if os.geteuid() != 0:
        sys.exit("run it as root: it mounts, and drops the kernel's caches")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = arguments.only.split(",")
    results, missing = {name: [] for name in names}, {}
    if arguments.install:
        missing.update(install(names))
    tree = make_tree()
    try:
        for turn in range(arguments.runs):
            for name in names:
                if name in missing:
                    continue
                try:
                    results[name].append(measure(name, arguments, tree))
                except (systems.Failed, subprocess.SubprocessError, OSError) as error:
                    missing[name] = str(error).strip().splitlines()[-1][:200]
                    print(f"{name}: {error}", file=sys.stderr)
            print(f"run {turn + 1} of {arguments.runs} is done", file=sys.stderr)
    finally:
        shutil.rmtree(tree)
        report(results, missing)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="htfs,moosefs,sshfs,glusterfs,ext4")
    parser.add_argument("--rows", default="small,par,seq,rand,tree")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--mb", type=int, default=512)
    parser.add_argument("--work", default="/var/tmp")
    parser.add_argument("--no-install", dest="install", action="store_false")
    return parser.parse_args()


def install(names):
    """Install what the systems need; the reasons for those that cannot be."""
    def apt(packages):
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    wanted = {name: PACKAGES[name] for name in names if name in PACKAGES}
    wanted = {name: packages for name, packages in wanted.items() if not are_installed(packages)}
    tools = [] if shutil.which("fio") else ["fio"]
    if wanted or tools:
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
    if tools and apt(tools).returncode != 0:
        sys.exit("fio is not there, and apt-get cannot install it")
    failed = {name: apt(packages) for name, packages in wanted.items()}
    return {name: f"apt-get: {done.stderr.strip()[-150:]}" for name, done in failed.items() if done.returncode}


def are_installed(packages):
    query = subprocess.run(["dpkg-query", "-W", "-f", "${Status}\n", *packages], capture_output=True, text=True)
    return query.stdout.count("install ok installed") == len(packages)


def make_tree():
    """About a thousand source files of ordinary sizes, the same for every system."""
    target = tempfile.mkdtemp(prefix="htfs-tree-")
    words = "let fn match self file chunk name offset length server reply error value index\n"
    for number in range(1000):
        folder = os.path.join(target, f"part{number % 40:02}", f"module{number % 7}")
        os.makedirs(folder, exist_ok=True)
        size = (number * 7919) % 24_000 + 200
        with open(os.path.join(folder, f"source{number}.rs"), "w") as file:
            file.write((words * (size // len(words) + 1))[:size])
    return target


def measure(name, arguments, tree):
    """Start one system, measure it, and take it down."""
    work = tempfile.mkdtemp(prefix=f"htfs-{name}-", dir=arguments.work)
    system = systems.SYSTEMS[name](work, ROOT)
    try:
        system.start()
        command = [sys.executable, os.path.join(HERE, "mountbench.py"), system.mount, "--label", name,
                   "--files", str(arguments.files), "--mb", str(arguments.mb), "--only", arguments.rows,
                   "--tree", tree]
        if system.remount:
            command += ["--remount", system.remount]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        if done.returncode != 0:
            raise systems.Failed(f"the ruler failed: {done.stderr.strip()}")
        line = done.stdout.strip().splitlines()[-1]
        print(line, file=sys.stderr)
        with open(os.path.join(ROOT, "target", "peers.jsonl"), "a") as file:
            file.write(line + "\n")
        return json.loads(line)
    finally:
        system.stop()
        systems.remove(work)


def report(results, missing):
    """The table: medians, and in brackets half the distance from the lowest to the highest run."""
    there = [name for name, runs in results.items() if runs]
    if not there:
        print("nothing was measured")
    peers = [name for name in there if name != "htfs" and name not in LOCAL]
    rows = dict.fromkeys(row for name in there for run in results[name] for row in run if row != "label")
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    print(f"{os.cpu_count()} processors, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}, "
          f"commit `{commit.stdout.strip()}`, {max(map(len, results.values()))} runs\n")
    print("| row | " + " | ".join(there) + " | best peer | htfs to it |")
    print("|---" * (len(there) + 3) + "|")
    for row in rows:
        values = {name: [run[row] for run in results[name] if row in run] for name in there}
        middle = {name: statistics.median(runs) for name, runs in values.items() if runs}
        cells = [f"{middle[name]:,.0f} ±{spread(values[name])}" if name in middle else "–" for name in there]
        best = max((name for name in peers if name in middle), key=middle.get, default=None)
        ratio = f"{middle['htfs'] / middle[best]:.2f}" if best and "htfs" in middle else "–"
        print(f"| `{row}` | " + " | ".join(cells) + f" | {best or '–'} | {ratio} |")
    for name, reason in missing.items():
        print(f"\nmissing: {name} ({reason})")


def spread(runs):
    middle = statistics.median(runs)
    return f"{50 * (max(runs) - min(runs)) / middle:.0f} %" if middle else "–"


if __name__ == "__main__":
    main()
