//! The section of `remote-swap plan`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Section;

/// What a deploy would do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Plan {
    /// The application's name on its hosts.
    pub app: Option<String>,
    /// How containers would be replaced: `blue-green` or `recreate`.
    pub strategy: Option<String>,
    /// What would be run, by digest.
    pub reference: Option<String>,
    /// One entry a host, in the order in which they were given.
    pub hosts: Vec<HostPlan>,
}

impl Section for Plan {
    const NAME: &'static str = "plan";
}

/// What a deploy would do on one host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostPlan {
    /// The host as it was given.
    pub host: String,
    /// Whether another release would serve after it.
    pub changes: bool,
    /// The steps in their order.
    pub steps: Vec<PlanStep>,
    /// Why the deploy would fail before it changes anything, if that is known already.
    pub error: Option<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanStep {
    /// What would be done, such as `pull`, `start`, `turn` or `stop`.
    pub action: String,
    /// To what: an image, a container, a slot.
    pub on: String,
    /// Why.
    pub why: String,
}
