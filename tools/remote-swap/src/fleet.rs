//! Several hosts: which, in what order, and what the failure of one means for the others.

mod lock;
mod look;
mod plan;
mod rollout;
mod targets;
mod verdict;

use std::cell::RefCell;

use futures_util::future::join_all;
use slipway_release::{Code, Deploy, Document, Failure, HostOutcome, Outcome};
use slipway_shell::Context;
use slipway_ssh::{ConnectOptions, Target};

pub(crate) use self::lock::lock;
pub(crate) use self::plan::plan;
use crate::bluegreen;
use crate::env::Lookup;
use crate::error::SwapError;
use crate::job::Job;
use crate::lock::{Held, Who, acquire};
use crate::options::{Options, Strategy};
use crate::recreate::{self, Report};
use crate::remote::Remote;
pub(crate) use look::status;
use rollout::{Hosts, Rollout};

/// Does all hosts, and writes what came of each into the document.
pub(crate) async fn deploy(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    let job = Job::new(options, document, lookup)?;
    let ways = Ways::new(options, context, lookup)?;
    let rollout = Rollout::new(ways.targets.len(), options)?;
    let deploy = Deploy {
        app: Some(job.app.clone()),
        strategy: Some(options.strategy.as_str().to_owned()),
        deploy_id: Some(job.deploy_id.clone()),
        health_path: Some(job.spec.health.path.clone()),
        hosts: Vec::new(),
    };
    let known = |target: &Target| HostOutcome {
        host: target.to_string(),
        url: targets::url(target, &job),
        ..HostOutcome::default()
    };
    let known = ways.targets.iter().map(known).collect();
    let who = Who::of_process(&job.deploy_id, lookup);
    let later = job.without_release_command();
    let fleet = Fleet {
        ways: &ways,
        job: &job,
        later: &later,
        who,
        document: RefCell::new((document, deploy)),
    };
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
    /// The hosts that the options name.
    pub(crate) fn new(
        options: &'a Options,
        context: &'a Context,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        let targets = targets::targets(&options.host)?;
        let connect = targets::connect_options(options, lookup)?;
        Ok(Self { targets, connect, options, context })
    }

    /// Connects to a host and its engine.
    pub(crate) async fn open(&self, target: &Target) -> Result<Remote, SwapError> {
        let step = self.context.ui.step(format!("{target}: connecting"));
        let mut again = |error: &dyn std::fmt::Display| step.update(error.to_string());
        let socket = self.options.docker_socket.clone();
        let opening = Remote::open(target.clone(), self.connect.clone(), socket, &mut again);
        let remote = tokio::select! {
            biased;
            () = self.context.cancelled.cancelled() => return Err(SwapError::Interrupted),
            opened = opening => opened?,
        };
        step.done("connected");
        Ok(remote)
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
    /// With the section that is written into it again after each change.
    document: RefCell<(&'a mut Document, Deploy)>,
}

impl Fleet<'_> {
    /// Deploys on a host while nobody else does.
    async fn locked(&self, remote: &Remote, place: &str, job: &Job) -> Result<Report, SwapError> {
        let Context { ui, cancelled, .. } = self.ways.context;
        let options = self.ways.options;
        let mut waiting =
            |held: &Held| ui.say(&format!("{place}: waiting for another deploy: {held}"));
        let wait = options.wait_lock.0;
        let taking = acquire(remote, &job.app, &self.who, wait, &mut waiting, cancelled);
        let lease = taking.await?;
        let guard = Some(&lease);
        let work = async {
            match options.strategy {
                Strategy::BlueGreen => {
                    bluegreen::deploy(remote, place, job, ui, cancelled, guard).await
                }
                Strategy::Recreate => {
                    recreate::deploy(remote, place, job, ui, cancelled, guard).await
                }
            }
        };
        let report = lease.hold(work).await;
        // What cannot be released now ends by itself.
        let _ = lease.release().await;
        Ok(report)
    }
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
        match self.locked(&remote, &place, job).await {
            Ok(report) => report,
            Err(error) => failed(error.failure(&place)),
        }
    }

    async fn take_back(&self, index: usize, deployed: &HostOutcome) -> Report {
        let place = &self.ways.targets[index];
        let before = deployed.previous.as_deref().unwrap_or_default();
        let message = format!("{place}: it keeps the new release, while another host failed");
        failed(
            Failure::new(Code::RollbackImpossible, message)
                .hint(format!("deploy what served before with --image {before}")),
        )
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

fn failed(failure: Failure) -> Report {
    let outcome = HostOutcome {
        outcome: Some(Outcome::Failed),
        error: Some(failure.message.clone()),
        ..HostOutcome::default()
    };
    Report { outcome, failure: Some(failure) }
}
