//! Numbers that nobody can guess, and that never come twice.

use std::fs::File;
use std::io::Read;

use crate::error::Result;

/// 64 random bits.
///
/// # Errors
/// If the system has no source of them.
pub fn bits_64() -> Result<u64> {
    Ok(u64::from_le_bytes(bytes()?))
}

/// 128 random bits.
///
/// # Errors
/// As [`bits_64`].
pub fn bits_128() -> Result<u128> {
    Ok(u128::from_le_bytes(bytes()?))
}

fn bytes<const SIZE: usize>() -> Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
