//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;

/// Lets the process have as many descriptors open as a server would like, or as many as it can be let.
/// Who starts a program commonly allows it 1024, and more if it asks: without them, those who only
/// connect would keep a server from opening its own files.
pub fn want() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum
        .map_or(limits::DESCRIPTORS_WANTED, |maximum| maximum.min(limits::DESCRIPTORS_WANTED));
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        tracing::warn!("only {current:?} files can be open at once: {error}");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn a_server_has_as_many_as_it_can() {
        super::want();
        let limit = getrlimit(Resource::Nofile);
        let wanted = crate::limits::DESCRIPTORS_WANTED;
        assert!(limit.current >= Some(limit.maximum.unwrap_or(wanted).min(wanted)));
    }
}
