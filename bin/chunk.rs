//! The `chunk` program.

fn main() {}
