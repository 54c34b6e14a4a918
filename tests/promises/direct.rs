//! Writes past the page cache, beside those who read through it.

use std::process::Command;

use crate::common::run;
use crate::{cluster, mounts};

/// Writes a file again and again, each time as a whole by one asynchronous write with `O_DIRECT`, while
/// others read it; prints how often it was not seen at once what had been written.
const WRITES: &str = r#"
import ctypes, mmap, os, signal, struct

SIZE, ROUNDS, READERS = 640 << 10, 150, 2
SETUP, GETEVENTS, SUBMIT = {"x86_64": (206, 208, 209)}.get(os.uname().machine, (0, 4, 2))
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

context, one = ctypes.c_ulong(0), ctypes.c_long(1)
call(SETUP, 8, ctypes.byref(context))
# A mapping begins at a page, as O_DIRECT wants it.
buffer = mmap.mmap(-1, SIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
with open("file", "wb") as file:
    file.write(bytes(SIZE))
direct = os.open("file", os.O_RDWR | os.O_DIRECT)
plain = os.open("file", os.O_RDONLY)
readers = []
for _ in range(READERS):
    reader = os.fork()
    if reader == 0:
        # They end with the one who writes.
        libc.prctl(1, signal.SIGKILL)
        while os.getppid() != 1:
            os.pread(plain, SIZE, 0)
        os._exit(0)
    readers.append(reader)
stale = 0
for number in range(1, ROUNDS + 1):
    contents = bytes([number]) * SIZE
    buffer[:] = contents
    # `struct iocb` of linux/aio_abi.h, with IOCB_CMD_PWRITE.
    fields = (0, 0, 0, 1, 0, direct, address, SIZE, 0, 0, 0, 0)
    block = ctypes.create_string_buffer(struct.pack("QIIHhIQQqQII", *fields))
    pointer = ctypes.c_void_p(ctypes.addressof(block))
    call(SUBMIT, context, one, ctypes.byref(pointer))
    event = ctypes.create_string_buffer(32)
    call(GETEVENTS, context, one, one, event, None)
    assert struct.unpack_from("QQq", event.raw)[2] == SIZE
    stale += os.pread(plain, SIZE, 0) != contents
for reader in readers:
    os.kill(reader, signal.SIGKILL)
    os.waitpid(reader, 0)
print(stale)
"#;

#[test]
fn who_reads_without_o_direct_sees_asynchronous_direct_writes() {
    let cluster = cluster();
    let [mount] = mounts(&cluster);
    let output = run(Command::new("python3").args(["-c", WRITES]).current_dir(mount.root()));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n");
}
