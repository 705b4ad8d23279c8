//! How a Redis or Valkey target is reached.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::policy::names::NodeName;

/// A group of nodes and what they ask of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The nodes; at least one.
    pub nodes: Vec<NodeAddress>,
    /// The ACL user; the default user without.
    pub username: Option<String>,
    /// The file that holds the password; read anew at every connect.
    pub password_file: Option<PathBuf>,
    /// Certificates.
    pub tls: TlsConfig,
}

/// Files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificates that the server's is checked against, instead of the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Our certificate; comes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate.
    pub key_file: Option<PathBuf>,
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Why a text is no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeAddressError {
    /// Neither `redis` nor `rediss`.
    #[error("only redis:// and rediss:// are known: write redis://host:port, or rediss://host:port for TLS")]
    Scheme,
    /// A password would end up in logs and process lists.
    #[error("user and password do not belong here: use username and password_file")]
    Credentials,
    /// A path, query or database.
    #[error("nothing can follow the port: sessions of all databases are listed")]
    Trailing,
    /// Host or port are missing or are none.
    #[error("no host and port: write redis://host:port, as in redis://127.0.0.1:6379 or redis://[::1]:6379")]
    HostPort,
}

impl NodeAddress {
    /// Reads `redis://host:port`, `rediss://host:port` (TLS) or `host:port`; IPv6 in brackets.
    ///
    /// # Errors
    /// [`NodeAddressError`], which never repeats the text: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, NodeAddressError> {
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            Some(_) => return Err(NodeAddressError::Scheme),
        };
        if rest.contains('@') {
            return Err(NodeAddressError::Credentials);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(NodeAddressError::Trailing);
        }
        let (host, port) = rest.rsplit_once(':').ok_or(NodeAddressError::HostPort)?;
        let port = port.parse().map_err(|_| NodeAddressError::HostPort)?;
        let is_host = |char: char| char.is_alphanumeric() || matches!(char, '.' | '-' | '_');
        let (host, is_valid) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inside) => (inside, inside.parse::<Ipv6Addr>().is_ok()),
            None => (host, !host.is_empty() && host.chars().all(is_host)),
        };
        if !is_valid || port == 0 {
            return Err(NodeAddressError::HostPort);
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }

    /// `host:port`: the node's name in metrics, journal and API, and what an alert's `instance` is compared with.
    #[must_use]
    pub fn name(&self) -> NodeName {
        self.to_string().into()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_read_as_they_are_written() {
        for (text, name, tls) in [
            ("redis://127.0.0.1:6379", "127.0.0.1:6379", false),
            ("rediss://cache-1.example.com:6380/", "cache-1.example.com:6380", true),
            ("cache_2:0379", "cache_2:379", false),
            ("redis://[::1]:6379", "[::1]:6379", false),
        ] {
            let node = NodeAddress::parse(text).unwrap();
            assert_eq!((node.name().as_str(), node.tls), (name, tls), "{text}");
        }
    }

    #[test]
    fn what_is_no_node_is_refused_without_repeating_it() {
        for (text, error) in [
            ("http://h:1", NodeAddressError::Scheme),
            ("redis://u:secret@h:1", NodeAddressError::Credentials),
            ("u:secret@h:1", NodeAddressError::Credentials),
            ("redis://h:1/0", NodeAddressError::Trailing),
            ("redis://h:1?db=1", NodeAddressError::Trailing),
            ("", NodeAddressError::HostPort),
            ("h", NodeAddressError::HostPort),
            ("h:", NodeAddressError::HostPort),
            ("h:0", NodeAddressError::HostPort),
            ("h:65536", NodeAddressError::HostPort),
            (":6379", NodeAddressError::HostPort),
            ("a b:6379", NodeAddressError::HostPort),
            ("[h]:6379", NodeAddressError::HostPort),
            ("::1:6379", NodeAddressError::HostPort),
        ] {
            assert_eq!(NodeAddress::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
