//! A session as people and machines read it.

use serde::{Deserialize, Serialize};

use crate::policy::field::Field;
use crate::policy::session::Session;

/// A session, under the names of the session schema; what the server did not tell is left out. Durations are seconds,
/// sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionView {
    /// The id on its node.
    pub id: i64,
    /// The address as the server shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// The client's true address, where it is not `addr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The node that listed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db: Option<i64>,
    /// Its flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
    /// Its last command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    /// Seconds since it connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<f64>,
    /// Seconds since it last interacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<f64>,
    /// Query buffer, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qbuf: Option<i64>,
    /// Output list memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omem: Option<i64>,
    /// All memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tot_mem: Option<i64>,
    /// Client library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lib_name: Option<String>,
    /// Client library version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lib_ver: Option<String>,
}

impl From<&Session> for SessionView {
    fn from(session: &Session) -> Self {
        let text = |field| session.text(field).map(str::to_owned);
        let addr = text(Field::Addr);
        #[expect(clippy::cast_precision_loss, reason = "seconds for people; exact below 285,000 years")]
        let seconds = |field| session.int(field).map(|millis| millis as f64 / 1000.0);
        Self {
            id: session.key.id,
            peer: text(Field::Peer).filter(|peer| Some(peer) != addr.as_ref()),
            addr,
            node: Some(session.key.node.as_str().to_owned()),
            kind: text(Field::Kind),
            name: text(Field::Name).filter(|name| !name.is_empty()),
            user: text(Field::User),
            db: session.int(Field::Db),
            flags: text(Field::Flags),
            cmd: text(Field::Cmd),
            age: seconds(Field::Age),
            idle: seconds(Field::Idle),
            qbuf: session.int(Field::Qbuf),
            omem: session.int(Field::Omem),
            tot_mem: session.int(Field::TotMem),
            lib_name: text(Field::LibName).filter(|name| !name.is_empty()),
            lib_ver: text(Field::LibVer).filter(|version| !version.is_empty()),
        }
    }
}
