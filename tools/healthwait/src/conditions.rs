//! What is waited for and how, from the options.

use slipway_probe::{Expectation, StatusSet, VersionProof, VersionSource};
use slipway_release::{Document, Failure, Image, Push};

use crate::Options;
use crate::error::Error;
use crate::pace::Pace;
use crate::watch::Rule;

/// The names of the release that should answer; none if that is not to be checked.
pub(crate) fn release(options: &Options, document: &Document) -> Result<Vec<String>, Failure> {
    match (&options.expect_version, options.no_version_check) {
        (Some(_), true) => Err(Error::VersionContradiction.into()),
        (Some(version), false) => Ok(vec![version.clone()]),
        (None, true) => Ok(Vec::new()),
        // Else an older release that still answers would count as gone.
        (None, false) if options.not => Ok(Vec::new()),
        (None, false) => {
            let image: Image = document.get()?.unwrap_or_default();
            let push: Push = document.get()?.unwrap_or_default();
            let names = [image.tag, image.revision, push.digest];
            Ok(names.into_iter().flatten().filter(|name| !name.is_empty()).collect())
        }
    }
}

/// What an answer has to be; `expected` are the names of the release.
pub(crate) fn expectation(options: &Options, expected: Vec<String>) -> Expectation {
    let source = VersionSource {
        pointer: options.version_pointer.value.clone(),
        header: options.version_header.value.clone(),
    };
    let statuses = match &options.expect_status {
        Some(statuses) => statuses.value.clone(),
        // Whatever answers is not gone.
        None if options.not => StatusSet::any(),
        None => StatusSet::default(),
    };
    Expectation {
        statuses,
        body: options.expect_body.as_ref().map(|pattern| pattern.value.0.clone()),
        json: options.expect_json.iter().map(|condition| condition.value.clone()).collect(),
        headers: options.expect_header.iter().map(|header| header.value.clone()).collect(),
        version: VersionProof { source, expected, required: options.expect_version.is_some() },
        latency: options.expect_latency.map(|span| span.0),
        certificate: options.expect_certificate.map(|span| span.0),
    }
}

/// Whether conditions were set that only an answer can meet. The document's release is none of
/// them: it is checked where it can be.
pub(crate) fn judge_answers(options: &Options) -> bool {
    options.expect_status.is_some()
        || options.expect_body.is_some()
        || !options.expect_json.is_empty()
        || !options.expect_header.is_empty()
        || options.expect_version.is_some()
}

pub(crate) fn rule(options: &Options) -> Result<Rule, Error> {
    if options.timeout.0.is_zero() {
        return Err(Error::Contradiction {
            reason: "--timeout 0s leaves no time to ask",
            hint: "give a deadline, such as --timeout 30s",
        });
    }
    if options.try_timeout.0.is_zero() {
        return Err(Error::Contradiction {
            reason: "--try-timeout 0s leaves a try no time for an answer",
            hint: "give a deadline, such as --try-timeout 2s",
        });
    }
    // Better told now than when the deadline has passed.
    if options.stable >= options.timeout {
        return Err(Error::Contradiction {
            reason: "--stable, the time that targets have to stay well, does not fit into --timeout",
            hint: "give --timeout more than --stable",
        });
    }
    Ok(Rule {
        consecutive: options.consecutive.get(),
        stable: options.stable.0,
        gone: options.not,
        fail_fast: options.fail_fast,
    })
}

pub(crate) fn pace(options: &Options, targets: usize) -> Result<Pace, Error> {
    let duration = |span: Option<slipway_shell::Span>| span.map(|span| span.0);
    let (interval, max) = (options.interval, options.max_interval);
    let (backoff, jitter) = (options.backoff.value.0, options.jitter.value.0);
    Pace::new(duration(interval), duration(max), backoff, jitter, targets).ok_or(
        Error::Contradiction {
            reason: "the longest interval is shorter than the interval",
            hint: "give --max-interval as much as --interval or more",
        },
    )
}
