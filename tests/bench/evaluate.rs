//! Rules over sessions: columns and masks, against the interpreter of the `cel` crate on the same rules, against our own
//! evaluator for one session, and against reading each column once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cel::common::types::{CelInt, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, Value};
use reaperd::backend::redis::client_list::parse;
use reaperd::policy::expr::{Expr, Program, Tri, Want};
use reaperd::policy::field::{Column, Field};
use reaperd::policy::session::Sessions;

use crate::harness::{Bar, Line, Report, Unit, interleave, timed};
use crate::sessions::{COMMANDS, Dice, USERS, client_list};

const SESSIONS: u64 = 100_000;
const RULES: [usize; 4] = [1, 10, 50, 200];
const SECONDS: [&str; 10] = ["30", "60", "300", "600", "900", "1800", "3600", "7200", "43200", "86400"];
const BYTES: [&str; 6] = ["65536", "262144", "1048576", "4194304", "16777216", "67108864"];
/// Row by row, every session takes the same, so a part of them is enough; figures are of all of them.
const SAMPLE: usize = 10;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let sessions = parse(client_list(SESSIONS), &"127.0.0.1:6379".into())?;
    let rows = CelRow::of_sample(&sessions)?;
    for rules in RULES {
        Contest::new(rules, &sessions, &rows)?.run(report)?;
    }
    Ok(())
}

/// The same rules for each contestant, over the same sessions.
struct Contest<'a> {
    sessions: &'a Sessions,
    rows: &'a [CelRow<'a>],
    exprs: Vec<Expr>,
    program: Program,
    interpreted: Vec<cel::Program>,
    env: Arc<Env>,
}

impl<'a> Contest<'a> {
    fn new(rules: usize, sessions: &'a Sessions, rows: &'a [CelRow<'a>]) -> anyhow::Result<Self> {
        let mut dice = Dice::new(7);
        let (mut exprs, mut interpreted) = (Vec::new(), Vec::new());
        for _ in 0..rules {
            let rule = rule(&mut dice);
            exprs.push(Expr::parse(&rule.ours).map_err(|errors| anyhow::anyhow!("`{}`: {errors:?}", rule.ours))?);
            interpreted.push(cel::Program::compile(&rule.cel).with_context(|| format!("cel: `{}`", rule.cel))?);
        }
        let wanted: Vec<_> = exprs.iter().map(|expr| (expr, Want::KnownTrue)).collect();
        let program = Program::compile(&wanted);
        Ok(Self { sessions, rows, program, exprs, interpreted, env: Arc::new(Env::stdlib()) })
    }

    fn run(&self, report: &mut Report) -> anyhow::Result<()> {
        let named = self.named_in_sample();
        let mut columns = || Ok(timed(|| self.program.run(self.sessions, &|_| true)).0);
        let mut by_row = || self.sampled(named, || self.row_by_row());
        let mut cel = || self.sampled(named, || self.by_cel());
        let mut read = || Ok(timed(|| read_columns(self.sessions)).0);
        let [ours, by_row, cel, read] = interleave([&mut columns, &mut by_row, &mut cel, &mut read])?;
        let mut line = |what: String, ours: f64, against: &str, theirs: f64, bar: Bar| {
            report.add(Line { what, unit: Unit::Seconds, ours, against: against.to_owned(), theirs, bar });
        };
        let what = format!("{} rules over {SESSIONS} sessions, CPU", self.exprs.len());
        line(what, ours, "cel 0.15, borrowed resolver", cel, Bar::AtLeast(20.0));
        line("the same".to_owned(), ours, "limit: reads 10 columns once", read, Bar::Times);
        line("the same, session by session".to_owned(), by_row, "cel 0.15, borrowed resolver", cel, Bar::Times);
        Ok(())
    }

    /// How many (session, rule) pairs of the sample the columns name.
    fn named_in_sample(&self) -> usize {
        let masks = self.program.run(self.sessions, &|_| true);
        masks
            .iter()
            .flatten()
            .map(|mask| (0..self.sessions.len()).step_by(SAMPLE).filter(|row| mask.get(*row)).count())
            .sum()
    }

    /// The time for all sessions, from that for the sample, in which `count` must name as many as the columns did.
    #[expect(clippy::cast_possible_truncation, reason = "a small constant")]
    fn sampled(&self, named: usize, count: impl FnOnce() -> anyhow::Result<usize>) -> anyhow::Result<Duration> {
        let (time, counted) = timed(count);
        let counted = counted?;
        anyhow::ensure!(counted == named, "{} rules: {counted} named, and {named} by columns", self.exprs.len());
        Ok(time * SAMPLE as u32)
    }

    fn row_by_row(&self) -> anyhow::Result<usize> {
        let rows = (0..self.sessions.len()).step_by(SAMPLE);
        let names = |row| self.exprs.iter().filter(|expr| expr.row(self.sessions, row) == Tri::True).count();
        Ok(rows.map(names).sum())
    }

    fn by_cel(&self) -> anyhow::Result<usize> {
        let mut named = 0;
        for row in self.rows {
            let mut context = Context::with_env(self.env.clone());
            context.set_variable_resolver(row);
            for program in &self.interpreted {
                let Value::Bool(holds) = program.execute(&context)? else { anyhow::bail!("cel answers no bool") };
                named += usize::from(holds);
            }
        }
        Ok(named)
    }
}

/// What any evaluation must do at least once.
fn read_columns(sessions: &Sessions) -> i64 {
    const FIELDS: [Field; 10] = [
        Field::Age,
        Field::Idle,
        Field::Db,
        Field::Qbuf,
        Field::Omem,
        Field::TotMem,
        Field::Name,
        Field::User,
        Field::Cmd,
        Field::Flags,
    ];
    let mut sum = 0i64;
    for field in FIELDS {
        match black_box(field).column() {
            Column::Int(column) => sum = sessions.ints(column).iter().fold(sum, |sum, value| sum.wrapping_add(*value)),
            Column::Symbol(column) => {
                sum = sessions.symbols(column).codes().iter().fold(sum, |sum, code| sum.wrapping_add(i64::from(*code)));
            }
            Column::Span(_) => {}
        }
    }
    sum
}

/// One rule in both languages: `cel` has no durations here, so it compares seconds.
struct Rule {
    ours: String,
    cel: String,
}

/// One to four conditions that must all hold.
fn rule(dice: &mut Dice) -> Rule {
    let (mut ours, mut cel) = (Vec::new(), Vec::new());
    for _ in 0..=dice.roll(4) {
        let (condition, same) = condition(dice);
        cel.push(same.unwrap_or_else(|| condition.clone()));
        ours.push(condition);
    }
    Rule { ours: ours.join(" && "), cel: cel.join(" && ") }
}

/// A condition, and how `cel` spells it where it does otherwise. Limits are round, as people choose them, so that some of
/// 200 rules share a test.
fn condition(dice: &mut Dice) -> (String, Option<String>) {
    let sign = dice.pick(&[">", "<", ">=", "<="]);
    match dice.roll(8) {
        0 | 1 => {
            let (field, seconds) = (dice.pick(&["idle", "age"]), dice.pick(&SECONDS));
            (format!("{field} {sign} duration(\"{seconds}s\")"), Some(format!("{field} {sign} {seconds}")))
        }
        2 => (format!("{} {sign} {}", dice.pick(&["qbuf", "omem", "tot_mem"]), dice.pick(&BYTES)), None),
        3 => (format!("user == \"{}\"", dice.pick(&USERS)), None),
        4 => (format!("cmd == \"{}\"", dice.pick(&COMMANDS)), None),
        5 => (format!("name.startsWith(\"{}\")", dice.pick(&["orders-", "billing-", "e", "cart"])), None),
        6 => (format!("name.contains(\"{}\")", dice.pick(&["worker", "api", "-", "cache"])), None),
        _ => (format!("cmd in [\"{}\", \"{}\", \"eval\"]", dice.pick(&COMMANDS), dice.pick(&COMMANDS)), None),
    }
}

/// A session whose values `cel` borrows.
struct CelRow<'a> {
    ints: [CelInt; 6],
    texts: [CelString<'a>; 4],
}

impl<'a> CelRow<'a> {
    fn of_sample(sessions: &'a Sessions) -> anyhow::Result<Vec<Self>> {
        (0..sessions.len()).step_by(SAMPLE).map(|row| Self::new(sessions, row).context("a value is missing")).collect()
    }

    fn new(sessions: &'a Sessions, row: usize) -> Option<Self> {
        let int = |field| sessions.int(field, row).map(CelInt::from);
        let seconds = |field| sessions.int(field, row).map(|millis| CelInt::from(millis / 1000));
        let text = |field| sessions.text(field, row).map(CelString::from);
        Some(Self {
            ints: [
                seconds(Field::Idle)?,
                seconds(Field::Age)?,
                int(Field::Qbuf)?,
                int(Field::Omem)?,
                int(Field::TotMem)?,
                int(Field::Db)?,
            ],
            texts: [text(Field::Name)?, text(Field::User)?, text(Field::Cmd)?, text(Field::Flags)?],
        })
    }
}

impl VariableResolver for CelRow<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value: &'b dyn Val = match variable {
            "idle" => &self.ints[0],
            "age" => &self.ints[1],
            "qbuf" => &self.ints[2],
            "omem" => &self.ints[3],
            "tot_mem" => &self.ints[4],
            "db" => &self.ints[5],
            "name" => &self.texts[0],
            "user" => &self.texts[1],
            "cmd" => &self.texts[2],
            "flags" => &self.texts[3],
            _ => return None,
        };
        Some(CowVal::Borrowed(value))
    }
}
