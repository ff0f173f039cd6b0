//! What is to be run: the same for every host of a deploy.

use std::time::Duration;

use jiff::Timestamp;
use slipway_engine::{Auth, Reference};
use slipway_release::{Code, DeployKind, Document, Failure, Image, Push, Registry};
use slipway_shell::Context;

use crate::author::Author;
use crate::deploy_id;
use crate::env::Lookup;
use crate::evidence::{Scrub, without_passwords};
use crate::front::Settings;
use crate::options::{FrontUpdate, HealthKind, Options, Strategy};
use crate::provenance::Provenance;
use crate::record::Key;
use crate::release_command::ReleaseCommand;
use crate::sent;
use crate::spec::{Spec, SpecError, value};
use crate::values;

/// One deploy.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) app: String,
    pub(crate) deploy_id: String,
    /// The deploy that first brought this release: this one, unless it goes back to it.
    pub(crate) origin: String,
    pub(crate) kind: DeployKind,
    pub(crate) strategy: Strategy,
    /// When it began.
    pub(crate) at: Timestamp,
    pub(crate) author: Author,
    /// By digest.
    pub(crate) reference: Reference,
    pub(crate) auth: Option<Auth>,
    /// The image's platform, where the document tells it.
    pub(crate) platform: Option<String>,
    /// How its layers are compressed, where the document tells it.
    pub(crate) compression: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) provenance: Provenance,
    /// Whether it may replace a newer build.
    pub(crate) allow_older: bool,
    pub(crate) spec: Spec,
    /// That of the run specification, by the key of the host that this is for. Before that is known
    /// it is equal to no other: see [`Job::on_host`].
    pub(crate) fingerprint: String,
    pub(crate) waits: Waits,
    /// A container of somebody else's whose port is to be taken over.
    pub(crate) adopt: Option<String>,
    /// The front's image, where one is asked for.
    pub(crate) front_image: Option<String>,
    /// Whether a front whose image is out of date is replaced.
    pub(crate) front_update: FrontUpdate,
    /// What is asked of the front; none to leave that as it is.
    pub(crate) front_settings: Option<Settings>,
    /// The document's credentials, for the registry of the front's image.
    pub(crate) registry: Registry,
    /// Bytes of the host's disk that have to stay free.
    pub(crate) min_free: u64,
    /// How many releases stay on the host, the live one included.
    pub(crate) keep: usize,
    /// What is to be run before anything is switched, if this host is to run it.
    pub(crate) release_command: Option<ReleaseCommand>,
    pub(crate) scrub: Scrub,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) health_timeout: Duration,
    pub(crate) health_interval: Duration,
    pub(crate) pull_timeout: Duration,
    /// How long the new container is watched after the switch.
    pub(crate) soak: Duration,
    /// How long the old one may take to end what is in flight.
    pub(crate) drain_timeout: Duration,
}

impl Waits {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            health_timeout: options.health_timeout.0,
            health_interval: options.health_interval.0.max(Duration::from_millis(10)),
            pull_timeout: options.pull_timeout.0,
            soak: options.soak.0,
            drain_timeout: options.drain_timeout.0,
        }
    }
}

impl Job {
    /// The deploy that the options and the document ask for.
    pub(crate) fn new(
        options: &Options,
        document: &Document,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        let registry: Registry = document.get()?.unwrap_or_default();
        let image: Image = document.get()?.unwrap_or_default();
        let push: Option<Push> = document.get()?;
        let compression = push.as_ref().and_then(|push| push.compression.clone());
        let named_by_document = options.image.is_none();
        let (text, place) = match &options.image {
            Some(image) => (image.clone(), "--image"),
            None => (pushed(push)?, "push in the document"),
        };
        let reference = by_digest(&text, place)?;
        let app = match &options.app {
            Some(app) => app.clone(),
            None => reference.path().rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let app = value("app", &app, values::app)?;
        let spec = Spec::from_options(options, lookup)?;
        if options.strategy == Strategy::BlueGreen {
            fits_front(&spec)?;
        }
        let min_free = value("min-free", &options.min_free, values::memory)?.unsigned_abs();
        let (auth, passwords) = credentials(&registry, &reference);
        // What the document says of an image is of the image that it names.
        let provenance =
            if named_by_document { Provenance::of_image(&image) } else { Provenance::default() };
        let of_document = |text: Option<String>| text.filter(|_| named_by_document);
        let deploy_id = deploy_id::new();
        Ok(Self {
            app,
            origin: deploy_id.clone(),
            deploy_id,
            kind: DeployKind::Deploy,
            strategy: options.strategy,
            at: Timestamp::now(),
            author: Author::of_process(lookup),
            reference,
            auth,
            platform: of_document(image.platform),
            compression: of_document(compression),
            tag: of_document(image.tag),
            revision: of_document(image.revision),
            provenance,
            allow_older: options.allow_older,
            fingerprint: Key::random().fingerprint(&spec.canonical()),
            waits: Waits::new(options),
            adopt: options.adopt.clone(),
            front_image: options.front_image.clone(),
            front_update: options.front_update,
            front_settings: Some(Settings::from_options(options)?),
            registry,
            min_free,
            keep: value("keep", &options.keep.to_string(), values::keep)?,
            release_command: options
                .release_command
                .clone()
                .map(|command| ReleaseCommand { command, timeout: options.release_timeout.0 }),
            scrub: Scrub::new(spec.secrets().cloned().chain(passwords)),
            spec,
        })
    }

    /// The job whose evidence shows the values that the command line holds: they are readable there,
    /// and a log without each `production` and `5000` in it says little.
    pub(crate) fn showing_flags(self, options: &Options, context: &Context) -> Self {
        if !context.is_flag("env") {
            return self;
        }
        let values = options.env.iter().filter_map(|text| text.split_once('='));
        Self { scrub: self.scrub.without(values.map(|(_, value)| value)), ..self }
    }

    /// How its health is asked for, where that is settled beforehand.
    pub(crate) fn health_kind(&self) -> Option<HealthKind> {
        let by_front = (self.strategy == Strategy::BlueGreen).then_some(HealthKind::Http);
        self.spec.health.kind.or(by_front)
    }

    /// The job with the fingerprint of a host's key.
    pub(crate) fn on_host(&self, key: &Key) -> Self {
        Self { fingerprint: key.fingerprint(&self.spec.canonical()), ..self.clone() }
    }

    /// The job of a host that is not the first: the release command runs once in a fleet.
    pub(crate) fn without_release_command(&self) -> Self {
        Self { release_command: None, ..self.clone() }
    }
}

/// Whether a front can pass on what the application publishes.
fn fits_front(spec: &Spec) -> Result<(), Failure> {
    let refused = |message: String| {
        Err(Failure::new(Code::Usage, message)
            .hint("--strategy recreate does without a front: it stops the old one, then starts the new one"))
    };
    if let Some(one) = spec.publish.iter().find(|one| !one.is_tcp()) {
        return refused(format!(
            "--publish {one}: the front of --strategy blue-green passes HTTP on, and no UDP"
        ));
    }
    if let Some(kind) = spec.health.kind.filter(|kind| *kind != HealthKind::Http) {
        let kind = kind.as_str();
        return refused(format!(
            "--health {kind}: the front of --strategy blue-green asks for health by HTTP"
        ));
    }
    if spec.publish.is_empty() {
        return refused(
            "--strategy blue-green needs a --publish: the port that its front owns".to_owned(),
        );
    }
    Ok(())
}

/// What imgpush pushed, or sent to the hosts themselves.
pub(crate) fn reference_of(push: Push) -> Option<String> {
    let sent = |(repository, id): (String, String)| sent::reference(&repository, &id);
    push.reference.or_else(|| push.repository.zip(push.image_id).map(sent))
}

fn pushed(push: Option<Push>) -> Result<String, Failure> {
    push.and_then(reference_of).ok_or_else(|| {
        Failure::new(
            Code::MissingSection,
            "nothing says what to run: the document has no push.reference",
        )
        .hint("run imgpush earlier in the pipe, or give --image REPOSITORY@sha256:…")
    })
}

fn by_digest(text: &str, place: &str) -> Result<Reference, Failure> {
    let code = if place == "--image" { Code::Usage } else { Code::BadSection };
    let text = without_passwords(text);
    let text = text.as_ref();
    let reference: Reference =
        text.parse().map_err(|error| Failure::new(code, format!("{place}: {error}")))?;
    let Some(digest) = reference.digest() else {
        return Err(Failure::new(code, format!("{place}: {text} names no digest")).hint(
            "a tag may move to another image: write REPOSITORY@sha256:…, as imgpush tells it",
        ));
    };
    // With a tag beside it the engine would look at the tag as well.
    reference.with_digest(digest).map_err(|error| Failure::new(code, format!("{place}: {error}")))
}

/// The document's credentials for the registry that the image is in, if it has some: no other
/// registry may ever see them. And all of its passwords, to be hidden wherever they turn up.
pub(crate) fn credentials(
    registry: &Registry,
    reference: &Reference,
) -> (Option<Auth>, Vec<String>) {
    let others = registry.others.iter().filter_map(|other| other.password.as_ref());
    let passwords = registry.password.iter().chain(others);
    let ours = registry.of_host(reference.registry());
    let auth = ours.and_then(|ours| Some(Auth::new(ours.username?, ours.password?.reveal())));
    (auth, passwords.map(|secret| secret.reveal().to_owned()).collect())
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        use std::io::ErrorKind::FileTooLarge;
        let code = match &error {
            SpecError::EnvFile { source, .. } if source.kind() == FileTooLarge => {
                Code::FileTooLarge
            }
            SpecError::EnvFile { .. } => Code::FileUnreadable,
            SpecError::Value { .. }
            | SpecError::SamePort { .. }
            | SpecError::NoPort { .. }
            | SpecError::Env(_) => Code::Usage,
        };
        let hint = match &error {
            SpecError::NoPort { .. } => {
                "--health-port says where it answers; --health container and none need no port"
            }
            _ => "nothing was changed; remote-swap --help lists the options",
        };
        Self::new(code, without_passwords(&error.to_string())).hint(hint)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::spec::tests::options;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn document(sections: &str) -> Document {
        let text = format!(r#"{{"schema":"slipway.release/v1"{sections}}}"#);
        Document::parse(text.as_bytes()).unwrap()
    }

    fn read(args: &[&str], sections: &str) -> Result<Job, Failure> {
        let args: Vec<&str> = ["--strategy=recreate"].iter().chain(args).copied().collect();
        Job::new(&options(&args), &document(sections), &|_| None)
    }

    /// The job of these options, for some image.
    pub(crate) fn job(args: &[&str]) -> Job {
        read(args, &push("r.example")).unwrap_or_else(|failure| panic!("{}", failure.message))
    }

    fn push(host: &str) -> String {
        format!(r#","push":{{"reference":"{host}/team/web@{DIGEST}"}}"#)
    }

    #[test]
    fn the_application_is_named_after_the_repository() {
        let job = job(&[]);
        assert_eq!(job.app, "web");
        assert_eq!(job.reference.to_string(), format!("r.example/team/web@{DIGEST}"));
    }

    #[test]
    fn a_reference_without_a_digest_is_refused() {
        let failure = read(&["--image=r.example/web:1"], "").err().unwrap();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.message.contains("no digest") && failure.hint.unwrap().contains("sha256"));
        let failure = read(&[], r#","push":{"reference":"r.example/web:1"}"#).err().unwrap();
        assert_eq!(failure.code, Code::BadSection);
        let failure = read(&[], "").err().unwrap();
        assert_eq!(failure.code, Code::MissingSection);
    }

    #[test]
    fn credentials_go_to_their_own_registry_only() {
        let registry = r#","registry":{"host":"r.example","username":"AWS","password":"hunter2"}"#;
        let auth = |host: &str| {
            read(&[], &format!("{}{registry}", push(host)))
                .unwrap_or_else(|f| panic!("{}", f.message))
                .auth
        };
        assert!(auth("r.example").is_some());
        assert!(auth("evil.example").is_none());
    }

    #[test]
    fn registries_beside_the_images_own_have_credentials_of_their_own() {
        let registry = r#","registry":{"host":"r.example","username":"AWS","password":"hunter2",
            "others":[{"host":"front.example","username":"AWS","password":"other"}]}"#;
        let front = |image: &str| {
            let document = format!("{}{registry}", push("r.example"));
            let job = read(&["--front-image", image], &document);
            let job = job.unwrap_or_else(|f| panic!("{}", f.message));
            let image = job.front_image.unwrap().parse().unwrap();
            credentials(&job.registry, &image).0.map(|auth| auth.password)
        };
        assert_eq!(front("front.example/haproxy:3.2").as_deref(), Some("other"));
        assert_eq!(front("r.example/haproxy:3.2").as_deref(), Some("hunter2"));
        assert_eq!(front("haproxy:3.2"), None);
    }

    #[test]
    fn what_the_document_tells_of_another_image_is_not_used() {
        let sections = format!(r#"{},"image":{{"tag":"1.2","revision":"abc"}}"#, push("r.example"));
        let of =
            |args: &[&str]| read(args, &sections).unwrap_or_else(|f| panic!("{}", f.message)).tag;
        assert_eq!(of(&[]).as_deref(), Some("1.2"));
        assert_eq!(of(&[&format!("--image=r.example/x@{DIGEST}")]), None);
    }
}
