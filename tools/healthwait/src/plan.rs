//! What to ask and what to hope for, settled before anything is asked.

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use slipway_probe::{Address, Expectation, Request, Target, Url, VersionProof, VersionSource};
use slipway_release::{Deploy, Document, Failure, Image, Outcome, Push};

use crate::Options;
use crate::error::Error;
use crate::watch::Seen;

/// All that the waiting needs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One a target, in their order.
    pub(crate) probes: Vec<Probe>,
    /// Deployed hosts that cannot be asked.
    pub(crate) without_url: Vec<String>,
    pub(crate) consecutive: u32,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    expected: Option<String>,
}

/// One target with what is asked of it.
#[derive(Debug)]
pub(crate) enum Probe {
    Http { name: String, url: Url, request: Request, expectation: Rc<Expectation> },
    Tcp { name: String, address: Address, limit: Duration },
}

impl Plan {
    /// Reads it from options and document; `variable` looks a variable of the environment up.
    pub(crate) fn new(
        options: &Options,
        document: &Document,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let (targets, without_url) = if options.target.is_empty() {
            deployed(document.get()?)?
        } else {
            let given = options.target.iter();
            (given.map(|target| (target.text.clone(), target.value.clone())).collect(), vec![])
        };
        let names = release(options, document)?;
        let expectation = Rc::new(expectation(options, names.clone()));
        let headers = headers(options, variable)?;
        let probes: Vec<Probe> = targets
            .into_iter()
            .map(|(name, target)| probe(name, target, options, &headers, &expectation))
            .collect::<Result<_, Error>>()?;
        if judges_answers(options) && !probes.iter().any(|p| matches!(p, Probe::Http { .. })) {
            return Err(Error::NoAnswerToJudge.into());
        }
        Ok(Self {
            probes,
            without_url,
            consecutive: options.consecutive.get(),
            interval: options.interval.0,
            timeout: options.timeout.0,
            expected: names.into_iter().next(),
        })
    }

    /// The targets for a line of text.
    pub(crate) fn names(&self) -> String {
        listed(&self.probes.iter().map(Probe::name).collect::<Vec<_>>(), ", ")
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

type Named = (String, Target);

/// The targets of the document: where the release was deployed to, or served already. Beside them
/// the hosts that have no address to ask.
fn deployed(deploy: Option<Deploy>) -> Result<(Vec<Named>, Vec<String>), Error> {
    let Some(deploy) = deploy else {
        return Err(Error::NoTarget { reason: "no target is given and nothing was deployed" });
    };
    let mut targets = Vec::new();
    let mut without_url = Vec::new();
    for (index, host) in deploy.hosts.iter().enumerate() {
        if !matches!(host.outcome, Some(Outcome::Deployed | Outcome::Unchanged)) {
            continue;
        }
        let Some(url) = &host.url else {
            without_url.push(host.host.clone());
            continue;
        };
        let bad = |place, reason: String| Error::BadUrl { place, reason };
        let place = format!("deploy.hosts[{index}].url");
        let mut target: Target =
            url.parse().map_err(|error| bad(place, format!("\"{url}\": {error}")))?;
        if let (Target::Http(url), Some(path)) = (&mut target, &deploy.health_path) {
            url.set_path(path)
                .map_err(|error| bad("deploy.health_path".to_owned(), error.to_string()))?;
        }
        targets.push((target.to_string(), target));
    }
    if targets.is_empty() {
        let reason = "no target is given and no host that was deployed to has an address";
        return Err(Error::NoTarget { reason });
    }
    Ok((targets, without_url))
}

/// The names of the release that should answer; none if that is not to be checked.
fn release(options: &Options, document: &Document) -> Result<Vec<String>, Failure> {
    match (&options.expect_version, options.no_version_check) {
        (Some(_), true) => Err(Error::VersionContradiction.into()),
        (Some(version), false) => Ok(vec![version.clone()]),
        (None, true) => Ok(Vec::new()),
        (None, false) => {
            let image: Image = document.get()?.unwrap_or_default();
            let push: Push = document.get()?.unwrap_or_default();
            let names = [image.tag, image.revision, push.digest];
            Ok(names.into_iter().flatten().filter(|name| !name.is_empty()).collect())
        }
    }
}

fn expectation(options: &Options, expected: Vec<String>) -> Expectation {
    let source = VersionSource {
        pointer: options.version_pointer.value.clone(),
        header: options.version_header.value.clone(),
    };
    Expectation {
        statuses: options.expect_status.value.clone(),
        body: options.expect_body.as_ref().map(|pattern| pattern.value.0.clone()),
        json: options.expect_json.iter().map(|equals| equals.value.clone()).collect(),
        headers: options.expect_header.iter().map(|header| header.value.clone()).collect(),
        version: VersionProof { source, expected, required: options.expect_version.is_some() },
    }
}

/// Whether conditions were set that only an answer can meet. The document's release is none of
/// them: it is checked where it can be.
fn judges_answers(options: &Options) -> bool {
    options.expect_body.is_some()
        || !options.expect_json.is_empty()
        || !options.expect_header.is_empty()
        || options.expect_version.is_some()
}

/// The headers to send, with their values.
fn headers(
    options: &Options,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, Error> {
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

fn probe(
    name: String,
    target: Target,
    options: &Options,
    headers: &[(String, String)],
    expectation: &Rc<Expectation>,
) -> Result<Probe, Error> {
    let limit = options.try_timeout.0;
    let url = match target {
        Target::Tcp(address) => return Ok(Probe::Tcp { name, address, limit }),
        Target::Http(url) => url,
    };
    let request = Request::of_url(&url, limit).and_then(|request| {
        headers.iter().try_fold(request, |request, (name, value)| request.header(name, value))
    });
    let request = request.map_err(|error| Error::Request { reason: error.to_string() })?;
    Ok(Probe::Http { name, url, request, expectation: Rc::clone(expectation) })
}

impl Probe {
    /// The target as it was given.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Http { name, .. } | Self::Tcp { name, .. } => name,
        }
    }

    /// One try.
    pub(crate) async fn ask(&self) -> Seen {
        let (url, request, expectation) = match self {
            Self::Http { url, request, expectation, .. } => (url, request, expectation),
            Self::Tcp { address, limit, .. } => {
                return match slipway_probe::tcp(address, *limit).await {
                    Ok(latency) => Seen::accepted(latency),
                    Err(error) => Seen::failed(&error),
                };
            }
        };
        match slipway_probe::http(url, request).await {
            Ok(answer) => Seen::answered(&answer, expectation),
            Err(error) => Seen::failed(&error),
        }
    }
}

#[cfg(test)]
mod tests;
