//! In what order the hosts of a deploy are done, and what the failure of one means for the others.
//!
//! The first host is done alone: what is wrong with a release is mostly wrong everywhere, and then
//! one host has seen it. The others follow in batches. A failure keeps what is not begun from being
//! begun, unless that was asked for.

use std::ops::Range;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use slipway_release::{Code, Failure, HostOutcome, Outcome, exit};
use slipway_shell::CancellationToken;

use super::as_asked;
use super::verdict::{self, Told};
use crate::options::{OnFailure, Options};
use crate::recreate::Report;

/// Of a host that was being worked on when the tool had to end.
const UNKNOWN: &str = "the tool ended before it was known what serves; the next run puts it right";

/// What a rollout does with hosts; each is called by its place in the list.
pub(crate) trait Hosts {
    /// Puts the release on a host.
    async fn deploy(&self, index: usize) -> Report;
    /// Puts what served before back on a host that this run has deployed to, with this outcome.
    /// With a failure the host counts as keeping the new release, unless it is told to be broken.
    async fn take_back(&self, index: usize, deployed: &HostOutcome) -> Report;
    /// Is told how things stand after each change: one entry a host.
    fn stand(&self, outcomes: &[HostOutcome]);
}

/// What came of all hosts.
pub(crate) struct Ended {
    pub(crate) result: Result<(), Failure>,
    /// What people have to know beside it.
    pub(crate) warnings: Vec<String>,
}

/// The plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rollout {
    hosts: usize,
    parallel: usize,
    pause: Duration,
    on_failure: OnFailure,
    /// How many have to succeed where failures are borne.
    needed: usize,
}

impl Rollout {
    /// The plan that the options ask for.
    ///
    /// # Errors
    /// A value that means nothing, by the name of its option.
    pub(crate) fn new(hosts: usize, options: &Options) -> Result<Self, Failure> {
        let parallel = share("parallel", &options.parallel)?;
        let quorum = match &options.quorum {
            None => hosts,
            Some(_) if options.on_failure != OnFailure::Continue => {
                let message =
                    "--quorum says how many hosts have to succeed where the others may fail";
                return Err(Failure::new(Code::Usage, message)
                    .hint("it goes together with --on-failure continue"));
            }
            Some(text) => match share("quorum", text)? {
                Share::Number(number) if number > hosts => {
                    let message = format!("--quorum {number}: there are only {hosts} hosts");
                    return Err(Failure::new(Code::Usage, message));
                }
                // Rounded up: never fewer than were asked for.
                Share::Number(number) => number,
                Share::Percent(percent) => (hosts * percent).div_ceil(100),
            },
        };
        Ok(Self {
            hosts,
            parallel: match parallel {
                Share::Number(number) => number,
                // Rounded down: never more of them away at once than were asked for.
                Share::Percent(percent) => (hosts * percent / 100).max(1),
            },
            pause: options.pause.0,
            on_failure: options.on_failure,
            needed: quorum,
        })
    }

    /// The hosts in the order in which they are done; those of a batch at once.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        let first = (self.hosts > 0).then_some(0..1);
        let rest = (1..self.hosts).step_by(self.parallel);
        let (hosts, parallel) = (self.hosts, self.parallel);
        first.into_iter().chain(rest.map(move |from| from..hosts.min(from + parallel)))
    }

    /// Does all hosts. `known` is what is known of each beforehand.
    pub(crate) async fn run<H: Hosts>(
        &self,
        hosts: &H,
        known: Vec<HostOutcome>,
        cancelled: &CancellationToken,
    ) -> Ended {
        let skipped = |known| HostOutcome { outcome: Some(Outcome::Skipped), ..known };
        let outcomes: Vec<HostOutcome> = known.into_iter().map(skipped).collect();
        let told = Told::new(outcomes.len());
        let mut run = Run { hosts, outcomes, told };
        run.hosts.stand(&run.outcomes);
        for (number, batch) in self.batches().enumerate() {
            if number > 0 && !self.pause.is_zero() {
                tokio::select! {
                    biased;
                    () = cancelled.cancelled() => {}
                    () = tokio::time::sleep(self.pause) => {}
                }
            }
            if cancelled.is_cancelled() {
                break;
            }
            run.deploy(batch).await;
            if run.told.has_failures() && self.on_failure != OnFailure::Continue {
                break;
            }
        }
        if run.told.has_failures() && self.on_failure == OnFailure::Rollback {
            run.take_back(self.parallel, cancelled).await;
        }
        let needed = (self.on_failure == OnFailure::Continue).then_some(self.needed);
        verdict::of(&run.outcomes, run.told, needed)
    }
}

/// A rollout under way.
struct Run<'a, H> {
    hosts: &'a H,
    outcomes: Vec<HostOutcome>,
    told: Told,
}

impl<H: Hosts> Run<'_, H> {
    async fn deploy(&mut self, batch: Range<usize>) {
        let hosts = self.hosts;
        self.unknown(batch.clone());
        let mut running: FuturesUnordered<_> =
            batch.map(async |index| (index, hosts.deploy(index).await)).collect();
        while let Some((index, report)) = running.next().await {
            self.ended(index, report);
        }
    }

    /// Takes those back that have the new release, the last one first.
    async fn take_back(&mut self, parallel: usize, cancelled: &CancellationToken) {
        let deployed = |outcome: &HostOutcome| outcome.outcome == Some(Outcome::Deployed);
        let mut switched: Vec<usize> =
            (0..self.outcomes.len()).filter(|index| deployed(&self.outcomes[*index])).collect();
        // A first deploy replaced nothing: there the new release is better than none.
        let first = |index: &usize| self.outcomes[*index].previous.is_none();
        self.told.kept = switched.extract_if(.., |index| first(index)).collect();
        switched.reverse();
        let hosts = self.hosts;
        for batch in switched.chunks(parallel) {
            if cancelled.is_cancelled() {
                self.told.kept.extend(batch);
                continue;
            }
            let before: Vec<(usize, HostOutcome)> =
                batch.iter().map(|index| (*index, self.outcomes[*index].clone())).collect();
            self.unknown(batch.iter().copied());
            let back = async |(index, deployed): (usize, HostOutcome)| {
                let report = hosts.take_back(index, &deployed).await;
                (index, deployed, report)
            };
            let mut running: FuturesUnordered<_> = before.into_iter().map(back).collect();
            while let Some((index, deployed, report)) = running.next().await {
                self.went_back(index, deployed, report);
            }
        }
    }

    /// What the document says of hosts that are being worked on, should the tool have to end.
    fn unknown(&mut self, indices: impl IntoIterator<Item = usize>) {
        for index in indices {
            let error = Some(UNKNOWN.to_owned());
            self.outcomes[index] = HostOutcome { error, ..self.place(index) };
        }
        self.hosts.stand(&self.outcomes);
    }

    fn ended(&mut self, index: usize, report: Report) {
        let HostOutcome { host, url, local_url, .. } = self.place(index);
        let health = report.outcome.health.as_deref();
        let (url, local_url) = (as_asked(url, health), as_asked(local_url, health));
        self.outcomes[index] = HostOutcome { host, url, local_url, ..report.outcome };
        self.hosts.stand(&self.outcomes);
        if let Some(failure) = report.failure {
            self.told.failed(index, failure);
        }
    }

    fn went_back(&mut self, index: usize, deployed: HostOutcome, report: Report) {
        let Report { mut outcome, mut failure } = report;
        match &mut failure {
            None => {
                outcome.outcome = Some(Outcome::RolledBack);
                self.told.taken_back += 1;
            }
            Some(failure) => {
                // Hosts with different releases are not what anybody asked for.
                failure.exit = exit::NEEDS_PERSON;
                if outcome.outcome != Some(Outcome::Broken) {
                    outcome = HostOutcome { error: Some(failure.message.clone()), ..deployed };
                }
            }
        }
        self.ended(index, Report { outcome, failure });
    }

    /// Which host it is, and where the application answers there.
    fn place(&self, index: usize) -> HostOutcome {
        let HostOutcome { host, url, local_url, .. } = self.outcomes[index].clone();
        HostOutcome { host, url, local_url, ..HostOutcome::default() }
    }
}

/// A number of hosts, or a share of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Number(usize),
    Percent(usize),
}

fn share(option: &str, text: &str) -> Result<Share, Failure> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0 && digits(text));
    let read = match text.trim().strip_suffix('%') {
        Some(text) => number(text).filter(|percent| *percent <= 100).map(Share::Percent),
        None => number(text.trim()).map(Share::Number),
    };
    read.ok_or_else(|| {
        let message = format!("--{option} {text}: it is neither a number of hosts nor a share");
        Failure::new(Code::Usage, message).hint("write a number from 1 on, or 1% to 100%")
    })
}

#[cfg(test)]
mod tests;
