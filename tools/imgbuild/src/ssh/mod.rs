//! `--ssh`: steps that log in with keys which stay here.
//!
//! A step speaks the protocol of an SSH agent (draft-ietf-sshm-ssh-agent) to this side, which passes on
//! only the questions of what keys there are and for a signature: a step can neither add keys to the
//! user's agent nor take any away.

mod key;
mod modulo;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipway_untrusted::limit::{AGENT_MESSAGE, PRIVATE_KEY};
use slipway_untrusted::{TooLarge, file};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::error::{Error, reason};
pub(crate) use key::BadKey;
pub(crate) use key::Key;
use wire::{Reader, put_string};

const OPTION: &str = "--ssh";
/// The name that a step uses when it gives none.
const DEFAULT: &str = "default";

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// The agents of a build, by their ids.
#[derive(Clone, Default)]
pub(crate) struct Agents(BTreeMap<String, Agent>);

/// Where the keys are.
#[derive(Clone)]
pub(crate) enum Agent {
    /// With an agent that listens here.
    Socket(PathBuf),
    /// Read from files.
    Keys(Arc<Vec<Key>>),
}

impl Agents {
    /// Reads every `--ssh`: `ID`, `ID=SOCKET` or `ID=KEY[,KEY…]`. It may wait, as a file may be a
    /// pipe and an agent busy.
    pub(crate) fn load(specs: &[String]) -> Result<Self, Error> {
        let mut agents = BTreeMap::new();
        for spec in specs {
            let (id, paths) = spec.split_once('=').unwrap_or((spec, ""));
            let id = if id.is_empty() { DEFAULT } else { id };
            let agent = if paths.is_empty() { Agent::of_user()? } else { Agent::of_paths(paths)? };
            if agents.insert(id.to_owned(), agent).is_some() {
                return Err(Error::BadOption {
                    option: OPTION,
                    why: format!("the id `{id}` is given twice"),
                });
            }
        }
        Ok(Self(agents))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The agent of this id; an empty one means the default.
    pub(crate) fn get(&self, id: &str) -> Option<&Agent> {
        self.0.get(if id.is_empty() { DEFAULT } else { id })
    }
}

/// What a step is told that wants an agent which is not there.
pub(crate) fn missing(id: &str) -> String {
    format!("no SSH agent \"{}\" was given", if id.is_empty() { DEFAULT } else { id })
}

/// The id of the agent that a step wanted in vain, if that is what the engine tells: with our own
/// words, or with its own where it did not ask.
pub(crate) fn not_given(message: &str) -> Option<String> {
    let ours = message.split_once("no SSH agent \"");
    let (_, rest) = ours.or_else(|| message.split_once("no SSH key \""))?;
    let (id, _) = rest.split_once('"')?;
    Some(id.to_owned())
}

impl Agent {
    fn of_user() -> Result<Self, Error> {
        let path = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| Error::BadOption {
            option: OPTION,
            why: "no agent is running (SSH_AUTH_SOCK is not set); give a key as ID=FILE".to_owned(),
        })?;
        Self::of_socket(Path::new(&path))
    }

    fn of_socket(path: &Path) -> Result<Self, Error> {
        // Tried now, so that an agent that is gone is told before the build.
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Ok(Self::Socket(path.to_owned())),
            Err(error) => Err(Error::BadOption {
                option: OPTION,
                why: format!("no agent answers at {}: {}", path.display(), reason(&error)),
            }),
        }
    }

    fn of_paths(paths: &str) -> Result<Self, Error> {
        let is_socket =
            |path: &str| Path::new(path).metadata().is_ok_and(|meta| meta.file_type().is_socket());
        if is_socket(paths) {
            return Self::of_socket(Path::new(paths));
        }
        let mut keys = Vec::new();
        for path in paths.split(',').map(PathBuf::from) {
            let bad = |why| Error::BadSshKey { path: path.clone(), why };
            let text = file::read(&path, &PRIVATE_KEY);
            let text = text.map_err(|error| match error.downcast::<TooLarge>() {
                Ok(_) => bad(BadKey::TooLarge),
                Err(source) => Error::Unreadable { path: path.clone(), source },
            })?;
            let text = std::str::from_utf8(&text).map_err(|_| bad(BadKey::Unknown))?;
            keys.push(Key::parse(text).map_err(bad)?);
        }
        Ok(Self::Keys(Arc::new(keys)))
    }

    /// Serves one connection of a step, to its end.
    pub(crate) async fn serve(
        &self,
        mut step: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut agent = match self {
            Self::Socket(path) => Some(UnixStream::connect(path).await?),
            Self::Keys(_) => None,
        };
        while let Some(request) = read_message(&mut step).await? {
            let allowed = matches!(request.first(), Some(&REQUEST_IDENTITIES | &SIGN_REQUEST));
            let answer = match (self, &mut agent) {
                (Self::Socket(_), Some(agent)) if allowed => {
                    write_message(agent, &request).await?;
                    let answer = read_message(agent).await?;
                    answer.ok_or(io::ErrorKind::UnexpectedEof)?
                }
                (Self::Keys(keys), _) if allowed => answer(keys, &request),
                _ => vec![FAILURE],
            };
            write_message(&mut step, &answer).await?;
        }
        Ok(())
    }
}

/// What an agent that holds these keys answers.
pub(crate) fn answer(keys: &[Key], request: &[u8]) -> Vec<u8> {
    let mut reader = Reader(request);
    let answered = match reader.take(1) {
        Some([REQUEST_IDENTITIES]) => Some(identities(keys)),
        Some([SIGN_REQUEST]) => sign(keys, &mut reader),
        _ => None,
    };
    answered.unwrap_or_else(|| vec![FAILURE])
}

fn identities(keys: &[Key]) -> Vec<u8> {
    let mut answer = vec![IDENTITIES_ANSWER];
    answer.extend(u32::try_from(keys.len()).unwrap_or(u32::MAX).to_be_bytes());
    for key in keys {
        put_string(&mut answer, &key.public);
        // The comment, which may tell whose key it is.
        put_string(&mut answer, b"");
    }
    answer
}

fn sign(keys: &[Key], reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let (public, data, flags) = (reader.string()?, reader.string()?, reader.u32()?);
    let key = keys.iter().find(|key| key.public == public)?;
    let mut answer = vec![SIGN_RESPONSE];
    put_string(&mut answer, &key.sign(data, flags)?);
    Some(answer)
}

/// The next message; `None` at the end.
async fn read_message(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length?,
    };
    AGENT_MESSAGE.admit(length.into())?;
    let mut message = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

async fn write_message(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    message: &[u8],
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(message.len() + 4);
    put_string(&mut bytes, message);
    stream.write_all(&bytes).await?;
    stream.flush().await
}
