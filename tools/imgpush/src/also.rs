//! Tags that follow, such as `latest`: moved last, and never back.
//!
//! What is newer is told by when images are from, which each registry keeps in the image's
//! configuration. A registry has no way to move a tag only if nobody else has moved it meanwhile; the
//! time between the look and the move is that of one request.

use jiff::Timestamp;
use slipway_engine::Reference;
use slipway_shell::Ui;

use crate::Error;
use crate::push::Push;

/// Whether a tag stays where it is.
fn stays(there: Option<Timestamp>, ours: Option<Timestamp>) -> bool {
    matches!((there, ours), (Some(there), Some(ours)) if there > ours)
}

impl Push<'_> {
    /// Has a tag follow to the manifest of this digest; answers whether it names it now.
    pub(crate) async fn follow(
        &mut self,
        name: &Reference,
        digest: &str,
        ui: &Ui,
    ) -> Result<bool, Error> {
        let Some(remote) = &mut self.remote else {
            return Err(Error::Unasked { option: "--also" });
        };
        let about = |error: slipway_registry::Error| Error::from(error).about(name);
        let there = remote.repository.manifest(name.tag().unwrap_or("latest")).await;
        if let Some(there) = there.map_err(about)? {
            if there.digest == digest {
                return Ok(true);
            }
            let created = remote.created(&there).await.map_err(about)?;
            if let (true, Some(at)) = (stays(created, self.image.created), created) {
                ui.say(&format!("{name} stays: it names a newer image, of {at}, {}", there.digest));
                return Ok(false);
            }
        }
        let manifest = remote.repository.manifest(digest).await.map_err(about)?;
        let manifest = manifest.ok_or_else(|| Error::DigestMismatch {
            name: name.to_string().into(),
            pushed: digest.into(),
            found: "nothing".into(),
        })?;
        self.tag(name, manifest.into()).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_moves_forward_only() {
        let at = |second| Timestamp::from_second(second).ok();
        assert!(stays(at(2), at(1)));
        assert!(!stays(at(1), at(2)) && !stays(at(1), at(1)));
        assert!(!stays(None, at(1)) && !stays(at(1), None), "what is not known holds nothing up");
    }
}
