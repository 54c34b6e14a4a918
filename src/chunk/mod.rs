//! The chunk server.
