//! The sections of the document, one a tool, and the error that travels.
//!
//! All fields are optional on reading: a tool asks for what it needs and says what is missing,
//! and people may write a document by hand. What names something, such as an id or a host, is checked
//! to have its form ([`check`]).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{Reference, Secret, Section, check};

macro_rules! section {
    ($type:ident $name:literal) => {
        impl Section for $type {
            const NAME: &'static str = $name;
        }
    };
}

/// What imgbuild built.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Image {
    /// The image's name without registry and tag, such as `web`.
    #[serde(deserialize_with = "check::optional::<check::Repository, _>")]
    pub name: Option<String>,
    /// The first tag: the version of the release for people.
    #[serde(deserialize_with = "check::optional::<check::Tag, _>")]
    pub tag: Option<String>,
    /// All tags that the build was given, as `name:tag`.
    #[serde(deserialize_with = "check::all::<check::Named, _>")]
    pub tags: Vec<String>,
    /// The image id: the digest of the image's configuration, `sha256:…`.
    #[serde(deserialize_with = "check::optional::<check::Digest, _>")]
    pub id: Option<String>,
    /// Operating system and architecture, such as `linux/amd64` or `linux/arm64/v8`.
    #[serde(deserialize_with = "check::optional::<check::Platform, _>")]
    pub platform: Option<String>,
    /// Size of all layers unpacked, in bytes.
    pub size_bytes: Option<u64>,
    /// The commit that was built: the full object name in git.
    pub revision: Option<String>,
    /// Whether the built directory differs from that commit.
    pub dirty: Option<bool>,
    /// When that commit was made, RFC 3339 in UTC.
    pub committed_at: Option<String>,
    /// The branch that is checked out, or that the CI server says it builds.
    pub branch: Option<String>,
    /// The tag in git that names this commit; the highest version of several.
    pub git_tag: Option<String>,
    /// The URL of the git remote, without credentials.
    pub remote: Option<String>,
    /// The number of the build in its CI job.
    pub build_number: Option<u64>,
    /// The CI job that counts by that number.
    pub build_job: Option<String>,
    /// Where people find the build.
    pub build_url: Option<String>,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
    /// How many steps the build had.
    pub steps: Option<u32>,
    /// How many of them came from the cache.
    pub cached_steps: Option<u32>,
    /// How long the build took, in milliseconds.
    pub build_ms: Option<u64>,
    /// What the registry already has of this revision, by digest. Nothing was built then, and there
    /// is no id.
    #[serde(deserialize_with = "check::optional::<check::Pinned, _>")]
    pub pushed_reference: Option<String>,
}
section!(Image "image");

/// Where images go, and the credentials for it: what ecrlogin got.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Registry {
    /// The registry's host name, with a port if it has one.
    #[serde(deserialize_with = "check::optional::<check::Host, _>")]
    pub host: Option<String>,
    /// The AWS region, for Amazon ECR.
    #[serde(deserialize_with = "check::optional::<check::Region, _>")]
    pub region: Option<String>,
    /// The AWS account, for Amazon ECR: twelve digits.
    #[serde(deserialize_with = "check::optional::<check::Account, _>")]
    pub account: Option<String>,
    /// The repository that was made sure to exist.
    #[serde(deserialize_with = "check::optional::<check::Repository, _>")]
    pub repository: Option<String>,
    /// Whether that repository was created by this run.
    pub repository_created: Option<bool>,
    /// In what that repository differs, or differed until this run, from what was asked for.
    pub repository_differences: Option<Vec<RepositoryDifference>>,
    /// The user name.
    pub username: Option<String>,
    /// The password. A secret: it is written into a pipe and nowhere else.
    pub password: Option<Secret>,
    /// When the password ends to be valid, RFC 3339.
    pub expires_at: Option<String>,
    /// Registries beside the image's own that there are credentials for: of base images, of the front.
    #[serde(serialize_with = "none_if_empty")]
    #[schemars(with = "Vec<OtherRegistry>")]
    pub others: Vec<OtherRegistry>,
}
section!(Registry "registry");

/// A registry beside the image's own, and the credentials for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtherRegistry {
    /// The registry's host name.
    #[serde(
        deserialize_with = "check::one::<check::Host, _>",
        skip_serializing_if = "String::is_empty"
    )]
    pub host: String,
    /// The AWS region, for Amazon ECR.
    #[serde(deserialize_with = "check::optional::<check::Region, _>")]
    pub region: Option<String>,
    /// The AWS account, for a private registry of Amazon ECR.
    #[serde(deserialize_with = "check::optional::<check::Account, _>")]
    pub account: Option<String>,
    /// The user name.
    pub username: Option<String>,
    /// The password. A secret, as that of the image's registry.
    pub password: Option<Secret>,
    /// When the password ends to be valid, RFC 3339.
    pub expires_at: Option<String>,
}

/// An empty list is a field without a value, which is left out.
fn none_if_empty<S: Serializer>(
    others: &[OtherRegistry],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if others.is_empty() { serializer.serialize_none() } else { others.serialize(serializer) }
}

impl Registry {
    /// What there is for the registry of this host name; nothing of it may be shown to another one.
    #[must_use]
    pub fn of_host(&self, host: &str) -> Option<OtherRegistry> {
        if self.host.as_deref() != Some(host) {
            return self.others.iter().find(|other| other.host == host).cloned();
        }
        Some(OtherRegistry {
            host: host.to_owned(),
            region: self.region.clone(),
            account: self.account.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
            expires_at: self.expires_at.clone(),
        })
    }
}

/// One setting of a repository that is not as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RepositoryDifference {
    /// `tag_mutability`, `scan_on_push`, `lifecycle_policy`, `encryption`, or `tag ` and its key.
    pub setting: String,
    /// What was asked for, in the words of the ECR API.
    pub wanted: Value,
    /// What was found; none if it was not set.
    pub found: Option<Value>,
    /// Whether this run has changed it.
    pub reconciled: bool,
}

/// What imgpush pushed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, remote = "Self")]
pub struct Push {
    /// The repository in the registry, such as `team/web`.
    #[serde(deserialize_with = "check::optional::<check::Repository, _>")]
    pub repository: Option<String>,
    /// The tags that name the image there.
    #[serde(deserialize_with = "check::all::<check::Tag, _>")]
    pub tags: Vec<String>,
    /// The manifest's digest as the registry tells it, `sha256:…`.
    #[serde(deserialize_with = "check::optional::<check::Digest, _>")]
    pub digest: Option<String>,
    /// Host, repository and digest: what is pulled and what is signed.
    #[serde(deserialize_with = "check::optional::<check::Pinned, _>")]
    pub reference: Option<String>,
    /// The id of the image that was sent to hosts themselves; there is no digest and no reference
    /// then, and the repository is the name that it has there.
    #[serde(deserialize_with = "check::optional::<check::Digest, _>")]
    pub image_id: Option<String>,
    /// Those hosts: `USER@HOST[:PORT]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "check::all::<check::Login, _>")]
    pub hosts: Vec<String>,
    /// Layers that were sent.
    pub layers_uploaded: Option<u32>,
    /// Layers that the registry had.
    pub layers_existing: Option<u32>,
    /// Bytes of the layers that were sent: compressed where imgpush sent them itself, else as the
    /// engine counts them, before compression.
    pub bytes_uploaded: Option<u64>,
    /// Whether the registry had all of it, tags included.
    pub already_present: Option<bool>,
    /// Who sent the layers, if any were sent: `engine` or `direct`; `ssh` where hosts got them.
    pub via: Option<String>,
    /// How the layers are compressed, as far as it is known: `gzip`, or `zstd` if any of them is.
    /// Docker before 23 cannot read zstd.
    pub compression: Option<String>,
    /// The files that were attached to the image: its bill of materials, its provenance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Referrer>,
    /// How long the push took, in milliseconds.
    pub push_ms: Option<u64>,
}
section!(Push "push");

impl Serialize for Push {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Push {
    /// All of it has to be about one image: whoever checks the digest and whoever runs the reference
    /// must not see two.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let push = Self::deserialize(deserializer)?;
        match push.contradiction() {
            None => Ok(push),
            Some(what) => Err(D::Error::custom(what)),
        }
    }
}

impl Push {
    fn contradiction(&self) -> Option<&'static str> {
        let reference: Reference = self.reference.as_ref()?.parse().ok()?;
        if self.digest.as_deref().is_some_and(|digest| Some(digest) != reference.digest()) {
            return Some("expected the digest of `reference` to be `digest`: they name two images");
        }
        // Docker Hub's repositories may be written without their first part.
        let full = reference.repository();
        let full = full.strip_prefix(reference.registry()).and_then(|path| path.strip_prefix('/'));
        match self.repository.as_deref() {
            Some(path) if path != reference.path() && Some(path) != full => {
                Some("expected the repository of `reference` to be `repository`: they differ")
            }
            _ => None,
        }
    }
}

/// A file that is attached to the image in the registry.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Referrer {
    /// The digest of the manifest that refers to the image.
    #[serde(
        deserialize_with = "check::one::<check::Digest, _>",
        skip_serializing_if = "String::is_empty"
    )]
    pub digest: String,
    /// The media type of the file.
    pub media_type: String,
    /// What the registry lists it as.
    pub artifact_type: String,
    /// The file as it was given.
    pub file: String,
}

/// What remote-swap did.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Deploy {
    /// The application's name on its hosts.
    #[serde(deserialize_with = "check::optional::<check::Name, _>")]
    pub app: Option<String>,
    /// How containers were replaced: `blue-green` or `recreate`.
    pub strategy: Option<String>,
    /// Whether a new release was deployed or an earlier one brought back.
    pub kind: Option<DeployKind>,
    /// The name of this deploy: unique, and ordered by time.
    #[serde(deserialize_with = "check::optional::<check::Name, _>")]
    pub deploy_id: Option<String>,
    /// The path that answers whether the application is healthy, such as `/health`.
    #[serde(deserialize_with = "check::optional::<check::Path, _>")]
    pub health_path: Option<String>,
    /// What happened on each host, in the order in which they were given.
    pub hosts: Vec<HostOutcome>,
}
section!(Deploy "deploy");

/// What a deploy was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeployKind {
    /// It brought a new release.
    Deploy,
    /// It brought an earlier release back.
    Rollback,
}

/// What happened on one host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostOutcome {
    /// The host as it was given.
    #[serde(
        deserialize_with = "check::one::<check::Login, _>",
        skip_serializing_if = "String::is_empty"
    )]
    pub host: String,
    /// Where the application answers, if it publishes a port that others can reach: `http://…`,
    /// `https://…`, or `tcp://…` where a connection is all that can be asked for.
    #[serde(deserialize_with = "check::optional::<check::Url, _>")]
    pub url: Option<String>,
    /// Where it answers on the host itself, if it publishes its port on the loopback address only.
    #[serde(deserialize_with = "check::optional::<check::Url, _>")]
    pub local_url: Option<String>,
    /// By what its health was told: `http`, `https`, `tcp`, `container` (its HEALTHCHECK), or `none`,
    /// where it only had to stay up. With `none` there is no URL and nothing to ask.
    #[serde(deserialize_with = "check::optional::<check::Name, _>")]
    pub health: Option<String>,
    /// The name of the new container.
    #[serde(deserialize_with = "check::optional::<check::Name, _>")]
    pub container: Option<String>,
    /// The id of the new container.
    #[serde(deserialize_with = "check::optional::<check::Name, _>")]
    pub container_id: Option<String>,
    /// The reference that was started, by digest.
    #[serde(deserialize_with = "check::optional::<check::EngineImage, _>")]
    pub reference: Option<String>,
    /// The reference that served before, if there was one.
    #[serde(deserialize_with = "check::optional::<check::EngineImage, _>")]
    pub previous: Option<String>,
    /// The deploy that had put that there.
    #[serde(deserialize_with = "check::optional::<check::Name, _>")]
    pub previous_deploy_id: Option<String>,
    /// How long nothing served, in milliseconds: from the stop of the old container to the first
    /// good answer of the new one, or of the old one put back.
    pub unserved_ms: Option<u64>,
    /// How long the pull took, in milliseconds.
    pub pull_ms: Option<u64>,
    /// How long the new container took to become healthy, in milliseconds.
    pub start_ms: Option<u64>,
    /// How long the new container was watched and the old one ended its requests and stopped, in
    /// milliseconds; the new one serves meanwhile.
    pub drain_ms: Option<u64>,
    /// How long all of it took on this host, in milliseconds.
    pub swap_ms: Option<u64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// How a deploy ended on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new container serves.
    Deployed,
    /// The release served already; nothing was changed.
    Unchanged,
    /// It failed before anything was changed; what served before serves on.
    Failed,
    /// What served before serves again: it failed after the switch, another host failed, or it was
    /// undone later by `rollback --on-error`.
    RolledBack,
    /// It failed and nothing serves.
    Broken,
    /// The way to the host was lost during the switch: the new container serves, or what served before.
    Unknown,
    /// It was not begun, since an earlier host failed.
    Skipped,
}

/// What healthwait saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Health {
    /// One entry a target, in the order in which they were given.
    pub targets: Vec<HealthTarget>,
    /// How long it waited in all, in milliseconds.
    pub waited_ms: Option<u64>,
    /// The command that was run once all was healthy, if one was asked for.
    pub command: Option<HealthCommand>,
    /// The host that the targets were reached through, as `USER@HOST`, if there was one.
    pub via: Option<String>,
}
section!(Health "health");

/// The command that healthwait ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HealthCommand {
    /// The program; its arguments are left out, since they may hold secrets.
    pub program: String,
    /// Its exit status, or 128 and the number of the signal that ended it.
    pub exit: u8,
    /// How long it ran, in milliseconds.
    pub ran_ms: u64,
}

/// What healthwait saw of one target.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HealthTarget {
    /// The target, without user and password.
    pub url: String,
    /// The host that it was reached through, if it was its own deploy host: `USER@HOST`.
    pub via: Option<String>,
    /// Whether it met the conditions in the end.
    pub healthy: bool,
    /// How many times it was asked.
    pub attempts: u32,
    /// The status of the last HTTP answer.
    pub status: Option<u16>,
    /// The version that the last answer told, if it told one.
    pub version: Option<String>,
    /// How long the last answer took, in milliseconds.
    pub latency_ms: Option<u64>,
    /// How long it took until the conditions were met or given up, in milliseconds.
    pub waited_ms: u64,
    /// Why the last answer did not meet the conditions, if it did not.
    pub reason: Option<String>,
    /// The head of the last answer's body, at most 1,024 characters.
    pub body: Option<String>,
    /// The states in their order; equal ones in a row are one entry.
    pub timeline: Vec<Attempt>,
    /// When a try first met the conditions, in milliseconds since the start.
    pub first_success_ms: Option<u64>,
    /// The shortest time that an answer took, in milliseconds.
    pub latency_min_ms: Option<u64>,
    /// The time that one half of the answers did not exceed, in milliseconds.
    pub latency_median_ms: Option<u64>,
    /// The time that 99 of 100 answers did not exceed, in milliseconds.
    pub latency_p99_ms: Option<u64>,
    /// When the certificate ends that was shown last, in RFC 3339.
    pub certificate_expires_at: Option<String>,
    /// The last try that did not meet the conditions, if there was one.
    pub last_failure: Option<HealthFailure>,
}

/// A try that did not meet the conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HealthFailure {
    /// When it ended, in milliseconds since the start.
    pub at_ms: u64,
    /// Why it did not.
    pub reason: String,
    /// The status of its HTTP answer, if there was one.
    pub status: Option<u16>,
    /// The head of its body, at most 1,024 characters.
    pub body: Option<String>,
}

/// A state of a target, from one try to the last equal one in a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Attempt {
    /// When the state was first seen, in milliseconds since the start.
    pub at_ms: u64,
    /// What was seen: `ok`, or why not.
    pub state: String,
    /// How many tries in a row saw it.
    pub tries: u32,
}

/// The error that travels: once it is in the document every later tool does nothing, passes the
/// document on and exits with `exit`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ErrorSection {
    /// The tool that failed.
    pub tool: String,
    /// What went wrong, from the list in docs/contract.md; more may be added.
    pub code: String,
    /// The exit code of the whole pipeline.
    pub exit: u8,
    /// One line: what failed, on what, and why.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether the same command may succeed if it is run again later.
    pub retryable: bool,
    /// What was seen: the tail of a log, the last answer, the state of a container.
    pub evidence: Option<Value>,
}
section!(ErrorSection "error");
