//! The benchmarks: `make bench`, or `cargo bench -- NAME...` for some of them.
//!
//! Every figure stands beside that of a named peer or limit, measured in the same run: what a machine is worth today
//! cancels out, and a ratio is all that is judged. A missed bar is printed and fails nothing, because a benchmark on a
//! busy machine proves nothing by itself; run it again, alone.

mod crowd;
mod daemon;
mod evaluate;
mod footprint;
mod harness;
mod kill;
mod load;
mod parse;
mod redis;
mod sessions;
mod webhook;

use std::process::ExitCode;

use anyhow::Context;

use harness::Report;

type Benchmark = (&'static str, fn(&mut Report) -> anyhow::Result<()>);

const ALL: [Benchmark; 5] = [
    ("parse", parse::run),
    ("evaluate", evaluate::run),
    ("kill", kill::run),
    ("webhook", webhook::run),
    ("footprint", footprint::run),
];

fn main() -> ExitCode {
    let result = match std::env::var(webhook::SERVE) {
        Ok(kind) => webhook::serve(&kind),
        Err(_) => benchmarks(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn benchmarks() -> anyhow::Result<()> {
    // cargo adds flags of its own, such as --bench.
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|(known, _)| known != name)) {
        let known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        anyhow::bail!("there is no benchmark `{unknown}`; there are: {}", known.join(", "));
    }
    let mut report = Report::default();
    for (name, run) in ALL.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name)) {
        eprintln!("bench: {name} ...");
        report.begin(name);
        run(&mut report).with_context(|| format!("the benchmark `{name}` did not run to its end"))?;
    }
    println!("{report}");
    Ok(())
}
