//! `--keep-cache`: what the builder keeps between builds does not grow for ever.

use slipway_engine::Engine;
use slipway_shell::{Ui, size};

/// Takes the least recently used away until at most `keep` bytes are left, and says what went. A
/// build does not fail for it.
pub(crate) async fn prune(engine: &Engine, keep: u64, ui: &Ui) {
    let kept = size(keep);
    match engine.prune_builder(keep).await {
        Ok(pruned) => ui.say(&format!(
            "the builder's cache: {} taken away to keep {kept}",
            size(pruned.space_reclaimed)
        )),
        Err(error) => ui.warn(&format!("the builder's cache could not be cut to {kept}: {error}")),
    }
}
