//! Proving who the user is: each credential in turn, each with an outcome that can be named.

use std::path::Path;

use ssh2::{ErrorCode, Session};

use slipway_untrusted::clean_line;

use crate::{Credential, Error, Secret, key, pem};

/// libssh2's codes for "the server does not want this key" (LIBSSH2_ERROR_AUTHENTICATION_FAILED, …_PUBLICKEY_UNVERIFIED).
const REFUSED: [i32; 2] = [-18, -19];
/// How many keys of an agent are tried: a server hangs up much sooner.
const AGENT_KEYS: usize = 100;
/// libssh2's codes for a conversation that has ended (…_SOCKET_SEND, …_SOCKET_DISCONNECT, …_SOCKET_RECV).
const ENDED: [i32; 3] = [-7, -13, -43];

/// Authenticates, or says what was tried. A credential that cannot be used does not keep the next from being tried; it
/// becomes the error only when nothing at all could be offered to the server.
pub(crate) fn authenticate(
    session: &Session,
    user: &str,
    host: &str,
    credentials: &[Credential],
) -> Result<(), Error> {
    let server_methods = match session.auth_methods(user) {
        // libssh2 asks with the method "none", and a server may be content with that.
        Ok(_) if session.authenticated() => return Ok(()),
        Ok(methods) => clean_line(methods).into_owned(),
        Err(error) => return Err(lost(host, &error)),
    };
    let mut attempts = Attempts { session, user, tried: Vec::new(), offered: false, problem: None };
    if server_methods.split(',').any(|method| method == "publickey") {
        for credential in credentials {
            match attempts.credential(credential) {
                Ok(Outcome::Accepted) => return Ok(()),
                Ok(Outcome::Refused) => {}
                Ok(Outcome::Ended) => break,
                Err(problem) => attempts.skip(problem),
            }
        }
    }
    match attempts {
        Attempts { offered: false, problem: Some(problem), .. } => Err(problem),
        Attempts { tried, .. } => Err(Error::AuthenticationFailed {
            user: user.to_owned(),
            host: host.to_owned(),
            tried,
            server_methods,
        }),
    }
}

enum Outcome {
    Accepted,
    Refused,
    /// The server has hung up, as it does after MaxAuthTries keys.
    Ended,
}

struct Attempts<'a> {
    session: &'a Session,
    user: &'a str,
    tried: Vec<String>,
    /// Whether the server was shown any key.
    offered: bool,
    /// The first credential that could not be used.
    problem: Option<Error>,
}

impl Attempts<'_> {
    fn skip(&mut self, problem: Error) {
        self.tried.push(problem.to_string());
        self.problem.get_or_insert(problem);
    }

    fn credential(&mut self, credential: &Credential) -> Result<Outcome, Error> {
        match credential {
            Credential::Agent { socket } => self.agent(socket),
            Credential::KeyFile { path, passphrase } => {
                let text = key::read_file(path)?;
                self.key(&text, &path.display().to_string(), passphrase.as_ref())
            }
            Credential::KeyMemory { pem, label, passphrase } => {
                self.key(pem.reveal(), label, passphrase.as_ref())
            }
        }
    }

    fn key(
        &mut self,
        text: &str,
        name: &str,
        passphrase: Option<&Secret>,
    ) -> Result<Outcome, Error> {
        let key = name.to_owned();
        let text = pem::lines(text);
        let inspected = key::inspect(&text, name)?;
        let passphrase = match (inspected.encrypted, passphrase) {
            (true, None) => return Err(Error::KeyEncrypted { key }),
            (true, Some(passphrase)) => Some(passphrase.reveal()),
            (false, _) => None,
        };
        let result = self.session.userauth_pubkey_memory(self.user, None, &text, passphrase);
        match result.map_err(|error| (code(&error), error)) {
            Ok(()) => Ok(Outcome::Accepted),
            Err((code, error)) if REFUSED.contains(&code) || ENDED.contains(&code) => {
                Ok(self.refused(format!("key {name}"), code, &error))
            }
            // Whatever else fails, fails here in opening the key: it was inspected, so a passphrase is the likeliest cause.
            Err(_) if inspected.encrypted => Err(Error::PassphraseWrong { key }),
            Err((_, error)) => {
                Err(Error::KeyUnsupported { key, reason: error.message().to_owned() })
            }
        }
    }

    /// libssh2's own loop stops at the agent's first key, so this one goes through all.
    fn agent(&mut self, socket: &Path) -> Result<Outcome, Error> {
        let unavailable = |error: ssh2::Error| Error::AgentUnavailable {
            socket: socket.to_owned(),
            reason: error.message().to_owned(),
        };
        let mut agent = self.session.agent().map_err(unavailable)?;
        agent.set_identity_path(socket).map_err(unavailable)?;
        agent.connect().map_err(unavailable)?;
        agent.list_identities().map_err(unavailable)?;
        let identities = agent.identities().map_err(unavailable)?;
        if identities.is_empty() {
            self.tried.push("the agent (it holds no key)".to_owned());
        }
        for identity in identities.into_iter().take(AGENT_KEYS) {
            let name = format!("agent key {}", clean_line(identity.comment()));
            match agent.userauth(self.user, &identity) {
                Ok(()) => return Ok(Outcome::Accepted),
                Err(error) => {
                    if let Outcome::Ended = self.refused(name, code(&error), &error) {
                        return Ok(Outcome::Ended);
                    }
                }
            }
        }
        Ok(Outcome::Refused)
    }

    fn refused(&mut self, name: String, code: i32, error: &ssh2::Error) -> Outcome {
        self.offered = true;
        // libssh2 has one code for a refusal, a hang-up and an agent that does not sign; its text tells them apart.
        let message = error.message();
        if ENDED.contains(&code) || message.starts_with("Waiting for") {
            self.tried.push(format!("{name} (the server hung up: too many keys?)"));
            return Outcome::Ended;
        }
        let why = match REFUSED.contains(&code) {
            true if message.starts_with("Callback") => "the agent did not sign",
            true => "refused",
            false => message,
        };
        self.tried.push(format!("{name} ({why})"));
        Outcome::Refused
    }
}

fn lost(host: &str, error: &ssh2::Error) -> Error {
    Error::ConnectionLost { host: host.to_owned(), reason: error.message().to_owned() }
}

/// libssh2's number of an error.
pub(crate) fn code(error: &ssh2::Error) -> i32 {
    match error.code() {
        ErrorCode::Session(code) | ErrorCode::SFTP(code) => code,
    }
}
