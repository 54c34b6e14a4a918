#!/usr/bin/env python3
"""Measure how the cost of one operation grows with what there is already.

usage: benches/growth/run.py [--quick] [--only SCENES] [--runs N] [--plot] [--from-results]

Starts htfs on this machine and measures, each point several times in turn:

  directory  a directory of 1,000, 10,000 and 100,000 files of 4 KiB, each in a cluster of its own
  writers    1, 8 and 64 processes that write at once
  servers    1, 3 and 8 chunk servers, on this one machine
  sparse     a file of 100 GiB, written and read in no order within its first 1, 10, 100 GiB

Prints tables in Markdown: the median of the runs, in brackets half the distance from the lowest to
the highest, and the processor time of all programs of htfs together. Raw results stay in
target/growth.json. Flat is the ideal: the same cost at every size.

Wants root and FUSE, and about six minutes. Build first: cargo build --release. HTFS_BIN names another
directory with the programs: a copy, say, that no build replaces while this runs. Everything is in
directories of its own below --work, and is removed at the end, also after Ctrl-C. That is in memory
where it can be: ext4 makes files many times slower in the minutes after many were removed, and
that would show as growth. An fsync then waits for htfs, not for a disk. --plot draws
docs/growth.svg and wants matplotlib, which is not installed for you: as with pip, in an environment
of its own, python3 -m venv DIR && DIR/bin/pip install matplotlib, and run this with DIR/bin/python.
"""
import argparse
import contextlib
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

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, "benches", "peers"))

import scenes  # noqa: E402
import systems  # noqa: E402

RESULTS = os.path.join(ROOT, "target", "growth.json")
PICTURE = os.path.join(ROOT, "docs", "growth.svg")


def main():
    arguments = parse()
    sys.stdout.reconfigure(line_buffering=True)
    plot = load_plot() if arguments.plot else None
    if arguments.from_results:
        with open(RESULTS) as file:
            results = json.load(file)
    else:
        results = measure(arguments)
        with open(RESULTS, "w") as file:
            json.dump(results, file, indent=1)
    report(results)
    if results["missing"]:
        sys.exit(1)
    if plot:
        plot.draw(results, PICTURE)
        say(f"drew {os.path.relpath(PICTURE)}, {os.path.getsize(PICTURE):,} bytes")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, in a minute: to see that it works")
    parser.add_argument("--only", default=",".join(scenes.SCENES), help="scenes, with commas between them")
    parser.add_argument("--runs", type=int, default=3, help="how often each point is measured")
    parser.add_argument("--work", default=roomy(), help="where the servers keep their data meanwhile (%(default)s)")
    parser.add_argument("--plot", action="store_true", help="draw docs/growth.svg; wants matplotlib")
    parser.add_argument("--from-results", action="store_true", help="measure nothing, show the last run's results")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(scenes.SCENES):
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    if arguments.runs < 1:
        parser.error("--runs is at least one")
    return arguments


def roomy():
    """In memory, if there is room."""
    there = os.path.ismount("/dev/shm") and shutil.disk_usage("/dev/shm").free > 4 << 30
    return "/dev/shm" if there else "/var/tmp"


def load_plot():
    """Before anything is measured: six minutes are long for an import that fails."""
    try:
        import plot
    except ImportError as error:
        sys.exit(f"--plot wants matplotlib, see --help: {error}")
    return plot


def say(words):
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def measure(arguments):
    if os.geteuid() != 0:
        sys.exit("run it as root: it mounts")
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda number, _: sys.exit(128 + number))
    file_system = subprocess.run(["stat", "-f", "-c", "%T", arguments.work], capture_output=True, text=True)
    results = {"machine": f"{os.cpu_count()} processors, Linux {platform.release()}",
               "disk": file_system.stdout.strip(), "commit": commit(), "date": time.strftime("%Y-%m-%d"),
               "runs": arguments.runs, "quick": arguments.quick, "points": [], "missing": {}}
    programs, begin = built(), time.monotonic()

    def note(scene, what, x, unit, value, processors=None):
        results["points"].append({"scene": scene, "what": what, "x": x, "unit": unit, "value": value,
                                  "processors": processors})

    for name in arguments.only:
        say(f"{name}: {scenes.SCENES[name].__doc__.splitlines()[0]}")
        # What a scene started is taken down before the next one begins.
        with contextlib.ExitStack() as stack:
            def start(chunk_servers=3):
                return stack.enter_context(cluster(arguments.work, chunk_servers))

            try:
                scenes.SCENES[name](scenes.Bench(start, note, say, arguments.runs, arguments.quick))
            except (systems.Failed, subprocess.SubprocessError, OSError, AssertionError) as error:
                results["missing"][name] = f"{type(error).__name__}: {error}"[:300]
                say(f"{name} failed: {results['missing'][name]}")
    if built() != programs:
        say("warning: the programs were built anew meanwhile; the points are not all of the same ones")
    results["load"] = os.getloadavg()[2]
    say(f"done after {time.monotonic() - begin:.0f} s; average load of the last 15 minutes {results['load']:.1f}")
    return results


@contextlib.contextmanager
def cluster(work, chunk_servers):
    """A cluster that is gone afterwards, whatever happened."""
    work = tempfile.mkdtemp(prefix="htfs-growth-", dir=work)
    system = systems.Htfs(work, ROOT, chunk_servers)
    try:
        system.start()
        yield system
    finally:
        with uninterrupted():
            system.stop()
            systems.remove(work)


@contextlib.contextmanager
def uninterrupted():
    """Who is impatient and presses Ctrl-C again must not leave mounts behind."""
    before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def built():
    """When the programs were built, as far as they are there."""
    paths = [os.path.join(systems.htfs_programs(ROOT), name) for name in ("master", "chunk", "client")]
    return [os.stat(path).st_mtime for path in paths if os.path.exists(path)]


def commit():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


def report(results):
    print(f"{results['machine']}, {results['date']}, commit `{results['commit']}`, median of {results['runs']} runs, "
          f"data on {results['disk']}, average load {results['load']:.1f}{', --quick' if results['quick'] else ''}")
    points = results["points"]
    for scene in dict.fromkeys(point["scene"] for point in points):
        mine = [point for point in points if point["scene"] == scene]
        sizes = sorted({point["x"] for point in mine})
        label = scenes.LABELS[scene]
        print(f"\n| {label} | " + " | ".join(f"{x:,}" for x in sizes) + " | last to first |")
        print("|---" * (len(sizes) + 2) + "|")
        for what in dict.fromkeys(point["what"] for point in mine):
            rows = [[point for point in mine if point["what"] == what and point["x"] == x] for x in sizes]
            growth = f"{middle(rows[-1]) / middle(rows[0]):.2f}" if all(rows) else "–"
            print(f"| {what} | " + " | ".join(map(cell, rows)) + f" | {growth} |")
    for scene, reason in results["missing"].items():
        print(f"\nmissing, or only in part: {scene} ({reason})")


def middle(row, side="value"):
    return statistics.median(point[side] for point in row)


def cell(row):
    if not row:
        return "–"
    value, unit, runs = middle(row), row[0]["unit"], [point["value"] for point in row]
    words = [f"{number(value)} {unit} (±{50 * (max(runs) - min(runs)) / value:.0f} %)"]
    if unit == "µs":
        words.append(f"{1e6 / value:,.0f}/s")
    if unit == "ms/MiB":
        words.append(f"{1048.576 / value:,.0f} MB/s")
    if row[0]["processors"] is not None:
        words.append(f"cpu {number(middle(row, 'processors'))}")
    return ", ".join(words)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
