//! Where the bytes of a pickle come from: memory, of which its strings stay a part, or a stream.

use std::io::{BufRead, Read};

use bytes::Bytes;

use super::PickleError;

/// Bytes, taken one after the other.
pub(super) trait Source {
    /// How many were taken: the position, for messages.
    fn at(&self) -> usize;

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError>;

    /// The next `count` bytes.
    fn take(&mut self, count: u64) -> Result<Bytes, PickleError>;

    /// The bytes up to the next line feed, which is taken, too.
    fn line(&mut self) -> Result<Bytes, PickleError>;

    /// Whether there are no more.
    fn is_at_end(&mut self) -> Result<bool, PickleError>;
}

/// A pickle in memory.
pub(super) struct Memory<'a> {
    pickle: &'a Bytes,
    at: usize,
}

impl<'a> Memory<'a> {
    pub(super) fn new(pickle: &'a Bytes) -> Self {
        Self { pickle, at: 0 }
    }

    fn end<T>(&self) -> Result<T, PickleError> {
        Err(PickleError::Length(self.pickle.len()))
    }
}

impl Source for Memory<'_> {
    fn at(&self) -> usize {
        self.at
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let Some(array) = self.pickle[self.at..].first_chunk::<N>() else { return self.end() };
        self.at += N;
        Ok(*array)
    }

    fn take(&mut self, count: u64) -> Result<Bytes, PickleError> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        match end {
            Some(end) if end <= self.pickle.len() => {
                let bytes = self.pickle.slice(self.at..end);
                self.at = end;
                Ok(bytes)
            }
            _ => self.end(),
        }
    }

    fn line(&mut self) -> Result<Bytes, PickleError> {
        let Some(length) = memchr::memchr(b'\n', &self.pickle[self.at..]) else {
            return self.end();
        };
        let line = self.pickle.slice(self.at..self.at + length);
        self.at += length + 1;
        Ok(line)
    }

    fn is_at_end(&mut self) -> Result<bool, PickleError> {
        Ok(self.at == self.pickle.len())
    }
}

/// A pickle that is read bit by bit. How much is in memory at once is bounded: so many bytes may be
/// taken until the next [`Stream::renew`].
pub(super) struct Stream<R> {
    from: R,
    at: usize,
    size_max: usize,
    left: usize,
}

impl<R: BufRead> Stream<R> {
    pub(super) fn new(from: R, size_max: usize) -> Self {
        Self { from, at: 0, size_max, left: size_max }
    }

    /// What was taken so far is not in memory any more.
    pub(super) fn renew(&mut self) {
        self.left = self.size_max;
    }

    /// Passes over the next `count` bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), PickleError> {
        let skipped = std::io::copy(&mut (&mut self.from).take(count), &mut std::io::sink())?;
        self.passed(usize::try_from(skipped).unwrap_or(usize::MAX));
        if skipped == count { Ok(()) } else { Err(PickleError::Length(self.at)) }
    }

    /// Passes over the bytes up to the next line feed, and over that.
    pub(super) fn skip_line(&mut self) -> Result<(), PickleError> {
        let skipped = self.from.skip_until(b'\n')?;
        self.passed(skipped);
        // It cannot be told here whether the last byte was a line feed; if not, nothing follows.
        if skipped == 0 { Err(PickleError::Length(self.at)) } else { Ok(()) }
    }

    fn passed(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    /// Accounts for bytes that are about to be in memory.
    fn spend(&mut self, count: usize) -> Result<(), PickleError> {
        self.left = self.left.checked_sub(count).ok_or(PickleError::TooBig("size of one entry"))?;
        Ok(())
    }
}

impl<R: BufRead> Source for Stream<R> {
    fn at(&self) -> usize {
        self.at
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        self.spend(N)?;
        let mut array = [0; N];
        match self.from.read_exact(&mut array) {
            Ok(()) => {
                self.passed(N);
                Ok(array)
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(PickleError::Length(self.at))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The vector grows with what is there: a wrong count costs no memory.
    fn take(&mut self, count: u64) -> Result<Bytes, PickleError> {
        self.spend(usize::try_from(count).unwrap_or(usize::MAX))?;
        let mut bytes = Vec::new();
        (&mut self.from).take(count).read_to_end(&mut bytes)?;
        self.passed(bytes.len());
        if bytes.len() as u64 == count {
            Ok(bytes.into())
        } else {
            Err(PickleError::Length(self.at))
        }
    }

    fn line(&mut self) -> Result<Bytes, PickleError> {
        let mut line = Vec::new();
        let limit = (self.left as u64).saturating_add(1);
        (&mut self.from).take(limit).read_until(b'\n', &mut line)?;
        self.passed(line.len());
        self.spend(line.len())?;
        if line.pop() == Some(b'\n') { Ok(line.into()) } else { Err(PickleError::Length(self.at)) }
    }

    fn is_at_end(&mut self) -> Result<bool, PickleError> {
        Ok(self.from.fill_buf()?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use bytes::Bytes;

    use super::{Memory, Source, Stream};
    use crate::pickle::PickleError;

    fn check(mut source: impl Source) {
        assert_eq!(source.array(), Ok(*b"ab"));
        assert_eq!(source.line().unwrap(), "c");
        assert_eq!(source.line().unwrap(), "");
        assert_eq!(source.take(2).unwrap(), "de");
        assert_eq!((source.at(), source.is_at_end()), (7, Ok(false)));
        assert!(matches!(source.take(2), Err(PickleError::Length(_))));
    }

    #[test]
    fn memory_and_streams_give_the_same() {
        let bytes = b"abc\n\ndef";
        check(Memory::new(&Bytes::from_static(bytes)));
        // The smallest buffer: everything is across its ends.
        check(Stream::new(BufReader::with_capacity(1, &bytes[..]), 100));
    }

    #[test]
    fn a_stream_takes_no_more_than_it_may() {
        let long = [b'x'; 20];
        let stream = || Stream::new(&long[..], 10);
        let too_big = PickleError::TooBig("size of one entry");
        assert_eq!(stream().take(11), Err(too_big.clone()));
        assert_eq!(stream().line(), Err(too_big.clone()));
        assert_eq!(stream().take(u64::MAX), Err(too_big.clone()));
        let mut renewed = stream();
        renewed.take(10).unwrap();
        assert_eq!(renewed.array::<1>(), Err(too_big));
        renewed.renew();
        assert_eq!(renewed.take(10).unwrap().len(), 10);
        assert_eq!(renewed.is_at_end(), Ok(true));
    }
}
