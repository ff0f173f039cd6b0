//! Several hosts: which, in what order, and what the failure of one means for the others.

mod lock;
mod plan;
mod rollout;
mod targets;
mod verdict;

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use slipway_release::{Code, Deploy, Document, Failure, HostOutcome, Outcome};
use slipway_shell::{CancellationToken, Context, Ui};
use slipway_ssh::{ConnectOptions, Target};

pub(crate) use self::lock::lock;
pub(crate) use self::plan::plan;
use crate::bluegreen;
use crate::env::Lookup;
use crate::error::SwapError;
use crate::front::FrontHost;
use crate::job::Job;
use crate::lock::{Held, Who, acquire};
use crate::look::Look;
use crate::options::{Options, Strategy};
use crate::prune;
use crate::record::{self, Key, Record};
use crate::recreate::{self, Guard, Report};
use crate::remote::{Remote, Trace};
use crate::rollback::{self, Back};
use crate::volumes::Volumes;
use rollout::{Hosts, Rollout};
pub(crate) use targets::{as_asked, local_url, url};

/// How long the record of a deploy may take that is done.
const RECORD: Duration = Duration::from_secs(20);

/// The same after a signal.
const RECORD_HURRIED: Duration = Duration::from_secs(1);

/// Does all hosts, and writes what came of each into the document.
pub(crate) async fn deploy(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    let job = Job::new(options, document, lookup)?.showing_flags(options, context);
    let ways = Ways::new(&options.host, options, context, lookup)?;
    let back = Back::new(job.app.clone(), options, document, lookup)?;
    let rollout = Rollout::new(ways.targets.len(), options)?;
    let deploy = Deploy {
        app: Some(job.app.clone()),
        strategy: Some(options.strategy.as_str().to_owned()),
        kind: Some(job.kind),
        deploy_id: Some(job.deploy_id.clone()),
        health_path: Some(job.spec.health.path.clone()),
        hosts: Vec::new(),
    };
    let known = |target: &Target| HostOutcome {
        host: target.to_string(),
        url: targets::url(target, &job),
        health: job.health_kind().map(|kind| kind.as_str().to_owned()),
        local_url: targets::local_url(&job),
        ..HostOutcome::default()
    };
    let known = ways.targets.iter().map(known).collect();
    let who = Who::of_process(&job.deploy_id, lookup);
    let later = job.without_release_command();
    let document = RefCell::new((document, deploy));
    let fleet = Fleet { ways: &ways, job: &job, later: &later, who, back, document };
    let ended = rollout.run(&fleet, known, &context.cancelled).await;
    for warning in ended.warnings {
        context.ui.warn(&warning);
    }
    ended.result
}

/// The hosts and the ways to them.
pub(crate) struct Ways<'a> {
    pub(crate) targets: Vec<Target>,
    connect: ConnectOptions,
    options: &'a Options,
    context: &'a Context,
}

impl<'a> Ways<'a> {
    /// To these hosts, as the options say.
    pub(crate) fn new(
        hosts: &[String],
        options: &'a Options,
        context: &'a Context,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        let targets = targets::targets(hosts)?;
        let connect = targets::connect_options(options, lookup)?;
        Ok(Self { targets, connect, options, context })
    }

    /// Connects to a host and its engine.
    pub(crate) async fn open(&self, target: &Target) -> Result<Remote, SwapError> {
        let step = self.context.ui.step(format!("{target}: connecting"));
        let mut again = |error: &dyn std::fmt::Display| step.update(error.to_string());
        let socket = self.options.docker_socket.clone();
        let place = target.to_string();
        let trace = self.options.progress.then(|| Trace::new(&self.context.ui, &place));
        let opening = Remote::open(target.clone(), self.connect.clone(), socket, &mut again, trace);
        let remote = tokio::select! {
            biased;
            () = self.context.cancelled.cancelled() => return Err(SwapError::Interrupted),
            opened = opening => opened?,
        };
        step.done("connected");
        Ok(remote)
    }

    /// Does something on a host while no other deploy of the application is under way there.
    pub(crate) async fn alone<T>(
        &self,
        remote: &Remote,
        place: &str,
        app: &str,
        who: &Who,
        work: impl AsyncFnOnce(Guard<'_>) -> T,
    ) -> Result<T, SwapError> {
        let Context { ui, cancelled, .. } = self.context;
        let mut waiting =
            |held: &Held| ui.say(&format!("{place}: waiting for another deploy: {held}"));
        let wait = self.options.wait_lock.0;
        let lease = acquire(remote, app, who, wait, &mut waiting, cancelled).await?;
        let done = lease.hold(work(Some(&lease))).await;
        // What cannot be released now ends by itself.
        let _ = lease.release().await;
        Ok(done)
    }

    /// Asks all hosts at once, where nothing is changed; the answers are in the hosts' order.
    pub(crate) async fn ask<T>(
        &self,
        question: impl AsyncFn(&Target, Remote) -> Result<T, SwapError>,
    ) -> Vec<Result<T, Failure>> {
        let one = async |target: &Target| {
            let asked = async { question(target, self.open(target).await?).await };
            asked.await.map_err(|error| error.failure(&target.to_string()))
        };
        join_all(self.targets.iter().map(one)).await
    }
}

/// The hosts of a deploy.
struct Fleet<'a> {
    ways: &'a Ways<'a>,
    job: &'a Job,
    /// That of the hosts after the first.
    later: &'a Job,
    who: Who,
    /// For hosts that have to go back.
    back: Back<'a>,
    /// With the section that is written into it again after each change.
    document: RefCell<(&'a mut Document, Deploy)>,
}

impl Hosts for Fleet<'_> {
    async fn deploy(&self, index: usize) -> Report {
        let target = &self.ways.targets[index];
        let place = target.to_string();
        let remote = match self.ways.open(target).await {
            Ok(remote) => remote,
            Err(error) => return failed(error.failure(&place)),
        };
        let job = if index == 0 { self.job } else { self.later };
        let Context { ui, cancelled, .. } = self.ways.context;
        let done = self.ways.alone(&remote, &place, &job.app, &self.who, async |guard| {
            swap(&remote, &place, job, ui, cancelled, guard).await
        });
        done.await.unwrap_or_else(|error| failed(error.failure(&place)))
    }

    async fn take_back(&self, index: usize, deployed: &HostOutcome) -> Report {
        let target = &self.ways.targets[index];
        let place = target.to_string();
        let remote = match self.ways.open(target).await {
            Ok(remote) => remote,
            Err(error) => return failed(error.failure(&place)),
        };
        let back = Back {
            to: deployed.previous_deploy_id.as_deref(),
            only_from: Some(&self.job.deploy_id),
            ..self.back.clone()
        };
        let Context { ui, cancelled, .. } = self.ways.context;
        let done = self.ways.alone(&remote, &place, &self.job.app, &self.who, async |guard| {
            rollback::on_host(&remote, &place, &back, ui, cancelled, guard).await.report
        });
        done.await.unwrap_or_else(|error| failed(error.failure(&place)))
    }

    fn stand(&self, outcomes: &[HostOutcome]) {
        let (document, deploy) = &mut *self.document.borrow_mut();
        deploy.hosts = outcomes.to_vec();
        document.set(deploy);
    }
}

fn usage(message: String) -> Failure {
    Failure::new(Code::Usage, message)
}

/// Does the job on one host by its strategy, whichever that is, and writes down how it ended.
pub(crate) async fn swap<H: FrontHost + Volumes + Look>(
    host: &H,
    place: &str,
    job: &Job,
    ui: &Ui,
    cancelled: &CancellationToken,
    guard: Guard<'_>,
) -> Report {
    let key = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(SwapError::Interrupted),
        key = Key::of(host, &job.app) => key.map_err(SwapError::from),
    };
    let job = match key {
        Ok(key) => &job.on_host(&key),
        Err(error) => return failed(error.failure(place)),
    };
    let report = match job.strategy {
        Strategy::BlueGreen => bluegreen::deploy(host, place, job, ui, cancelled, guard).await,
        Strategy::Recreate => recreate::deploy(host, place, job, ui, cancelled, guard).await,
    };
    // Within what is left of the grace after a signal.
    let limit = if cancelled.is_cancelled() { RECORD_HURRIED } else { RECORD };
    let why = match tokio::time::timeout(limit, record::keep(host, job, &report)).await {
        Ok(Ok(records)) => {
            tidy(host, place, job, ui, &report, &records).await;
            return report;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took longer than {} s", limit.as_secs()),
    };
    ui.warn(&format!("{place}: the history misses how this ended: {}", job.scrub.text(&why)));
    report
}

/// Where the release serves, removes the images that no release needs any more.
async fn tidy<H: FrontHost>(
    host: &H,
    place: &str,
    job: &Job,
    ui: &Ui,
    report: &Report,
    records: &[Record],
) {
    if matches!(report.outcome.outcome, Some(Outcome::Deployed | Outcome::Unchanged))
        && let Err(error) = prune::forgotten(host, job, records).await
    {
        let error = job.scrub.text(&error.to_string());
        ui.warn(&format!("{place}: the release serves, and old images are not removed: {error}"));
    }
}

/// What came of a host on which nothing was done.
pub(crate) fn failed(failure: Failure) -> Report {
    let outcome = HostOutcome {
        outcome: Some(Outcome::Failed),
        error: Some(failure.message.clone()),
        ..HostOutcome::default()
    };
    Report { outcome, failure: Some(failure) }
}
