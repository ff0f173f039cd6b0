//! One target and one try of it.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use slipway_probe::{Address, Expectation, Request, Scheme, Url};

use crate::reach::Reach;
use crate::seen::Seen;

/// One target with what is asked of it.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The target as it was given.
    pub(crate) name: String,
    /// Its own host, where it is reached through that.
    pub(crate) through: Option<String>,
    pub(crate) way: Way,
    /// The deadline of a try.
    pub(crate) limit: Duration,
    pub(crate) expectation: Rc<Expectation>,
    pub(crate) reach: Rc<Reach>,
}

/// A target for people: several hosts may have one at the same address of their own.
pub(crate) fn label(name: &str, through: Option<&str>) -> String {
    through.map_or_else(|| name.to_owned(), |host| format!("{name} through {host}"))
}

/// How it is asked.
#[derive(Debug)]
pub(crate) enum Way {
    Http(Box<Asked>),
    Tcp(Address),
    Tls(Address),
    Unix(PathBuf),
    Container(String),
}

/// A URL and its request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) url: Url,
    pub(crate) request: Request,
}

impl Probe {
    /// The target for people.
    pub(crate) fn label(&self) -> String {
        label(&self.name, self.through.as_deref())
    }

    /// Whether there are answers that conditions can be about.
    pub(crate) fn answers(&self) -> bool {
        matches!(self.way, Way::Http(_))
    }

    /// Whether there is a certificate that a condition can be about.
    pub(crate) fn is_secured(&self) -> bool {
        match &self.way {
            Way::Http(asked) => asked.url.scheme == Scheme::Https,
            Way::Tls(_) => true,
            _ => false,
        }
    }

    /// One try.
    pub(crate) async fn ask(&self) -> Seen {
        let prober = self.reach.prober();
        let opened = match &self.way {
            Way::Http(asked) => {
                return match prober.http(&asked.url, &asked.request).await {
                    Ok(answer) => Seen::answered(&answer, &self.expectation),
                    Err(error) => Seen::failed(&error),
                };
            }
            Way::Container(name) => {
                let checked = self.reach.container(name, self.limit).await;
                return Seen::checked(checked, &self.expectation);
            }
            Way::Tcp(address) => prober.tcp(address, self.limit).await,
            Way::Tls(address) => prober.tls(address, self.limit).await,
            Way::Unix(socket) => prober.unix(socket, self.limit).await,
        };
        match opened {
            Ok(opened) => {
                let (took, not_after) = (opened.elapsed, opened.certificate_not_after);
                Seen::accepted(took, not_after, &self.expectation)
            }
            Err(error) => Seen::failed(&error),
        }
    }
}
