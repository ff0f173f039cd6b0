//! Asking a host all that decides whether a deploy may begin, in few round trips.

use futures_util::future::try_join_all;
use slipway_engine::ApiVersion;
use slipway_shell::Ui;

use super::refused::Refused;
use super::{clock, disk, platform, ports, unheld};
use crate::container::Container;
use crate::error::SwapError;
use crate::host::{About, Host, LocalImage, Platform, Remotely, Result};
use crate::job::Job;
use crate::sent;

/// The oldest version of the Engine API that is spoken: Docker 20.10.
const OLDEST_API: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// The oldest one that reads zstd: Docker 23.0.
const ZSTD_API: ApiVersion = ApiVersion { major: 1, minor: 42 };

/// What is known of the host once nothing speaks against the deploy.
pub(crate) struct Checked {
    pub(crate) platform: Platform,
    /// The image, if the host has it already.
    pub(crate) image: Option<LocalImage>,
}

/// Looks at the host and refuses what would fail later, or harm. Nothing is changed there.
///
/// `live` is what is to be replaced; `place` is how messages call the host.
pub(crate) async fn check<H: Host>(
    host: &H,
    place: &str,
    job: &Job,
    live: Option<&Container>,
    ui: &Ui,
) -> std::result::Result<Checked, SwapError> {
    let reference = job.reference.to_string();
    let (about, platform, holders, image, listens) = tokio::join!(
        measured(host),
        host.platform(),
        host.holders(),
        host.image(&reference),
        strangers(host, job, live),
    );
    let (about, free) = about?;
    // An engine that is too old need not have understood the other questions.
    if about.api < OLDEST_API {
        return Err(Refused::EngineTooOld { version: about.version, api: about.api }.into());
    }
    let skew = about.clock.as_ref().map(clock::skew).unwrap_or_default();
    if let Some(warning) = clock::judge(skew)? {
        ui.warn(&format!("{place}: {warning}"));
    }
    let (platform, image) = (platform?, image?);
    if image.is_none() && job.compression.as_deref() == Some("zstd") && about.api < ZSTD_API {
        return Err(Refused::NoZstd { version: about.version }.into());
    }
    if image.is_none() && sent::id(&job.reference).is_some() {
        return Err(Refused::NotSent { reference }.into());
    }
    let remotely = match &image {
        None => host.registry(job, &platform, about.proxied).await,
        Some(_) => Remotely::default(),
    };
    fits(&platform, job, &remotely)?;
    ports(&job.spec.publish, &holders?, live)?;
    if let Some(port) = listens? {
        let by = "a process that is no container".to_owned();
        return Err(SwapError::PortInUse { port, by });
    }
    match free {
        Some(free) => disk::judge(free, job.min_free, remotely.bytes, &about.root)?,
        None => ui.say(&format!(
            "{place}: its free disk space is not checked, since its user may not run df there"
        )),
    }
    Ok(Checked { platform, image })
}

async fn measured<H: Host>(host: &H) -> Result<(About, Option<u64>)> {
    let about = host.about().await?;
    let free = host.free(&about.root).await;
    Ok((about, free))
}

/// The first wanted port on which something listens that is not ours.
async fn strangers<H: Host>(host: &H, job: &Job, live: Option<&Container>) -> Result<Option<u16>> {
    let wanted = unheld(&job.spec.publish, live);
    let asked = wanted.iter().map(|one| host.listens(one.local_address(), one.host_port));
    let answers = try_join_all(asked).await?;
    let taken = wanted.iter().zip(answers).find(|(_, listens)| *listens);
    Ok(taken.map(|(one, _)| one.host_port))
}

/// Refuses an image that is known to be for other platforms only.
fn fits(host: &Platform, job: &Job, remotely: &Remotely) -> std::result::Result<(), SwapError> {
    if let Some(image) = &job.platform {
        platform(host, image)?;
    }
    let mut seen = remotely.platforms.iter().map(|image| platform(host, image));
    match seen.next() {
        None | Some(Ok(())) => Ok(()),
        Some(Err(error)) => {
            if seen.any(|one| one.is_ok()) {
                Ok(())
            } else {
                Err(error)
            }
        }
    }
}
