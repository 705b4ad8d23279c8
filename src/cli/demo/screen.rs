//! What the demo prints while it runs. Colours only on a terminal.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::crowd::{Crowd, Role};
use super::follow::{Line, What};
use super::server::Server;
use crate::cli::table::{Output, Table, printable};
use crate::clock::{Clock, UnixMillis};
use crate::policy::time::{ShowDuration, Steady};
use crate::view::status::RuleView;

/// Where it goes, and since when.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    colours: bool,
    clock: Clock,
    start: Steady,
    start_wall: UnixMillis,
}

impl Screen {
    /// On stdout; on stderr when stdout is for JSON.
    pub(super) fn new(output: Output, clock: Clock) -> Self {
        let (out, terminal): (Box<dyn Write + Send>, bool) = match output {
            Output::Table => (Box::new(io::stdout()), io::stdout().is_terminal()),
            Output::Json => (Box::new(io::stderr()), io::stderr().is_terminal()),
        };
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        let (start, start_wall) = (clock.steady(), clock.wall());
        Self { out, colours, clock, start, start_wall }
    }

    /// Since the demo began.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.steady().since(self.start)
    }

    /// Who is there, by which rules, and where to look.
    pub(super) fn introduce(
        &mut self,
        crowd: &Crowd,
        server: &Server,
        rules: &[RuleView],
        url: &str,
        storage: PathBuf,
        lasts: Option<Duration>,
    ) -> io::Result<()> {
        let port = server.address.port();
        let mut people = Table::new(&["clients", "from", "role", "count", "what they do"]);
        for (group, started) in crowd.groups() {
            let (from, role) = (group.from.to_string(), group.role.as_str());
            people.row([group.name, &from, role, &started.to_string(), group.what]);
        }
        let mut ruled = Table::new(&["rule", "mode", "for", "kills", "match"]);
        for rule in rules {
            let kills = rule.limits.get("kills").map_or("", String::as_str);
            ruled.row([&rule.rule, &rule.mode, &rule.hold, kills, &rule.matches]);
        }
        let until = lasts.map_or("until Ctrl-C".to_owned(), |lasts| format!("for {}", ShowDuration(lasts)));
        let program = std::env::args().next().unwrap_or_else(|| "reaperd".to_owned());
        writeln!(
            self.out,
            "redis-server {} on port {port}, and a crowd of real connections:\n\n{people}\n\
             reaperd guards it by the shipped rules, tightened for the demo:\n\n{ruled}\n\
             Look around while it runs, {until}:\n  \
             {url}/  {url}/metrics  {url}/api/v1/status\n  \
             {program} status --url {url}\n  \
             {program} journal --storage.path {}\n  \
             redis-cli -p {port} client list\n",
            server.version,
            storage.display(),
        )
    }

    /// One thing that happened.
    pub(super) fn tell(&mut self, line: &Line) -> io::Result<()> {
        let (word, colour) = match line.what {
            What::Kill => ("kill", "31"),
            What::WouldKill => ("would kill", "36"),
            What::Spared => ("spared", "33"),
            What::Gone => ("gone", "32"),
            What::NotGone => ("not gone", "35"),
        };
        let mut word = format!("{word:10}");
        if self.colours {
            word = format!("\u{1b}[{colour}m{word}\u{1b}[0m");
        }
        // When it was written, not when it was read: so the lines show that no window saw more than its budget.
        #[expect(clippy::cast_precision_loss, reason = "the demo does not run for that long")]
        let seconds = (line.at - self.start_wall) as f64 / 1000.0;
        let Line { count, rule, who, why, .. } = line;
        // What a client calls itself must not reach the terminal as a command.
        let (who, why) = (printable(who), printable(why));
        writeln!(self.out, "{seconds:5.1}s  {word}  {count:3}  {rule:21}  {who:24}  {why}")
    }
}

/// The colour-free word for how a group fared.
pub(super) fn verdict(role: Role, started: usize, alive: usize) -> String {
    match role {
        Role::Unruly if alive == 0 => "all gone".to_owned(),
        Role::Unruly => format!("{alive} STILL THERE"),
        Role::Healthy if alive == started => "all alive".to_owned(),
        Role::Healthy => format!("{} MISSING", started - alive),
    }
}
