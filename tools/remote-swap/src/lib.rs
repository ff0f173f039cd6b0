//! remote-swap: replaces the running container of an application on its servers.
//!
//! The Engine API of each server is spoken through one SSH connection; nothing is installed there.
//! What is pure (the options' values, the run specification, what the containers of an application
//! mean, the checks before anything is changed) stands apart from what does I/O, and everything
//! that is asked of a host goes through one narrow trait, so that tests can make any of it fail.

mod asking;
mod author;
mod backoff;
mod bluegreen;
mod body;
mod calls;
mod confinement;
mod container;
mod deploy_id;
mod env;
mod error;
mod evidence;
mod fleet;
mod front;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod handover;
mod host;
mod job;
mod lines;
mod link;
mod lock;
mod look;
mod manifest;
mod measure;
mod options;
mod plan;
mod preflight;
mod provenance;
mod prune;
mod publish;
mod record;
mod recreate;
mod release_command;
mod remote;
mod rollback;
mod sent;
mod slot;
mod spec;
mod status;
mod values;
mod volumes;

use std::time::Duration;

use slipway_shell::{Context, Document, Failure, Tool};

pub use options::{
    Command, Format, FrontUpdate, HealthKind, LockAction, OnFailure, Options, Strategy,
};

/// The tool.
pub struct RemoteSwap;

impl Tool for RemoteSwap {
    const NAME: &'static str = "remote-swap";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// The most that the shell allows: a switch that has begun is brought to one of its ends.
    const GRACE: Duration = Duration::from_secs(9);
    type Options = Options;

    fn works_after_errors(given: &Options) -> bool {
        given.command == Command::Rollback && given.on_error
    }

    async fn run(
        options: Options,
        document: &mut Document,
        context: &Context,
    ) -> Result<(), Failure> {
        let lookup = |name: &str| std::env::var(name).ok();
        match options.command {
            Command::Rollback => rollback::run(&options, document, context, &lookup).await,
            Command::Status => status::run(&options, document, context, &lookup).await,
            Command::Lock => fleet::lock(&options, document, context, &lookup).await,
            Command::Plan => fleet::plan(&options, document, context, &lookup).await,
            Command::Deploy => fleet::deploy(&options, document, context, &lookup).await,
        }
    }
}
