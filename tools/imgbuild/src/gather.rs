//! Learns what is known of the source: of git, of the CI server, of the Dockerfile.

use std::env;
use std::path::Path;

use slipway_shell::Ui;

use crate::ci;
use crate::context::fingerprint;
use crate::dockerfile::declares;
use crate::error::Error;
use crate::facts::{Facts, USUAL_TIME_ARG};
use crate::git::{self, Found, Revision};
use crate::names::{Names, wants_state};
use crate::options::Options;
use crate::place::Place;
use crate::plan::Dockerfile;
use crate::remote;
use crate::source_time::source_time;

/// The image's names and the facts.
pub(crate) async fn gather(
    options: &Options,
    place: &Place,
    dockerfile: &Dockerfile,
    ci: &ci::Build,
    ui: &Ui,
) -> Result<(Names, Facts), Error> {
    let (revision, refused) = revision(place).await;
    if let Some(why) = refused.as_ref().filter(|_| !options.require_clean) {
        ui.warn(&format!("the image will not know its revision: {why}"));
    }
    if let Some(revision) = revision.as_ref().filter(|revision| revision.dirty)
        && let Some(filter) = &revision.filter
    {
        ui.warn(&format!(
            "the filter `{filter}` was not run, as only the repository's own configuration names it: \
             files that it applies to may count as changed (git config --global defines one for all)"
        ));
    }
    let variable = env::var(USUAL_TIME_ARG).ok();
    let committed = revision.as_ref().and_then(|revision| revision.committed_at);
    let time = source_time(options.source_date_epoch.as_deref(), variable.as_deref(), committed)?;
    let mut facts = Facts {
        version: String::new(),
        branch: Facts::branch(revision.as_ref(), ci),
        revision,
        time,
        wants_usual_time: declares(&dockerfile.text, USUAL_TIME_ARG),
    };
    if options.require_clean {
        facts.require_clean(refused.as_deref())?;
    }
    let known = facts.revision.as_ref();
    let state = match wants_state(options, place, known) {
        Some(directory) => Some(state_of(directory, dockerfile).await?),
        None => None,
    };
    let names = Names::work_out(options, place, known, state.as_deref())?;
    names.version().clone_into(&mut facts.version);
    Ok((names, facts))
}

/// The fingerprint of what is sent of a directory, taken off the runtime: it may be a large one.
async fn state_of(directory: &Path, dockerfile: &Dockerfile) -> Result<String, Error> {
    let (directory, rules) = (directory.to_owned(), dockerfile.rules.clone());
    let walking = tokio::task::spawn_blocking(move || fingerprint(&directory, &rules));
    walking.await.unwrap_or_else(|error| Err(Error::Build { why: error.to_string() }))
}

/// What git knows of the place, or why it does not answer, which ends nothing.
async fn revision(place: &Place) -> (Option<Revision>, Option<String>) {
    match place {
        Place::Directory(directory) => match git::look(directory).await {
            Found::Revision(revision) => (Some(*revision), None),
            Found::Nothing => (None, None),
            Found::Refused(why) => (None, Some(why)),
        },
        Place::Repository(repository) => match remote::look(repository).await {
            Ok(revision) => (Some(revision), None),
            Err(why) => (None, Some(why)),
        },
        Place::Archive(_) | Place::Address(_) => (None, None),
    }
}
