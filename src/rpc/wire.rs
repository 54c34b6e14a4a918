//! The codec: calls and answers to and from XML.
