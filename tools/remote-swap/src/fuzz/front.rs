//! What is read of a front.

use crate::front::{Config, Files, Settings, State, trusted_proxy};

/// The first line of a front's configuration: what is read is written again, in lines of its own.
pub(super) fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(config) = Config::parse(&text) else { return };
    let written = config.text();
    assert!(Config::parse(&written).as_ref() == Some(&config), "it reads another one back");
    let (lines, plain) = (written.lines().count(), plain(&config).text().lines().count());
    assert_eq!(lines, plain, "a value ends its line");
}

/// The same with nothing in it that people choose freely.
fn plain(config: &Config) -> Config {
    let mut plain = config.clone();
    for backend in [&mut plain.blue, &mut plain.green] {
        backend.health_path = "/".to_owned();
    }
    let upgrades = config.settings.upgrades.iter().map(|_| "x".to_owned()).collect();
    plain.settings = Settings { upgrades, ..plain.settings };
    plain
}

pub(super) fn map(bytes: &[u8]) {
    let map = String::from_utf8_lossy(bytes).into_owned();
    let _ = Files { config: String::new(), map }.live();
}

/// What a front answers about itself.
pub(super) fn state(bytes: &[u8]) {
    let Some(state) = State::parse(&String::from_utf8_lossy(bytes)) else { return };
    for slot in crate::slot::Slot::BOTH {
        let _ = (state.is_up(slot), state.busy(slot));
    }
    let config =
        Config::parse(include_str!("../../../../tests/fuzz/corpus/front_config/first-version"));
    if let Some(told) = config.and_then(|config| state.crowded(&config)) {
        assert!(told.len() < 200, "{told}");
    }
}

pub(super) fn archive(bytes: &[u8]) {
    let Some(files) = crate::front::read_archive(bytes) else { return };
    assert!(files.config.len() + files.map.len() <= bytes.len(), "it holds more than came");
}

/// `--trusted-proxy`: one word of the configuration, which reads back as the same.
pub(super) fn trusted(bytes: &[u8]) {
    let Ok(network) = trusted_proxy(&String::from_utf8_lossy(bytes)) else { return };
    let text = network.to_string();
    assert!(!text.contains(char::is_whitespace), "{text}");
    assert_eq!(trusted_proxy(&text), Ok(network));
}
