//! What to ask and what to hope for, settled before anything is asked.

use std::fmt::Display;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slipway_probe::{Request, Target};
use slipway_release::{Document, Failure};
use slipway_untrusted::limit::REQUEST_BODY;

use crate::error::Error;
use crate::goals::{Goal, Goals};
use crate::pace::Pace;
use crate::probe::{Asked, Probe, Way};
use crate::reach::{Reach, Ways};
use crate::watch::Rule;
use crate::{Options, conditions};

/// All that the waiting needs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One a target, in their order.
    pub(crate) probes: Vec<Probe>,
    /// Hosts that were deployed to and have nothing to ask.
    pub(crate) silent: Vec<String>,
    pub(crate) rule: Rule,
    pub(crate) pace: Pace,
    pub(crate) timeout: Duration,
    /// Whether one healthy target is enough.
    pub(crate) any: bool,
    pub(crate) ways: Ways,
    expected: Option<String>,
}

impl Plan {
    /// Reads it from options and document; `variable` looks a variable of the environment up.
    pub(crate) fn new(
        options: &Options,
        document: &Document,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let Goals { goals, silent } = Goals::new(options, document)?;
        let names = conditions::release(options, document)?;
        let expectation = Rc::new(conditions::expectation(options, names.clone()));
        let headers = headers(options, &variable)?;
        let ways = Ways::new(options, &goals, &variable)?;
        let body = body(options)?;
        let way = |target| way(target, options, &headers, body.as_ref());
        let probes: Vec<Probe> = goals
            .into_iter()
            .map(|Goal { name, target, through }| {
                let expectation = Rc::clone(&expectation);
                let reach: Rc<Reach> = ways.to(through.as_ref());
                Ok(Probe {
                    name,
                    through: through.map(|host| host.to_string()),
                    way: way(target)?,
                    limit: options.try_timeout.0,
                    expectation,
                    reach,
                })
            })
            .collect::<Result<_, Error>>()?;
        if conditions::judge_answers(options) && !probes.iter().any(Probe::answers) {
            return Err(Error::NoAnswerToJudge.into());
        }
        if options.expect_certificate.is_some() && !probes.iter().any(Probe::is_secured) {
            let hint = "ask an https:// or tls:// target, or leave out --expect-certificate";
            return Err(Error::Contradiction { reason: "no target has a certificate", hint }.into());
        }
        Ok(Self {
            silent,
            rule: conditions::rule(options)?,
            pace: conditions::pace(options, probes.len())?,
            probes,
            timeout: options.timeout.0,
            any: options.any,
            ways,
            expected: names.into_iter().next(),
        })
    }

    /// The targets for a line of text.
    pub(crate) fn names(&self) -> String {
        listed(&self.probes.iter().map(Probe::label).collect::<Vec<_>>(), ", ")
    }

    /// The release that should answer, under the name that people know it by.
    pub(crate) fn expected_version(&self) -> Option<&str> {
        self.expected.as_deref()
    }
}

/// Up to three of them, and how many more there are.
pub(crate) fn listed(texts: &[impl Display], separator: &str) -> String {
    let shown: Vec<String> = texts.iter().take(3).map(ToString::to_string).collect();
    match texts.len().checked_sub(3) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(separator)),
        _ => shown.join(separator),
    }
}

/// Names and values.
type Headers = Vec<(String, String)>;

/// The headers to send, with their values.
fn headers(options: &Options, variable: impl Fn(&str) -> Option<String>) -> Result<Headers, Error> {
    let mut headers = vec![(
        "user-agent".to_owned(),
        concat!("healthwait/", env!("CARGO_PKG_VERSION")).to_owned(),
    )];
    for header in &options.header {
        headers.push((header.value.name.clone(), header.value.value.clone()));
    }
    for header in &options.header_env {
        let header = &header.value;
        let wrong = |reason| Error::HeaderVariable {
            name: header.name.clone(),
            variable: header.variable.clone(),
            reason,
        };
        let value = variable(&header.variable).ok_or_else(|| wrong("is not set"))?;
        // Files that secrets come from tend to end with a newline.
        let value = value.trim();
        if http::HeaderValue::from_str(value).is_err() {
            return Err(wrong("has characters that cannot be sent"));
        }
        headers.push((header.name.clone(), value.to_owned()));
    }
    Ok(headers)
}

/// What is sent as a body.
fn body(options: &Options) -> Result<Option<Bytes>, Error> {
    let Some(text) = &options.body else { return Ok(None) };
    let Some(path) = text.strip_prefix('@') else {
        return Ok(Some(Bytes::copy_from_slice(text.as_bytes())));
    };
    let read = slipway_untrusted::file::read(Path::new(path), &REQUEST_BODY);
    let bytes = read.map_err(|error| Error::file("body", &format!("@{path}"), &error))?;
    Ok(Some(bytes.into()))
}

fn way(
    target: Target,
    options: &Options,
    headers: &Headers,
    body: Option<&Bytes>,
) -> Result<Way, Error> {
    let url = match target {
        Target::Http(url) => url,
        Target::Tcp(address) => return Ok(Way::Tcp(address)),
        Target::Tls(address) => return Ok(Way::Tls(address)),
        Target::Unix(socket) => return Ok(Way::Unix(socket)),
        Target::Container(name) => return Ok(Way::Container(name)),
    };
    let request = Request::of_url(&url, options.try_timeout.0).and_then(|request| {
        headers.iter().try_fold(request, |request, (name, value)| request.header(name, value))
    });
    let mut request = request.map_err(|error| Error::Request { reason: error.to_string() })?;
    if let Some(body) = body {
        request = request.method(http::Method::POST).body(body.clone());
    }
    if let Some(method) = &options.method {
        request = request.method(method.value.0.clone());
    }
    Ok(Way::Http(Box::new(Asked { url, request })))
}

#[cfg(test)]
mod tests;
