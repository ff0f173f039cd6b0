//! What docker's own configuration has for a build: logins to registries, and proxies.

pub(crate) mod helper;

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use slipway_release::Secret;
use slipway_untrusted::file::open_regular;
use slipway_untrusted::{TooLarge, limit};

use crate::error::Error;
use crate::secrets::Login;

/// How a login to Docker Hub is called in the file, whatever the host is called that asks for it.
const HUB: &str = "https://index.docker.io/v1/";
/// `config.json`, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DockerConfig {
    #[serde(deserialize_with = "or_none")]
    auths: BTreeMap<String, Stored>,
    #[serde(deserialize_with = "or_none")]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
    #[serde(deserialize_with = "or_none")]
    proxies: BTreeMap<String, Proxies>,
}

/// To docker, `null` is the same as nothing.
fn or_none<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
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

impl DockerConfig {
    /// The user's: in `DOCKER_CONFIG`, else in `~/.docker`. None is an empty one.
    pub(crate) fn load() -> Result<Self, Error> {
        let directory = env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
        let Some(directory) = directory.map(PathBuf::from).or_else(home) else {
            return Ok(Self::default());
        };
        Self::read(directory.join("config.json"))
    }

    /// That of a file; a missing or an empty one has nothing, as to docker.
    fn read(path: PathBuf) -> Result<Self, Error> {
        let text = open_regular(&path).and_then(|file| limit::DOCKER_CONFIG.read(file));
        match text {
            Ok(text) => Self::parse(&text, &path),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Self::default())
            }
            Err(error) => match error.downcast::<TooLarge>() {
                Ok(large) => Err(Error::BadDockerConfig { path, why: large.to_string() }),
                Err(source) => Err(Error::Unreadable { path, source }),
            },
        }
    }

    pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Self, Error> {
        // The parser's own words could quote what is in the file.
        let bad = |line: usize| Error::BadDockerConfig {
            why: format!("line {line} cannot be read"),
            path: path.to_owned(),
        };
        match text.trim_ascii() {
            b"" | b"null" => Ok(Self::default()),
            object if object.starts_with(b"{") => {
                serde_json::from_slice(text).map_err(|error| bad(error.line()))
            }
            _ => Err(bad(1)),
        }
    }

    /// The login for a registry's host: that of its own helper, of the general one, or in the file.
    pub(crate) async fn login(&self, host: &str) -> Result<Option<Login>, Error> {
        let key = if is_hub(host) { HUB } else { host };
        let helper = self.cred_helpers.get(key).or_else(|| self.cred_helpers.get(host));
        let helper = helper.or(self.creds_store.as_ref()).filter(|name| !name.is_empty());
        let found = match helper {
            Some(helper) => helper::ask(helper, key).await?,
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
    fn what_holds_nothing_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            DockerConfig::read(path.clone())
        };
        for text in ["", " \n\t", "null", "{}", r#"{"auths": null, "credsStore": null}"#] {
            assert!(read(text).unwrap().auths.is_empty(), "{text:?}");
        }
        for text in ["{", "[]", "hunter2", r#"{"auths": "hunter2"}"#] {
            let told = read(text).err().unwrap().to_string();
            assert!(told.ends_with("line 1 cannot be read") && !told.contains("hunter2"), "{told}");
        }
        let told = read(&" ".repeat(1024 * 1024 + 1)).err().unwrap().to_string();
        assert!(told.ends_with("Docker's configuration is larger than 1 MiB"), "{told}");
        std::fs::remove_file(&path).unwrap();
        assert!(DockerConfig::read(path.clone()).is_ok());
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(DockerConfig::read(path).err().unwrap().to_string().contains("regular file"));
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
