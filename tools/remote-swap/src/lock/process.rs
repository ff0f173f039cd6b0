//! The identity of a process, by which a holder that was killed is known to be dead at once.

use std::fmt;
use std::fs;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process, told from every other one of its machine and, as far as a machine can tell, of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The machine since its last start.
    boot: String,
    /// The namespace that its number is of.
    namespace: String,
    id: i32,
    /// When it was started, in ticks since the machine was: numbers are used again.
    start: u64,
    /// Machines that were cloned while they ran share the rest.
    machine: String,
}

impl Process {
    /// This process, where the system tells.
    pub(super) fn this() -> Option<Self> {
        let id = i32::try_from(std::process::id()).ok()?;
        // Where /proc is that of another namespace, numbers in it mean others.
        let own = fs::read_link("/proc/self").ok()?;
        if own.to_str() != Some(&id.to_string()) {
            return None;
        }
        Some(Self {
            boot: read("/proc/sys/kernel/random/boot_id")?,
            namespace: fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned(),
            id,
            start: Stat::of(id)?.start,
            machine: machine()?,
        })
    }

    /// Whether it is certain that it was one of this machine and is gone.
    pub(super) fn is_gone(&self) -> bool {
        let Some(here) = Self::this() else { return false };
        let place = |one: &Self| (one.boot.clone(), one.namespace.clone(), one.machine.clone());
        place(self) == place(&here) && self.has_ended()
    }

    fn has_ended(&self) -> bool {
        let Some(id) = Pid::from_raw(self.id) else { return false };
        // /proc may hide the processes of other users (its option hidepid), a signal's answer not.
        if test_kill_process(id) == Err(Errno::SRCH) {
            return true;
        }
        Stat::of(self.id).is_some_and(|stat| stat.start != self.start || stat.ended)
    }
}

/// The machine's name.
pub(super) fn machine() -> Option<String> {
    read("/proc/sys/kernel/hostname")
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?.trim().to_owned();
    let plain = !text.is_empty() && !text.contains(|c: char| c == '/' || c.is_control());
    plain.then_some(text)
}

struct Stat {
    start: u64,
    /// It ended, and nobody has asked yet how.
    ended: bool,
}

impl Stat {
    /// See proc_pid_stat(5): the second field may hold anything, and ends with the last parenthesis.
    fn of(id: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X" | "x");
        Some(Self { start: fields.nth(18)?.parse().ok()?, ended })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boot, namespace, id, start, machine } = self;
        write!(out, "{boot}/{namespace}/{id}/{start}/{machine}")
    }
}

/// A label that is not the identity of a process.
#[derive(Debug)]
pub(crate) struct NotOne;

impl FromStr for Process {
    type Err = NotOne;

    fn from_str(text: &str) -> Result<Self, NotOne> {
        let fields: Vec<&str> = text.split('/').collect();
        let [boot, namespace, id, start, machine] = fields[..] else { return Err(NotOne) };
        Ok(Self {
            boot: boot.to_owned(),
            namespace: namespace.to_owned(),
            id: id.parse().map_err(|_| NotOne)?,
            start: start.parse().map_err(|_| NotOne)?,
            machine: machine.to_owned(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// A child of this process, and its identity.
    pub(in crate::lock) fn child() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        let start = Stat::of(id).unwrap().start;
        (child, Process { id, start, ..Process::this().unwrap() })
    }

    #[test]
    fn this_process_lives() {
        let this = Process::this().unwrap();
        assert!(!this.is_gone());
        assert_eq!(this.to_string().parse::<Process>().unwrap(), this);
    }

    #[test]
    fn a_killed_process_is_gone_whether_or_not_its_parent_has_noticed() {
        let (mut child, process) = child();
        assert!(!process.is_gone());
        child.kill().unwrap();
        while !process.is_gone() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(process.is_gone());
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let this = Process::this().unwrap();
        assert!(Process { start: this.start + 1, ..this }.is_gone());
    }

    #[test]
    fn nothing_is_known_of_other_machines_and_namespaces() {
        let (mut child, process) = child();
        child.kill().unwrap();
        child.wait().unwrap();
        let other = |change: fn(&mut Process)| {
            let mut one = process.clone();
            change(&mut one);
            one.is_gone()
        };
        assert!(!other(|one| one.boot = "x".into()));
        assert!(!other(|one| one.namespace = "x".into()));
        assert!(!other(|one| one.machine = "x".into()));
        assert!(other(|_| ()));
    }

    #[test]
    fn other_labels_are_no_process() {
        for text in ["", "a/b/c/d/e", "a/b/1/2", "a/b/1/2/c/d"] {
            assert!(text.parse::<Process>().is_err(), "{text}");
        }
    }
}
