//! XML-RPC faults, and how errors of files travel in them.
//!
//! Codes below 0 are those of the "Specification for Fault Code Interoperability" of the XML-RPC
//! community (xmlrpc-epi, 2001); codes above 0 are the errno of an [`ErrorKind`].

use crate::error::{ErrorKind, FsError};

/// The answer to a call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (fault {code})")]
pub struct Fault {
    /// What kind of failure.
    pub code: i32,
    /// A sentence for people.
    pub message: String,
}

impl Fault {
    /// The body is not well-formed XML.
    pub const NOT_WELL_FORMED: i32 = -32700;
    /// The body is in an encoding that nobody knows, or in another than it says.
    pub const UNSUPPORTED_ENCODING: i32 = -32701;
    /// The body has bytes that are not of its encoding.
    pub const INVALID_CHARACTER: i32 = -32702;
    /// The XML is not an XML-RPC call, or over a limit.
    pub const INVALID_CALL: i32 = -32600;
    /// There is no method with that name.
    pub const UNKNOWN_METHOD: i32 = -32601;
    /// Wrong number or types of parameters.
    pub const WRONG_PARAMETERS: i32 = -32602;
    /// The server failed in a way that it should not.
    pub const INTERNAL: i32 = -32603;

    /// A fault.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<FsError> for Fault {
    fn from(error: FsError) -> Self {
        Self::new(error.kind().errno(), error.to_string())
    }
}

impl From<Fault> for FsError {
    /// A fault that is no error of ours (any fault of a Python server, say) is an `Io` error.
    fn from(fault: Fault) -> Self {
        let kind = ErrorKind::from_errno(fault.code).unwrap_or(ErrorKind::Io);
        Self::new(kind, fault.message)
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;
    use crate::error::{ErrorKind, FsError};

    #[test]
    fn every_kind_of_error_survives_the_journey() {
        for kind in ErrorKind::ALL {
            let error = FsError::new(*kind, "because");
            assert_eq!(FsError::from(Fault::from(error.clone())), error);
        }
    }
}
