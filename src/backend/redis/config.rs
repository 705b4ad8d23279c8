//! Where a Redis or Valkey deployment is and how to get in.

use std::path::PathBuf;

use crate::policy::names::NodeName;

/// One target: its nodes and the credentials for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The processes, each with its own client list.
    pub nodes: Vec<NodeAddress>,
    /// The ACL user; the default user without.
    pub username: Option<String>,
    /// The file that holds the password; read again at every connect.
    pub password_file: Option<PathBuf>,
    /// For nodes that speak TLS.
    pub tls: TlsConfig,
}

/// The address of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
}

impl NodeAddress {
    /// The node's name: `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn name(&self) -> NodeName {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}").into() } else { format!("{host}:{port}").into() }
    }
}

/// The files of a TLS connection, in PEM; read again at every connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Whom to trust instead of the public certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, for servers that ask for one.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate.
    pub key_file: Option<PathBuf>,
}
