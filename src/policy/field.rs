//! The session schema: every field that rules may test, with its type and where its column lives.

use std::fmt;

/// The type of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A 64-bit integer: a count, a size in bytes, an id.
    Int,
    /// A duration; its column holds milliseconds.
    Duration,
    /// A text.
    Text,
}

/// Where a field's column lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// `i64` values (milliseconds for durations); the index into the integer columns.
    Int(usize),
    /// Codes into a dictionary of distinct texts; the index into the symbol columns.
    Symbol(usize),
    /// Spans of the listed text, for what is different in every session; the index into the span columns.
    Span(usize),
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident $name:literal $ty:ident $column:ident($index:literal);)*) => {
        /// A field of a session, under the name that rules use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            /// Every field, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that rules use.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The type of its values.
            #[must_use]
            pub const fn ty(self) -> FieldType {
                match self { $(Self::$variant => FieldType::$ty,)* }
            }

            /// Where its column lives.
            #[must_use]
            pub const fn column(self) -> Column {
                match self { $(Self::$variant => Column::$column($index),)* }
            }

            /// The field with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

fields! {
    /// The session's id on its node.
    Id "id" Int Int(0);
    /// `ip:port` (or a socket path) as the server shows it.
    Addr "addr" Text Span(0);
    /// The address part of `peer`; unknown when the peer is hidden.
    Ip "ip" Text Symbol(0);
    /// The port part of `peer`.
    Port "port" Int Int(1);
    /// The client's true `ip:port`; on Redis the same as `addr`.
    Peer "peer" Text Span(1);
    /// The local address the client connected to.
    Laddr "laddr" Text Span(2);
    /// The name set by CLIENT SETNAME; empty when none was set.
    Name "name" Text Symbol(1);
    /// The ACL user.
    User "user" Text Symbol(2);
    /// The selected database.
    Db "db" Int Int(2);
    /// The flags as the server prints them.
    Flags "flags" Text Symbol(3);
    /// `replica`, `master`, `monitor`, `pubsub`, `blocked` or `normal`, in this precedence.
    Kind "kind" Text Symbol(4);
    /// The last command.
    Cmd "cmd" Text Symbol(5);
    /// How long the session exists.
    Age "age" Duration Int(3);
    /// How long since the session last interacted; a server's writes reset it too.
    Idle "idle" Duration Int(4);
    /// Channel subscriptions.
    Sub "sub" Int Int(5);
    /// Pattern subscriptions.
    Psub "psub" Int Int(6);
    /// Shard channel subscriptions.
    Ssub "ssub" Int Int(7);
    /// Commands queued in MULTI; -1 outside of one.
    Multi "multi" Int Int(8);
    /// Query buffer, bytes.
    Qbuf "qbuf" Int Int(9);
    /// Free space of the query buffer, bytes.
    QbufFree "qbuf_free" Int Int(10);
    /// Output buffer, bytes.
    Obl "obl" Int Int(11);
    /// Output list, entries.
    Oll "oll" Int Int(12);
    /// Output list memory, bytes.
    Omem "omem" Int Int(13);
    /// All memory of the session, bytes.
    TotMem "tot_mem" Int Int(14);
    /// RESP protocol version.
    Resp "resp" Int Int(15);
    /// Client library name.
    LibName "lib_name" Text Symbol(6);
    /// Client library version.
    LibVer "lib_ver" Text Symbol(7);
    /// The node that listed the session.
    Node "node" Text Symbol(8);
    /// File descriptor events.
    Events "events" Text Symbol(9);
}

/// How many integer columns there are.
pub const INT_COLUMNS: usize = 16;
/// How many symbol columns there are.
pub const SYMBOL_COLUMNS: usize = 10;
/// How many span columns there are.
pub const SPAN_COLUMNS: usize = 3;

/// A set of fields.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FieldSet(u32);

impl FieldSet {
    /// No field.
    pub const EMPTY: Self = Self(0);

    /// This set and `field`.
    #[must_use]
    pub const fn with(self, field: Field) -> Self {
        Self(self.0 | 1 << field as u8)
    }

    /// Adds `field`.
    pub const fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u8;
    }

    /// Whether `field` is in the set.
    #[must_use]
    pub const fn contains(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// The fields of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The fields of this set that `other` lacks.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is no field in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields, in the order of the schema.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.iter().copied().filter(move |field| self.contains(*field))
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<T: IntoIterator<Item = Field>>(fields: T) -> Self {
        fields.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Field::name)).finish()
    }
}

impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(field.name())?;
        }
        Ok(())
    }
}

/// What a session does, derived from its flags by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A replica of this server (`S`).
    Replica,
    /// The master of this server (`M`).
    Master,
    /// A session in MONITOR (`O`).
    Monitor,
    /// A subscriber (`P`).
    Pubsub,
    /// Waiting in a blocking command (`b`).
    Blocked,
    /// Everything else.
    Normal,
}

impl Kind {
    /// Every kind, in order of precedence.
    pub const ALL: [Self; 6] = [Self::Replica, Self::Master, Self::Monitor, Self::Pubsub, Self::Blocked, Self::Normal];

    /// The kind that these flags mean.
    #[must_use]
    pub fn from_flags(flags: &str) -> Self {
        const PRECEDENCE: [(char, Kind); 5] = [
            ('S', Kind::Replica),
            ('M', Kind::Master),
            ('O', Kind::Monitor),
            ('P', Kind::Pubsub),
            ('b', Kind::Blocked),
        ];
        PRECEDENCE.iter().find(|(flag, _)| flags.contains(*flag)).map_or(Self::Normal, |(_, kind)| *kind)
    }

    /// The name that rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::Master => "master",
            Self::Monitor => "monitor",
            Self::Pubsub => "pubsub",
            Self::Blocked => "blocked",
            Self::Normal => "normal",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_used_once() {
        let mut seen = std::collections::BTreeSet::new();
        for field in Field::ALL {
            assert!(seen.insert(format!("{:?}", field.column())), "{} shares a column", field.name());
            assert_eq!(Field::from_name(field.name()), Some(*field));
        }
        assert_eq!(seen.len(), INT_COLUMNS + SYMBOL_COLUMNS + SPAN_COLUMNS);
    }

    #[test]
    fn kinds_go_by_precedence() {
        for (flags, kind) in [
            ("N", Kind::Normal),
            ("O", Kind::Monitor),
            ("SO", Kind::Replica),
            ("M", Kind::Master),
            ("P", Kind::Pubsub),
            ("bP", Kind::Pubsub),
            ("b", Kind::Blocked),
            ("xT", Kind::Normal),
            ("", Kind::Normal),
        ] {
            assert_eq!(Kind::from_flags(flags), kind, "{flags}");
        }
    }
}
