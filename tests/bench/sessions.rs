//! A CLIENT LIST as a busy Redis 7.0 prints it, about 270 bytes a session: half of the sessions come from one runaway pod,
//! the rest from 420 others.

/// Random numbers, the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `sides`.
    pub(crate) const fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub(crate) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap_or(0)]
    }
}

pub(crate) const NAMES: [&str; 6] =
    ["", "orders-api-7f9c", "billing-worker-2", "session-cache", "cart-api-55d8", "etl"];
pub(crate) const USERS: [&str; 4] = ["default", "orders", "billing", "analytics"];
pub(crate) const COMMANDS: [&str; 8] = ["get", "set", "hgetall", "ping", "blpop", "subscribe", "client|list", "NULL"];
pub(crate) const FLAGS: [&str; 8] = ["N", "N", "N", "N", "N", "N", "b", "P"];

/// The answer to CLIENT LIST with this many sessions.
pub(crate) fn client_list(sessions: u64) -> String {
    let mut dice = Dice::new(2026);
    let mut text = String::new();
    for id in 1..=sessions {
        let runaway = dice.roll(100) < 46;
        let pod = if runaway { 0 } else { 1 + dice.roll(420) };
        let (age, qbuf) = (dice.roll(500_000), if dice.roll(50) == 0 { dice.roll(1 << 20) } else { 0 });
        let idle = if dice.roll(3) == 0 { dice.roll(age + 1) } else { dice.roll(30).min(age) };
        let omem = if dice.roll(200) == 0 { dice.roll(1 << 28) } else { 0 };
        text.push_str(&format!(
            "id={id} addr=10.12.{}.{}:{} laddr=10.12.200.7:6379 fd={} name={} age={age} idle={idle} flags={} db={} sub=0 \
             psub=0 ssub=0 multi=-1 qbuf={qbuf} qbuf-free={} argv-mem=10 multi-mem=0 rbs=1024 rbp=0 obl=0 oll={} \
             omem={omem} tot-mem={} events=r cmd={} user={} redir=-1 resp={}\n",
            pod / 200,
            pod % 200 + 2,
            32_768 + dice.roll(28_000),
            8 + id % 60_000,
            dice.pick(&NAMES),
            dice.pick(&FLAGS),
            dice.roll(4),
            20_474 - qbuf.min(20_474),
            omem / 16_384,
            22_298 + qbuf + omem,
            dice.pick(&COMMANDS),
            dice.pick(&USERS),
            2 + dice.roll(2),
        ));
    }
    text
}
