//! All targets in one binary, so that the crates are compiled once: `SLIPWAY_FUZZ_TARGET` names one.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("SLIPWAY_FUZZ_TARGET").expect("SLIPWAY_FUZZ_TARGET names a target");
        let target = slipway_tests::fuzz::target(&name).expect("a target of that name");
        TARGET.get_or_init(|| target);
    },
    |data: &[u8]| (TARGET.get().expect("set"))(data)
);
