//! The log on stderr: logfmt as in the Prometheus family, or JSON.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use anyhow::Context;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// `ts=... level=info msg="..." key=value`
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// The log's options.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct LogArgs {
    /// error, warn, info, debug or trace
    #[arg(long = "log.level", default_value = "info", value_name = "LEVEL")]
    level: String,
    /// How log lines look
    #[arg(long = "log.format", default_value = "logfmt", value_name = "FORMAT")]
    format: LogFormat,
}

impl LogArgs {
    /// Logfmt at this level.
    pub(super) fn at(level: &str) -> Self {
        Self { level: level.to_owned(), format: LogFormat::Logfmt }
    }
}

/// Starts logging to stderr; stdout is for answers.
///
/// # Errors
/// When the level is none.
pub(super) fn start(args: &LogArgs) -> anyhow::Result<()> {
    let level = tracing::Level::from_str(&args.level)
        .with_context(|| format!("--log.level: `{}` is none of error, warn, info, debug, trace", args.level))?;
    // Libraries are only heard when something is wrong with them.
    let filter = EnvFilter::new(format!("warn,reaperd={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match args.format {
        LogFormat::Logfmt => builder.event_format(Logfmt).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).init(),
    }
    Ok(())
}

struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        writer.write_str("ts=")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, " level={}", event.metadata().level().as_str().to_ascii_lowercase())?;
        write!(writer, " msg={}", Quoted(&fields.message))?;
        writeln!(writer, "{}", fields.others)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            // Writing to a String cannot fail.
            let _ok = write!(self.others, " {}={}", field.name(), Quoted(value)).is_ok();
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// A value, in quotes where logfmt needs them; line breaks never break the line.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=' && c != '\\';
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_value_cannot_forge_a_line() {
        for (value, shown) in [
            ("orders", "orders"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("x\nlevel=error msg=fake", "\"x\\nlevel=error msg=fake\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("\u{1b}[31m", "\"\\u001b[31m\""),
        ] {
            assert_eq!(Quoted(value).to_string(), shown);
        }
    }
}
