//! The methods of the native contents.
