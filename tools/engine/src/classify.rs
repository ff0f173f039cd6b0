//! What an engine's message means.
//!
//! The engine passes on a registry's refusal as text, and the text is all
//! there is to tell an expired token from a missing repository. The phrases
//! are those of distribution's error codes, of Amazon ECR, of Docker 20.10's
//! own registry client and of containerd's, which newer engines use.

use crate::error::Error;

/// How a registry refused or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistryFault {
    /// No credentials, wrong ones, or expired ones.
    Unauthorized,
    /// The credentials are good but do not allow this.
    Denied,
    /// The repository does not exist (Amazon ECR creates none by itself).
    RepositoryNotFound,
    /// The tag exists, differs, and tags of the repository cannot be moved.
    TagImmutable,
    /// The repository has no such manifest or tag.
    ManifestUnknown,
    /// The image has no variant for the platform asked for.
    PlatformMissing,
    /// The registry cannot be reached from the engine.
    Unreachable,
    /// The registry's certificate is not trusted, or one side speaks no TLS.
    Tls,
    /// Too many requests.
    RateLimited,
    /// The registry failed inside.
    ServerError,
    /// The registry found the request itself wrong.
    Rejected,
}

impl RegistryFault {
    /// Whether the same request may succeed a moment later without a change.
    pub fn transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::RateLimited | Self::ServerError)
    }
}

/// A message's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// The registry is at fault.
    Registry(RegistryFault),
    /// The engine's disk is full.
    DiskFull,
    /// The name is unknown to the engine itself.
    NotFound,
    /// No range of addresses is left for another network.
    AddressPool,
}

impl Meaning {
    pub(crate) fn into_error(self, message: String) -> Error {
        match self {
            Self::Registry(fault) => Error::Registry { fault, message },
            Self::DiskFull => Error::DiskFull { message },
            Self::NotFound => Error::NotFound { message },
            Self::AddressPool => Error::AddressPool { message },
        }
    }
}

/// Phrases in the order in which they decide: a message may hold several
/// ("denied: Your authorization token has expired"), the more telling first.
const PHRASES: &[(&[&str], Meaning)] = {
    use Meaning::Registry as R;
    use RegistryFault as F;
    &[
        (
            &["no space left on device", "disk quota exceeded", "not enough space"],
            Meaning::DiskFull,
        ),
        (
            // Docker up to 25, and since.
            &[
                "non-overlapping ipv4 address pool",
                "predefined address pools have been fully subnetted",
                "could not find an available, non-overlapping",
            ],
            Meaning::AddressPool,
        ),
        (
            &["no such image", "an image does not exist locally", "tag does not exist:"],
            Meaning::NotFound,
        ),
        (
            &["tag is immutable", "immutabletag", "cannot be overwritten because the tag"],
            R(F::TagImmutable),
        ),
        (
            &[
                "toomanyrequests",
                "rate exceeded",
                "429 too many requests",
                "too many requests",
                "rate limit",
            ],
            R(F::RateLimited),
        ),
        (
            &[
                "authorization token has expired",
                "no basic auth credentials",
                "authentication required",
                "incorrect username or password",
                "invalid username or password",
                "invalid username/password",
                "authorization failed: no basic auth credentials",
                "401 unauthorized",
                "unauthorized:",
                "authorization token is invalid",
                "not authorized to perform: ecr:getauthorizationtoken",
            ],
            R(F::Unauthorized),
        ),
        (
            &[
                "repository with name",
                "repository name not known to registry",
                "repository not found",
                "name unknown",
                "name_unknown",
                "repositorynotfoundexception",
            ],
            R(F::RepositoryNotFound),
        ),
        (
            &[
                "no matching manifest for",
                "no match for platform",
                "does not provide the specified platform",
            ],
            R(F::PlatformMissing),
        ),
        (
            &[
                "manifest unknown",
                "manifest_unknown",
                "manifest for",
                "requested image not found",
                "not found: manifest",
            ],
            R(F::ManifestUnknown),
        ),
        (
            &[
                "is not authorized to perform",
                "access to the resource is denied",
                "access denied",
                "insufficient_scope",
                "403 forbidden",
                "denied:",
            ],
            R(F::Denied),
        ),
        (
            &[
                "x509:",
                "tls: ",
                "server gave http response to https client",
                "certificate signed by unknown authority",
                "certificate has expired",
            ],
            R(F::Tls),
        ),
        (
            &[
                "connection refused",
                "no such host",
                "no route to host",
                "network is unreachable",
                "i/o timeout",
                "tls handshake timeout",
                "connection reset by peer",
                "broken pipe",
                "temporary failure in name resolution",
                "server misbehaving",
                "client.timeout exceeded",
                "request canceled while waiting for connection",
                "context deadline exceeded",
                "unexpected eof",
                "http: server closed idle connection",
                "use of closed network connection",
                "failed to do request",
            ],
            R(F::Unreachable),
        ),
        (
            &[
                "500 internal server error",
                "502 bad gateway",
                "503 service unavailable",
                "504 gateway time",
                "blob upload unknown",
                "blob upload invalid",
                "digest did not match",
                "received unexpected http status: 5",
            ],
            R(F::ServerError),
        ),
        (
            &[
                "manifest invalid",
                "name invalid",
                "tag invalid",
                "size invalid",
                "manifest blob unknown",
                "unsupported:",
            ],
            R(F::Rejected),
        ),
    ]
};

/// Reads the meaning of an engine's message; `None` when it says nothing of a
/// registry or a full disk.
pub fn classify(message: &str) -> Option<Meaning> {
    let lower = message.to_lowercase();
    // A push that is hung up on (Amazon ECR does so for some refusals) leaves
    // nothing but these letters.
    if lower.trim() == "eof" || lower.trim_end().ends_with(": eof") {
        return Some(Meaning::Registry(RegistryFault::Unreachable));
    }
    // A handshake that timed out is the network's fault, not a certificate's.
    if lower.contains("tls handshake timeout") {
        return Some(Meaning::Registry(RegistryFault::Unreachable));
    }
    PHRASES
        .iter()
        .find(|(phrases, _)| phrases.iter().any(|phrase| lower.contains(phrase)))
        .map(|(_, meaning)| *meaning)
}

/// What to do about what an engine's machine lacks, by the words in which the engine passes it on.
const ADVICE: &[(&[&str], &str)] = &[
    (
        &["no chain/target/match by that name", "unable to enable dnat rule", "iptables failed"],
        "a firewall that was loaded anew has taken Docker's rules away: restart the engine there, with systemctl restart docker",
    ),
    (
        &["exec format error"],
        "the image, or its entrypoint, is for another processor: imgbuild --platform",
    ),
    (
        &["already exists in network"],
        "docker network disconnect -f NETWORK CONTAINER there removes what a container that is gone has left",
    ),
    (
        &["is too new. maximum supported api version", "is too old. minimum supported api version"],
        "install another version of Docker there: 20.10 or newer",
    ),
    (&["cannot allocate memory"], "the machine has no memory left: free -m there tells"),
    (
        &["too many open files"],
        "the engine's limit of open files is too low: LimitNOFILE of docker.service",
    ),
    (
        &["read-only file system"],
        "the disk there is mounted read-only, often after an error of its own: look at dmesg",
    ),
];

/// What to do next, if an engine's message tells of something that its own words do not explain.
pub(crate) fn advice(message: &str) -> Option<&'static str> {
    let lower = message.to_lowercase();
    let found = ADVICE.iter().find(|(words, _)| words.iter().any(|word| lower.contains(word)));
    found.map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RegistryFault as F;

    #[test]
    fn messages_that_need_an_explanation_have_one() {
        for (message, advice_of) in [
            (
                "driver failed programming external connectivity on endpoint web: (iptables failed: iptables --wait -t nat -A DOCKER: iptables: No chain/target/match by that name.",
                "restart the engine",
            ),
            (
                "standard_init_linux.go:228: exec user process caused: exec format error",
                "--platform",
            ),
            ("endpoint with name web already exists in network bridge", "disconnect -f"),
            ("client version 1.54 is too new. Maximum supported API version is 1.41", "20.10"),
        ] {
            assert!(advice(message).unwrap().contains(advice_of), "{message}");
        }
        assert_eq!(advice("bad parameter"), None);
    }

    #[test]
    fn a_network_without_addresses_is_told_from_other_failures() {
        for message in [
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            "all predefined address pools have been fully subnetted",
        ] {
            assert_eq!(classify(message), Some(Meaning::AddressPool), "{message}");
            let hint = Error::from_answer(500, message).hint();
            assert!(hint.contains("docker network prune"), "{hint}");
            assert!(hint.contains("default-address-pools"), "{hint}");
        }
    }

    const CASES: &[(&str, F)] = &[
        // Amazon ECR.
        (
            "name unknown: The repository with name 'x' does not exist in the registry with id '123456789012'",
            F::RepositoryNotFound,
        ),
        (
            "tag invalid: The image tag 'x' already exists in the 'y' repository and cannot be overwritten because the tag is immutable.",
            F::TagImmutable,
        ),
        (
            "denied: Your authorization token has expired. Reauthenticate and try again.",
            F::Unauthorized,
        ),
        ("no basic auth credentials", F::Unauthorized),
        (
            "denied: User: arn:aws:sts::123456789012:assumed-role/ci/i-0 is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-central-1:123456789012:repository/y because no identity-based policy allows the ecr:InitiateLayerUpload action",
            F::Denied,
        ),
        ("toomanyrequests: Rate exceeded", F::RateLimited),
        // Docker 20.10 and distribution.
        ("unauthorized: authentication required", F::Unauthorized),
        (
            "Head \"http://127.0.0.1:5000/v2/app/manifests/sha256:00\": no basic auth credentials",
            F::Unauthorized,
        ),
        ("unauthorized: incorrect username or password", F::Unauthorized),
        ("manifest unknown: manifest unknown", F::ManifestUnknown),
        (
            "manifest for localhost:5000/app:1 not found: manifest unknown: manifest unknown",
            F::ManifestUnknown,
        ),
        ("name unknown: repository name not known to registry", F::RepositoryNotFound),
        (
            "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            F::Denied,
        ),
        ("denied: requested access to the resource is denied", F::Denied),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            F::PlatformMissing,
        ),
        ("Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host", F::Unreachable),
        (
            "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
            F::Unreachable,
        ),
        ("Get \"https://10.0.0.1/v2/\": net/http: TLS handshake timeout", F::Unreachable),
        (
            "Get \"https://10.0.0.1/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            F::Unreachable,
        ),
        ("Get \"https://10.0.0.1/v2/\": dial tcp 10.0.0.1:443: i/o timeout", F::Unreachable),
        ("EOF", F::Unreachable),
        ("Get \"https://r.example/v2/\": x509: certificate signed by unknown authority", F::Tls),
        (
            "Get \"https://10.0.0.1:5000/v2/\": http: server gave HTTP response to HTTPS client",
            F::Tls,
        ),
        ("remote error: tls: bad certificate", F::Tls),
        (
            "Error response from daemon: Get https://registry-1.docker.io/v2/library/x/manifests/1: toomanyrequests: You have reached your pull rate limit.",
            F::RateLimited,
        ),
        ("received unexpected HTTP status: 500 Internal Server Error", F::ServerError),
        ("received unexpected HTTP status: 503 Service Unavailable", F::ServerError),
        ("blob upload unknown: blob upload unknown to registry", F::ServerError),
        ("manifest invalid: manifest invalid", F::Rejected),
        // containerd's client, used by newer engines.
        (
            "failed to resolve reference \"r.example/app:1\": unexpected status from HEAD request to https://r.example/v2/app/manifests/1: 401 Unauthorized",
            F::Unauthorized,
        ),
        (
            "failed to resolve reference \"r.example/app:1\": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            F::Denied,
        ),
        (
            "failed to do request: Post \"https://1.dkr.ecr.eu-central-1.amazonaws.com/v2/app/blobs/uploads/\": EOF",
            F::Unreachable,
        ),
        (
            "unexpected status from POST request to https://r.example/v2/app/blobs/uploads/: 403 Forbidden",
            F::Denied,
        ),
    ];

    #[test]
    fn registries_messages() {
        for (message, fault) in CASES {
            assert_eq!(classify(message), Some(Meaning::Registry(*fault)), "{message}");
        }
    }

    #[test]
    fn the_engines_own_messages() {
        for message in [
            "write /var/lib/docker/tmp/x: no space left on device",
            "failed to register layer: Error processing tar file(exit status 1): write /x: no space left on device",
        ] {
            assert_eq!(classify(message), Some(Meaning::DiskFull), "{message}");
        }
        assert_eq!(classify("No such image: app:1"), Some(Meaning::NotFound));
        assert_eq!(
            classify("An image does not exist locally with the tag: r.example/app"),
            Some(Meaning::NotFound)
        );
        for message in ["", "Conflict. The container name is in use", "bad parameter"] {
            assert_eq!(classify(message), None, "{message}");
        }
    }

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        assert!(
            F::RateLimited.transient() && F::Unreachable.transient() && F::ServerError.transient()
        );
        for fault in [
            F::Unauthorized,
            F::Denied,
            F::RepositoryNotFound,
            F::TagImmutable,
            F::ManifestUnknown,
            F::Tls,
        ] {
            assert!(!fault.transient(), "{fault:?}");
        }
    }
}
