//! An engine in memory that keeps nothing but volumes, and whose clock is that of the test.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::generation::{self, Generation};
use super::{Leases, Who};
use crate::error::HostError;
use crate::host::Result;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It takes so many milliseconds there and so many back.
    Done(u64, u64),
    /// It is not done.
    Refused,
    /// It is done, and nobody is told.
    Unanswered,
    /// It is done so many seconds after its caller was told of a failure.
    Late(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Create(Box<Generation>),
    Delete(u64),
}

pub(super) struct Engine {
    pub(super) volumes: RefCell<Vec<Generation>>,
    /// Names that volumes without labels have.
    pub(super) corpses: RefCell<Vec<u64>>,
    late: RefCell<Vec<(Instant, Change)>>,
    begun: Instant,
    /// How far the clock was set forward, in seconds.
    pub(super) set: Cell<i64>,
}

impl Engine {
    pub(super) fn new() -> Self {
        Self {
            volumes: RefCell::default(),
            corpses: RefCell::default(),
            late: RefCell::default(),
            begun: Instant::now(),
            set: Cell::new(0),
        }
    }

    fn clock(&self) -> Timestamp {
        let begin = Timestamp::from_millisecond(1_800_000_000_700).unwrap();
        let since = SignedDuration::try_from(self.begun.elapsed()).unwrap();
        begin + since + SignedDuration::from_secs(self.set.get())
    }

    /// Does what was put off and is due.
    fn catch_up(&self) {
        let (due, later) = self
            .late
            .take()
            .into_iter()
            .partition(|(at, _): &(Instant, Change)| at.elapsed() > Duration::ZERO);
        self.late.replace(later);
        let due: Vec<_> = due;
        for (_, change) in due {
            self.change(change);
        }
    }

    /// Answers the token of the generation that was created.
    fn change(&self, change: Change) -> Option<String> {
        let mut volumes = self.volumes.borrow_mut();
        match change {
            Change::Create(new) => {
                if self.corpses.borrow().contains(&new.number) {
                    return None;
                }
                if let Some(old) = volumes.iter().find(|one| one.number == new.number) {
                    return Some(old.token.clone());
                }
                let created = Timestamp::from_second(self.clock().as_second()).unwrap();
                let token = new.token.clone();
                volumes.push(Generation { created, ..*new });
                Some(token)
            }
            Change::Delete(number) => {
                volumes.retain(|one| one.number != number);
                None
            }
        }
    }

    /// The numbers that are there, with their tokens.
    pub(super) fn tokens(&self) -> Vec<(u64, String)> {
        self.volumes.borrow().iter().map(|one| (one.number, one.token.clone())).collect()
    }
}

/// The way of one machine to the engine.
pub(super) struct Way<'a, F> {
    pub(super) engine: &'a Engine,
    /// Says what happens to the next call.
    pub(super) fate: F,
}

fn lost() -> HostError {
    HostError::Lost { reason: "cut".into() }
}

impl<F: Fn() -> Fate> Way<'_, F> {
    async fn act<T>(
        &self,
        change: Option<Change>,
        work: impl Fn(Option<String>) -> T,
    ) -> Result<T> {
        let (there, back) = match (self.fate)() {
            Fate::Done(there, back) => (there, Ok(back)),
            Fate::Refused => return Err(self.refuse().await),
            Fate::Unanswered => (5, Err(lost())),
            Fate::Late(seconds) => {
                let at = Instant::now() + Duration::from_secs(seconds);
                self.engine.late.borrow_mut().extend(change.map(|change| (at, change)));
                return Err(self.refuse().await);
            }
        };
        sleep(Duration::from_millis(there)).await;
        self.engine.catch_up();
        let made = change.and_then(|change| self.engine.change(change));
        let done = work(made);
        sleep(Duration::from_millis(back.as_ref().copied().unwrap_or(5))).await;
        back.map(|_| done)
    }

    async fn refuse(&self) -> HostError {
        sleep(Duration::from_millis(5)).await;
        lost()
    }
}

impl<F: Fn() -> Fate> Leases for Way<'_, F> {
    async fn list(&self, _: &str) -> Result<Vec<Generation>> {
        self.act(None, |_| self.engine.volumes.borrow().clone()).await
    }

    async fn create(&self, app: &str, number: u64, since: Timestamp, who: &Who) -> Result<bool> {
        let labels = generation::labels(app, since, who);
        let new = Generation::read(app, &generation::name(app, number), None, &labels).unwrap();
        self.act(Some(Change::Create(Box::new(new))), |made| made.as_ref() == Some(&who.token))
            .await
    }

    async fn delete(&self, _: &str, number: u64) -> Result<()> {
        self.act(Some(Change::Delete(number)), |_| ()).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.act(None, |_| self.engine.clock()).await
    }
}
