//! The rollout over hosts in memory, each of which ends as it is told to.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::spec::tests::options;

/// How a host ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Deployed,
    /// The same, where nothing had served before.
    First,
    Unchanged,
    Failed,
    Broken,
    /// Deployed, and going back fails.
    Stuck,
}

struct Fake {
    ends: Vec<End>,
    /// How long each takes.
    millis: Vec<u64>,
    cancelled: CancellationToken,
    /// The host at whose end the tool is told to end.
    signal: Option<usize>,
    running: Cell<usize>,
    most: Cell<usize>,
    /// Begun and ended, in order.
    begun: RefCell<Vec<(usize, Instant)>>,
    ended: RefCell<Vec<(usize, Instant)>>,
    back: RefCell<Vec<usize>>,
    stood: RefCell<Vec<HostOutcome>>,
}

impl Fake {
    fn new(ends: &[End], millis: &[u64]) -> Self {
        Self {
            ends: ends.to_vec(),
            millis: millis.to_vec(),
            cancelled: CancellationToken::new(),
            signal: None,
            running: Cell::new(0),
            most: Cell::new(0),
            begun: RefCell::default(),
            ended: RefCell::default(),
            back: RefCell::default(),
            stood: RefCell::default(),
        }
    }

    async fn work(&self, index: usize) {
        self.running.set(self.running.get() + 1);
        self.most.set(self.most.get().max(self.running.get()));
        tokio::time::sleep(Duration::from_millis(self.millis[index])).await;
        self.running.set(self.running.get() - 1);
    }

    fn report(outcome: Outcome, previous: bool, failure: Option<Code>) -> Report {
        let outcome = HostOutcome {
            outcome: Some(outcome),
            previous: previous.then(|| "r.example/old".to_owned()),
            ..HostOutcome::default()
        };
        Report { outcome, failure: failure.map(|code| Failure::new(code, "it failed")) }
    }

    fn run(&self, args: &[&str]) -> (Ended, Vec<HostOutcome>) {
        let rollout = Rollout::new(self.ends.len(), &options(args)).unwrap();
        let known = (0..self.ends.len())
            .map(|index| HostOutcome { host: format!("h{index}"), ..HostOutcome::default() })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let ended = runtime.block_on(rollout.run(self, known, &self.cancelled));
        (ended, self.stood.borrow().clone())
    }
}

impl Hosts for Fake {
    async fn deploy(&self, index: usize) -> Report {
        self.begun.borrow_mut().push((index, Instant::now()));
        self.work(index).await;
        self.ended.borrow_mut().push((index, Instant::now()));
        if self.signal == Some(index) {
            self.cancelled.cancel();
        }
        match self.ends[index] {
            End::Deployed | End::Stuck => Self::report(Outcome::Deployed, true, None),
            End::First => Self::report(Outcome::Deployed, false, None),
            End::Unchanged => Self::report(Outcome::Unchanged, true, None),
            End::Failed => Self::report(Outcome::Failed, true, Some(Code::Unhealthy)),
            End::Broken => Self::report(Outcome::Broken, true, Some(Code::RestoreFailed)),
        }
    }

    async fn take_back(&self, index: usize, deployed: &HostOutcome) -> Report {
        assert_eq!(deployed.outcome, Some(Outcome::Deployed));
        self.back.borrow_mut().push(index);
        self.work(index).await;
        match self.ends[index] {
            End::Stuck => Self::report(Outcome::Failed, true, Some(Code::Unhealthy)),
            _ => Self::report(Outcome::RolledBack, true, None),
        }
    }

    fn stand(&self, outcomes: &[HostOutcome]) {
        *self.stood.borrow_mut() = outcomes.to_vec();
    }
}

fn outcome(hosts: &[HostOutcome], index: usize) -> Outcome {
    hosts[index].outcome.unwrap()
}

/// Fleets of up to 12 hosts; few of them fail.
fn fleets() -> impl Strategy<Value = (Vec<End>, Vec<u64>)> {
    let end = prop_oneof![
        8 => Just(End::Deployed),
        1 => Just(End::First),
        1 => Just(End::Unchanged),
        1 => Just(End::Failed),
        1 => Just(End::Stuck),
    ];
    proptest::collection::vec((end, 1..50u64), 1..12).prop_map(|hosts| hosts.into_iter().unzip())
}

const MODES: [&str; 3] = ["--on-failure=rollback", "--on-failure=halt", "--on-failure=continue"];

proptest! {
    #[test]
    fn batches_are_all_hosts_once_and_in_order(hosts in 1..60usize, parallel in 1..70usize) {
        let rollout =
            Rollout::new(hosts, &options(&[&format!("--parallel={parallel}")])).unwrap();
        let batches: Vec<Range<usize>> = rollout.batches().collect();
        prop_assert_eq!(&batches[0], &(0..1));
        prop_assert!(batches.iter().all(|batch| (1..=parallel).contains(&batch.len())));
        prop_assert_eq!(batches.into_iter().flatten().collect::<Vec<_>>(), (0..hosts).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_fails_each_host_is_told_of_once(
        (ends, millis) in fleets(),
        parallel in 1..5usize,
        mode in 0..3usize,
    ) {
        let fake = Fake::new(&ends, &millis);
        let parallel_arg = format!("--parallel={parallel}");
        let (ended, told) = fake.run(&["--pause=1s", &parallel_arg, MODES[mode]]);
        let begun = fake.begun.borrow();
        // In order, the first alone, and never more at once than were asked for.
        prop_assert!(begun.iter().enumerate().all(|(n, (index, _))| n == *index));
        let canary = fake.ended.borrow()[0];
        prop_assert_eq!(canary.0, 0);
        prop_assert!(begun[1..].iter().all(|(_, at)| *at >= canary.1 + Duration::from_secs(1)));
        prop_assert!(fake.most.get() <= parallel);
        // Nothing is begun after a failure.
        let failed = |index: usize| ends[index] == End::Failed;
        let first_failure =
            fake.ended.borrow().iter().filter(|(index, _)| failed(*index)).map(|(_, at)| *at).min();
        if let Some(first) = first_failure.filter(|_| mode != 2) {
            prop_assert!(begun.iter().all(|(_, at)| *at < first));
        } else {
            prop_assert_eq!(begun.len(), ends.len());
        }
        // Exactly those go back that were switched and had something to go back to.
        let mut back = fake.back.borrow().clone();
        back.sort_unstable();
        let switched: Vec<usize> = (0..begun.len())
            .filter(|index| matches!(ends[*index], End::Deployed | End::Stuck))
            .collect();
        let expected = if mode == 0 && first_failure.is_some() { switched } else { Vec::new() };
        prop_assert_eq!(&back, &expected);
        prop_assert_eq!(told.len(), ends.len());
        for (index, end) in ends.iter().enumerate() {
            let expected = match end {
                _ if index >= begun.len() => Outcome::Skipped,
                End::Deployed if back.contains(&index) => Outcome::RolledBack,
                End::Deployed | End::First | End::Stuck => Outcome::Deployed,
                End::Unchanged => Outcome::Unchanged,
                End::Failed => Outcome::Failed,
                End::Broken => Outcome::Broken,
            };
            prop_assert_eq!(outcome(&told, index), expected);
            prop_assert_eq!(&told[index].host, &format!("h{index}"));
        }
        // Fewer than all is a failure, and a host that is stuck needs a person.
        prop_assert_eq!(ended.result.is_ok(), first_failure.is_none());
        if let Err(failure) = ended.result {
            let stuck = back.iter().any(|index| ends[*index] == End::Stuck);
            prop_assert_eq!(failure.exit == exit::NEEDS_PERSON, stuck);
        }
    }
}

#[test]
fn a_first_deploy_stays_and_that_is_told() {
    let fake = Fake::new(&[End::First, End::Deployed, End::Failed], &[1, 1, 1]);
    let (ended, told) = fake.run(&[]);
    assert_eq!(*fake.back.borrow(), [1]);
    assert_eq!(outcome(&told, 0), Outcome::Deployed);
    assert_eq!(ended.warnings, ["h0: it keeps the new release: nothing served there before"]);
    let message = ended.result.unwrap_err().message;
    assert!(message.ends_with("; 1 host was taken back to the release before"), "{message}");
}

#[test]
fn failures_are_borne_up_to_the_quorum() {
    let ends = [End::Failed, End::Deployed, End::Deployed, End::Unchanged];
    let run = |quorum: &str| {
        Fake::new(&ends, &[1; 4]).run(&["--on-failure=continue", &format!("--quorum={quorum}")]).0
    };
    for enough in ["1", "3", "75%"] {
        let ended = run(enough);
        assert!(ended.result.is_ok() && ended.warnings == ["it failed"], "{enough}");
    }
    for more in ["4", "76%", "100%"] {
        assert_eq!(run(more).result.unwrap_err().code, Code::Unhealthy, "{more}");
    }
    let broken = Fake::new(&[End::Broken, End::Deployed], &[1; 2])
        .run(&["--on-failure=continue", "--quorum=1"]);
    assert_eq!(broken.0.result.unwrap_err().exit, exit::NEEDS_PERSON);
}

#[test]
fn told_to_end_no_further_host_is_begun_and_none_goes_back() {
    for mode in MODES {
        let mut fake =
            Fake::new(&[End::Deployed, End::Deployed, End::Failed, End::Deployed], &[1, 5, 9, 1]);
        fake.signal = Some(1);
        let (ended, told) = fake.run(&["--parallel=2", "--pause=1m", mode]);
        assert_eq!(fake.begun.borrow().len(), 3);
        assert_eq!(outcome(&told, 3), Outcome::Skipped);
        assert!(fake.back.borrow().is_empty());
        assert_eq!(ended.result.unwrap_err().code, Code::Unhealthy);
        assert_eq!(ended.warnings.len(), if mode == MODES[0] { 2 } else { 0 });
    }
    let mut fake = Fake::new(&[End::Deployed; 3], &[1; 3]);
    fake.signal = Some(0);
    let (ended, _) = fake.run(&["--pause=1m"]);
    assert_eq!(ended.result.unwrap_err().message, "interrupted before 2 hosts were begun");
    // After the last host there is nothing that a signal could keep from being done.
    let mut fake = Fake::new(&[End::Deployed], &[1]);
    fake.signal = Some(0);
    assert!(fake.run(&[]).0.result.is_ok());
}

#[test]
fn values_that_mean_nothing_are_refused_by_their_option() {
    let refused = |args: &[&str], option: &str| {
        let failure = Rollout::new(4, &options(args)).unwrap_err();
        assert_eq!(failure.code, Code::Usage, "{args:?}");
        assert!(failure.message.contains(option), "{}", failure.message);
    };
    for bad in ["0", "0%", "101%", "+1", "-1", "", "%", "half", "1.5", "99999999999999999999"] {
        refused(&[&format!("--parallel={bad}")], "--parallel");
        refused(&["--on-failure=continue", &format!("--quorum={bad}")], "--quorum");
    }
    refused(&["--on-failure=continue", "--quorum=5"], "--quorum 5");
    refused(&["--quorum=1"], "--quorum");
    refused(&["--on-failure=halt", "--quorum=1"], "--quorum");
}

#[test]
fn a_share_of_the_hosts_is_never_more_than_was_asked_for() {
    let parallel = |hosts, text: &str| {
        Rollout::new(hosts, &options(&[&format!("--parallel={text}")])).unwrap().parallel
    };
    assert_eq!(parallel(10, "25%"), 2);
    assert_eq!(parallel(3, "25%"), 1);
    assert_eq!(parallel(4, "100%"), 4);
    assert_eq!(parallel(2, "7"), 7);
}
