//! What to ask and what to hope for, settled before anything is asked.

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slipway_probe::{Request, Target};
use slipway_release::{Deploy, Document, Failure, Outcome};

use crate::error::Error;
use crate::pace::Pace;
use crate::probe::{Asked, Probe, Way};
use crate::reach::Reach;
use crate::watch::Rule;
use crate::{Options, conditions};

/// All that the waiting needs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One a target, in their order.
    pub(crate) probes: Vec<Probe>,
    /// Deployed hosts that cannot be asked.
    pub(crate) without_url: Vec<String>,
    pub(crate) rule: Rule,
    pub(crate) pace: Pace,
    pub(crate) timeout: Duration,
    /// Whether one healthy target is enough.
    pub(crate) any: bool,
    pub(crate) reach: Rc<Reach>,
    expected: Option<String>,
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
        let names = conditions::release(options, document)?;
        let expectation = Rc::new(conditions::expectation(options, names.clone()));
        let headers = headers(options, &variable)?;
        let reach = Reach::new(options, targets.iter().map(|(_, target)| target), &variable)?;
        let (reach, body) = (Rc::new(reach), body(options)?);
        let way = |target| way(target, options, &headers, body.as_ref());
        let probes: Vec<Probe> = targets
            .into_iter()
            .map(|(name, target)| {
                let (expectation, reach) = (Rc::clone(&expectation), Rc::clone(&reach));
                Ok(Probe {
                    name,
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
            without_url,
            rule: conditions::rule(options)?,
            pace: conditions::pace(options, probes.len())?,
            probes,
            timeout: options.timeout.0,
            any: options.any,
            reach,
            expected: names.into_iter().next(),
        })
    }

    /// The targets for a line of text.
    pub(crate) fn names(&self) -> String {
        listed(&self.probes.iter().map(|probe| &probe.name).collect::<Vec<_>>(), ", ")
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

/// Names and values.
type Headers = Vec<(String, String)>;

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
    let wrong = |error: std::io::Error| Error::File {
        option: "body",
        path: format!("@{path}"),
        reason: error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    };
    std::fs::read(path).map(|bytes| Some(bytes.into())).map_err(wrong)
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
