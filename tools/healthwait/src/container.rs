//! A container's own health check, as the engine tells it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use slipway_engine::{Endpoint, Engine, Error as EngineError, Request};
use slipway_probe::{Deadline, Phase, ProbeError};
use slipway_ssh::Connection;

use crate::error::Error;
use crate::refusal::Refusal;
use crate::via::Via;

/// What a try saw of a container.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Why it is not healthy, if it is not.
    pub(crate) reason: Option<String>,
    /// Whether it has ended, so that it will hardly become healthy.
    pub(crate) ended: bool,
    /// How long the engine took to tell.
    pub(crate) latency: Duration,
}

/// The engine that knows the containers.
pub(crate) struct Containers {
    place: Where,
    engine: RefCell<Option<Known>>,
    refusal: Rc<Refusal>,
}

/// Where it is.
pub(crate) enum Where {
    Here(Endpoint),
    /// At this socket of a host.
    There {
        via: Rc<Via>,
        socket: String,
    },
}

/// An engine that has answered, and the connection that leads to it.
#[derive(Clone)]
struct Known {
    engine: Engine,
    through: Option<Connection>,
}

/// An excerpt of `/containers/NAME/json`. bollard's own type refuses states that are new to it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Found {
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct State {
    status: String,
    exit_code: i64,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    health: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Health {
    status: String,
    log: Option<Vec<Check>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Check {
    exit_code: i64,
    output: String,
}

/// What a container's state means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Healthy,
    Not(String),
    Exited(String),
    /// It has nothing that could tell.
    Unchecked,
}

impl Containers {
    pub(crate) fn new(place: Where, refusal: Rc<Refusal>) -> Self {
        Self { place, engine: RefCell::default(), refusal }
    }

    /// Asks for a container's health.
    pub(crate) async fn check(&self, name: &str, limit: Duration) -> Result<Checked, ProbeError> {
        let deadline = Deadline::new(limit);
        let found = deadline.within(Phase::Waiting, self.find(name)).await??;
        let latency = deadline.elapsed();
        let meaning = found.map(|found| found.state.meaning());
        let ended = matches!(meaning, Some(Meaning::Exited(_)));
        let reason = match meaning {
            Some(Meaning::Healthy) => None,
            Some(Meaning::Not(reason) | Meaning::Exited(reason)) => Some(reason),
            Some(Meaning::Unchecked) => {
                let error = Error::NoHealthCheck { name: name.to_owned() };
                let reason = error.to_string();
                self.refusal.tell(error);
                Some(reason)
            }
            None => Some("no such container".to_owned()),
        };
        Ok(Checked { reason, ended, latency })
    }

    async fn find(&self, name: &str) -> Result<Option<Found>, ProbeError> {
        let known = self.known().await?;
        let request = Request::new(http::Method::GET, format!("/containers/{name}/json"));
        match known.engine.json(request).await {
            Ok(found) => Ok(Some(found)),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn known(&self) -> Result<Known, ProbeError> {
        if let Some(known) = &*self.engine.borrow()
            && known.through.as_ref().is_none_or(|connection| connection.failure().is_none())
        {
            return Ok(known.clone());
        }
        let known = match &self.place {
            Where::Here(endpoint) => {
                let engine = Engine::connect(endpoint.clone()).await;
                Known { engine: engine.map_err(|error| self.failed(error))?, through: None }
            }
            Where::There { via, socket } => self.through(via, socket).await?,
        };
        *self.engine.borrow_mut() = Some(known.clone());
        Ok(known)
    }

    async fn through(&self, via: &Via, socket: &str) -> Result<Known, ProbeError> {
        let way =
            |error: &slipway_ssh::Error| ProbeError::Way { reason: error.to_string(), local: true };
        let connection = via.connection().await.map_err(|error| way(&error))?;
        // What cannot be forwarded is told by SSH better than by the engine's client.
        drop(connection.unix(socket).await.map_err(|error| way(&error))?);
        let (through, path) = (connection.clone(), socket.to_owned());
        let open = move || {
            let (connection, path) = (connection.clone(), path.clone());
            async move { connection.unix(&path).await }
        };
        let engine = Engine::connect_over(socket, open).await;
        Ok(Known { engine: engine.map_err(|error| self.failed(error))?, through: Some(through) })
    }

    /// What a failed call means for the try, and for all of them where waiting does not help.
    fn failed(&self, error: EngineError) -> ProbeError {
        let reason = error.to_string();
        if matches!(error, EngineError::PermissionDenied { .. }) {
            self.refusal.tell(error);
        }
        ProbeError::Way { reason, local: true }
    }
}

impl State {
    fn meaning(&self) -> Meaning {
        let health = self.health.as_ref().map_or("", |health| health.status.as_str());
        match (self.status.as_str(), health) {
            ("exited" | "dead", _) if self.oom_killed => {
                Meaning::Exited("the container ran out of memory and ended".to_owned())
            }
            ("exited" | "dead", _) => {
                Meaning::Exited(format!("the container ended with exit code {}", self.exit_code))
            }
            ("running", "healthy") => Meaning::Healthy,
            ("running", "" | "none") => Meaning::Unchecked,
            ("running", "starting") => {
                Meaning::Not(format!("the container is starting{}", self.last_check()))
            }
            ("running", other) => {
                Meaning::Not(format!("the container is {other}{}", self.last_check()))
            }
            (other, _) => Meaning::Not(format!("the container is {other}")),
        }
    }

    /// What the last check that failed said.
    fn last_check(&self) -> String {
        let checks = self.health.as_ref().and_then(|health| health.log.as_ref());
        match checks.and_then(|checks| checks.last()) {
            Some(check) if check.exit_code != 0 => match check.output.trim().lines().last() {
                Some(line) => format!(": {}", slipway_probe::cut(line)),
                None => format!(": its check ended with exit code {}", check.exit_code),
            },
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(state: &str) -> Meaning {
        let found: Found = serde_json::from_str(&format!(r#"{{"State": {state}}}"#)).unwrap();
        found.state.meaning()
    }

    #[test]
    fn only_a_check_that_passed_is_health() {
        let healthy = r#"{"Status": "running", "Health": {"Status": "healthy", "Log": null}}"#;
        assert_eq!(meaning(healthy), Meaning::Healthy);
        for unchecked in [
            r#"{"Status": "running"}"#,
            r#"{"Status": "running", "Health": null}"#,
            r#"{"Status": "running", "Health": {"Status": "none"}}"#,
        ] {
            assert_eq!(meaning(unchecked), Meaning::Unchecked);
        }
        let paused = r#"{"Status": "paused", "Health": {"Status": "healthy"}}"#;
        assert_eq!(meaning(paused), Meaning::Not("the container is paused".to_owned()));
    }

    #[test]
    fn the_last_check_is_told() {
        let state = r#"{"Status": "running", "Health": {"Status": "unhealthy", "Log": [
            {"ExitCode": 0, "Output": "ok"},
            {"ExitCode": 7, "Output": "curl: (7) refused\nno database\n"}]}}"#;
        let told = "the container is unhealthy: no database".to_owned();
        assert_eq!(meaning(state), Meaning::Not(told));
        let silent = r#"{"Status": "running", "Health": {"Status": "starting",
            "Log": [{"ExitCode": 1, "Output": ""}]}}"#;
        let told = "the container is starting: its check ended with exit code 1".to_owned();
        assert_eq!(meaning(silent), Meaning::Not(told));
    }

    #[test]
    fn an_end_is_told_with_its_cause() {
        let exited = |state: &str| match meaning(state) {
            Meaning::Exited(reason) => reason,
            other => panic!("{other:?}"),
        };
        let health = r#""Health": {"Status": "unhealthy"}"#;
        let plain = format!(r#"{{"Status": "exited", "ExitCode": 3, {health}}}"#);
        assert_eq!(exited(&plain), "the container ended with exit code 3");
        let oom = r#"{"Status": "exited", "ExitCode": 137, "OOMKilled": true}"#;
        assert!(exited(oom).contains("memory"));
    }
}
