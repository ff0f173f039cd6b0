//! What became of each deploy, kept on the host itself.
//!
//! A record is a named volume that is never mounted: its labels tell what was deployed, by whom and
//! how it ended, and for what served also the whole run specification, secrets included. Whoever
//! may read a volume's labels may read the environment of every container. The engine writes a
//! volume whole or not at all. Records are found by their labels; their names only make one that
//! is written twice the same one.
//!
//! The same text stands in a label of the release's container, with the variables' values left to
//! its environment. So a run that was killed before it wrote its record has lost nothing: the next
//! one that meets the container writes the record.

mod choose;
mod key;

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_release::{DeployKind, Outcome};

use crate::container::{Container, Role, label};
use crate::host::{Host, Result};
use crate::job::Job;
use crate::look::Look;
use crate::provenance::Provenance;
use crate::recreate::Report;
use crate::spec::Spec;
use crate::values::Reason;
use crate::volumes::{Volume, Volumes};

pub(crate) use choose::{Impossible, Live, Release, choose, digest, releases};
pub(crate) use key::Key;

/// Labels of a record. The second and the third are a container's, too.
mod name {
    /// The application.
    pub(super) const APP: &str = "dev.slipway.record";
    /// An [`Entry`](super::Entry).
    pub(super) const DEPLOY: &str = "dev.slipway.deploy";
    /// The run specification.
    pub(super) const SPEC: &str = "dev.slipway.spec";
}

/// Records of an application that are kept.
const KEPT: usize = 50;

/// Of those that served, so many are kept in any case, whatever failed since.
const KEPT_GOOD: usize = 10;

/// One deploy on one host, without anything secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) deploy_id: String,
    /// The deploy that first brought this release.
    pub(crate) origin: String,
    pub(crate) kind: DeployKind,
    /// When it began, RFC 3339.
    pub(crate) at: String,
    pub(crate) reference: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    /// That of the run specification; empty in what earlier versions wrote.
    #[serde(default)]
    pub(crate) fingerprint: String,
    pub(crate) strategy: String,
    /// The deploy that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced: Option<String>,
    pub(crate) outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Reported>,
    pub(crate) by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) build_url: Option<String>,
    /// The build that made the image: its number, the CI job that counts by it, and its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) build_number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build_job: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_build_url: Option<String>,
    /// When what was built was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    committed_at: Option<String>,
}

/// Why a deploy failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reported {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A record. It has no `Debug`, since the specification holds secrets.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) entry: Entry,
    /// [`Spec::whole`] of what served.
    pub(crate) spec: Option<String>,
}

impl Entry {
    /// What this job is, going well.
    fn of(job: &Job) -> Self {
        Self {
            deploy_id: job.deploy_id.clone(),
            origin: job.origin.clone(),
            kind: job.kind,
            at: job.at.strftime(TIME).to_string(),
            reference: job.reference.to_string(),
            tag: job.tag.clone(),
            revision: job.revision.clone(),
            fingerprint: job.fingerprint.clone(),
            strategy: job.strategy.as_str().to_owned(),
            replaced: None,
            outcome: Outcome::Deployed,
            error: None,
            by: job.author.by.clone(),
            build_url: job.author.build_url.clone().or_else(|| job.provenance.url.clone()),
            build_number: job.provenance.number,
            build_job: job.provenance.job.clone(),
            image_build_url: job.provenance.url.clone(),
            committed_at: job.provenance.committed_at.map(|at| at.to_string()),
        }
    }

    /// Which build of the application it is.
    pub(crate) fn provenance(&self) -> Provenance {
        Provenance {
            number: self.build_number,
            job: self.build_job.clone(),
            url: self.image_build_url.clone(),
            committed_at: self.committed_at.as_deref().and_then(|at| at.parse().ok()),
        }
    }

    /// What a container's label tells of it.
    pub(crate) fn of_container(container: &Container) -> Option<Self> {
        read_entry(container.label(name::DEPLOY)?)
    }

    pub(crate) fn text(&self) -> String {
        // Plain data with string keys: serializing it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Reads what [`Entry::text`] wrote; none where it is something else.
pub(crate) fn read_entry(text: &str) -> Option<Entry> {
    serde_json::from_str(text).ok()
}

/// RFC 3339 in UTC, to the second.
pub(crate) const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

/// The labels that a release's container carries for history and rollback.
pub(crate) fn labels(job: &Job) -> [(&'static str, String); 2] {
    [(name::DEPLOY, Entry::of(job).text()), (name::SPEC, job.spec.without_values())]
}

impl Record {
    /// What is to be kept of a deploy that ended like this; none if it changed nothing.
    fn of(job: &Job, report: &Report) -> Option<Self> {
        let outcome = report.outcome.outcome?;
        if matches!(outcome, Outcome::Unchanged | Outcome::Skipped) {
            return None;
        }
        let error = report.failure.as_ref().map(|failure| Reported {
            code: failure.code.as_str().to_owned(),
            message: job.scrub.text(&failure.message),
        });
        let replaced = report.outcome.previous_deploy_id.clone();
        let entry = Entry { outcome, error, replaced, ..Entry::of(job) };
        let spec = (outcome == Outcome::Deployed).then(|| job.spec.whole());
        Some(Self { entry, spec })
    }

    fn from_volume(volume: &Volume) -> Option<Self> {
        let entry = read_entry(volume.labels.get(name::DEPLOY)?)?;
        Some(Self { entry, spec: volume.labels.get(name::SPEC).cloned() })
    }

    fn volume(&self, app: &str) -> Volume {
        let mut labels = HashMap::from([
            (name::APP.to_owned(), app.to_owned()),
            (name::DEPLOY.to_owned(), self.entry.text()),
        ]);
        labels.extend(self.spec.clone().map(|spec| (name::SPEC.to_owned(), spec)));
        Volume { name: volume_name(app, &self.entry.deploy_id), labels }
    }

    /// Whether it served, and can be deployed again as it was.
    pub(crate) fn is_good(&self) -> bool {
        self.entry.outcome == Outcome::Deployed && self.spec.is_some()
    }
}

fn volume_name(app: &str, deploy_id: &str) -> String {
    format!("slipway-{app}-{deploy_id}")
}

/// Writes a record.
pub(crate) async fn write<H: Volumes>(host: &H, app: &str, record: &Record) -> Result<()> {
    let volume = record.volume(app);
    host.create_volume(&volume.name, volume.labels).await
}

/// The application's records, the newest first. One that cannot be read is left out.
pub(crate) async fn list<H: Volumes>(host: &H, app: &str) -> Result<Vec<Record>> {
    let found = host.volumes(name::APP, app).await?;
    let mut all: Vec<Record> = found.iter().filter_map(Record::from_volume).collect();
    all.sort_by(|a, b| b.entry.deploy_id.cmp(&a.entry.deploy_id));
    Ok(all)
}

/// Removes the oldest records, where there are too many of them.
pub(crate) async fn trim<H: Volumes>(host: &H, app: &str, newest_first: &[Record]) -> Result<()> {
    for id in surplus(newest_first) {
        host.remove_volume(&volume_name(app, id)).await?;
    }
    Ok(())
}

/// The deploy ids of the records that are not kept.
fn surplus(newest_first: &[Record]) -> Vec<&str> {
    let good = newest_first.iter().filter(|record| record.is_good()).take(KEPT_GOOD);
    let good: Vec<&str> = good.map(|record| record.entry.deploy_id.as_str()).collect();
    // What has to be kept in any case leaves the rest of the places to the newest others.
    let mut places = KEPT - good.len();
    let mut surplus = Vec::new();
    for record in newest_first {
        let id = record.entry.deploy_id.as_str();
        if good.contains(&id) {
            continue;
        }
        match places.checked_sub(1) {
            Some(rest) => places = rest,
            None => surplus.push(id),
        }
    }
    surplus
}

/// Writes down how a deploy ended, and what an earlier run was killed before it could write.
/// Answers the application's records, the newest first.
pub(crate) async fn keep<H: Host + Volumes + Look>(
    host: &H,
    job: &Job,
    report: &Report,
) -> Result<Vec<Record>> {
    if let Some(record) = Record::of(job, report) {
        write(host, &job.app, &record).await?;
    }
    let mut all = list(host, &job.app).await?;
    if let Some(id) = &report.outcome.previous_deploy_id
        && !all.iter().any(|record| record.entry.deploy_id == *id)
        && let Some(record) = missing(host, &job.app, id).await?
    {
        write(host, &job.app, &record).await?;
        all = list(host, &job.app).await?;
    }
    trim(host, &job.app, &all).await?;
    Ok(all)
}

/// The record of a deploy that wrote none, from what its container tells.
async fn missing<H: Host + Look>(host: &H, app: &str, id: &str) -> Result<Option<Record>> {
    let all = host.containers(app).await?;
    let is_it =
        |one: &&Container| one.label(label::DEPLOY_ID) == Some(id) && one.role() == Role::Release;
    let Some(one) = all.iter().find(is_it) else { return Ok(None) };
    let Some(mut entry) = Entry::of_container(one) else { return Ok(None) };
    let before = all.iter().filter(|other| other.created < one.created);
    entry.replaced = before
        .max_by_key(|other| other.created)
        .and_then(|other| other.label(label::DEPLOY_ID))
        .map(str::to_owned);
    let spec = of_container(host, one).await?.ok().map(|spec| spec.whole());
    Ok(Some(Record { entry, spec }))
}

/// The run specification of a container: its label, and its environment for the values.
pub(crate) async fn of_container<H: Look>(
    host: &H,
    container: &Container,
) -> Result<std::result::Result<Spec, Reason>> {
    let Some(text) = container.label(name::SPEC) else {
        return Ok(Err("an older version of remote-swap deployed it and kept none".to_owned()));
    };
    let described = host.describe(&container.id).await?;
    Ok(Spec::restored(text, described.as_ref()))
}

/// The time at which a container was made.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime(TIME).to_string()
}

#[cfg(test)]
pub(crate) mod tests;
