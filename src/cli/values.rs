//! Values of options, with words for people who got them wrong.

use crate::types::ServerUrl;

/// Where a master listens if nothing else is said.
const MASTER_PORT: u16 = 8443;

/// The URL of a master from `HOST`, `HOST:PORT` or the URL itself.
///
/// # Errors
/// Says what it must look like.
pub fn master_url(text: &str) -> Result<ServerUrl, String> {
    let url = match text.split_once("://") {
        Some(_) => text.to_owned(),
        None if has_port(text) => format!("https://{text}"),
        // An IPv6 address as it is mostly written.
        None if text.contains(':') && !text.starts_with('[') => {
            format!("https://[{text}]:{MASTER_PORT}")
        }
        None => format!("https://{text}:{MASTER_PORT}"),
    };
    ServerUrl::new(url).map_err(|_| {
        "this names no master; it looks like files.example.org, files.example.org:8443 or \
         https://files.example.org:8443"
            .to_owned()
    })
}

fn has_port(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((host, _)) => !host.contains(':') || host.ends_with(']'),
        None => false,
    }
}

/// The URL of a server of any kind, from `HOST:PORT` or the URL itself; that of a master without a
/// port.
///
/// # Errors
/// Says what it must look like.
pub fn server_url(text: &str) -> Result<ServerUrl, String> {
    master_url(text).map_err(|_| {
        "this names no server; it looks like files.example.org:9001 or \
         https://files.example.org:9001"
            .to_owned()
    })
}

/// A port number; 0 is any free one.
///
/// # Errors
/// Says what it must be.
pub fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "it must be a port number, from 0 (any free one) to 65535".to_owned())
}

#[cfg(test)]
mod tests {
    use super::master_url;

    #[test]
    fn a_master_is_named_by_host_port_or_url() {
        for (text, url) in [
            ("files", "https://files:8443"),
            ("files:1234", "https://files:1234"),
            ("10.0.0.1", "https://10.0.0.1:8443"),
            ("[::1]", "https://[::1]:8443"),
            ("[::1]:99", "https://[::1]:99"),
            ("::1", "https://[::1]:8443"),
            ("https://files", "https://files"),
            ("https://files:9/RPC2", "https://files:9/RPC2"),
        ] {
            assert_eq!(master_url(text).unwrap().as_str(), url);
        }
        for bad in ["", ":1", "files:", "files:http", "http://files:1", "a b", "files:70000"] {
            assert!(master_url(bad).is_err(), "{bad:?} was taken");
        }
    }
}
