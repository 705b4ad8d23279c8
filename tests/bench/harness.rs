//! Clocks, interleaved rounds, medians, and the table.
//!
//! A slow or busy machine is slow for everybody: contestants take turns (A B A B), and the median of the rounds counts.
//! What one thread does is measured in its CPU time, which neighbours disturb least; only what is about waiting (kills,
//! pings, readiness) is measured on the wall.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

/// Turns of each contestant.
pub(crate) const ROUNDS: usize = 5;

/// Time that passes, from an arbitrary moment on.
pub(crate) fn wall() -> Duration {
    read(ClockId::Monotonic)
}

/// CPU time of this thread.
pub(crate) fn cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// CPU time, user and system, that another process has used, threads that ended included. It comes in ticks of 10 ms.
pub(crate) fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    let file = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    // The name of the program, in parentheses, may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks * 1_000_000_000 / second))
}

/// CPU time that the living threads of another process have used, to the nanosecond.
pub(crate) fn exact_cpu_of(process: u32) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().context("schedstat is empty")?;
        sum += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// One contestant: does its work once, and says how long that took.
pub(crate) type Turn<'a> = &'a mut dyn FnMut() -> anyhow::Result<Duration>;

/// The median time of each contestant, in seconds; they take turns.
pub(crate) fn interleave<const N: usize>(turns: [Turn<'_>; N]) -> anyhow::Result<[f64; N]> {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for index in 0..N {
            times[index].push(turns[index]()?.as_secs_f64());
        }
    }
    Ok(times.map(median))
}

/// The CPU time of this thread that `work` takes. What it returns is dropped after the clock was read.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = cpu();
    let made = std::hint::black_box(work());
    (cpu().saturating_sub(start), made)
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value at a quantile from 0 to 1; 0 of nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
pub(crate) fn quantile(mut values: Vec<f64>, at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len().saturating_sub(1) as f64 * at).round() as usize;
    values.get(index).copied().unwrap_or(0.0)
}

/// What is demanded of a ratio.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// Ours over theirs, at most.
    AtMost(f64),
    /// Theirs over ours, at least.
    AtLeast(f64),
    /// Ours over theirs, for information.
    Times,
}

impl Bar {
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::AtMost(_) | Self::Times => ours / theirs,
            Self::AtLeast(_) => theirs / ours,
        }
    }

    fn met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtMost(bar) => Some(ratio <= bar),
            Self::AtLeast(bar) => Some(ratio >= bar),
            Self::Times => None,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(bar) => format!("<= {bar}x"),
            Self::AtLeast(bar) => format!(">= {bar}x less"),
            Self::Times => String::new(),
        }
    }
}

/// What figures are in.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Megabytes,
    MillisecondsPerSecond,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Self::Seconds if value >= 1e-3 => format!("{:.2} ms", value * 1e3),
            Self::Seconds => format!("{:.2} us", value * 1e6),
            Self::Megabytes => format!("{value:.1} MB"),
            Self::MillisecondsPerSecond => format!("{value:.3} ms/s"),
        }
    }
}

/// One line of the table.
pub(crate) struct Line {
    /// What was done.
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    /// The peer or limit.
    pub(crate) against: String,
    pub(crate) theirs: f64,
    pub(crate) bar: Bar,
}

/// The lines of all benchmarks that ran.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<(&'static str, Line)>,
    benchmarks: Vec<&'static str>,
}

impl Report {
    /// The next lines belong to this benchmark.
    pub(crate) fn begin(&mut self, benchmark: &'static str) {
        self.benchmarks.push(benchmark);
    }

    pub(crate) fn add(&mut self, line: Line) {
        let benchmark = self.benchmarks.last().copied().unwrap_or_default();
        self.lines.push((benchmark, line));
    }
}

const HEAD: [&str; 8] = ["", "what", "ours", "peer or limit", "theirs", "ratio", "bar", ""];
/// Columns of figures, which end in line.
const RIGHT: [bool; 8] = [false, false, true, false, true, true, false, false];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut met, mut missed) = (0, 0);
        let mut rows = vec![HEAD.map(str::to_owned)];
        for (benchmark, line) in &self.lines {
            let ratio = line.bar.ratio(line.ours, line.theirs);
            let verdict = match line.bar.met(ratio) {
                Some(true) => "ok",
                Some(false) => "MISSED",
                None => "",
            };
            met += usize::from(verdict == "ok");
            missed += usize::from(verdict == "MISSED");
            rows.push([
                (*benchmark).to_owned(),
                line.what.clone(),
                line.unit.show(line.ours),
                line.against.clone(),
                line.unit.show(line.theirs),
                format!("{ratio:.2}x"),
                line.bar.words(),
                verdict.to_owned(),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 8] = std::array::from_fn(width);
        for row in &rows {
            let mut text = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                let cell = if RIGHT[column] { format!("{cell:>width$}  ") } else { format!("{cell:width$}  ") };
                text.push_str(&cell);
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(f, "\nratio: ours / theirs; where the bar says `less`, theirs / ours.")?;
        write!(f, "{} benchmarks, {met} bars met, {missed} missed", self.benchmarks.len())
    }
}
