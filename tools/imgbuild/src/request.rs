//! What is asked of BuildKit: the options in the terms of its Dockerfile frontend.

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::{CacheOptions, CacheOptionsEntry, SolveRequest};
use serde_json::json;

use crate::build::Job;
use crate::cache::{Cache, Place};
use crate::contexts::Source;
use crate::flags::{Anew, HOST_GATEWAY, Host, Limit};

/// The request for this job, whose session has the id `session`. `gateway` is the address that
/// `host-gateway` stands for.
pub(crate) fn request(job: &Job<'_>, session: &str, gateway: Option<&str>) -> SolveRequest {
    let names: Vec<String> = job.names.all.iter().map(ToString::to_string).collect();
    let host_network = job.network == Some("host");
    SolveRequest {
        r#ref: session.to_owned(),
        session: session.to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attributes(job, gateway),
        exporter_deprecated: "moby".to_owned(),
        exporter_attrs_deprecated: HashMap::from([("name".to_owned(), names.join(","))]),
        entitlements: host_network.then(|| "network.host".to_owned()).into_iter().collect(),
        cache: Some(CacheOptions {
            exports: job.cache_to.iter().map(entry).collect(),
            imports: job.cache_from.iter().map(entry).collect(),
            ..CacheOptions::default()
        }),
        ..SolveRequest::default()
    }
}

/// The same for every build of this job.
pub(crate) fn attributes(job: &Job<'_>, gateway: Option<&str>) -> HashMap<String, String> {
    let mut attributes = HashMap::from([
        ("filename".to_owned(), job.dockerfile.name.clone()),
        ("image-resolve-mode".to_owned(), if job.pull { "pull" } else { "default" }.to_owned()),
    ]);
    attributes.extend(job.args.iter().map(|(k, v)| (format!("build-arg:{k}"), v.clone())));
    for named in &job.contexts {
        let source = match &named.source {
            Source::Directory(_) => format!("local:{}", named.directory()),
            Source::Address(address) => address.clone(),
        };
        attributes.insert(format!("context:{}", named.name), source);
    }
    attributes.extend(job.labels.iter().map(|(k, v)| (format!("label:{k}"), v.clone())));
    let optional = [
        ("context", job.address.clone()),
        ("target", job.target.map(str::to_owned)),
        ("platform", some(job.platforms.join(","))),
        ("force-network-mode", job.network.map(str::to_owned)),
        ("add-hosts", some(hosts(&job.hosts, gateway))),
        ("shm-size", job.shm_size.map(|size| size.to_string())),
        ("ulimit", some(limits(&job.limits))),
        ("cache-imports", imports(&job.cache_from)),
        (
            "no-cache",
            match &job.anew {
                Anew::Nothing => None,
                // No stage is named: all are meant.
                Anew::Everything => Some(String::new()),
                Anew::Stages(stages) => Some(stages.join(",")),
            },
        ),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            attributes.insert(key.to_owned(), value);
        }
    }
    attributes
}

fn entry(cache: &Cache) -> CacheOptionsEntry {
    let mut attrs: HashMap<String, String> = cache.attributes.clone().into_iter().collect();
    match &cache.place {
        Place::Registry(name) => drop(attrs.insert("ref".to_owned(), name.clone())),
        Place::Directory(path) => {
            // One is for taking from it, the other for keeping in it.
            for key in ["src", "dest"] {
                attrs.insert(key.to_owned(), path.display().to_string());
            }
        }
        Place::Inline => {}
    }
    CacheOptionsEntry { r#type: cache.place.kind().to_owned(), attrs }
}

/// The frontend does the importing, since only it knows the steps.
fn imports(caches: &[Cache]) -> Option<String> {
    let entries = caches.iter().map(entry);
    let entries: Vec<_> =
        entries.map(|entry| json!({"Type": entry.r#type, "Attrs": entry.attrs})).collect();
    (!entries.is_empty()).then(|| json!(entries).to_string())
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn hosts(hosts: &[Host], gateway: Option<&str>) -> String {
    let pairs = hosts.iter().map(|Host { name, address }| {
        let address = if address == HOST_GATEWAY { gateway.unwrap_or(address) } else { address };
        format!("{name}={address}")
    });
    pairs.collect::<Vec<_>>().join(",")
}

fn limits(limits: &[Limit]) -> String {
    let texts = limits.iter().map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard));
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_limits_in_the_frontends_form() {
        let host = |name: &str, address: &str| Host { name: name.into(), address: address.into() };
        let both = [host("a", "10.0.0.1"), host("up", HOST_GATEWAY)];
        assert_eq!(hosts(&both, Some("172.17.0.1")), "a=10.0.0.1,up=172.17.0.1");
        let both = [
            Limit { name: "nofile".into(), soft: 1, hard: 2 },
            Limit { name: "core".into(), soft: -1, hard: -1 },
        ];
        assert_eq!(limits(&both), "nofile=1:2,core=-1:-1");
    }
}
