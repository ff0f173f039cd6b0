//! Who deploys: what others see of it while they wait.

use super::process::Process;
use crate::author::Author;
use crate::env::Lookup;

/// One that takes the lock.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// `user@machine`.
    pub(super) owner: String,
    pub(super) build_url: Option<String>,
    pub(super) deploy_id: String,
    /// Tells it from every other one.
    pub(super) token: String,
    /// Where it is known.
    pub(super) process: Option<Process>,
}

impl Who {
    /// This process, which does the deploy of this name.
    pub(crate) fn of_process(deploy_id: &str, lookup: Lookup<'_>) -> Self {
        let author = Author::of_process(lookup);
        Self {
            owner: author.by,
            build_url: author.build_url,
            deploy_id: deploy_id.to_owned(),
            token: format!("{deploy_id}-{:016x}", rand::random::<u64>()),
            process: Process::this(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_deploy_differ() {
        let who = || Who::of_process("d1", &|_| None);
        assert_ne!(who().token, who().token);
    }
}
