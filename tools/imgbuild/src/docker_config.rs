//! What docker's own configuration has for a build: logins to registries, and proxies.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use slipway_release::Secret;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Error, reason};
use crate::secrets::Login;

/// How a login to Docker Hub is called in the file, whatever the host is called that asks for it.
const HUB: &str = "https://index.docker.io/v1/";
/// The name that a helper gives with a token instead of a password.
const TOKEN: &str = "<token>";
/// A helper may ask a person or a server; one that takes longer does not answer.
const LIMIT: Duration = Duration::from_secs(60);

/// `config.json`, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DockerConfig {
    auths: BTreeMap<String, Stored>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
    proxies: BTreeMap<String, Proxies>,
}

/// A login in the file itself; empty where a helper keeps it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Proxies {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
    ftp_proxy: Option<String>,
    all_proxy: Option<String>,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

impl DockerConfig {
    /// The user's: in `DOCKER_CONFIG`, else in `~/.docker`. None is an empty one.
    pub(crate) fn load() -> Result<Self, Error> {
        let directory = env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
        let Some(directory) = directory.map(PathBuf::from).or_else(home) else {
            return Ok(Self::default());
        };
        let path = directory.join("config.json");
        match fs::read(&path) {
            // The parser's own words could quote what is in the file.
            Ok(text) => serde_json::from_slice(&text).map_err(|error| Error::BadDockerConfig {
                why: format!("line {} cannot be read", error.line()),
                path,
            }),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Self::default())
            }
            Err(source) => Err(Error::Unreadable { path, source }),
        }
    }

    /// The login for a registry's host: that of its own helper, of the general one, or in the file.
    pub(crate) async fn login(&self, host: &str) -> Result<Option<Login>, Error> {
        let key = if is_hub(host) { HUB } else { host };
        let helper = self.cred_helpers.get(key).or_else(|| self.cred_helpers.get(host));
        let found = match helper.or(self.creds_store.as_ref()) {
            Some(helper) => ask(helper, key).await?,
            None => self.stored(key),
        };
        Ok(found.map(|(username, password)| Login { host: host.to_owned(), username, password }))
    }

    /// Every login that the file tells of, for the builder that wants them all at once.
    pub(crate) async fn logins(&self) -> Result<Vec<Login>, Error> {
        let mut logins = Vec::new();
        for key in self.auths.keys().chain(self.cred_helpers.keys()) {
            let host = if key == HUB { HUB } else { host_of(key) };
            if !logins.iter().any(|login: &Login| login.host == host) {
                logins.extend(self.login(host).await?);
            }
        }
        Ok(logins)
    }

    /// A login that stands in the file; its key may be a URL.
    fn stored(&self, key: &str) -> Option<(String, Secret)> {
        let same = || self.auths.iter().find(|(known, _)| host_of(known) == host_of(key));
        let stored = self.auths.get(key).or_else(|| same().map(|(_, stored)| stored))?;
        if let Some(token) =
            stored.identitytoken.as_ref().filter(|token| !token.reveal().is_empty())
        {
            return Some((String::new(), token.clone()));
        }
        if let (Some(username), Some(password)) = (&stored.username, &stored.password) {
            return Some((username.clone(), password.clone()));
        }
        let decoded = STANDARD.decode(stored.auth.as_ref()?.reveal().trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (username, password) = decoded.split_once(':')?;
        Some((username.to_owned(), Secret::from(password.trim_end_matches('\0').to_owned())))
    }

    /// The proxies for steps, as build arguments by both of their usual names. `engine` is the engine's
    /// address, which may have some of its own.
    pub(crate) fn proxies(&self, engine: &str) -> BTreeMap<String, String> {
        let Some(of) = self.proxies.get(engine).or_else(|| self.proxies.get("default")) else {
            return BTreeMap::new();
        };
        let pairs = [
            ("HTTP_PROXY", &of.http_proxy),
            ("HTTPS_PROXY", &of.https_proxy),
            ("NO_PROXY", &of.no_proxy),
            ("FTP_PROXY", &of.ftp_proxy),
            ("ALL_PROXY", &of.all_proxy),
        ];
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given
            .flat_map(|(name, value)| {
                [name.to_owned(), name.to_lowercase()].map(|name| (name, value.clone()))
            })
            .collect()
    }
}

fn is_hub(host: &str) -> bool {
    matches!(host, HUB | "registry-1.docker.io" | "index.docker.io" | "docker.io")
}

/// The host in a key that may be a URL.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Asks `docker-credential-NAME`; `None` when it has nothing for this host.
async fn ask(name: &str, host: &str) -> Result<Option<(String, Secret)>, Error> {
    let failed =
        |why: String| Error::CredentialHelper { name: name.to_owned(), host: host.to_owned(), why };
    if name.contains('/') {
        return Err(failed("its name is no helper's".to_owned()));
    }
    let mut command = Command::new(format!("docker-credential-{name}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let asking = async {
        let mut child = command.kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that answers without reading is not wrong.
            let _unread = stdin.write_all(host.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(LIMIT, asking)
        .await
        .map_err(|_| failed(format!("it did not answer within {} s", LIMIT.as_secs())))?
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed("it is not installed".to_owned()),
            _ => failed(reason(&error)),
        })?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stdout);
        let told = told.trim().lines().next().unwrap_or_default();
        return match told {
            told if told.contains("credentials not found") => Ok(None),
            "" => Err(failed("it failed and told no reason".to_owned())),
            told => Err(failed(told.to_owned())),
        };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not that of a helper".to_owned()))?;
    // A token stands in the place of the password, and then there is no name.
    let username = if answer.username == TOKEN { String::new() } else { answer.username };
    Ok(Some((username, answer.secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> DockerConfig {
        serde_json::from_str(text).unwrap()
    }

    async fn of(config: &DockerConfig, host: &str) -> Option<(String, String)> {
        let login = config.login(host).await.unwrap()?;
        Some((login.username, login.password.reveal().to_owned()))
    }

    fn pair(username: &str, password: &str) -> Option<(String, String)> {
        Some((username.to_owned(), password.to_owned()))
    }

    #[tokio::test]
    async fn logins_in_the_file() {
        let auth = |text: &str| STANDARD.encode(text);
        let config = config(&format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{}"}}, "r.example": {{"auth": "{}"}},
                "https://old.example/v2/": {{"username": "u", "password": "p"}}, "empty.example": {{}},
                "token.example": {{"auth": "{}", "identitytoken": "t"}}}}, "HttpHeaders": {{"a": "b"}}}}"#,
            auth("hub:a:b"),
            auth("me:secret"),
            auth("x:y"),
        ));
        assert_eq!(of(&config, "registry-1.docker.io").await, pair("hub", "a:b"));
        assert_eq!(of(&config, "r.example").await, pair("me", "secret"));
        assert_eq!(of(&config, "old.example").await, pair("u", "p"));
        assert_eq!(of(&config, "token.example").await, pair("", "t"));
        assert_eq!(of(&config, "empty.example").await, None);
        assert_eq!(of(&config, "other.example").await, None);
        let hosts: Vec<String> =
            config.logins().await.unwrap().into_iter().map(|login| login.host).collect();
        assert_eq!(hosts, [HUB, "old.example", "r.example", "token.example"]);
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_is_told_by_name() {
        let config = config(r#"{"credsStore": "slipway-no-such-helper"}"#);
        let error = config.login("r.example").await.err().unwrap();
        assert!(error.to_string().contains("docker-credential-slipway-no-such-helper"), "{error}");
    }

    #[test]
    fn proxies_by_both_names() {
        let config = config(
            r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a,b"},
                "tcp://e:2375": {"httpsProxy": "http://q:1"}}}"#,
        );
        let proxies = config.proxies("unix:///var/run/docker.sock");
        assert_eq!(proxies.len(), 4);
        assert_eq!(
            (proxies["HTTP_PROXY"].as_str(), proxies["no_proxy"].as_str()),
            ("http://p:1", "a,b")
        );
        assert_eq!(config.proxies("tcp://e:2375")["https_proxy"], "http://q:1");
        assert!(DockerConfig::default().proxies("x").is_empty());
    }
}
