"""What is measured: each scene starts its clusters, and notes the cost of single operations.

The points of a scene are measured in turn, smallest to largest and again, so that a machine that is
busy for a minute shows in the spread of all of them, not as the growth of one.
"""
import contextlib
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
    """What a scene works with: `start` a cluster, `note` a value, `say` what goes on.

    A value has two sides: the time that passed, as a user feels it, and the processor time of the
    cluster's programs, the mount among them. The second is what they can be blamed for on a machine
    that is busy with other things too, and says nothing about waiting.
    """

    def __init__(self, start, note, say, runs, quick):
        self.start, self.note, self.say, self.runs, self.quick = start, note, say, runs, quick

    def turns(self, sizes):
        for turn in range(self.runs):
            for size in sizes:
                yield turn, size
            self.say(f"  run {turn + 1} of {self.runs} is done")


    def measure(self, point, system, count, work, unit="µs"):
        """Note the mean of `count` operations that `work` does; it answers the seconds they took if it
        knows better than the clock around it."""
        before, begin = processor_time(system), time.perf_counter()
        told = work()
        seconds = told if isinstance(told, float) else time.perf_counter() - begin
        scale = {"µs": 1e6, "ms/MiB": 1e3}[unit] / count
        self.note(*point, unit, seconds * scale, (processor_time(system) - before) * scale)


def processor_time(system):
    """Seconds of all processors that the cluster's programs have used so far."""
    pids = [process.pid for process in system.processes] + [system.client_pid()]
    # The clock of another process, as clock_getcpuclockid(3) makes its number.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def remount(system):
    """Begin with a client that knows nothing. The servers keep running."""
    subprocess.run([system.remount], check=True, timeout=120, capture_output=True)


def client_memory(system):
    """The largest size in memory that the client had since it was mounted, in MiB."""
    with open(f"/proc/{system.client_pid()}/status") as file:
        (line,) = [line for line in file if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


@contextlib.contextmanager
def opened(path, flags):
    """A descriptor, without a buffer of Python's between it and the mount."""
    descriptor = os.open(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def save(path, data):
    """What a program does that saves a new file."""
    with opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
        assert os.write(descriptor, data) == len(data), path


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

        def measure(what, count, work):
            bench.measure(("directory", what, size), system, count, work)

        remount(system)
        measure("stat, on a fresh mount", sample, lambda: [os.stat(path) for path in some])
        measure("unlink", sample, lambda: [os.unlink(path) for path in some])
        measure("create 4 KiB", sample, lambda: [save(path, data) for path in new])
        there[:sample] = new
        remount(system)
        found = []
        measure("list, an entry", size, lambda: found.extend(os.scandir(f"{system.mount}/files")))
        assert len(found) == size, f"{len(found)} of {size} entries"
        bench.note("directory", "memory of the client, after it", size, "MiB", client_memory(system))


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

        bench.measure(("writers", "save 64 KiB: create, write, close", count), system, saves,
                      lambda: together(count, save_some))
        # Made before, so that nothing but writes and syncs is counted.
        with contextlib.ExitStack() as stack:
            descriptors = [stack.enter_context(opened(f"{folder}/sync{index}", os.O_CREAT | os.O_WRONLY))
                           for index in range(count)]
            bench.measure(("writers", "append 4 KiB and fsync", count), system, syncs,
                          lambda: together(count, sync_some))


def servers(bench):
    """what it costs to spread contents over more servers, all on this machine"""
    total, files = (32 * MIB, 50) if bench.quick else (256 * MIB, 300)
    block, data = os.urandom(MIB), os.urandom(4 * KIB)
    clusters = {count: bench.start(count) for count in (1, 3, 8)}
    for turn, count in bench.turns(clusters):
        system = clusters[count]
        path = os.path.join(system.mount, f"large{turn}")

        def write():
            with opened(path, os.O_CREAT | os.O_WRONLY) as descriptor:
                for _ in range(total // MIB):
                    assert os.write(descriptor, block) == MIB
                os.fsync(descriptor)

        def read():
            with open(path, "rb", buffering=0) as file:
                while piece := file.read(MIB):
                    assert piece == block

        bench.measure(("servers", "write in order, fsync at the end", count), system, total // MIB, write, "ms/MiB")
        remount(system)
        bench.measure(("servers", "read in order, on a fresh mount", count), system, total // MIB, read, "ms/MiB")
        os.unlink(path)
        folder = os.path.join(system.mount, f"small{turn}")
        os.mkdir(folder)
        bench.measure(("servers", "create 4 KiB", count), system, files,
                      lambda: [save(f"{folder}/{i}", data) for i in range(files)])


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

        def write(descriptor, places):
            for place in places:
                assert os.pwrite(descriptor, data, place) == len(data)
            os.fsync(descriptor)

        def read(descriptor):
            for place in again:
                assert os.pread(descriptor, 4 * KIB, place) == data, place

        def sync_each(descriptor):
            for place in again[:count // 20]:
                os.pwrite(descriptor, data, place)
                os.fsync(descriptor)

        def measure(what, work, count=count):
            bench.measure(("sparse", what, reach), system, count, work)

        with opened(path, os.O_CREAT | os.O_RDWR) as descriptor:
            os.ftruncate(descriptor, 100 * GIB)
            measure("write 4 KiB, fsync at the end", lambda: write(descriptor, first))
            measure("the same in the same chunks again", lambda: write(descriptor, again))
            measure("write 4 KiB and fsync each", lambda: sync_each(descriptor), count // 20)
            written = client_memory(system)
        remount(system)
        choice.shuffle(again)
        with opened(path, os.O_RDONLY) as descriptor:
            measure("read 4 KiB, on a fresh mount", lambda: read(descriptor))
            bench.note("sparse", "memory of the client", reach, "MiB", max(written, client_memory(system)))
        os.unlink(path)


SCENES = {"directory": directory, "writers": writers, "servers": servers, "sparse": sparse}
