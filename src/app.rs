//! The composition root: config -> build (open, bind, wire) -> run until told to stop.
//!
//! Everything that can fail at the start fails before the first task runs. The end is a list, under one deadline: not
//! ready, HTTP stops, targets finish what they have committed, the store drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::engine::handle::Handle;
use crate::engine::settings::{Load, Settings, TargetSettings};
use crate::engine::supervisor::{Start, Supervisor};
use crate::http;
use crate::metrics::Metrics;
use crate::policy::directory::Directory;
use crate::policy::ruleset::RuleSet;
use crate::store::{Store, Writer};
use crate::view::journal::{Entry, EntryKind};

/// The file in the storage folder that pauses everything while it is there.
pub const PAUSE_FILE: &str = "PAUSE";

/// How long the whole shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(15);

/// A daemon that is built and bound, but not running yet.
pub struct App {
    handle: Handle,
    supervisor: Supervisor,
    store: Store,
    writer: Writer,
    bound: http::Bound,
    state: http::State,
}

/// Loads the config anew; the error is every finding, ready to be read.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

impl App {
    /// Opens the store, binds the listen address and wires everything. `load` loads the config, now and at a reload.
    ///
    /// # Errors
    /// What is wrong with the config, the storage or the listen address.
    pub async fn build(load: LoadConfig) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let config = load().map_err(anyhow::Error::msg)?;
        http::check_exposed(config.web.listen_address)?;
        let bound = http::bind(config.web.listen_address).await?;
        let metrics = Metrics::new();
        let opened = Store::open(&config.storage, clock.clone())?;
        let store = opened.store.clone();
        store.record(vec![Entry::new(EntryKind::Start)]).await.context("cannot write to the storage")?;
        let (supervisor, handle) = Supervisor::new(Start {
            clock: clock.clone(),
            metrics: metrics.clone(),
            store: store.clone(),
            settings: settings(&config),
            load: reload(load, &config),
            pause_file: config.storage.path.join(PAUSE_FILE),
            open_intents: opened.open_intents,
            alerts: opened.alerts,
            pauses: opened.pauses,
        });
        let scraped = handle.clone();
        let state = http::State {
            handle: handle.clone(),
            store: store.clone(),
            storage: config.storage.path.clone(),
            metrics,
            before_scrape: Arc::new(move || scraped.refresh_metrics()),
            clock,
            listen: bound.local_addr(),
        };
        tracing::info!(address = %bound.local_addr(), "listening");
        Ok(Self { handle, supervisor, store, writer: opened.writer, bound, state })
    }

    /// The address that HTTP is served on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// A handle on the engine.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Guards until `shutdown`, then stops in order.
    ///
    /// # Errors
    /// When a task ended early, or the shutdown did not end in time.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (stop_http, stop_engine) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let served = self.bound.serve(http::router(self.state), http::Limits::default(), stop_http.clone());
        tasks.spawn(async move {
            served.await;
            Ok(())
        });
        let engine_stop = stop_engine.clone();
        tasks.spawn(async move { Ok(self.supervisor.run(engine_stop).await?) });
        let mut writer = std::pin::pin!(self.writer.ended());
        let result = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            Some(ended) = tasks.join_next() => Err(early(ended)),
            ended = &mut writer => return Err(writer_ended(ended)),
        };
        let drain = async {
            let drained = drain(tasks, &stop_http, &stop_engine).await;
            self.store.close().await;
            drained.and(writer.await.map_err(anyhow::Error::msg))
        };
        match tokio::time::timeout(SHUTDOWN, drain).await {
            Ok(drained) => result.and(drained),
            Err(_) => bail!(
                "the shutdown did not end within {} s; open kills are settled at the next start",
                SHUTDOWN.as_secs()
            ),
        }
    }
}

/// HTTP first, so that nothing new comes in; then the targets.
async fn drain(
    mut tasks: JoinSet<anyhow::Result<()>>,
    stop_http: &CancellationToken,
    stop_engine: &CancellationToken,
) -> anyhow::Result<()> {
    stop_http.cancel();
    if tasks.len() < 2 {
        // The other part ended by itself.
        stop_engine.cancel();
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        stop_engine.cancel();
        result = result.and(ended.map_err(anyhow::Error::from).flatten());
    }
    result
}

/// A part of the daemon that ended although nobody asked it to: the process must not go on as a ghost.
fn early(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("a part of the daemon ended early"),
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    }
}

fn writer_ended(ended: Result<(), String>) -> anyhow::Error {
    match ended {
        Ok(()) => anyhow::anyhow!("the store's writer ended early"),
        Err(panic) => anyhow::anyhow!("the store's writer failed: {panic}"),
    }
}

/// The engine's part of a config.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    let mut directory = Directory::new(config.alertmanager.target_labels.clone());
    let mut targets = std::collections::BTreeMap::new();
    for target in &config.targets {
        let nodes: Vec<_> = target.redis.nodes.iter().map(crate::backend::redis::config::NodeAddress::name).collect();
        directory.add(&target.name, target.labels.get("instance_id").map(String::as_str), &nodes);
        let settings = TargetSettings {
            name: target.name.clone(),
            labels: target.labels.clone(),
            poll_interval: target.poll_interval,
            max_snapshot_age: target.max_snapshot_age,
            mode: target.mode,
            redis: target.redis.clone(),
        };
        targets.insert(target.name.clone(), Arc::new(settings));
    }
    Settings {
        mode: config.mode,
        rules: Arc::new(RuleSet::compile(config.rules.clone(), config.protections.clone())),
        limits: config.limits,
        alert_timeout: config.alertmanager.alert_timeout,
        targets,
        directory,
    }
}

/// A reload takes everything but what only a restart can change.
fn reload(load: LoadConfig, first: &Config) -> Load {
    let (storage, listen) = (first.storage.clone(), first.web.listen_address);
    Box::new(move || {
        let config = load()?;
        if config.storage != storage {
            return Err("storage: it was changed, which needs a restart; nothing was reloaded".to_owned());
        }
        if config.web.listen_address != listen {
            return Err("web.listen_address: it was changed, which needs a restart; nothing was reloaded".to_owned());
        }
        Ok(settings(&config))
    })
}
