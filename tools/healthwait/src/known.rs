//! Whether this machine knows where a request goes.

use std::path::PathBuf;

use slipway_probe::{Address, Target};
use slipway_release::{Deploy, Document};
use slipway_ssh::HostKeyPolicy;

use crate::Options;
use crate::goals::{Goals, ssh_host};

/// The port of SSH (RFC 4253, section 4).
const SSH: u16 = 22;

/// Whether every host that an HTTP request would be sent to is one that this machine knows: it has an
/// entry of its own in the known_hosts files that SSH uses here. It is asked before a document may
/// have the value of an environment variable sent. The answer is no where that cannot be said.
#[must_use]
pub fn known_destination(options: &Options, document: &Document) -> bool {
    // Names that mean other addresses than usual, somebody in between, and the names of another
    // host's network say nothing of where it ends.
    if options.proxy.is_some() || options.via.is_some() || !options.resolve.is_empty() {
        return false;
    }
    if !options.host_key.is_empty() {
        return false;
    }
    let files = match (&options.known_hosts, HostKeyPolicy::default()) {
        (Some(file), _) => vec![PathBuf::from(file)],
        (None, HostKeyPolicy::KnownHosts(files)) => files,
        (None, HostKeyPolicy::Fingerprints(_)) => return false,
    };
    let known = |host: &str, port| slipway_ssh::is_known(host, port, &files);
    let Ok(Goals { goals, .. }) = Goals::new(options, document) else { return false };
    let deploy: Deploy = document.get().ok().flatten().unwrap_or_default();
    // Their SSH servers may listen on ports of their own.
    let hosts: Vec<slipway_ssh::Target> =
        deploy.hosts.iter().filter_map(|host| ssh_host(&host.host).ok()).collect();
    let address = |address: &Address| {
        let deployed = hosts.iter().filter(|host| host.host.eq_ignore_ascii_case(&address.host));
        known(&address.host, SSH) || { deployed }.any(|host| known(&host.host, host.port))
    };
    goals.iter().all(|goal| match (&goal.through, &goal.target) {
        (Some(host), _) => known(&host.host, host.port),
        (None, Target::Http(url)) => url.socket.is_none() && address(&url.address),
        // No header is sent there.
        (None, Target::Tcp(_) | Target::Tls(_)) => true,
        (None, Target::Unix(_) | Target::Container(_)) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use serde_json::{Value, json};

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    /// What is said of these options and this document, where these lines are the known hosts.
    fn known(lines: &[&str], args: &[&str], mut document: Value) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        let text: Vec<String> = lines.iter().map(|line| format!("{line} {KEY}\n")).collect();
        std::fs::write(&file, text.concat()).unwrap();
        let file = format!("--known-hosts={}", file.display());
        let command = Options::augment_args(Command::new("healthwait").no_binary_name(true));
        let args: Vec<&str> = args.iter().copied().chain([file.as_str()]).collect();
        let options = Options::from_arg_matches(&command.try_get_matches_from(args).unwrap());
        document["schema"] = json!("slipway.release/v1");
        let document = Document::parse(document.to_string().as_bytes()).unwrap();
        known_destination(&options.unwrap(), &document)
    }

    #[test]
    fn every_target_has_to_be_on_a_known_host() {
        let of = |args: &[&str]| known(&["app.example", "10.0.0.7"], args, json!({}));
        assert!(of(&["http://app.example:8000/x", "https://APP.example/", "http://10.0.0.7"]));
        assert!(of(&["http://app.example", "tcp://evil.example:1"]));
        assert!(!of(&["http://app.example", "http://evil.example"]));
        assert!(!of(&["http://app.example.evil.example"]));
        assert!(!of(&["http+unix:///run/app.sock:/x"]));
        assert!(!of(&["http://127.0.0.1"]));
    }

    #[test]
    fn what_turns_the_way_is_not_known() {
        for arg in [
            "--resolve=app.example:80:10.6.6.6",
            "--proxy=http://evil.example:3128",
            "--via=ssh://a@app.example",
        ] {
            assert!(!known(&["app.example"], &["http://app.example/", arg], json!({})), "{arg}");
        }
        // A line that is for all hosts says nothing of one.
        assert!(!known(
            &["*", "*.example", "@cert-authority *"],
            &["http://app.example/"],
            json!({})
        ));
        assert!(!known(&["@revoked app.example"], &["http://app.example/"], json!({})));
    }

    #[test]
    fn the_hosts_of_a_deploy_are_known_by_their_own_port() {
        let document = |host: &str, key: &str, url: &str| json!({"deploy": {"hosts": [{"host": host, key: url, "outcome": "deployed"}]}});
        let of = |document| known(&["[app.example]:2222"], &[], document);
        assert!(of(document("a@app.example:2222", "url", "http://app.example:80")));
        assert!(of(document("a@app.example:2222", "local_url", "http://127.0.0.1:80")));
        assert!(!of(document("a@app.example", "url", "http://app.example:80")));
        assert!(!of(document("a@app.example:2222", "url", "http://evil.example")));
        assert!(!of(document("a@evil.example", "local_url", "http://127.0.0.1:80")));
        assert!(!of(json!({})));
    }
}
