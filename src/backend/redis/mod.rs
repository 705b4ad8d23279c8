//! Redis and Valkey: CLIENT LIST, CLIENT LIST ID and CLIENT KILL over one kept connection a node.
//!
//! The connection is opened early and kept: when maxclients is reached, nobody gets in any more, but who is inside can
//! free it. It is never replaced silently. Session ids start again with every run of a server, so a kill goes out only
//! on the very connection that listed its session, and what had been planned on a lost connection is not sent.

mod backoff;
pub mod client_list;
pub mod config;
mod connection;
mod failure;
mod node;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::backend::{Backend, FailureReason, Gate, Listing, NodeError};
use crate::clock::Clock;
use crate::policy::field::FieldSet;
use crate::policy::intent::{Answer, Intent, IntentId};
use crate::policy::names::NodeName;
use crate::policy::session::SessionKey;

pub use config::{Config, NodeAddress, TlsConfig};
use node::{Node, Order, OrderGate};

/// How long the calls to a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// To connect and log in.
    pub connect: Duration,
    /// For one CLIENT LIST. There is no point in a longer one than the oldest list that may still be killed from.
    pub list: Duration,
    /// For one CLIENT KILL.
    pub kill: Duration,
}

impl Deadlines {
    /// Deadlines that leave a list of the other nodes young enough to be acted on when one node hangs: connecting and
    /// listing together take at most three quarters of the oldest age at which a list may still be killed from.
    #[must_use]
    pub fn within(max_snapshot_age: Duration) -> Self {
        let longest = Self::default();
        Self {
            connect: longest.connect.min(max_snapshot_age / 4),
            list: longest.list.min(max_snapshot_age / 2),
            kill: longest.kill,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), list: Duration::from_secs(10), kill: Duration::from_secs(5) }
    }
}

/// The nodes of one Redis or Valkey deployment.
pub struct RedisBackend {
    nodes: Vec<Node>,
}

impl RedisBackend {
    /// A backend that connects when it is first asked.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        Self::with_deadlines(config, clock, Deadlines::default())
    }

    /// The same with other deadlines.
    #[must_use]
    pub fn with_deadlines(config: Config, clock: Clock, deadlines: Deadlines) -> Self {
        let config = Arc::new(config);
        let node = |address: &NodeAddress| Node::new(address.clone(), config.clone(), clock.clone(), deadlines);
        Self { nodes: config.nodes.iter().map(node).collect() }
    }

    async fn carry_out(
        &mut self,
        orders: impl IntoIterator<Item = Order>,
        gate: OrderGate<'_>,
    ) -> Vec<(IntentId, Answer)> {
        let mut by_node: BTreeMap<NodeName, Vec<Order>> = BTreeMap::new();
        for order in orders {
            by_node.entry(order.node.clone()).or_default().push(order);
        }
        let mut calls = Vec::new();
        for node in &mut self.nodes {
            if let Some(orders) = by_node.remove(&node.name) {
                calls.push(node.kill(orders, gate));
            }
        }
        let unknown = by_node.into_values().flatten();
        let mut answers: Vec<_> = unknown.map(|order| (order.intent, Answer::NotSent(foreign(&order.node)))).collect();
        answers.extend(join_all(calls).await.into_iter().flatten());
        answers
    }
}

impl Backend for RedisBackend {
    fn nodes(&self) -> Vec<NodeName> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    fn fields(&self) -> FieldSet {
        client_list::fields()
    }

    async fn list(&mut self) -> Listing {
        join_all(self.nodes.iter_mut().map(Node::list)).await
    }

    async fn look(&mut self, keys: &[SessionKey]) -> Listing {
        let mut by_node: BTreeMap<NodeName, Vec<_>> = BTreeMap::new();
        for key in keys {
            by_node.entry(key.node.clone()).or_default().push((key.run.clone(), key.id));
        }
        let mut calls = Vec::new();
        for node in &mut self.nodes {
            if let Some(wanted) = by_node.remove(&node.name) {
                calls.push(node.look(wanted));
            }
        }
        let mut listing = join_all(calls).await;
        listing.extend(by_node.into_keys().map(|node| {
            let message = foreign(&node);
            Err(NodeError { node, reason: FailureReason::Connect, message })
        }));
        listing
    }

    async fn kill(&mut self, intents: &[Intent], gate: Gate<'_>) -> Vec<(IntentId, Answer)> {
        let orders: Vec<Order> = intents.iter().map(Order::of).collect();
        let by_id: HashMap<IntentId, &Intent> = intents.iter().map(|intent| (intent.id(), intent)).collect();
        self.carry_out(orders, &|id| by_id.get(&id).and_then(|intent| gate(intent))).await
    }

    fn inherit(&mut self, before: Self) {
        for mut old in before.nodes {
            if let Some(node) = self.nodes.iter_mut().find(|node| node.is_reached_like(&old)) {
                node.inherit(&mut old);
            }
        }
    }
}

fn foreign(node: &NodeName) -> String {
    format!("{node} is no node of this target any more")
}
