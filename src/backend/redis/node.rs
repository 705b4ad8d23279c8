//! One node: its kept connection, and what is asked on it.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Cmd, cmd};

use crate::backend::{FailureReason, NodeError};
use crate::clock::Clock;
use crate::policy::field::Field;
use crate::policy::intent::{Answer, Intent, IntentId};
use crate::policy::names::{NodeName, RunId};
use crate::policy::session::{ConnectionId, Sessions, Snapshot};
use crate::policy::time::Steady;

use super::Deadlines;
use super::backoff::Backoff;
use super::client_list::{self, lines_of};
use super::config::{Config, NodeAddress};
use super::connection::Connection;
use super::failure::Failure;

/// How many kills are under way on one connection. The server is the bound, since every kill walks all its clients: with
/// 10,000 of them, 8, 16 and 32 in flight took 0.64, 0.59 and 0.57 s, and 32 ride out a daemon that has to wait for its turn
/// on a busy machine. More of them only make other clients wait longer.
const KILLS_IN_FLIGHT: usize = 32;

/// What an intent asks of its node.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) intent: IntentId,
    pub(super) node: NodeName,
    pub(super) connection: ConnectionId,
    pub(super) id: i64,
    pub(super) kind: Option<&'static str>,
}

impl Order {
    pub(super) fn of(intent: &Intent) -> Self {
        let session = intent.session();
        Self {
            intent: intent.id(),
            node: session.key.node.clone(),
            connection: intent.connection(),
            id: session.key.id,
            kind: session.text(Field::Flags).map(type_of),
        }
    }

    /// The type is there so that a session that has become something else since is missed rather than killed. The
    /// address is not: an id is never given twice in one run, and this connection pins the run. The server would compare
    /// it with that of every client first, which makes a kill a third dearer.
    fn command(&self) -> Cmd {
        let mut command = cmd("CLIENT");
        command.arg("KILL").arg("ID").arg(self.id);
        if let Some(kind) = self.kind {
            command.arg("TYPE").arg(kind);
        }
        command
    }
}

/// The server's own word for what a session with these flags is: to it, monitors and blocked sessions are normal ones,
/// and a monitor that also subscribes is a subscriber.
pub(super) fn type_of(flags: &str) -> &'static str {
    [('S', "replica"), ('M', "master"), ('P', "pubsub")]
        .into_iter()
        .find_map(|(flag, kind)| flags.contains(flag).then_some(kind))
        .unwrap_or("normal")
}

/// Says of an order, right before it is sent, why it must not be sent any more, if so.
pub(super) type OrderGate<'a> = &'a (dyn Fn(IntentId) -> Option<String> + Sync);

pub(super) struct Node {
    pub(super) name: NodeName,
    address: NodeAddress,
    config: Arc<Config>,
    clock: Clock,
    deadlines: Deadlines,
    connection: Option<Connection>,
    backoff: Backoff,
}

impl Node {
    pub(super) fn new(address: NodeAddress, config: Arc<Config>, clock: Clock, deadlines: Deadlines) -> Self {
        let name = address.name();
        Self { name, address, config, clock, deadlines, connection: None, backoff: Backoff::default() }
    }

    /// Whether the other node is the same, reached in the same way, so that its connection is as good as a new one.
    pub(super) fn is_reached_like(&self, other: &Self) -> bool {
        let way =
            |node: &Self| (node.config.username.clone(), node.config.password_file.clone(), node.config.tls.clone());
        self.address == other.address && way(self) == way(other)
    }

    pub(super) fn inherit(&mut self, before: &mut Self) {
        self.connection = before.connection.take();
        std::mem::swap(&mut self.backoff, &mut before.backoff);
    }

    /// Everything on this node.
    pub(super) async fn list(&mut self) -> Result<Snapshot, NodeError> {
        let kept = self.connection.is_some();
        let mut listed = self.try_list().await;
        // A server may close a kept connection between two polls (its `timeout` setting, a restart). The one that failed
        // is gone, and with it every plan made on it, so trying once more on a new one is safe.
        if kept && listed.as_ref().is_err_and(|failure| failure.reason == FailureReason::Connect) {
            listed = self.try_list().await;
        }
        listed.map_err(|failure| failure.of_node(&self.name))
    }

    /// Those of the sessions `wanted` that are still there.
    pub(super) async fn look(&mut self, wanted: Vec<(RunId, i64)>) -> Result<Snapshot, NodeError> {
        let kept = self.connection.is_some();
        let mut seen = self.try_look(&wanted).await;
        if kept && seen.as_ref().is_err_and(|failure| failure.reason == FailureReason::Connect) {
            seen = self.try_look(&wanted).await;
        }
        seen.map_err(|failure| failure.of_node(&self.name))
    }

    async fn try_list(&mut self) -> Result<Snapshot, Failure> {
        let (clock, deadline) = (self.clock.clone(), self.deadlines.list);
        let name = self.name.clone();
        let connection = self.connected().await?;
        let at = clock.steady();
        let listed = connection.list(deadline).await.and_then(|text| {
            let sessions = client_list::parse(text, &name)?;
            // Our own session is proof that this is the list of the server that we are connected to, and not empty.
            let own = sessions.ints(0).iter().position(|id| *id == connection.own).ok_or_else(|| {
                Failure::new(FailureReason::Garbled, "CLIENT LIST does not show our own session, so it is not whole")
            })?;
            connection.own_user = sessions.text(Field::User, own).map(Into::into);
            Ok(sessions)
        });
        self.answer(listed, at)
    }

    async fn try_look(&mut self, wanted: &[(RunId, i64)]) -> Result<Snapshot, Failure> {
        let (clock, deadline) = (self.clock.clone(), self.deadlines.list);
        let name = self.name.clone();
        let connection = self.connected().await?;
        let at = clock.steady();
        // Sessions of another run are gone, and their ids may be somebody else's by now.
        let of_run = wanted.iter().filter(|(run, _)| *run == connection.run);
        let mut ids: Vec<i64> = of_run.map(|(_, id)| *id).collect();
        // The server repeats what is asked for twice.
        ids.sort_unstable();
        ids.dedup();
        let text = if ids.is_empty() || connection.lists_ids() {
            connection.list_ids(&ids, deadline).await
        } else {
            connection.list(deadline).await.and_then(|text| {
                client_list::parse(text.clone(), &name)?;
                Ok(lines_of(&text, &ids))
            })
        };
        let seen = text.and_then(|text| Ok(client_list::parse(text, &name)?));
        self.answer(seen, at)
    }

    /// Makes a snapshot of what the connection answered, or drops a connection that cannot be used any more.
    fn answer(&mut self, sessions: Result<Sessions, Failure>, at: Steady) -> Result<Snapshot, Failure> {
        match (sessions, &self.connection) {
            (Ok(sessions), Some(connection)) => Ok(Snapshot {
                node: self.name.clone(),
                run: connection.run.clone(),
                connection: connection.id,
                at,
                own: vec![connection.own],
                own_user: connection.own_user.clone(),
                sessions,
            }),
            (Ok(_), None) => Err(Failure::new(FailureReason::Connect, "the connection is gone")),
            (Err(failure), _) => {
                if !failure.usable {
                    self.connection = None;
                }
                Err(failure)
            }
        }
    }

    /// The kept connection, or a new one, if it is not too early to try.
    async fn connected(&mut self) -> Result<&mut Connection, Failure> {
        if self.connection.is_none() {
            if let Some(failure) = self.backoff.refuses(self.clock.steady()) {
                return Err(failure);
            }
            match Connection::open(&self.address, &self.config, self.deadlines.connect).await {
                Ok(connection) => {
                    self.backoff.succeeded();
                    self.connection = Some(connection);
                }
                Err(failure) => {
                    self.backoff.failed(&failure, self.clock.steady(), rand::random());
                    return Err(failure);
                }
            }
        }
        self.connection.as_mut().ok_or_else(|| Failure::new(FailureReason::Connect, "the connection is gone"))
    }

    /// Sends kills, each on the connection that listed its session or not at all.
    ///
    /// What was handed to the connection may have left, so only an answer tells what became of it; what had not been
    /// handed over when the connection failed has provably not left.
    pub(super) async fn kill(&mut self, orders: Vec<Order>, gate: OrderGate<'_>) -> Vec<(IntentId, Answer)> {
        let mut answers = Vec::with_capacity(orders.len());
        let Some(connection) = &self.connection else {
            return orders.into_iter().map(|order| (order.intent, lost())).collect();
        };
        let (mine, others): (Vec<_>, Vec<_>) = orders.into_iter().partition(|order| order.connection == connection.id);
        answers.extend(others.into_iter().map(|order| (order.intent, lost())));
        let mut waiting = mine.into_iter();
        let mut flying = FuturesUnordered::new();
        let mut failed: Option<Failure> = None;
        loop {
            while failed.is_none() && flying.len() < KILLS_IN_FLIGHT {
                let Some(order) = waiting.next() else { break };
                if let Some(why) = gate(order.intent) {
                    answers.push((order.intent, Answer::NotSent(why)));
                    continue;
                }
                let reply = connection.kill(order.command(), self.deadlines.kill);
                flying.push(async move { (order.intent, reply.await) });
            }
            let Some((intent, reply)) = flying.next().await else { break };
            let answer = match reply {
                Ok(Ok(0)) => Answer::NoSuchSession,
                Ok(Ok(_)) => Answer::Accepted,
                Ok(Err(said)) => Answer::Refused(said),
                Err(failure) => Answer::Unanswered(failed.get_or_insert(failure).message.clone()),
            };
            answers.push((intent, answer));
        }
        if let Some(failure) = failed {
            let why = format!("the connection failed before it was sent: {}", failure.message);
            answers.extend(waiting.map(|order| (order.intent, Answer::NotSent(why.clone()))));
            self.connection = None;
        }
        answers
    }
}

fn lost() -> Answer {
    Answer::NotSent("the connection that listed it is gone".to_owned())
}
