//! Files that are opened by a handle instead of a name, as a server of NFS does it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{SOON, run, wait_until};
use crate::{cluster, mounts};

/// `make PATH` prints a handle; `open MOUNT HANDLE` opens one and prints its path and what is there.
const HANDLES: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def failed(result):
    if result < 0:
        print(os.strerror(ctypes.get_errno()))
        sys.exit()
    return result

if sys.argv[1] == "make":
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    path = os.fsencode(sys.argv[2])
    failed(libc.name_to_handle_at(-100, path, handle, ctypes.byref(mount), 0))
    size = struct.unpack_from("I", handle.raw)[0]
    print(handle.raw[:8 + size].hex())
else:
    mount = os.open(sys.argv[2], os.O_RDONLY)
    handle = ctypes.create_string_buffer(bytes.fromhex(sys.argv[3]))
    opened = failed(libc.open_by_handle_at(mount, handle, os.O_RDONLY))
    path = os.readlink(f"/proc/self/fd/{opened}")
    try:
        print(path, sorted(os.listdir(opened)))
    except NotADirectoryError:
        print(os.read(opened, 100))
"#;

fn handles(arguments: &[&str]) -> String {
    let output = run(Command::new("python3").args(["-c", HANDLES]).args(arguments));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_file_handle_leads_to_its_file_until_that_is_removed() {
    let cluster = cluster();
    let [mount, other] = mounts(&cluster);
    fs::create_dir_all(mount.path("a/b/c")).unwrap();
    fs::write(mount.path("a/b/c/file"), "contents").unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let handle = |name: &str| handles(&["make", &text(&mount.path(name))]);
    let (file, directory) = (handle("a/b/c/file"), handle("a/b/c"));
    // The kernel knows nothing of them there.
    let open = |handle: &str| handles(&["open", &text(other.root()), handle]);
    assert_eq!(open(&file), "b'contents'");
    assert_eq!(open(&directory), format!("{} ['file']", text(&other.path("a/b/c"))));
    fs::rename(mount.path("a/b/c"), mount.path("moved")).unwrap();
    assert_eq!(open(&file), "b'contents'");
    wait_until("the other mount hears of the new name", SOON, || {
        open(&directory) == format!("{} ['file']", text(&other.path("moved")))
    });
    fs::remove_dir_all(mount.path("moved")).unwrap();
    for handle in [&file, &directory] {
        wait_until("the handle is stale", SOON, || open(handle) == "Stale file handle");
    }
}
