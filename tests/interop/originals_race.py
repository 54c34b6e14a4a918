"""Several original programs run `sed -i` on one file, in an order that a seed decides.

    originals_race.py <seed> --master URL --ca FILE [--shape S] [--level L] ...

Each turn is one operation of one program, as the kernel asks for it, so that two runs at different
servers do the same. Prints what is in the file in the end, what is listed, and what failed. One
source for Python 2.7 and Python 3.
"""

from __future__ import print_function

import argparse
import random

from originals import make_memory, program_options

CLIENTS = 6
LINES = 3
FILE = "/file"
BIG = 1 << 20


def sed(memory, line):
    """The operations of one `sed -i` that adds a line; it stops between them."""
    mode = memory.getattr(FILE)["st_mode"]
    yield
    contents = memory.read(FILE, BIG, 0, 0)
    yield
    beside = "/sed" + line.replace(" ", "")
    memory.create(beside, 0o600)
    yield
    memory.write(beside, contents + line.encode("ascii") + b"\n", 0, 0)
    yield
    memory.chmod(beside, mode & 0o777)
    yield
    memory.rename(beside, FILE)


def program(args, client, failures):
    """All that one program does."""
    memory = make_memory(args)
    for number in range(LINES):
        line = "line %d %d" % (client, number)
        try:
            for _ in sed(memory, line):
                yield
        except Exception as failure:  # Whatever it is, it is part of the result.
            failures.append("%s: %s" % (line, type(failure).__name__))
        yield


def main():
    parser = argparse.ArgumentParser(description="a race", parents=[program_options()])
    parser.add_argument("seed", type=int)
    args = parser.parse_args()
    memory = make_memory(args)
    memory.create(FILE, 0o644)
    memory.write(FILE, b"begin\n", 0, 0)
    failures = []
    running = [program(args, client, failures) for client in range(CLIENTS)]
    # As many turns as all need, one after another, so that no program's end changes the order.
    turns = [client for client in range(CLIENTS) for _ in range(LINES * 6)]
    random.Random(args.seed).shuffle(turns)
    for client in turns:
        next(running[client], None)
    print(memory.read(FILE, BIG, 0, 0).decode("ascii"))
    print("listed:", sorted(set(memory.readdir("/"))))
    print("failed:", sorted(failures))


if __name__ == "__main__":
    main()
