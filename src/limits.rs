//! Every limit and timeout of the system, with its reason; asserted against each other below.

use std::time::Duration;

/// Longest key of a hash table, in bytes. A path has at most 4096.
pub const KEY_SIZE_MAX: usize = 4096;

/// Longest URL of a chunk server, in bytes.
pub const URL_SIZE_MAX: usize = 255;

/// Largest body of a request or an answer, in bytes. One value of a hash table travels in one
/// body, as base64 (4 bytes for 3), so this also bounds a classic file.
pub const BODY_SIZE_MAX: usize = 512 << 20;

/// Bodies that a server holds in memory at once, in bytes, over all connections. Further requests
/// wait their turn.
pub const BODIES_IN_MEMORY_MAX: usize = 1 << 30;

/// Longest time a request waits for room in memory.
pub const MEMORY_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest part of a body that is not base64 contents, in bytes: the XML that is built into values
/// of the heap, which take a multiple of their text.
pub const XML_SIZE_MAX: usize = 16 << 20;

/// Deepest nesting of XML elements in a body. A struct in an array in a call takes 11.
pub const XML_DEPTH_MAX: usize = 96;

/// Calls in one `system.multicall`.
pub const MULTICALL_MAX: usize = 1024;

/// Connections a server serves at once; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 1024;

/// Longest time for a peer to finish its TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for a peer to send the head of a request, and longest idle time between two.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Longest time without a byte while a body is sent or an answer is taken.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Slowest rate at which a body may arrive on the whole, in bytes per second. A peer that sends a
/// byte now and then would otherwise keep its room in memory for ever.
pub const BODY_RATE_MIN: u64 = 64 << 10;

/// Longest time for requests under way to finish when a server stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Default deadline of one call of a client, attempts included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Attempts of a call that is safe to repeat.
pub const CALL_ATTEMPTS_MAX: u32 = 3;

/// Longest time for a client to connect, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time-to-live of an entry: about 100 years, in seconds. A longer one is cut to it.
pub const TTL_MAX_S: u64 = 100 * 365 * 86_400;

/// Default of `--backup-every`: updates in the log before the backup is renewed.
pub const BACKUP_EVERY_DEFAULT: u64 = 1000;

/// Time between two sweeps for expired entries.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(300);

/// How long a server that was chosen by `getServer` counts as about to grow, unless the caller's
/// `changeSize` comes earlier.
pub const PLACEMENT_LEASE_MS: u64 = 10_000;

/// Chunk servers that a master knows.
pub const SERVERS_MAX: usize = 65_536;

/// Values up to this size live in the index of the chunk server, larger ones in files.
pub const INLINE_VALUE_MAX: usize = 4096;

/// A checksum covers this many bytes of contents.
pub const CHECKSUM_BLOCK_SIZE: usize = 64 << 10;

/// Largest pickled dict of attributes that is read, in bytes.
pub const PICKLED_ATTRIBUTES_MAX: usize = 1 << 20;

/// Longest contents, name list or pickle that the client sends as a `<string>`, in bytes; longer
/// ones go as `<base64>`. An `&` takes five bytes of XML.
pub const STRING_SIZE_MAX: usize = 2 << 20;

/// Everything in a body besides the contents of one file, in bytes: key, pickle, XML.
pub const ENVELOPE_SIZE_MAX: usize = 64 << 10;

/// Oldest attributes that the client takes for true, although others may have changed them.
pub const ATTRIBUTES_AGE_MAX: Duration = Duration::from_secs(1);

/// Files whose attributes the client remembers for that long.
pub const ATTRIBUTES_CACHED_MAX: usize = 16_384;

/// Contents of open files that one client holds in memory, in bytes.
pub const OPEN_CONTENTS_MAX: usize = 2 << 30;

/// Attempts of a client to edit the list of a directory while others edit it, too.
pub const DIRECTORY_ATTEMPTS_MAX: u32 = 100;

/// Calls that the client has under way at once for one listing of a directory.
pub const LISTING_CALLS_MAX: usize = 8;

/// Largest file that is read just to find out how it is stored, in bytes.
pub const FORM_PROBE_SIZE_MAX: u64 = 64 << 10;

/// Longest time that the client gives itself to store what is written when it stops.
pub const STORE_ON_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Objects in one pickle: the names in one directory of a Python client, say.
pub const PICKLE_OBJECTS_MAX: usize = 1 << 20;

/// Deepest nesting of objects in a pickle. The dict of a file's attributes has 3 levels.
pub const PICKLE_DEPTH_MAX: usize = 32;

/// Time between two rounds of writing acknowledged updates through to the disk.
pub const SYNC_PERIOD: Duration = Duration::from_secs(1);

/// Longest name in a directory, in bytes, as everywhere on Linux.
pub const NAME_SIZE_MAX: usize = 255;

/// Longest target of a symbolic link, in bytes: `PATH_MAX` of Linux without the NUL at its end.
pub const SYMLINK_SIZE_MAX: usize = 4095;

/// Names that one inode can have, and subdirectories of one directory. Programs keep the count in
/// a signed 32-bit number.
pub const LINKS_MAX: u32 = (1 << 31) - 1;

/// Largest file, in bytes: what fits in a signed 64-bit offset.
pub const FILE_SIZE_MAX: u64 = (1 << 63) - 1;

/// A file is cut into chunks of this many bytes.
pub const CHUNK_SIZE: u64 = 64 << 20;

/// Truncations inside one chunk that its servers have not been told of yet. A chunk whose servers
/// cannot be reached takes no more of them.
pub const CUTS_PENDING_MAX: usize = 64;

/// Chunks in one page of a layout: 64 GiB of a file.
pub const LAYOUT_PAGE_MAX: usize = 1024;

/// Entries in one page of a directory.
pub const DIRECTORY_PAGE_MAX: usize = 4096;

/// Longest name of an extended attribute, in bytes (`XATTR_NAME_MAX` of Linux).
pub const XATTR_NAME_SIZE_MAX: usize = 255;

/// Longest value of an extended attribute, in bytes (`XATTR_SIZE_MAX` of Linux).
pub const XATTR_VALUE_SIZE_MAX: usize = 65_536;

/// Longest list of the names of an inode's extended attributes, in bytes, each with its NUL
/// (`XATTR_LIST_MAX` of Linux: a longer list could not be read back).
pub const XATTR_LIST_SIZE_MAX: usize = 65_536;

/// All extended attributes of one inode, names and values, in bytes.
pub const XATTR_TOTAL_SIZE_MAX: usize = 1 << 20;

/// Free space on the disk under which a server takes no new values, in bytes. What is left is for
/// deletions, and for the store to write its tables out.
pub const DISK_RESERVE: u64 = 32 << 20;

/// Free space under which a server changes nothing at all, in bytes: its store must not meet the
/// end of the disk in the middle of a write.
pub const DISK_RESERVE_LAST: u64 = 8 << 20;

/// Updates in the log before the backup is renewed although there are fewer than
/// `--backup-every`, in bytes: they are held in memory, too.
pub const LOG_SIZE_MAX: usize = 64 << 20;

/// How long the growth that `changeSize` announced waits for the `put` of the file.
pub const CHARGE_TIMEOUT: Duration = Duration::from_secs(300);

/// Time between two announcements of a chunk server at the master, in the mean.
pub const JOIN_PERIOD: Duration = Duration::from_secs(5);

/// Longest time between two attempts of a chunk server to reach the master.
pub const JOIN_BACKOFF_MAX: Duration = Duration::from_secs(5);

const _: () = {
    assert!(DISK_RESERVE_LAST < DISK_RESERVE);
    assert!(XATTR_VALUE_SIZE_MAX + XATTR_LIST_SIZE_MAX < XATTR_TOTAL_SIZE_MAX);
    assert!(CHUNK_SIZE.is_multiple_of(CHECKSUM_BLOCK_SIZE as u64));
    assert!(NAME_SIZE_MAX < SYMLINK_SIZE_MAX);
    assert!(BODY_SIZE_MAX <= BODIES_IN_MEMORY_MAX);
    assert!(5 * STRING_SIZE_MAX + ENVELOPE_SIZE_MAX < XML_SIZE_MAX);
    assert!(KEY_SIZE_MAX * 2 + PICKLE_DEPTH_MAX < ENVELOPE_SIZE_MAX);
    assert!(BODY_SIZE_MAX <= OPEN_CONTENTS_MAX);
    assert!(XML_SIZE_MAX < BODY_SIZE_MAX);
    assert!(INLINE_VALUE_MAX < CHECKSUM_BLOCK_SIZE);
    assert!(CONNECT_TIMEOUT.as_millis() < CALL_TIMEOUT.as_millis());
    assert!(BACKUP_EVERY_DEFAULT > 0);
};
