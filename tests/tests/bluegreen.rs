//! remote-swap's strategy `blue-green` over the lab's real engine, sshd and registry, with a real front.

#[path = "bluegreen/adopt.rs"]
mod adopt;
#[path = "bluegreen/candidates.rs"]
mod candidates;
#[path = "bluegreen/deploys.rs"]
mod deploys;
#[path = "bluegreen/drain.rs"]
mod drain;
#[path = "bluegreen/ends.rs"]
mod ends;
#[path = "bluegreen/exposed.rs"]
mod exposed;
#[path = "bluegreen/fronts.rs"]
mod fronts;
#[path = "bluegreen/limits.rs"]
mod limits;
#[path = "bluegreen/peers.rs"]
mod peers;
#[path = "bluegreen/place.rs"]
mod place;
#[path = "bluegreen/requests.rs"]
mod requests;
#[path = "swap/site.rs"]
#[expect(dead_code, reason = "more of it is of use to the other tests of remote-swap")]
mod site;
#[path = "bluegreen/soak.rs"]
mod soak;
#[path = "bluegreen/updates.rs"]
mod updates;
