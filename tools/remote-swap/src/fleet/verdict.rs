//! What the ends of all hosts make together: the one failure that travels, or none.

use serde_json::{Value, json};
use slipway_release::{Code, Failure, HostOutcome, Outcome, exit};

use super::rollout::Ended;

/// Of how many further hosts that failed evidence is kept.
const OTHERS: usize = 9;

/// Lines of their logs that are kept.
const OTHERS_LINES: usize = 10;

/// What was told while the hosts were done.
pub(crate) struct Told {
    /// One entry a host.
    failures: Vec<Option<Failure>>,
    /// Hosts with the new release which went back to the one before, since others failed.
    pub(crate) taken_back: usize,
    /// Those which did not: nothing had served there before, or there was no time.
    pub(crate) kept: Vec<usize>,
}

impl Told {
    pub(crate) fn new(hosts: usize) -> Self {
        Self { failures: vec![None; hosts], taken_back: 0, kept: Vec::new() }
    }

    pub(crate) fn failed(&mut self, index: usize, failure: Failure) {
        self.failures[index] = Some(failure);
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.failures.iter().any(Option::is_some)
    }
}

/// The end of the whole. `needed` says how many hosts have to succeed where failures are borne.
pub(crate) fn of(outcomes: &[HostOutcome], told: Told, needed: Option<usize>) -> Ended {
    let count = |test: fn(Outcome) -> bool| {
        outcomes.iter().filter(|host| host.outcome.is_some_and(test)).count()
    };
    let skipped = count(|outcome| outcome == Outcome::Skipped);
    let good = count(|outcome| matches!(outcome, Outcome::Deployed | Outcome::Unchanged));
    let mut warnings: Vec<String> = Vec::new();
    for index in &told.kept {
        let host = &outcomes[*index];
        let why = match host.previous {
            None => "nothing served there before",
            Some(_) => "there was no time to go back",
        };
        warnings.push(format!("{}: it keeps the new release: {why}", host.host));
    }
    let failures: Vec<Failure> = told.failures.into_iter().flatten().collect();
    let person = failures.iter().any(|failure| failure.exit == exit::NEEDS_PERSON);
    let bearable = needed.is_some_and(|needed| good >= needed) && skipped == 0 && !person;
    let result = match failures.is_empty() {
        true if skipped == 0 => Ok(()),
        true => {
            let message = format!("interrupted before {} begun", were(skipped));
            Err(Failure::new(Code::Interrupted, message).retryable(true))
        }
        false if bearable => {
            warnings.extend(failures.into_iter().map(|failure| failure.message));
            Ok(())
        }
        false => {
            let mut failure = join(failures);
            if let Some(needed) = needed.filter(|needed| good < *needed && *needed < outcomes.len())
            {
                failure.message += &format!("; {good} of {needed} needed hosts succeeded");
            }
            if told.taken_back > 0 {
                let went = were(told.taken_back);
                failure.message += &format!("; {went} taken back to the release before");
            }
            Err(failure)
        }
    };
    Ended { result, warnings }
}

/// The end of a question that was put to all hosts: those that could not be asked make it fail.
pub(crate) fn asked(told: Told) -> Result<(), Failure> {
    let failures: Vec<Failure> = told.failures.into_iter().flatten().collect();
    if failures.is_empty() { Ok(()) } else { Err(join(failures)) }
}

/// So many hosts, with the verb.
fn were(hosts: usize) -> String {
    match hosts {
        1 => "1 host was".to_owned(),
        _ => format!("{hosts} hosts were"),
    }
}

/// The failure that travels: the first in the order of the hosts, but one that needs a person
/// comes before all others.
fn join(mut failures: Vec<Failure>) -> Failure {
    let first = failures.iter().position(|failure| failure.exit == exit::NEEDS_PERSON);
    let mut travels = failures.remove(first.unwrap_or(0));
    match failures.len() {
        0 => return travels,
        1 => travels.message += "; and 1 more host failed",
        more => travels.message += &format!("; and {more} more hosts failed"),
    }
    // A rerun does all hosts: it has to be of use for each.
    travels.retryable &= failures.iter().all(|failure| failure.retryable);
    let others: Vec<Value> = failures.into_iter().take(OTHERS).map(other).collect();
    let mut evidence = travels.evidence.take().unwrap_or_else(|| json!({}));
    if let Some(fields) = evidence.as_object_mut() {
        fields.insert("other_failures".to_owned(), others.into());
    }
    travels.evidence = Some(evidence);
    travels
}

fn other(failure: Failure) -> Value {
    let mut evidence = failure.evidence;
    let log = evidence.as_mut().and_then(|seen| seen.get_mut("log_tail"));
    if let Some(lines) = log.and_then(Value::as_array_mut) {
        lines.drain(..lines.len().saturating_sub(OTHERS_LINES));
    }
    let mut value = json!({"code": failure.code.as_str(), "message": failure.message});
    if let Some(evidence) = evidence {
        value["evidence"] = evidence;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, host: &str) -> Failure {
        let log: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        Failure::new(code, format!("{host}: it failed"))
            .evidence(json!({"host": host, "log_tail": log}))
    }

    fn ended(hosts: &[(Outcome, Option<Code>)], needed: Option<usize>) -> Ended {
        let mut told = Told::new(hosts.len());
        let name = |index: usize| format!("h{index}");
        let mut outcomes = Vec::new();
        for (index, (outcome, code)) in hosts.iter().enumerate() {
            outcomes.push(HostOutcome {
                host: name(index),
                outcome: Some(*outcome),
                ..HostOutcome::default()
            });
            if let Some(code) = code {
                told.failed(index, failure(*code, &name(index)));
            }
        }
        of(&outcomes, told, needed)
    }

    const GOOD: (Outcome, Option<Code>) = (Outcome::Deployed, None);
    const SICK: (Outcome, Option<Code>) = (Outcome::Failed, Some(Code::Unhealthy));
    const AWAY: (Outcome, Option<Code>) = (Outcome::Failed, Some(Code::HostUnreachable));
    const DOWN: (Outcome, Option<Code>) = (Outcome::Broken, Some(Code::RestoreFailed));
    const LEFT: (Outcome, Option<Code>) = (Outcome::Skipped, None);

    #[test]
    fn the_first_failure_travels_and_counts_the_others() {
        let failure = ended(&[GOOD, AWAY, SICK, SICK, LEFT], None).result.unwrap_err();
        assert_eq!(failure.code, Code::HostUnreachable);
        assert_eq!(failure.message, "h1: it failed; and 2 more hosts failed");
        let seen = failure.evidence.unwrap();
        assert_eq!(seen["host"], "h1");
        assert_eq!(seen["log_tail"].as_array().unwrap().len(), 50);
        let others = seen["other_failures"].as_array().unwrap();
        assert_eq!(others.len(), 2);
        assert_eq!(others[1]["code"], "unhealthy");
        assert_eq!(others[1]["evidence"]["log_tail"].as_array().unwrap().len(), OTHERS_LINES);
        assert_eq!(others[1]["evidence"]["log_tail"][9], "49");
    }

    #[test]
    fn the_evidence_of_a_large_fleet_is_bounded() {
        let failure = ended(&[SICK; 50], Some(50)).result.unwrap_err();
        assert!(failure.message.ends_with("and 49 more hosts failed"), "{}", failure.message);
        assert_eq!(failure.evidence.unwrap()["other_failures"].as_array().unwrap().len(), OTHERS);
    }

    #[test]
    fn one_host_fails_as_it_always_did() {
        let failure = ended(&[SICK], None).result.unwrap_err();
        assert_eq!(failure.message, "h0: it failed");
        assert!(failure.evidence.unwrap().get("other_failures").is_none());
    }

    #[test]
    fn what_needs_a_person_comes_first() {
        for needed in [None, Some(1)] {
            let failure = ended(&[SICK, GOOD, DOWN], needed).result.unwrap_err();
            assert_eq!((failure.code, failure.exit), (Code::RestoreFailed, exit::NEEDS_PERSON));
            assert!(failure.message.starts_with("h2: "), "{}", failure.message);
        }
    }

    #[test]
    fn enough_hosts_bear_the_failures_of_the_others() {
        let enough = ended(&[AWAY, GOOD, (Outcome::Unchanged, None)], Some(2));
        assert!(enough.result.is_ok());
        assert_eq!(enough.warnings, ["h0: it failed"]);
        let few = ended(&[AWAY, GOOD, SICK], Some(2)).result.unwrap_err();
        assert_eq!(
            few.message,
            "h0: it failed; and 1 more host failed; 1 of 2 needed hosts succeeded"
        );
        // Hosts that were not begun are no failures that were borne.
        assert!(ended(&[AWAY, GOOD, GOOD, LEFT], Some(2)).result.is_err());
    }

    #[test]
    fn hosts_that_were_not_begun_are_no_success() {
        let failure = ended(&[GOOD, LEFT, LEFT], None).result.unwrap_err();
        assert_eq!(failure.code, Code::Interrupted);
        assert_eq!(failure.message, "interrupted before 2 hosts were begun");
    }
}
