//! How targets are reached, settled before anything is asked.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use slipway_engine::Endpoint;
use slipway_probe::{Deadline, Dial, Direct, Opening, Place, ProbeError, Prober, Target, Tls};
use slipway_release::Failure;
use slipway_ssh::Login;

use crate::Options;
use crate::container::{Checked, Containers, Where};
use crate::error::Error;
use crate::refusal::Refusal;
use crate::via::Via;

/// All ways to the targets.
pub(crate) struct Reach {
    prober: Prober,
    containers: Option<Containers>,
    refusal: Rc<Refusal>,
    /// The host in between, for people.
    via: Option<String>,
}

/// The way through a host, which containers share.
struct Shared(Rc<Via>);

impl Dial for Shared {
    fn open<'a>(&'a self, place: Place<'a>, deadline: &'a Deadline) -> Opening<'a> {
        self.0.open(place, deadline)
    }
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

impl Reach {
    /// Reads it from the options, as far as these targets need it; `variable` looks a variable of
    /// the environment up.
    pub(crate) fn new<'a>(
        options: &Options,
        targets: impl Iterator<Item = &'a Target> + Clone,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        if options.via.is_some() && options.proxy.is_some() {
            return Err(Error::Contradiction {
                reason: "--via and --proxy are two ways at once",
                hint: "give one of them",
            }
            .into());
        }
        let refusal = Rc::new(Refusal::default());
        let resolve = options.resolve.iter().map(|resolve| resolve.value.clone());
        let via = via(options, resolve.clone().collect(), variable, &refusal)?;
        let containers = if targets.clone().any(|target| matches!(target, Target::Container(_))) {
            Some(Containers::new(engine(options, via.as_ref())?, Rc::clone(&refusal)))
        } else {
            None
        };
        let tls = tls(options)?;
        let host = via.as_ref().map(|via| via.host());
        let dial: Box<dyn Dial> = match via {
            Some(via) => Box::new(Shared(via)),
            None => Box::new(Direct::new(resolve)),
        };
        let prober = Prober {
            dial,
            proxies: options.proxy.as_ref().map(|proxy| proxy.value.clone()),
            tls,
            version: options.http_version.as_ref().map(|version| version.value),
            follow: options.follow,
        };
        Ok(Self { prober, containers, refusal, via: host })
    }

    /// The host that targets are reached through.
    pub(crate) fn via(&self) -> Option<&str> {
        self.via.as_deref()
    }

    pub(crate) fn prober(&self) -> &Prober {
        &self.prober
    }

    /// Asks for a container's health.
    pub(crate) async fn container(
        &self,
        name: &str,
        limit: Duration,
    ) -> Result<Checked, ProbeError> {
        match &self.containers {
            Some(containers) => containers.check(name, limit).await,
            None => Err(ProbeError::Way { reason: "no engine to ask".to_owned(), local: true }),
        }
    }

    /// Waits until something is refused for good.
    pub(crate) async fn refused(&self) -> Failure {
        self.refusal.wait().await
    }
}

fn via(
    options: &Options,
    resolve: Vec<slipway_probe::Resolve>,
    variable: &dyn Fn(&str) -> Option<String>,
    refusal: &Rc<Refusal>,
) -> Result<Option<Rc<Via>>, Failure> {
    let Some(host) = &options.via else { return Ok(None) };
    let host = host.parse::<slipway_ssh::Target>();
    let host = host.map_err(|error| error.failure(format!("--via: {error}")))?;
    let login = Login {
        identity: &options.identity,
        identity_env: options.identity_env.as_deref(),
        passphrase_env: options.identity_passphrase_env.as_deref(),
        known_hosts: options.known_hosts.as_deref(),
        host_key: &options.host_key,
        timeout: options.connect_timeout.0,
    };
    let login = login.options(variable)?;
    let via = Via::new(host, login, resolve, !options.any, Rc::clone(refusal));
    Ok(Some(Rc::new(via)))
}

fn engine(options: &Options, via: Option<&Rc<Via>>) -> Result<Where, Failure> {
    Ok(match via {
        Some(via) => Where::There { via: Rc::clone(via), socket: options.docker_socket.clone() },
        None => Where::Here(Endpoint::from_env()?),
    })
}

fn tls(options: &Options) -> Result<Tls, Error> {
    let read = |option, path: &String| {
        slipway_trust::file(Path::new(path)).map_err(|reason| Error::File {
            option,
            path: path.clone(),
            reason,
        })
    };
    let authorities = options.ca_file.as_ref().map(|path| read("ca-file", path)).transpose()?;
    let identity = match (&options.client_cert, &options.client_key) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(Error::Contradiction {
                reason: "--client-key without --client-cert",
                hint: "give the certificate that the key belongs to",
            });
        }
        (Some(path), key) => Some((read("client-cert", path)?, private_key(path, key.as_ref())?)),
    };
    let given = (options.ca_file.as_ref(), options.client_cert.as_ref());
    let tls = Tls::new(authorities, identity);
    let (option, path) = match given {
        (_, Some(path)) => ("client-cert", path),
        (Some(path), None) => ("ca-file", path),
        // The system's authorities are read when they are needed.
        (None, None) => return Ok(tls),
    };
    match tls.check() {
        Ok(()) => Ok(tls),
        Err(reason) => Err(Error::File { option, path: path.clone(), reason }),
    }
}

fn private_key(certificate: &str, key: Option<&String>) -> Result<PrivateKeyDer<'static>, Error> {
    let (option, path) = match key {
        Some(path) => ("client-key", path.as_str()),
        None => ("client-cert", certificate),
    };
    PrivateKeyDer::from_pem_file(path).map_err(|error| Error::File {
        option,
        path: path.to_owned(),
        reason: match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "it holds no private key in PEM form that is not encrypted".to_owned()
            }
            other => slipway_trust::reason(&other),
        },
    })
}
