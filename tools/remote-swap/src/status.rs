//! `status`: what is live on each host, what was, and what could be again. It touches nothing.

mod drift;
mod table;

use std::collections::BTreeMap;

use slipway_engine::bollard::models::ContainerInspectResponse;
use slipway_release::{
    Document, Failure, FrontStatus, HistoryEntry, HostStatus, LiveStatus, PreviousRelease,
    SlotStatus, Status,
};
use slipway_shell::Context;

use crate::bluegreen;
use crate::container::{Container, Role, label};
use crate::env::Lookup;
use crate::error::{HostError, SwapError};
use crate::evidence;
use crate::fleet::Ways;
use crate::front::FrontHost;
use crate::host::LocalImage;
use crate::look::Look;
use crate::options::{Format, Options};
use crate::record::{self, Entry, Live, Record, Release};
use crate::rollback::{self, Known};
use crate::slot::Slot;
use crate::volumes::Volumes;
use drift::Drift;

/// The command.
pub(crate) async fn run(
    options: &Options,
    document: &mut Document,
    context: &Context,
    lookup: Lookup<'_>,
) -> Result<(), Failure> {
    let app = rollback::app(options, document)?;
    let ways = Ways::new(&rollback::hosts(options, document)?, options, context, lookup)?;
    let asked = ways.ask(async |_, remote| {
        tokio::select! {
            biased;
            () = context.cancelled.cancelled() => Err(SwapError::Interrupted),
            seen = of_host(&remote, &app) => Ok(seen?),
        }
    });
    let mut first: Option<Failure> = None;
    let mut hosts = Vec::new();
    for (target, seen) in ways.targets.iter().zip(asked.await) {
        let seen = seen.unwrap_or_else(|failure| {
            let error = Some(failure.message.clone());
            first.get_or_insert(failure);
            HostStatus { error, ..HostStatus::default() }
        });
        hosts.push(HostStatus { host: target.to_string(), ..seen });
    }
    let status = Status { app: Some(app), hosts };
    document.set(&status);
    if options.format == Format::Table {
        // Nothing else sets it.
        let _ = context.text.set(table::of(&status));
    }
    first.map_or(Ok(()), Err)
}

/// What one host knows of the application.
async fn of_host<H: FrontHost + Volumes + Look>(
    host: &H,
    app: &str,
) -> Result<HostStatus, HostError> {
    let known = Known::of(host, app).await?;
    let mut status = HostStatus {
        slots: slots(&known.containers),
        history: known.records.iter().map(happened).collect(),
        ..HostStatus::default()
    };
    let mut outdated = None;
    if let Some(one) = bluegreen::front_of(&known.containers) {
        let image = host.image(&one.image_id).await?;
        status.front = Some(front(one, known.slot, image));
        let named = host.image(one.label(label::REFERENCE).unwrap_or_default()).await?;
        let newer = named.filter(|named| named.id != one.image_id);
        outdated = newer.map(|newer| crate::front::outdated(one, &newer.id));
    }
    let live = known.live.as_ref().map(Live::of);
    let last = live.clone().or_else(|| Live::last(&known.records));
    let next = record::choose(&known.releases, last.as_ref(), None, app).ok();
    for release in &known.releases {
        let is_live = live.as_ref().is_some_and(|live| release.is(live));
        if is_live || rollback::specification(host, release).await?.is_err() {
            continue;
        }
        if next.is_some_and(|next| next.first.origin == release.first.origin) {
            status.rollback_to = Some(release.first.origin.clone());
        }
        let image = host.image(&release.first.reference).await?;
        status.previous.push(earlier(release, image.is_some()));
    }
    if let (None, Some(last)) = (&known.live, &last) {
        status.drift.push(format!("{} was live last, and nothing of it is there", last.deploy_id));
    }
    if let Some(live) = &known.live {
        let described = host.describe(&live.id).await?.unwrap_or_default();
        status.live = Some(served(live, &described, &known.records));
        let image = host.image(live.label(label::REFERENCE).unwrap_or_default()).await?;
        let spec = record::of_container(host, live).await?.ok();
        status.drift = Drift {
            live,
            described: &described,
            spec: spec.as_ref(),
            image: image.as_ref().map(|image| image.id.as_str()),
            all: &known.containers,
        }
        .sentences();
    }
    status.drift.extend(outdated);
    Ok(status)
}

fn served(
    live: &Container,
    described: &ContainerInspectResponse,
    records: &[Record],
) -> LiveStatus {
    let names = Live::of(live);
    let own = Entry::of_container(live);
    let recorded = records.iter().map(|record| &record.entry);
    let entry =
        own.as_ref().or_else(|| recorded.clone().find(|entry| entry.deploy_id == names.deploy_id));
    let text = |name| live.label(name).map(str::to_owned);
    LiveStatus {
        digest: record::digest(&names.reference).map(str::to_owned),
        reference: text(label::REFERENCE),
        tag: text(label::TAG),
        revision: text(label::REVISION),
        container: live.name.clone(),
        container_id: live.id.clone(),
        state: state(live, described).to_owned(),
        restarts: live.restarts,
        since: record::time(live.created),
        by: entry.map(|entry| entry.by.clone()),
        build_url: entry.and_then(|entry| entry.build_url.clone()),
        slot: text(label::SLOT),
        deploy_id: names.deploy_id,
        origin: names.origin,
    }
}

/// What a container does, in the engine's words.
fn state(one: &Container, described: &ContainerInspectResponse) -> &'static str {
    let paused = described.state.as_ref().and_then(|state| state.paused);
    if paused == Some(true) { "paused" } else { evidence::state(one.status) }
}

fn slots(containers: &[Container]) -> BTreeMap<String, SlotStatus> {
    let mut in_slots: Vec<(&str, &Container)> = containers
        .iter()
        .filter_map(|one| Some((one.label(label::SLOT)?, one)))
        .filter(|(_, one)| one.role() == Role::Release)
        .collect();
    // The newest one of a slot goes in last, and stays.
    in_slots.sort_by_key(|(_, one)| one.created);
    let of = |one: &Container| SlotStatus {
        container: one.name.clone(),
        state: evidence::state(one.status).to_owned(),
        deploy_id: one.label(label::DEPLOY_ID).unwrap_or_default().to_owned(),
    };
    in_slots.into_iter().map(|(slot, one)| (slot.to_owned(), of(one))).collect()
}

fn front(one: &Container, live: Option<Slot>, image: Option<LocalImage>) -> FrontStatus {
    let digests = image.iter().flat_map(|image| &image.repo_digests);
    FrontStatus {
        container: one.name.clone(),
        image: one.label(label::REFERENCE).map(str::to_owned),
        image_id: Some(one.image_id.clone()),
        image_digest: digests.filter_map(|name| record::digest(name)).next().map(str::to_owned),
        image_created: image.and_then(|image| image.created),
        since: record::time(one.created),
        state: evidence::state(one.status).to_owned(),
        live_slot: live.map(|slot| slot.as_str().to_owned()),
    }
}

fn earlier(release: &Release, image_present: bool) -> PreviousRelease {
    PreviousRelease {
        deploy_id: release.first.origin.clone(),
        digest: release.digest().map(str::to_owned),
        tag: release.first.tag.clone(),
        revision: release.first.revision.clone(),
        at: release.first.at.clone(),
        image_present,
        container_present: release.container.is_some(),
    }
}

fn happened(record: &Record) -> HistoryEntry {
    let entry = record.entry.clone();
    HistoryEntry {
        digest: record::digest(&entry.reference).map(str::to_owned),
        at: entry.at,
        deploy_id: entry.deploy_id,
        origin: entry.origin,
        kind: Some(entry.kind),
        outcome: Some(entry.outcome),
        tag: entry.tag,
        revision: entry.revision,
        by: Some(entry.by),
        build_url: entry.build_url,
        build_number: entry.build_number,
        error_code: entry.error.as_ref().map(|error| error.code.clone()),
        error: entry.error.map(|error| error.message),
    }
}
