//! The options of imgpush.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_shell::Span;

/// Pushes the image of the release document to its registry and adds the digest to the document
///
/// The image is taken by its id, so that a tag that moved meanwhile changes nothing, and the digest
/// is read back from the registry after the push. A tag that names this image there already is
/// success.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The image to push: an id or a name the engine knows [default: image.id of the document]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// The registry's host name [default: registry.host of the document]
    #[arg(long, value_name = "HOST")]
    pub registry: Option<String>,
    /// The repository in the registry [default: registry.repository, else image.name]
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// A tag to push; may be repeated [default: the tags of the document's image]
    #[arg(short, long)]
    pub tag: Vec<String>,
    /// The deadline for all of it
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(30 * 60))]
    pub timeout: Span,
}
