//! The marker of a data directory: a file that says of which role it is, and in which format.
//!
//! The number stands for everything below the directory. It goes up whenever a program of the
//! number before would misread, or not read, what one of this number writes. Every program so far
//! refuses a marker whose number it does not know.

use std::io::Write as _;
use std::path::Path;

use crate::error::{ErrorKind, FsError, Result};
use crate::store::file;

/// The name of the file.
pub(super) const MARKER: &str = "htfs";

/// The format that this program writes.
///
/// 1. Up to small chunks in the index, which its first programs do not know.
/// 2. As 1, with all that came since.
pub(super) const FORMAT: u32 = 2;

/// The oldest format that this program reads, and brings to its own.
const FORMAT_MIN: u32 = 1;

/// Marks a directory as one of this role and format, if it has no marker or an older one. From then
/// on, older programs refuse it.
///
/// # Errors
/// `InvalidArgument` if it belongs to another role or to a newer program, and what the disk says.
pub(super) fn claim(directory: &Path, role: &str) -> Result<()> {
    let marker = directory.join(MARKER);
    if marker.try_exists()? {
        let found = std::fs::read(&marker)?;
        if read(directory, role, &found)? == FORMAT {
            return Ok(());
        }
        tracing::info!(data = %directory.display(), "the data are of an older format; upgraded");
    }
    file::replace(&marker, |file| Ok(writeln!(file, "{MARKER} {role} {FORMAT}")?))
}

/// The format that a marker of this role names.
fn read(directory: &Path, role: &str, marker: &[u8]) -> Result<u32> {
    let text = String::from_utf8_lossy(marker);
    let mut words = text.split_whitespace();
    let named = (words.next(), words.next(), words.next().map(str::parse::<u32>));
    let refused = |why: String| {
        let message = format!("{} {why} give another --data-dir", directory.display());
        Err(FsError::new(ErrorKind::InvalidArgument, message))
    };
    match named {
        (Some(MARKER), Some(of), Some(Ok(format))) if of == role => match format {
            FORMAT_MIN..=FORMAT => Ok(format),
            newer if newer > FORMAT => refused(format!(
                "was written by a newer program, in format {newer}, and this one knows \
                 {FORMAT_MIN} to {FORMAT}; update it, or"
            )),
            older => refused(format!("is in format {older}, which no program has written;")),
        },
        (Some(MARKER), Some(of), Some(Ok(_))) => {
            refused(format!("is the data directory of a {of} and not of a {role};"))
        }
        _ => refused(format!("holds a file \"{MARKER}\" that is no marker of a data directory;")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FORMAT, MARKER, claim};
    use crate::error::{ErrorKind, Result};

    fn marked(directory: &Path, marker: &str) -> Result<()> {
        std::fs::write(directory.join(MARKER), marker).unwrap();
        claim(directory, "chunk")
    }

    fn marker(directory: &Path) -> String {
        std::fs::read_to_string(directory.join(MARKER)).unwrap()
    }

    #[test]
    fn an_older_format_is_upgraded_and_a_newer_one_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let own = format!("htfs chunk {FORMAT}\n");
        claim(dir.path(), "chunk").unwrap();
        assert_eq!(marker(dir.path()), own);
        // What the first programs wrote, and took for the only thing that could be there.
        marked(dir.path(), "htfs chunk 1\n").unwrap();
        assert_eq!(marker(dir.path()), own);

        let newer = format!("htfs chunk {}\n", FORMAT + 1);
        let error = marked(dir.path(), &newer).unwrap_err();
        let expected = format!(
            "{} was written by a newer program, in format {}, and this one knows 1 to {FORMAT}; \
             update it, or give another --data-dir",
            dir.path().display(),
            FORMAT + 1
        );
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidArgument, &*expected));
        assert_eq!(marker(dir.path()), newer, "it is left as it was");
    }

    #[test]
    fn what_is_no_marker_of_the_role_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let wrong =
            ["htfs master 2\n", "htfs chunk 0\n", "htfs chunk\n", "htfs chunk x", "", "\0\0"];
        for wrong in wrong {
            let error = marked(dir.path(), wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong:?}");
            assert_eq!(marker(dir.path()), wrong);
        }
    }
}
