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
use slipway_untrusted::Limit;
use slipway_untrusted::limit::{CERTIFICATES, PRIVATE_KEY};

use crate::Options;
use crate::container::{Checked, Containers, Where};
use crate::error::Error;
use crate::goals::{Goal, ssh_host};
use crate::refusal::Refusal;
use crate::via::Via;

/// A way to targets.
pub(crate) struct Reach {
    prober: Prober,
    containers: Option<Containers>,
}

/// The way through a host, which containers share.
struct Shared(Rc<Via>);

impl Dial for Shared {
    fn open<'a>(&'a self, place: Place<'a>, deadline: &'a Deadline) -> Opening<'a> {
        self.0.open(place, deadline)
    }
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ways").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

/// All ways to the targets.
pub(crate) struct Ways {
    /// To what is reached from here, or through the host of `--via`.
    main: Rc<Reach>,
    /// To what its own host alone reaches.
    own: Vec<(slipway_ssh::Target, Rc<Reach>)>,
    refusal: Rc<Refusal>,
    /// The host of `--via`, for people.
    via: Option<String>,
}

impl Ways {
    /// Reads them from the options, as far as these targets need them; `variable` looks a variable of
    /// the environment up.
    pub(crate) fn new(
        options: &Options,
        goals: &[Goal],
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
        let host =
            options.via.as_ref().map(|host| ssh_host(host).map_err(Error::via)).transpose()?;
        let main = host.map(|host| via(host, options, variable, &refusal)).transpose()?;
        let targets = goals.iter().filter(|goal| goal.through.is_none()).map(|goal| &goal.target);
        let name = main.as_ref().map(|via| via.host());
        let main = Rc::new(Reach::new(options, targets, main, &refusal)?);
        let mut own: Vec<(slipway_ssh::Target, Rc<Reach>)> = Vec::new();
        for host in goals.iter().filter_map(|goal| goal.through.as_ref()) {
            if own.iter().all(|(known, _)| known != host) {
                let via = via(host.clone(), options, variable, &refusal)?;
                let reach = Reach::new(options, std::iter::empty(), Some(via), &refusal)?;
                own.push((host.clone(), Rc::new(reach)));
            }
        }
        Ok(Self { main, own, refusal, via: name })
    }

    /// The way to a target that is reached through this host, if it is its own.
    pub(crate) fn to(&self, through: Option<&slipway_ssh::Target>) -> Rc<Reach> {
        let own = through.and_then(|host| self.own.iter().find(|(known, _)| known == host));
        Rc::clone(own.map_or(&self.main, |(_, reach)| reach))
    }

    /// The host of `--via`.
    pub(crate) fn via(&self) -> Option<&str> {
        self.via.as_deref()
    }

    /// Waits until something is refused for good.
    pub(crate) async fn refused(&self) -> Failure {
        self.refusal.wait().await
    }
}

impl Reach {
    /// A way from here, or through a host.
    fn new<'a>(
        options: &Options,
        mut targets: impl Iterator<Item = &'a Target>,
        via: Option<Rc<Via>>,
        refusal: &Rc<Refusal>,
    ) -> Result<Self, Failure> {
        let containers = if targets.any(|target| matches!(target, Target::Container(_))) {
            Some(Containers::new(engine(options, via.as_ref())?, Rc::clone(refusal)))
        } else {
            None
        };
        let proxies = options.proxy.as_ref().filter(|_| via.is_none());
        let resolve = options.resolve.iter().map(|resolve| resolve.value.clone());
        let dial: Box<dyn Dial> = match via {
            Some(via) => Box::new(Shared(via)),
            None => Box::new(Direct::new(resolve)),
        };
        let prober = Prober {
            dial,
            proxies: proxies.map(|proxy| proxy.value.clone()),
            tls: tls(options)?,
            version: options.http_version.as_ref().map(|version| version.value),
            follow: options.follow,
        };
        Ok(Self { prober, containers })
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
}

fn via(
    host: slipway_ssh::Target,
    options: &Options,
    variable: &dyn Fn(&str) -> Option<String>,
    refusal: &Rc<Refusal>,
) -> Result<Rc<Via>, Failure> {
    let login = Login {
        identity: &options.identity,
        identity_env: options.identity_env.as_deref(),
        passphrase_env: options.identity_passphrase_env.as_deref(),
        known_hosts: options.known_hosts.as_deref(),
        host_key: &options.host_key,
        timeout: options.connect_timeout.0,
    };
    let login = login.options(variable)?;
    let resolve = options.resolve.iter().map(|resolve| resolve.value.clone()).collect();
    Ok(Rc::new(Via::new(host, login, resolve, !options.any, Rc::clone(refusal))))
}

fn engine(options: &Options, via: Option<&Rc<Via>>) -> Result<Where, Failure> {
    Ok(match via {
        Some(via) => Where::There { via: Rc::clone(via), socket: options.docker_socket.clone() },
        None => Where::Here(Endpoint::from_env()?),
    })
}

fn tls(options: &Options) -> Result<Tls, Error> {
    let read = |option, path: &String| {
        let pem = pem(option, path, &CERTIFICATES)?;
        slipway_trust::certificates(&pem).map_err(|reason| Error::File {
            option,
            path: path.clone(),
            reason,
            too_large: false,
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
        Err(reason) => Err(Error::File { option, path: path.clone(), reason, too_large: false }),
    }
}

/// What is in a file that an option names.
fn pem(option: &'static str, path: &str, limit: &Limit) -> Result<Vec<u8>, Error> {
    let read = slipway_untrusted::file::read(Path::new(path), limit);
    read.map_err(|error| Error::file(option, path, &error))
}

fn private_key(certificate: &str, key: Option<&String>) -> Result<PrivateKeyDer<'static>, Error> {
    let (option, path, limit) = match key {
        Some(path) => ("client-key", path.as_str(), &PRIVATE_KEY),
        None => ("client-cert", certificate, &CERTIFICATES),
    };
    PrivateKeyDer::from_pem_slice(&pem(option, path, limit)?).map_err(|error| Error::File {
        option,
        path: path.to_owned(),
        too_large: false,
        reason: match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "it holds no private key in PEM form that is not encrypted".to_owned()
            }
            other => slipway_trust::reason(&other),
        },
    })
}
