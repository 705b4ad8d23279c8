//! One authenticated admin connection to one node.
//!
//! It never reconnects by itself: ids belong to one run of a server, so a new connection is a new [`ConnectionId`], and
//! what was listed on the old one cannot be killed on it. The client library's own time limits (1 s to connect, 500 ms
//! to answer) are switched off; every call here has a deadline of ours.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, TlsCertificates, Value, cmd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::backend::FailureReason;
use crate::policy::names::RunId;
use crate::policy::session::ConnectionId;

use super::config::{Config, NodeAddress, TlsConfig};
use super::failure::{Failure, server_said};

/// Whether a kill was done, as the server says; or its error message.
pub(super) type KillReply = Result<i64, String>;

/// How many ids one `CLIENT LIST ID` asks for: a server with 10,000 clients stops for half a millisecond each.
const IDS_PER_CALL: usize = 500;

/// For this long the kernel sends again what was not acknowledged, also after we have closed the connection or died. It
/// is shorter than [`crate::policy::outcome::IN_FLIGHT`], after which a kill without an answer is taken as over.
const RESENT_FOR: Duration = Duration::from_secs(4);

/// The server's version: major, minor.
type Version = (u32, u32);

/// An open connection, logged in, named, and known to the server by an id.
pub(super) struct Connection {
    /// Unique in this process: a reconnect has another.
    pub(super) id: ConnectionId,
    /// The run of the server. It cannot change under a live connection.
    pub(super) run: RunId,
    /// Our session's id on the node.
    pub(super) own: i64,
    /// The user that we are, once a list told.
    pub(super) own_user: Option<Box<str>>,
    version: Version,
    wire: MultiplexedConnection,
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(address: &NodeAddress, config: &Config, deadline: Duration) -> Result<Self, Failure> {
        timeout(deadline, open(address, config)).await.unwrap_or_else(|_| Err(Failure::timeout("connecting", deadline)))
    }

    /// The text of CLIENT LIST.
    pub(super) async fn list(&mut self, deadline: Duration) -> Result<String, Failure> {
        self.text("CLIENT LIST", cmd("CLIENT").arg("LIST"), deadline).await
    }

    /// The text of CLIENT LIST for these ids, each of which must be given once.
    pub(super) async fn list_ids(&mut self, ids: &[i64], deadline: Duration) -> Result<String, Failure> {
        let mut text = String::new();
        for batch in ids.chunks(IDS_PER_CALL) {
            let part = self.text("CLIENT LIST ID", cmd("CLIENT").arg("LIST").arg("ID").arg(batch), deadline).await?;
            if !part.is_empty() && !part.ends_with('\n') {
                // Joined to the next part it could pass for a whole line.
                return Err(Failure::new(FailureReason::Garbled, "CLIENT LIST ID: the text is truncated"));
            }
            text.push_str(&part);
        }
        Ok(text)
    }

    /// Whether the server knows `CLIENT LIST ID` (Redis 6.2 and later, every Valkey).
    pub(super) fn lists_ids(&self) -> bool {
        self.version >= (6, 2)
    }

    /// A kill, ready to be sent. After it was first polled it may have left, whatever becomes of the future.
    pub(super) fn kill(
        &self,
        kill: Cmd,
        deadline: Duration,
    ) -> impl Future<Output = Result<KillReply, Failure>> + use<> {
        let mut wire = self.wire.clone();
        async move {
            match timeout(deadline, kill.query_async::<i64>(&mut wire)).await {
                Ok(Ok(killed)) => Ok(Ok(killed)),
                Ok(Err(error)) => {
                    server_said(&error).map_or_else(|| Err(Failure::of(&error, "CLIENT KILL")), |said| Ok(Err(said)))
                }
                Err(_) => Err(Failure::timeout("CLIENT KILL", deadline)),
            }
        }
    }

    async fn text(&mut self, doing: &str, command: &Cmd, deadline: Duration) -> Result<String, Failure> {
        let answer = timeout(deadline, ask(&mut self.wire, command, doing)).await;
        let garbled = |what: &str| Failure::new(FailureReason::Garbled, format!("{doing}: the answer is not {what}"));
        let Value::BulkString(bytes) = answer.unwrap_or_else(|_| Err(Failure::timeout(doing, deadline)))? else {
            return Err(garbled("a text"));
        };
        String::from_utf8(bytes).map_err(|_| garbled("UTF-8"))
    }
}

async fn open(address: &NodeAddress, config: &Config) -> Result<Connection, Failure> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let client = client(address, &config.tls)?;
    let unlimited = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut wire = client.get_multiplexed_async_connection_with_config(&unlimited).await.map_err(|error| {
        let failure = Failure::of(&error, "connecting");
        if error.is_connection_refusal() { failure } else { advise(failure, address) }
    })?;
    match log_in(&mut wire, config).await {
        Ok((run, own, version)) => {
            let id = ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed));
            Ok(Connection { id, run, own, own_user: None, version, wire })
        }
        Err(failure) if failure.reason != FailureReason::Connect => Err(failure),
        Err(failure) if address.tls => Err(advise(failure, address)),
        Err(failure) => Err(greeting(address).await.map_or(failure, |said| Failure::said(&said, "connecting"))),
    }
}

/// What breaks a TLS connection while it is opened is not told apart well by its errors (TLS 1.3 refuses a client
/// certificate only after the handshake; a full server just hangs up), so all that it can be is named.
fn advise(mut failure: Failure, address: &NodeAddress) -> Failure {
    if address.tls {
        failure.message += ": check ca_file, cert_file and key_file, whether this port speaks TLS, and maxclients";
    }
    failure
}

/// Logs in and makes us known; gives the run of the server, our id there, and the server's version.
async fn log_in(wire: &mut MultiplexedConnection, config: &Config) -> Result<(RunId, i64, Version), Failure> {
    let password = config.password_file.as_deref().map(password).transpose()?;
    if password.is_some() || config.username.is_some() {
        let mut auth = cmd("AUTH");
        auth.arg(config.username.as_deref()).arg(password.as_ref().map_or("", |password| password.expose_secret()));
        // A plain error in answer to this is about the credentials, too (a password that the server does not ask for).
        ask::<Value>(wire, &auth, "AUTH").await.map_err(|failure| match failure {
            Failure { usable: true, message, .. } => {
                Failure::new(FailureReason::Auth, format!("{message}: check username and password_file"))
            }
            failure => failure,
        })?;
    }
    let info: String = ask(wire, cmd("INFO").arg("server"), "INFO").await?;
    let run = info_value(&info, "run_id").ok_or_else(|| {
        Failure::new(
            FailureReason::Server,
            "INFO shows no run_id, without which sessions cannot be told from those before a restart",
        )
    })?;
    let version = info_value(&info, "redis_version").and_then(version).unwrap_or_default();
    if version < (5, 0) {
        let message =
            "the server is older than Redis 5.0, which has no CLIENT ID: reaperd could not tell its own session";
        return Err(Failure::new(FailureReason::Server, message));
    }
    ask::<Value>(wire, cmd("CLIENT").arg("SETNAME").arg("reaperd"), "CLIENT SETNAME").await?;
    let own = ask(wire, cmd("CLIENT").arg("ID"), "CLIENT ID").await?;
    // Both only spare us and others some trouble, so a server or a user without them is fine.
    for (since, option) in [((7, 0), "NO-EVICT"), ((7, 2), "NO-TOUCH")] {
        if version >= since {
            let answer = ask::<Value>(wire, cmd("CLIENT").arg(option).arg("ON"), option).await;
            answer.map(drop).or_else(|failure| if failure.usable { Ok(()) } else { Err(failure) })?;
        }
    }
    Ok((run.into(), own, version))
}

async fn ask<T: FromRedisValue>(wire: &mut MultiplexedConnection, command: &Cmd, doing: &str) -> Result<T, Failure> {
    command.query_async(wire).await.map_err(|error| Failure::of(&error, doing))
}

fn client(address: &NodeAddress, tls: &TlsConfig) -> Result<Client, Failure> {
    let (host, port) = (address.host.clone(), address.port);
    let unusable =
        |error| Failure::new(FailureReason::Connect, format!("the node's address or TLS files are unusable: {error}"));
    // Without the two CLIENT SETINFO of the library: nobody needs them, and they would fill the ACL log of a user that
    // may not. Without Nagle's algorithm, which would hold back kills.
    let redis = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    let addr = if address.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let info = addr.into_connection_info().map_err(unusable)?.set_redis_settings(redis);
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true).set_user_timeout(RESENT_FOR));
    if address.tls { Client::build_with_tls(info, certificates(tls)?) } else { Client::open(info) }.map_err(unusable)
}

fn certificates(tls: &TlsConfig) -> Result<TlsCertificates, Failure> {
    let root_cert = tls.ca_file.as_deref().map(|file| read("ca_file", file)).transpose()?;
    if let (Some(pem), Some(file)) = (&root_cert, &tls.ca_file)
        && CertificateDer::pem_slice_iter(pem).next().is_none()
    {
        let message = format!("ca_file {} holds no certificate in PEM", file.display());
        return Err(Failure::new(FailureReason::Connect, message));
    }
    let client_tls = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read("cert_file", cert)?, client_key: read("key_file", key)? })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::new(FailureReason::Connect, "cert_file and key_file must be given together"));
        }
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

fn read(key: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| {
        Failure::new(FailureReason::Connect, format!("{key} {} cannot be read: {error}", file.display()))
    })
}

/// Read at every connect, so that a rotated password is found without a restart.
fn password(file: &Path) -> Result<SecretString, Failure> {
    let refuse = |why: String| Failure::new(FailureReason::Auth, format!("password_file {} {why}", file.display()));
    let text =
        SecretString::from(std::fs::read_to_string(file).map_err(|error| refuse(format!("cannot be read: {error}")))?);
    let password = text.expose_secret().trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(refuse("is empty".to_owned())) } else { Ok(SecretString::from(password)) }
}

/// What the server says to a new connection before it is asked anything. A server that refuses a connection says why
/// and closes it, and the client library drops words that no command asked for.
async fn greeting(address: &NodeAddress) -> Option<String> {
    let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await.ok()?;
    let mut said = [0; 512];
    let length = timeout(Duration::from_millis(500), stream.read(&mut said)).await.ok()?.ok()?;
    let said = String::from_utf8_lossy(said.get(..length)?).lines().next()?.strip_prefix('-')?.to_owned();
    Some(said)
}

fn info_value<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    let value = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_tells_run_and_version() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:0\r\nrun_id:abc\r\nconfig_file:\r\n";
        assert_eq!(info_value(info, "run_id"), Some("abc"));
        assert_eq!(info_value(info, "redis_version").and_then(version), Some((7, 0)));
        assert_eq!(info_value(info, "config_file"), None);
        assert_eq!(info_value(info, "run"), None);
    }

    #[test]
    fn a_password_is_read_without_its_line_end_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p");
        std::fs::write(&file, "s3cret \r\n").unwrap();
        let secret = password(&file).unwrap();
        assert_eq!(secret.expose_secret(), "s3cret ");
        assert!(!format!("{secret:?}").contains("s3cret"));
        std::fs::write(&file, "\n").unwrap();
        assert!(password(&file).unwrap_err().message.ends_with("is empty"));
        let missing = password(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.reason, FailureReason::Auth);
        assert!(missing.message.contains("cannot be read"), "{}", missing.message);
    }
}
