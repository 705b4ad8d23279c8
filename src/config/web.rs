//! Where HTTP is served.

use std::net::{Ipv4Addr, SocketAddr};

use super::section::{Keys, Value};

/// Where HTTP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// The address and port.
    pub listen_address: SocketAddr,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self { listen_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9911)) }
    }
}

const WEB: Keys = Keys { known: &["listen_address"], later: &["config_file", "tokens"] };

/// Reads the section. Authentication is refused until it is there: to ignore it would open what was meant to be closed.
pub(super) fn web(value: &Value<'_>) -> WebConfig {
    let mut web = WebConfig::default();
    let Some(section) = value.section(&WEB) else { return web };
    if let Some(address) = section.optional("listen_address").and_then(|value| address(&value)) {
        web.listen_address = address;
    }
    web
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    value.parse(|text| {
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("`{text}` is no address and port: write as in 127.0.0.1:9911 or [::1]:9911"))?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "`{text}` can be reached from other machines, and this version has no authentication yet: listen on \
                 127.0.0.1 or [::1], and put a proxy with authentication in front of it"
            ));
        }
        Ok(address)
    })
}
