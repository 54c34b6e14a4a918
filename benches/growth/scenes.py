"""What is measured: each scene starts its clusters, and notes the cost of single operations.

The points of a scene are measured in turn, smallest to largest and again, so that a machine that is
busy for a minute shows in the spread of all of them, not as the growth of one.
"""
import multiprocessing
import os
import random
import subprocess
import time

import systems

#: Operations whose mean is one value.
SAMPLE = 500
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

LABELS = {"directory": "files in the directory", "writers": "writers at once", "servers": "chunk servers",
          "sparse": "GiB of the file in use"}


class Bench:
    """What a scene works with: `start` a cluster, `note` a value, `say` what goes on."""

    def __init__(self, start, note, say, runs, quick):
        self.start, self.note, self.say, self.runs, self.quick = start, note, say, runs, quick

    def turns(self, sizes):
        for turn in range(self.runs):
            for size in sizes:
                yield turn, size
            self.say(f"  run {turn + 1} of {self.runs} is done")


def microseconds(count, work):
    """The mean of `count` operations that `work` does."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) / count * 1e6


def remount(system):
    """Begin with a client that knows nothing. The servers keep running."""
    subprocess.run([system.remount], check=True, timeout=120, capture_output=True)


def client_memory(system):
    """The largest size in memory that the client had since it was mounted, in MiB."""
    with open(f"/proc/{system.client_pid()}/status") as file:
        (line,) = [line for line in file if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def save(path, data):
    """What a program does that saves a new file."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        written = os.write(descriptor, data)
    finally:
        os.close(descriptor)
    assert written == len(data), path


def write_whole(descriptor, total, block):
    for _ in range(total // len(block)):
        assert os.write(descriptor, block) == len(block)


def together(count, work):
    """Let `work(index)` run in that many processes at once; the seconds from the first's begin to the
    last's end."""
    context = multiprocessing.get_context("fork")
    gate, answers = context.Barrier(count), context.Queue()

    def child(index):
        try:
            gate.wait(60)
            begin = time.perf_counter()
            work(index)
            answers.put((begin, time.perf_counter(), None))
        except Exception as error:  # It is the parent who says what went wrong.
            gate.abort()
            answers.put((0, 0, repr(error)))

    children = [context.Process(target=child, args=(index,), daemon=True) for index in range(count)]
    try:
        for process in children:
            process.start()
        times = [answers.get(timeout=600) for _ in children]
    finally:
        for process in children:
            if process.pid is not None:
                process.kill()
                process.join()
    wrong = [error for _, _, error in times if error]
    if wrong:
        raise systems.Failed(f"{len(wrong)} of {count} processes failed: {wrong[0]}")
    return max(end for _, end, _ in times) - min(begin for begin, _, _ in times)


def directory(bench):
    """what one file costs in a directory with many"""
    sizes = (200, 1_000, 2_000) if bench.quick else (1_000, 10_000, 100_000)
    sample, data, clusters, names = min(SAMPLE, sizes[0]), os.urandom(4 * KIB), {}, {}
    for size in sizes:
        system = clusters[size] = bench.start()
        folder = os.path.join(system.mount, "files")
        os.mkdir(folder)
        seconds = together(8, lambda index: [save(f"{folder}/f{i}", data) for i in range(index, size, 8)])
        names[size] = [f"{folder}/f{i}" for i in range(size)]
        bench.say(f"  made {size:,} files of 4 KiB with 8 processes in {seconds:.0f} s")
    for turn, size in bench.turns(sizes):
        system, there, choice = clusters[size], names[size], random.Random(turn * 1_000_003 + size)
        choice.shuffle(there)
        some, new = there[:sample], [f"{system.mount}/files/new{turn}-{i}" for i in range(sample)]

        def note(what, value, unit="µs"):
            bench.note("directory", what, unit, size, value)

        remount(system)
        note("stat, on a fresh mount", microseconds(sample, lambda: [os.stat(path) for path in some]))
        note("unlink", microseconds(sample, lambda: [os.unlink(path) for path in some]))
        note("create 4 KiB", microseconds(sample, lambda: [save(path, data) for path in new]))
        there[:sample] = new
        remount(system)
        found = []
        note("list, an entry", microseconds(size, lambda: found.extend(os.scandir(f"{system.mount}/files"))))
        assert len(found) == size, f"{len(found)} of {size} entries"
        note("memory of the client, after it", client_memory(system), "MiB")


def writers(bench):
    """what one operation costs the machine while others write"""
    saves, syncs, data = (128, 64, os.urandom(64 * KIB)) if bench.quick else (1024, 512, os.urandom(64 * KIB))
    system = bench.start()
    for turn, count in bench.turns((1, 8, 64)):  # All divide the numbers above.
        folder = os.path.join(system.mount, f"{turn}-{count}")
        os.mkdir(folder)

        def save_some(index):
            for i in range(saves // count):
                save(f"{folder}/{index}-{i}", data)

        def sync_some(index):
            for i in range(syncs // count):
                os.pwrite(descriptors[index], data[:4 * KIB], i * 4 * KIB)
                os.fsync(descriptors[index])

        bench.note("writers", "save 64 KiB: create, write, close", "µs", count,
                   together(count, save_some) / saves * 1e6)
        descriptors = [os.open(f"{folder}/sync{index}", os.O_CREAT | os.O_WRONLY) for index in range(count)]
        bench.note("writers", "append 4 KiB and fsync", "µs", count, together(count, sync_some) / syncs * 1e6)
        for descriptor in descriptors:
            os.close(descriptor)


def servers(bench):
    """what it costs to spread contents over more servers, all on this disk"""
    total, files = (32 * MIB, 50) if bench.quick else (256 * MIB, 300)
    block, data = os.urandom(MIB), os.urandom(4 * KIB)
    clusters = {count: bench.start(count) for count in (1, 3, 8)}
    for turn, count in bench.turns(clusters):
        system = clusters[count]
        path = os.path.join(system.mount, f"large{turn}")

        def write():
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
            write_whole(descriptor, total, block)
            os.fsync(descriptor)
            os.close(descriptor)

        def read():
            with open(path, "rb", buffering=0) as file:
                while piece := file.read(MIB):
                    assert piece == block

        bench.note("servers", "write 1 MiB in order, fsync at the end", "ms/MiB", count,
                   microseconds(total // MIB, write) / 1e3)
        remount(system)
        bench.note("servers", "read 1 MiB in order, on a fresh mount", "ms/MiB", count,
                   microseconds(total // MIB, read) / 1e3)
        os.unlink(path)
        folder = os.path.join(system.mount, f"small{turn}")
        os.mkdir(folder)
        bench.note("servers", "create 4 KiB", "µs", count,
                   microseconds(files, lambda: [save(f"{folder}/{i}", data) for i in range(files)]))


def sparse(bench):
    """what 4 KiB cost at a random place of a file of 100 GiB"""
    count, data = 200 if bench.quick else 2000, os.urandom(4 * KIB)
    system = bench.start()
    for turn, reach in bench.turns((1, 10, 100)):
        choice = random.Random(turn * 1_000_003 + reach)
        first = [choice.randrange(reach * GIB // (4 * KIB)) * 4 * KIB for _ in range(count)]
        # Other places in the chunks that are there by then.
        again = [place // (64 * MIB) * 64 * MIB + choice.randrange(64 * MIB // (4 * KIB)) * 4 * KIB for place in first]
        path = os.path.join(system.mount, f"sparse{turn}-{reach}")
        remount(system)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        os.ftruncate(descriptor, 100 * GIB)

        def write(places):
            for place in places:
                assert os.pwrite(descriptor, data, place) == len(data)
            os.fsync(descriptor)

        def read():
            for place in again:
                assert os.pread(descriptor, 4 * KIB, place) == data, place

        def note(what, value, unit="µs"):
            bench.note("sparse", what, unit, reach, value)

        try:
            note("write 4 KiB, fsync at the end", microseconds(count, lambda: write(first)))
            note("the same in the same chunks again", microseconds(count, lambda: write(again)))
            written = client_memory(system)
            os.close(descriptor)
            remount(system)
            descriptor = os.open(path, os.O_RDWR)
            choice.shuffle(again)
            note("read 4 KiB, on a fresh mount", microseconds(count, read))
            note("memory of the client", max(written, client_memory(system)), "MiB")
        finally:
            os.close(descriptor)
        os.unlink(path)


SCENES = {"directory": directory, "writers": writers, "servers": servers, "sparse": sparse}
