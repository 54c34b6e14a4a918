//! Which disk a chunk server keeps its contents on, so that several on one disk do not count its room
//! several times.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The number of FNV-1a, 64 bits.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A number for the disk that a directory is on, the same for all servers of a machine that share it,
/// and never 0. Another machine, or this one after a restart, has others.
///
/// # Errors
/// What the system says.
pub(super) fn disk_id(directory: &Path) -> io::Result<u64> {
    let device = fs::metadata(directory)?.dev();
    let boot = fs::read("/proc/sys/kernel/random/boot_id")?;
    let bytes = boot.into_iter().chain(device.to_be_bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // 63 bits, as numbers have on the wire.
    Ok((hash >> 1).max(1))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::disk_id;

    #[test]
    fn directories_of_one_disk_have_one_number() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(disk_id(dir.path()).unwrap(), disk_id(&below).unwrap());
        assert_ne!(disk_id(dir.path()).unwrap(), disk_id(Path::new("/proc")).unwrap());
    }
}
