//! Every limit and timeout of the system, with its reason; asserted against each other below. Those
//! of a native mount, of chunk servers as members, of the programs' manners, and of what a server takes
//! from the network are in files of their own.

mod members;
mod mount;
mod program;
mod server;

use std::time::Duration;

pub use members::*;
pub use mount::*;
pub use program::*;
pub use server::*;

/// Longest key of a hash table, in bytes. A path has at most 4096.
pub const KEY_SIZE_MAX: usize = 4096;

/// Longest URL of a chunk server, in bytes.
pub const URL_SIZE_MAX: usize = 255;

/// Default deadline of one call of a client, attempts included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Attempts of a call that is safe to repeat.
pub const CALL_ATTEMPTS_MAX: u32 = 3;

/// Longest time for a client to connect, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time-to-live of an entry: about 100 years, in seconds. A longer one is cut to it.
pub const TTL_MAX_S: u64 = 100 * 365 * 86_400;

/// Time between two sweeps for expired entries.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(300);

/// How long a server that was chosen by `getServer` counts as about to grow, unless the caller's
/// `changeSize` comes earlier.
pub const PLACEMENT_LEASE_MS: u64 = 10_000;

/// Choices under way that are remembered when chunks are placed.
pub const PLACEMENTS_UNDER_WAY_MAX: usize = 4096;

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

/// Objects in one pickle: the names in one directory of a Python client, say.
pub const PICKLE_OBJECTS_MAX: usize = 1 << 20;

/// Deepest nesting of objects in a pickle. The dict of a file's attributes has 3 levels.
pub const PICKLE_DEPTH_MAX: usize = 32;

/// Largest file that `read_file` reads, in bytes. It is read three times.
pub const DUMP_SIZE_MAX: u64 = 256 << 30;

/// Largest entry of such a file, in bytes: a Python 2 writes four of them for one of a value.
pub const DUMP_ENTRY_SIZE_MAX: usize = 4 * BODY_SIZE_MAX;

/// Values of a dump, in bytes, after which is looked again whether the disk has room for more.
pub const DUMP_CHECK_SIZE: usize = 4 << 20;

/// Files of dumps in one data directory: no name that a caller thinks of makes another one.
pub const DUMPS_MAX: usize = 256;

/// What a `read_file` may bring into the tables of a server, in bytes: it is one transaction, which is
/// in memory until it is committed.
pub const DUMP_KEPT_MAX: u64 = 4 << 30;

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

/// Room on the disk that is held for deletions alone, in bytes, also against other programs: tens of
/// thousands of them, and what the store writes out meanwhile.
pub const DELETION_RESERVE: u64 = 16 << 20;

/// Updates in the log before the backup is renewed although there are fewer than
/// `--backup-every`, in bytes: they are held in memory, too.
pub const LOG_SIZE_MAX: usize = 64 << 20;

/// How long the growth that `changeSize` announced waits for the `put` of the file.
pub const CHARGE_TIMEOUT: Duration = Duration::from_secs(300);

/// A session ends this long after its last renewal: its locks are free then, and the files that
/// only it had open. Long enough for a client whose machine was busy or asleep for a moment.
pub const SESSION_LEASE: Duration = Duration::from_secs(30);

/// Sessions at once.
pub const SESSIONS_MAX: usize = 4096;

/// Those of one peer among them: the rest is for others.
pub const SESSIONS_PER_PEER_MAX: usize = SESSIONS_MAX / 2;

/// Inodes that one session can have open.
pub const OPEN_INODES_MAX: usize = 65_536;

/// Inodes that all sessions together can have open, each counted as often as it is open; one peer's can
/// have half of them. The master remembers them, in some 30 bytes each.
pub const OPEN_INODES_TOTAL_MAX: usize = 2 << 20;

/// What a client is known by, in bytes.
pub const CLIENT_NAME_SIZE_MAX: usize = 255;

/// Changes that are kept for the sessions that have not asked yet: at 20,000 changes a second,
/// those of three seconds. Who is further behind drops everything it has cached.
pub const EVENTS_MAX: usize = 65_536;

/// Changes in one answer to `fs.events`.
pub const EVENTS_PAGE_MAX: usize = 4096;

/// Longest wait of `fs.events` and `fs.setlk`: below [`CALL_TIMEOUT`], so that the answer comes
/// before the caller gives up.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

/// Calls that wait for a change or a lock at once; further ones are answered without waiting.
pub const WAITERS_MAX: usize = 8192;

/// Locks on one file, each range counted.
pub const LOCKS_PER_INODE_MAX: usize = 4096;

/// Locks of one session, each range counted.
pub const LOCKS_PER_SESSION_MAX: usize = 65_536;

/// Requests for locks that are looked at to find out whether they wait for each other in a circle.
pub const LOCK_CHAIN_MAX: usize = 1024;

/// Entries in the answer to opening a directory: many directories have no more, and reading so few
/// costs little where nobody wants to see them.
pub const OPENED_LISTING_MAX: usize = 32;

/// Chunks in the answer to `fs.open` and `fs.create`: 1 GiB of a file.
pub const OPENED_LAYOUT_MAX: usize = 16;

/// Chunks that one `fs.place` can ask for.
pub const PLACE_MAX: usize = 256;

/// Files of classic clients that wait to come into the tree and are tried again.
pub const PENDING_MAX: usize = 65_536;

/// Time between two rounds of trying them.
pub const PENDING_PERIOD: Duration = Duration::from_secs(1);

/// Values under one path that a chunk server keeps although others were staged there since: their
/// clients may not have been at the master yet.
pub const STAGED_KEPT_MAX: usize = 8;

/// How long a name that a classic client deleted stays in the lists of its directory, if that client
/// does not put a list without it: it does so within some calls, or has died.
pub const DELETED_NAME_GRACE: Duration = Duration::from_secs(5);

/// Lists of one directory that a master remembers for that, the latest ones.
pub const LIST_PUTS_KEPT_MAX: usize = 64;

/// Paths in the list of a directory that are not directly in it.
pub const DEEP_NAMES_MAX: usize = 16_384;

/// Names in the lists of directories, and of deleted names, that a master remembers for that.
pub const LISTED_NAMES_MAX: usize = 4 << 20;

/// Time between two looks at whether staged values have to make room.
pub const RECLAIM_PERIOD: Duration = Duration::from_secs(1);

/// Free space under which they do, in bytes, beside the reserve of the server. On small disks it is
/// the part below.
pub const RECLAIM_ROOM_MAX: u64 = 256 << 20;

/// One in so many bytes of the disk.
pub const RECLAIM_ROOM_PART: u64 = 32;

/// Staged values that are looked at in one round of making room: the oldest.
pub const RECLAIMED_AT_ONCE_MAX: usize = 65_536;

/// A staged value that is younger makes no room: its client is on its way to the master.
pub const RECLAIM_AGE_MIN: Duration = Duration::from_secs(60);

/// Room that a chunk server must have left to get a new chunk, in bytes.
pub const PLACEMENT_ROOM_MIN: u64 = 1 << 20;

/// Inode numbers that the master reserves at a time: more than twice as many as it gives out between
/// two rounds of its reaper. A restart leaves out those that are left.
pub const INODES_RESERVED: u64 = 65_536;

/// Time between two rounds for sessions that ended and files that nobody has open any more.
pub const REAP_PERIOD: Duration = Duration::from_secs(1);

/// Time between two looks whether the master has numbers for new inodes.
pub const NUMBERS_PERIOD: Duration = Duration::from_millis(200);

/// Bytes of a packed record in a parameter: 65,536 numbers of open files take a third of it.
pub const PACKED_PARAM_SIZE_MAX: usize = 2 << 20;

/// Chunks whose checksums a chunk server keeps in memory, besides those that wait for a sync. Those
/// of a full chunk take 16 KiB.
pub const CHUNKS_IN_MEMORY_MAX: usize = 4096;

/// Chunks that wait for a sync; who writes to one more, syncs.
pub const DIRTY_CHUNKS_MAX: usize = 16_384;

/// Chunks up to this size, in bytes, live in the index of the chunk server, larger ones in files.
pub const SMALL_FILE_MAX: u64 = 16 << 10;

/// Files of chunks that a server keeps open. A process has 1024 descriptors, unless it is allowed
/// more.
pub const OPEN_CHUNK_FILES_MAX: usize = 512;

/// Time between two rounds of syncing the chunks that were written. Longer than [`SYNC_PERIOD`]:
/// after a round, overwriting takes a sync of the index again.
pub const CHUNK_SYNC_PERIOD: Duration = Duration::from_secs(5);

/// Up to so many chunks are synced file by file; more with one sync of the whole file system.
pub const SYNCED_SINGLY_MAX: usize = 64;

/// Files of one call that are synced at the same time.
pub const SYNC_THREADS_MAX: usize = 8;

/// Values in an array of a native method: the extents of a `chunk.write`, say.
pub const LIST_MAX: usize = 16_384;

/// Chunks of one page of `chunk.list`.
pub const CHUNK_LIST_MAX: usize = 4096;

/// A copy between chunks is done in pieces of so many bytes.
pub const COPY_PIECE: u64 = 4 << 20;

/// Calls that read more than this leave the thread that answers calls to others.
pub const QUICK_READ_MAX: u64 = 128 << 10;

/// Calls that write more contents than this leave it as well, in bytes.
pub const QUICK_WRITE_MAX: usize = 128 << 10;

const _: () = {
    assert!(WAIT_MAX.as_millis() < CALL_TIMEOUT.as_millis());
    assert!(OPEN_INODES_MAX * 10 < PACKED_PARAM_SIZE_MAX);
    assert!(REAP_PERIOD.as_millis() < SESSION_LEASE.as_millis());
    assert!(HEARTBEAT_PERIOD.as_millis() * 3 < HEARTBEAT_TIMEOUT.as_millis());
    assert!(EVENTS_PAGE_MAX <= EVENTS_MAX);
    assert!(OPEN_INODES_MAX * 2 <= OPEN_INODES_TOTAL_MAX);
    assert!(LOCKS_PER_INODE_MAX <= LOCKS_PER_SESSION_MAX);
    assert!(COPY_PIECE.is_multiple_of(CHECKSUM_BLOCK_SIZE as u64));
    assert!(CHUNKS_IN_MEMORY_MAX <= DIRTY_CHUNKS_MAX);
    assert!(CHUNK_LIST_MAX <= LIST_MAX);
    assert!(DISK_RESERVE_LAST < DISK_RESERVE);
    assert!(DISK_RESERVE_LAST < DELETION_RESERVE);
    assert!(XATTR_VALUE_SIZE_MAX + XATTR_LIST_SIZE_MAX < XATTR_TOTAL_SIZE_MAX);
    assert!(CHUNK_SIZE.is_multiple_of(CHECKSUM_BLOCK_SIZE as u64));
    assert!(NAME_SIZE_MAX < SYMLINK_SIZE_MAX);
    assert!(BODY_SIZE_MAX as u64 <= OPENED_LAYOUT_MAX as u64 * CHUNK_SIZE);
    assert!(5 * STRING_SIZE_MAX + ENVELOPE_SIZE_MAX < XML_SIZE_MAX);
    assert!(KEY_SIZE_MAX * 2 + PICKLE_DEPTH_MAX < ENVELOPE_SIZE_MAX);
    assert!(BODY_SIZE_MAX <= OPEN_CONTENTS_MAX);
    assert!(INLINE_VALUE_MAX < CHECKSUM_BLOCK_SIZE);
    assert!(SMALL_FILE_MAX < CHECKSUM_BLOCK_SIZE as u64);
    assert!(CONNECT_TIMEOUT.as_millis() < CALL_TIMEOUT.as_millis());
    assert!(DUMP_CHECK_SIZE as u64 * 4 < DISK_RESERVE);
    assert!(DUMP_ENTRY_SIZE_MAX as u64 <= DUMP_KEPT_MAX && DUMP_KEPT_MAX <= DUMP_SIZE_MAX);
};
