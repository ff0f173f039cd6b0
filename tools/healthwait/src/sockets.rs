//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process needs beside the sockets of its targets.
const OWN: u64 = 64;

/// Raises the limit of open files for many targets, each of which may have a connection to two
/// addresses at once. What it was before is put back on drop: the command that is run afterwards
/// may be one of those that close every descriptor there can be.
pub(crate) struct Sockets(Option<Rlimit>);

impl Sockets {
    pub(crate) fn for_targets(targets: usize) -> Self {
        let needed = OWN + 2 * targets as u64;
        let before = getrlimit(Resource::Nofile);
        let Some(current) = before.current.filter(|current| *current < needed) else {
            return Self(None);
        };
        let wanted = before.maximum.map_or(needed, |maximum| maximum.min(needed));
        let raised = Rlimit { current: Some(wanted.max(current)), maximum: before.maximum };
        // Where that is refused some tries will say that files are used up, and go on.
        Self(setrlimit(Resource::Nofile, raised).is_ok().then_some(before))
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            let _ = setrlimit(Resource::Nofile, before);
        }
    }
}
