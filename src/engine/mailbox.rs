//! Why a target is to be evaluated: a set of causes, which is never full.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::policy::time::Steady;

/// Why a target is evaluated now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cause {
    /// Somebody asked for it.
    Manual,
    /// An alert that a rule names fired.
    Alert,
    /// It is time.
    Poll,
}

impl Cause {
    /// The label value.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Alert => "alert",
            Self::Poll => "poll",
        }
    }
}

/// A cause, and when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trigger {
    pub(super) cause: Cause,
    pub(super) at: Steady,
}

/// The waiting trigger of a target. Several causes become one: the strongest word, the earliest time.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Option<Trigger>>,
    wake: Notify,
}

impl Mailbox {
    /// Asks for an evaluation.
    pub(super) fn post(&self, cause: Cause, at: Steady) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(match *waiting {
            Some(before) => Trigger { cause: before.cause.min(cause), at: before.at.min(at) },
            None => Trigger { cause, at },
        });
        self.wake.notify_one();
    }

    /// Waits for a trigger and takes it. Cancel-safe: what is not returned is not taken.
    pub(super) async fn take(&self) -> Trigger {
        loop {
            if let Some(trigger) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return trigger;
            }
            self.wake.notified().await;
        }
    }
}
