//! A pickled hash table, entry by entry: a dict of key → (value, date of expiry), which may be larger
//! than memory.

mod reader;
mod scan;
mod writer;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use reader::TableReader;
pub use writer::TableWriter;
