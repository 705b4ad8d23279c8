//! The crowd: who connects, from where, and how they behave. All of them are real TCP connections.
//!
//! Nobody reconnects, so that who was killed stays away and can be counted in the end.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::wire::Client;

/// What becomes of a group if all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Killed to the last one.
    Unruly,
    /// Alive to the last one.
    Healthy,
}

impl Role {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unruly => "unruly",
            Self::Healthy => "healthy",
        }
    }
}

/// What a client does after it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// One command, then silence.
    Leak,
    /// Not a single command.
    NeverUsed,
    /// Half of a huge command, then silence.
    HalfCommand,
    /// MONITOR for ever.
    Monitor,
    /// Subscribes and does not read.
    Deaf,
    /// Subscribes and reads.
    Reader,
    /// GET and SET with short pauses.
    Busy,
    /// Publishes to the subscribers, and now and then pushes a job.
    Publisher,
    /// BLPOP for ever, one job after the other.
    Worker,
}

/// Clients of one kind.
pub(super) struct Group {
    /// What they call themselves, where they say anything.
    pub(super) name: &'static str,
    /// What they should have in the end.
    pub(super) role: Role,
    /// Where they connect from.
    pub(super) from: Ipv4Addr,
    /// How many.
    pub(super) count: usize,
    /// What they do, for people.
    pub(super) what: &'static str,
    behaviour: Behaviour,
}

const fn group(
    name: &'static str,
    role: Role,
    host: u8,
    count: usize,
    behaviour: Behaviour,
    what: &'static str,
) -> Group {
    Group { name, role, from: Ipv4Addr::new(127, 0, 0, host), count, what, behaviour }
}

use Behaviour::{Busy, Deaf, HalfCommand, Leak, Monitor, NeverUsed, Publisher, Reader, Worker};
use Role::{Healthy, Unruly};

/// The whole crowd.
static GROUPS: [Group; 10] = [
    group("billing-worker", Unruly, 2, 40, Leak, "a leaking pool: used once, then forgotten"),
    group("ops-laptop", Unruly, 3, 1, Monitor, "a MONITOR that somebody forgot"),
    group("dashboard", Unruly, 4, 1, Deaf, "a subscriber that does not read"),
    group("bulk-loader", Unruly, 5, 1, HalfCommand, "stopped half-way through a huge command"),
    group("(no name)", Unruly, 6, 5, NeverUsed, "a port scanner: never sent a command"),
    group("checkout-web", Healthy, 7, 12, Busy, "GET and SET, with short pauses"),
    group("price-feed", Healthy, 8, 1, Publisher, "publishes prices"),
    group("price-view", Healthy, 8, 2, Reader, "subscribers that read"),
    group("mail-worker", Healthy, 9, 1, Worker, "waits in BLPOP; a job comes every 10 s"),
    group("admin-console", Healthy, 10, 1, Leak, "idle, but protected by the config"),
];

/// Half of a command of 64 MiB, most of it missing.
const HALF_COMMAND: usize = 4 << 20;
/// One price, rather detailed.
const PRICE: usize = 128 << 10;
const PRICE_EVERY: Duration = Duration::from_millis(50);
/// Prices between two jobs: 10 s.
const JOB_EVERY: u64 = 200;
/// A receive buffer of a client that shall be felt soon.
const SMALL_BUFFER: u32 = 4096;

/// Everybody who came.
pub(super) struct Crowd {
    members: Vec<(usize, SocketAddr)>,
    /// The silent ones: their connections are only held.
    held: Vec<Client>,
    /// The others.
    tasks: JoinSet<()>,
    served: Arc<AtomicU64>,
}

impl Crowd {
    /// Connects them all.
    pub(super) async fn gather(server: SocketAddr) -> anyhow::Result<Self> {
        let served = Arc::default();
        let mut crowd = Self { members: Vec::new(), held: Vec::new(), tasks: JoinSet::new(), served };
        for (index, group) in GROUPS.iter().enumerate() {
            for _ in 0..group.count {
                let join = crowd.join(index, group, server).await;
                join.with_context(|| format!("a client of {} cannot join the crowd", group.name))?;
            }
        }
        Ok(crowd)
    }

    /// Who is here, in the order of the tables.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&'static Group, usize)> {
        let started = |index| self.members.iter().filter(|(group, _)| *group == index).count();
        GROUPS.iter().enumerate().map(|(index, group)| (group, started(index))).collect::<Vec<_>>().into_iter()
    }

    /// How many of each group are among these addresses, in the same order.
    pub(super) fn count(&self, addresses: &HashSet<SocketAddr>) -> Vec<usize> {
        let alive = |index| {
            let of_group = self.members.iter().filter(|(group, _)| *group == index);
            of_group.filter(|(_, address)| addresses.contains(address)).count()
        };
        (0..GROUPS.len()).map(alive).collect()
    }

    /// Commands of the busy clients that were answered.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    async fn join(&mut self, index: usize, group: &Group, server: SocketAddr) -> anyhow::Result<()> {
        let receive_buffer = (group.behaviour == Deaf).then_some(SMALL_BUFFER);
        let mut client = Client::connect(group.from, server, receive_buffer).await?;
        self.members.push((index, client.address));
        if group.behaviour != NeverUsed {
            client.ask(&["CLIENT", "SETNAME", group.name]).await?;
        }
        match group.behaviour {
            NeverUsed => self.held.push(client),
            Leak => {
                client.ask(&["GET", "invoice"]).await?;
                self.held.push(client);
            }
            HalfCommand => {
                client.send(b"*3\r\n$3\r\nSET\r\n$4\r\nbulk\r\n$67108864\r\n").await?;
                client.send(&vec![b'x'; HALF_COMMAND]).await?;
                self.held.push(client);
            }
            Deaf => {
                client.ask(&["SUBSCRIBE", "prices"]).await?;
                self.held.push(client);
            }
            Monitor => {
                client.ask(&["MONITOR"]).await?;
                self.tasks.spawn(read(client));
            }
            Reader => {
                client.ask(&["SUBSCRIBE", "prices"]).await?;
                self.tasks.spawn(read(client));
            }
            Busy => drop(self.tasks.spawn(work(client, self.served.clone()))),
            Publisher => drop(self.tasks.spawn(publish(client))),
            Worker => drop(self.tasks.spawn(take_jobs(client))),
        }
        Ok(())
    }
}

// Each of these ends when its connection does: then the server's client list tells that one is missing.

async fn read(mut client: Client) {
    // An error is an end too.
    drop(client.drain().await);
}

/// Busy, with a longer pause now and then, as real clients have, far below what any rule calls idle.
async fn work(mut client: Client, served: Arc<AtomicU64>) {
    loop {
        let key = format!("cart:{}", rand::random_range(0..1000));
        if client.ask(&["SET", &key, "1"]).await.is_err() || client.ask(&["GET", &key]).await.is_err() {
            return;
        }
        served.fetch_add(2, Ordering::Relaxed);
        let pause = if rand::random_ratio(1, 40) { 300..1000 } else { 20..80 };
        sleep(Duration::from_millis(rand::random_range(pause))).await;
    }
}

async fn publish(mut client: Client) {
    let price = "9".repeat(PRICE);
    for number in 1_u64.. {
        let job = number.is_multiple_of(JOB_EVERY);
        if client.ask(&["PUBLISH", "prices", &price]).await.is_err()
            || (job && client.ask(&["RPUSH", "jobs", "mail"]).await.is_err())
        {
            return;
        }
        sleep(PRICE_EVERY).await;
    }
}

async fn take_jobs(mut client: Client) {
    while client.wait(&["BLPOP", "jobs", "0"]).await.is_ok() {}
}
