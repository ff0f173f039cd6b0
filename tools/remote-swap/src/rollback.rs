//! `rollback`: back to a release that served before, with its own image and run specification.
//!
//! It is a deploy like any other, by the same strategy and with the same care; only what is to run
//! comes from what the host remembers instead of from options and document. So a registry is not
//! needed as long as the host has the image.

mod undo;

use jiff::Timestamp;
use slipway_engine::Reference;
use slipway_release::{
    Code, Deploy, DeployKind, Document, Failure, HostOutcome, Outcome, Push, Registry,
};
use slipway_shell::{CancellationToken, Context, Ui};

use crate::author::Author;
use crate::bluegreen::{self, Layout};
use crate::container::Container;
use crate::deploy_id;
use crate::env::Lookup;
use crate::error::{HostError, SwapError};
use crate::evidence::Scrub;
use crate::fleet::{self, Ways};
use crate::front::FrontHost;
use crate::host::Host;
use crate::job::{Job, Waits, credentials, reference_of};
use crate::lock::Who;
use crate::look::Look;
use crate::options::{FrontUpdate, Options, Strategy};
use crate::plan::{Serving, Situation};
use crate::record::{self, Impossible, Key, Live, Release};
use crate::recreate::{Guard, Report};
use crate::remote::Remote;
use crate::sent;
use crate::slot::Slot;
use crate::spec::{Spec, value};
use crate::values;
use crate::volumes::Volumes;

/// What is asked for, the same on all hosts.
#[derive(Clone)]
pub(crate) struct Back<'a> {
    pub(crate) app: String,
    /// The name of the deploy that goes back.
    pub(crate) deploy_id: String,
    /// A digest, a reference or a deploy id; none for the release before the live one.
    pub(crate) to: Option<&'a str>,
    /// Only if this deploy is live.
    pub(crate) only_from: Option<&'a str>,
    /// The document's, for the case that the image has to be pulled again.
    pub(crate) registry: Registry,
    pub(crate) waits: Waits,
    pub(crate) front_image: Option<String>,
    pub(crate) min_free: u64,
    pub(crate) author: Author,
}

/// The command.
pub(crate) async fn run(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    if options.on_error {
        return undo::run(options, document, context, lookup).await;
    }
    let ways = Ways::new(&hosts(options, document)?, options, context, lookup)?;
    let back = Back::new(app(options, document)?, options, document, lookup)?;
    let who = Who::of_process(&back.deploy_id, lookup);
    let mut deploy = Deploy {
        app: Some(back.app.clone()),
        kind: Some(DeployKind::Rollback),
        deploy_id: Some(back.deploy_id.clone()),
        ..Deploy::default()
    };
    let mut failure: Option<Failure> = None;
    for target in &ways.targets {
        let place = target.to_string();
        let mut outcome = HostOutcome { outcome: Some(Outcome::Skipped), ..HostOutcome::default() };
        if failure.is_none() {
            let done = match ways.open(target).await {
                Ok(remote) => alone(&ways, &remote, &place, &back, context, &who).await,
                Err(error) => Done::failed(&error, &place),
            };
            failure = done.report.failure;
            outcome = done.report.outcome;
            if let Some(job) = &done.job {
                let health = outcome.health.as_deref();
                let (url, local_url) = (fleet::url(target, job), fleet::local_url(job));
                let asked = [url, local_url].map(|url| fleet::as_asked(url, health));
                [outcome.url, outcome.local_url] = asked;
                deploy.strategy = Some(job.strategy.as_str().to_owned());
                deploy.health_path = Some(job.spec.health.path.clone());
            }
        }
        deploy.hosts.push(HostOutcome { host: place, ..outcome });
        document.set(&deploy);
    }
    failure.map_or(Ok(()), Err)
}

/// The hosts that are asked, or those of the document's deploy.
pub(crate) fn hosts(options: &Options, document: &Document) -> Result<Vec<String>, Failure> {
    if !options.host.is_empty() {
        return Ok(options.host.clone());
    }
    let deploy: Deploy = document.get()?.unwrap_or_default();
    Ok(deploy.hosts.into_iter().map(|host| host.host).collect())
}

/// The application that is asked for, where nothing is to be deployed.
pub(crate) fn app(options: &Options, document: &Document) -> Result<String, Failure> {
    if let Some(app) = &options.app {
        return Ok(value("app", app, values::app)?);
    }
    let deployed = document.get::<Deploy>()?.and_then(|deploy| deploy.app);
    let pushed = document.get::<Push>()?.and_then(reference_of);
    let repository = options.image.clone().or(pushed);
    let named = deployed.or_else(|| {
        let reference: Reference = repository?.parse().ok()?;
        reference.path().rsplit('/').next().map(str::to_owned)
    });
    let named = named.ok_or_else(|| {
        Failure::new(Code::Usage, "nothing says which application is meant")
            .hint("give --app NAME, or a document of one of its deploys")
    })?;
    Ok(value("app", &named, values::app)?)
}

impl<'a> Back<'a> {
    pub(crate) fn new(
        app: String,
        options: &'a Options,
        document: &Document,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            app,
            deploy_id: deploy_id::new(),
            to: options.to.as_deref(),
            only_from: None,
            registry: document.get()?.unwrap_or_default(),
            waits: Waits::new(options),
            front_image: options.front_image.clone(),
            min_free: value("min-free", &options.min_free, values::memory)?.unsigned_abs(),
            author: Author::of_process(lookup),
        })
    }

    /// The deploy of a release that served before.
    fn job(&self, release: &Release, spec: Spec, strategy: Strategy) -> Result<Job, Impossible> {
        let entry = &release.first;
        let reference: Reference = entry.reference.parse().map_err(|_| Impossible::Spec {
            release: release.name(),
            reason: "its record names no image".to_owned(),
        })?;
        let (auth, passwords) = credentials(&self.registry, &reference);
        Ok(Job {
            app: self.app.clone(),
            deploy_id: self.deploy_id.clone(),
            origin: entry.origin.clone(),
            kind: DeployKind::Rollback,
            strategy,
            at: Timestamp::now(),
            author: self.author.clone(),
            auth,
            reference,
            platform: None,
            compression: None,
            tag: entry.tag.clone(),
            revision: entry.revision.clone(),
            fingerprint: Key::random().fingerprint(&spec.canonical()),
            waits: self.waits,
            provenance: entry.provenance(),
            allow_older: true,
            adopt: None,
            front_image: self.front_image.clone(),
            front_update: FrontUpdate::Never,
            front_settings: None,
            registry: self.registry.clone(),
            min_free: self.min_free,
            // Going back one release does not take away the one before it.
            keep: usize::MAX,
            release_command: None,
            scrub: Scrub::new(spec.secrets().cloned().chain(passwords)),
            spec,
        })
    }
}

/// What came of it on one host, and what was to be run there if that was found.
pub(crate) struct Done {
    pub(crate) report: Report,
    pub(crate) job: Option<Job>,
}

impl Done {
    /// Nothing was done.
    fn failed(error: &SwapError, place: &str) -> Self {
        Self { report: fleet::failed(error.failure(place)), job: None }
    }
}

/// Goes back on one host while no other deploy is under way there.
async fn alone(
    ways: &Ways<'_>,
    remote: &Remote,
    place: &str,
    back: &Back<'_>,
    context: &Context,
    who: &Who,
) -> Done {
    let Context { ui, cancelled, .. } = context;
    let done = ways.alone(remote, place, &back.app, who, async |guard| {
        on_host(remote, place, back, ui, cancelled, guard).await
    });
    done.await.unwrap_or_else(|error| Done::failed(&error, place))
}

/// Goes back on one host; `place` is how messages call it.
pub(crate) async fn on_host<H: FrontHost + Volumes + Look>(
    host: &H,
    place: &str,
    back: &Back<'_>,
    ui: &Ui,
    cancelled: &CancellationToken,
    guard: Guard<'_>,
) -> Done {
    let found = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(SwapError::Interrupted),
        found = find(host, place, back, ui) => found,
    };
    match found {
        Ok(job) => {
            let report = fleet::swap(host, place, &job, ui, cancelled, guard).await;
            Done { report, job: Some(job) }
        }
        Err(error) => Done::failed(&error, place),
    }
}

/// Finds what to go back to, and makes sure that its image is there. Changes nothing that runs.
async fn find<H: FrontHost + Volumes + Look>(
    host: &H,
    place: &str,
    back: &Back<'_>,
    ui: &Ui,
) -> Result<Job, SwapError> {
    let known = Known::of(host, &back.app).await?;
    let live = known.live.as_ref().map(Live::of);
    let from = live.as_ref().map(|live| live.deploy_id.as_str());
    if let Some(only) = back.only_from
        && from != Some(only)
    {
        let from = from.map_or("nothing".to_owned(), str::to_owned);
        return Err(Impossible::Moved { expected: only.to_owned(), found: from }.into());
    }
    let live = live.or_else(|| Live::last(&known.records));
    let release = record::choose(&known.releases, live.as_ref(), back.to, &back.app)?;
    let spec = match specification(host, release).await? {
        Ok(spec) => spec,
        Err(reason) => return Err(Impossible::Spec { release: release.name(), reason }.into()),
    };
    let job = back.job(release, spec, known.strategy)?;
    ui.say(&format!("{place}: going back to {}", release.name()));
    fetch(host, place, &job, ui).await?;
    Ok(job)
}

/// What a host knows of an application.
pub(crate) struct Known {
    /// All containers that carry its label.
    pub(crate) containers: Vec<Container>,
    /// The one that serves or is meant to.
    pub(crate) live: Option<Container>,
    pub(crate) records: Vec<record::Record>,
    /// What served, the newest first.
    pub(crate) releases: Vec<Release>,
    /// By which it is deployed.
    pub(crate) strategy: Strategy,
    /// The slot that the front passes to.
    pub(crate) slot: Option<Slot>,
}

impl Known {
    pub(crate) async fn of<H: FrontHost + Volumes>(host: &H, app: &str) -> Result<Self, HostError> {
        let containers = host.containers(app).await?;
        let records = record::list(host, app).await?;
        let front = bluegreen::front_of(&containers);
        // What runs in a slot was put behind a front, even if that is gone.
        let slotted = containers.iter().any(|one| one.is_up() && one.slot().is_some());
        let (strategy, slot, live, served) = if front.is_some() || slotted {
            let slot = match front {
                Some(front) => host.files(&front.id).await?.and_then(|files| files.live()),
                None => None,
            };
            let at = front.and_then(|front| Some((front.id.as_str(), slot?)));
            let mut layout = Layout::of(containers.clone(), at);
            let fallen = layout.take_fallen();
            let live = layout.live.or(layout.refuge).or(fallen);
            (Strategy::BlueGreen, slot, live, [layout.draining, layout.kept].concat())
        } else {
            let situation = Situation::of(containers.clone());
            let live = match situation.serving {
                Serving::Nothing => None,
                Serving::Live(one) | Serving::Fallen(one) => Some(one),
                // Only the old one was proved, but the new one is what answers.
                Serving::Halfway { new, .. } => Some(new),
            };
            let before = situation.previous.into_iter().chain(situation.surplus).collect();
            (Strategy::Recreate, None, live, before)
        };
        let served: Vec<Container> = live.iter().cloned().chain(served).collect();
        let releases = record::releases(&records, &served);
        Ok(Self { containers, live, records, releases, strategy, slot })
    }
}

/// From the record, or else from the container.
pub(crate) async fn specification<H: Look>(
    host: &H,
    release: &Release,
) -> Result<Result<Spec, values::Reason>, HostError> {
    match (&release.spec, &release.container) {
        (Some(text), _) => Ok(Spec::restored(text, None)),
        (None, Some(container)) => record::of_container(host, container).await,
        (None, None) => Ok(Err("neither its record nor a container of it has it".to_owned())),
    }
}

/// Pulls the image again if the host does not have it any more.
async fn fetch<H: Host>(host: &H, place: &str, job: &Job, ui: &Ui) -> Result<(), SwapError> {
    let reference = job.reference.to_string();
    if host.image(&reference).await?.is_some() {
        return Ok(());
    }
    if sent::id(&job.reference).is_some() {
        return Err(Impossible::Sent { reference }.into());
    }
    let step = ui.step(format!("{place}: the image was removed, pulling it again"));
    match host.pull(job, &mut |text| step.update(text)).await {
        Ok(()) => {
            step.done("pulled");
            Ok(())
        }
        Err(error) if error.is_lost() => Err(error.into()),
        Err(error) => {
            let failure = error.failure(job.scrub.text(&error.reason()));
            let (reason, retryable) = (failure.message, failure.retryable);
            Err(Impossible::Image { reference, reason, retryable }.into())
        }
    }
}
