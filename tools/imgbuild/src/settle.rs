//! Gives an image the time of its source.
//!
//! An engine notes in an image's configuration when it made each layer, and the id is the digest of
//! that configuration: the same source would have another id on each engine. So the image is built
//! under a name of its own, its configuration written anew with the source's time, and that added to
//! the engine beside the first, of the same layers. Nothing is exported: it takes two questions, and
//! where the image is there already no more than that.
//!
//! The layers are left as they are. What they hold is up to the Dockerfile.

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_engine::{Engine, HistoryEntry, Info};
use slipway_shell::Ui;

use crate::build::Job;
use crate::cache::Place;
use crate::digest;
use crate::error::Error;
use crate::names::Names;

/// The repository of the names under which images are built first.
const REPOSITORY: &str = "slipway-build";
/// How the builder signs its entries of the history.
const BUILDER: &str = "buildkit.";
/// Instructions that add no layer. The rest may: WORKDIR does, where it makes the directory.
const WITHOUT_LAYER: [&str; 13] = [
    "ARG",
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
];

/// Whether an image's configuration can be written anew: not where it holds a cache, which the engine
/// does not tell, nor where the store is containerd's or Podman's, which take no image without layers.
pub(crate) fn can(engine: &Engine, info: &Info, job: &Job<'_>) -> bool {
    let inline = job.cache_to.iter().any(|cache| cache.place == Place::Inline);
    !inline && job.platforms.len() < 2 && !info.containerd_store() && !engine.is_podman()
}

/// A name that no other build has, for the image as the engine makes it: as long as it has it no
/// other build's clearing away can take it.
pub(crate) fn provisional() -> Result<Names, Error> {
    let name = format!("{REPOSITORY}:{:032x}", rand::random::<u128>());
    let name = name.parse().map_err(|error: slipway_engine::ParseReferenceError| Error::Build {
        why: error.to_string(),
    })?;
    Ok(Names { all: vec![name] })
}

/// Gives the image `built`, which has the provisional name, the time of its source, and its names.
/// Answers the id of the image that has them.
pub(crate) async fn settle(
    engine: &Engine,
    built: &str,
    provisional: &Names,
    names: &Names,
    time: Timestamp,
    ui: &Ui,
) -> Result<String, Error> {
    let settled = at_its_time(engine, built, time, ui).await;
    let settled = match settled {
        Ok(id) => name(engine, &id, names).await.map(|()| id),
        Err(error) => Err(error),
    };
    for name in &provisional.all {
        // It is of no use to anybody any more; whether it went is not worth a failure.
        let _gone = engine.untag(name).await;
    }
    settled
}

/// Gives the image its names.
pub(crate) async fn name(engine: &Engine, id: &str, names: &Names) -> Result<(), Error> {
    for name in &names.all {
        engine.tag(id, name).await?;
    }
    Ok(())
}

async fn at_its_time(
    engine: &Engine,
    built: &str,
    time: Timestamp,
    ui: &Ui,
) -> Result<String, Error> {
    let (image, history) = tokio::try_join!(engine.image_json(built), engine.image_history(built))?;
    // An engine that does it itself has done it.
    if image["Created"].as_str().and_then(|text| text.parse().ok()) == Some(time) {
        return Ok(built.to_owned());
    }
    let keep = |why: &str| {
        ui.warn(&format!("the image's id will be another where it is built again: {why}"));
        Ok(built.to_owned())
    };
    let Some((config, layers)) = configuration(&image, &history, time) else {
        return keep("its history does not fit its layers");
    };
    let id = format!("sha256:{}", digest::hex(&config));
    match engine.inspect_image(&id).await {
        Ok(_) => Ok(id),
        Err(slipway_engine::Error::NotFound { .. }) => {
            match engine.add_image(&config, layers).await {
                Ok(()) => Ok(id),
                Err(error @ slipway_engine::Error::Api { .. }) => keep(&error.to_string()),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The image's configuration with another time, by the OCI image specification, and how many layers
/// it names. The same whatever engine told the image: keys are in order, and what says nothing is
/// left out. None if the history cannot be brought together with the layers.
fn configuration(
    image: &Value,
    history: &[HistoryEntry],
    time: Timestamp,
) -> Option<(Vec<u8>, usize)> {
    let layers = image["RootFS"]["Layers"].as_array()?;
    let empty = without_layer(history, layers.len())?;
    let entries: Vec<Value> = history
        .iter()
        .zip(empty)
        .map(|(entry, empty)| {
            let ours = entry.comment.starts_with(BUILDER);
            let created =
                if ours { Some(time) } else { Timestamp::from_second(entry.created).ok() };
            said(json!({
                "created": created.map(|time| time.to_string()),
                "created_by": entry.created_by,
                "comment": entry.comment,
                "empty_layer": empty,
            }))
        })
        .collect();
    let config = said(json!({
        "architecture": image["Architecture"],
        "author": image["Author"],
        "config": said(image["Config"].clone()),
        "created": time.to_string(),
        "history": entries,
        "os": image["Os"],
        "os.version": image["OsVersion"],
        "rootfs": { "type": "layers", "diff_ids": layers },
        "variant": image["Variant"],
    }));
    Some((in_order(config).to_string().into_bytes(), layers.len()))
}

/// Which entries of the history have no layer, so that `layers` of them have one. The engine tells
/// it only by size, and a layer may hold nothing: what the instruction says decides first, then of
/// those that may or may not, the older are taken to have none.
fn without_layer(history: &[HistoryEntry], layers: usize) -> Option<Vec<bool>> {
    let mut empty: Vec<bool> =
        history.iter().map(|entry| entry.size == 0 && says_no_layer(&entry.created_by)).collect();
    let mut with = empty.iter().filter(|empty| !**empty).count();
    for (entry, empty) in history.iter().zip(&mut empty) {
        if with > layers && !*empty && entry.size == 0 {
            *empty = true;
            with -= 1;
        }
    }
    (with == layers).then_some(empty)
}

fn says_no_layer(instruction: &str) -> bool {
    // The classic builder's way to say that nothing was run.
    let text = instruction.strip_prefix("/bin/sh -c #(nop)").unwrap_or(instruction);
    text.split_whitespace().next().is_some_and(|word| WITHOUT_LAYER.contains(&word))
}

/// The object without its fields that say nothing: null, empty text, false.
fn said(value: Value) -> Value {
    let silent = |value: &Value| {
        value.is_null() || *value == Value::Bool(false) || value.as_str().is_some_and(str::is_empty)
    };
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().filter(|(_, value)| !silent(value)).collect())
        }
        other => other,
    }
}

/// The same with the keys of all objects in order.
fn in_order(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> =
                fields.into_iter().map(|(key, value)| (key, in_order(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(in_order).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(instruction: &str, size: i64) -> HistoryEntry {
        let comment = "buildkit.dockerfile.v0".to_owned();
        HistoryEntry { created: 1_700_000_000, created_by: instruction.into(), comment, size }
    }

    fn base() -> HistoryEntry {
        HistoryEntry { created: 1_600_000_000, size: 9, ..HistoryEntry::default() }
    }

    fn image(created: &str) -> Value {
        json!({
            "Architecture": "amd64", "Os": "linux", "Author": "", "Created": created,
            "Config": {"WorkingDir": "/app", "User": "", "Tty": false, "Cmd": null,
                "Env": ["B=", "A=1"], "Labels": {"z": "", "a": "1"}},
            "RootFS": {"Type": "layers", "Layers": ["sha256:1", "sha256:2"]},
        })
    }

    #[test]
    fn an_image_built_at_two_times_has_one_configuration() {
        let time: Timestamp = "2026-11-23T07:32:33Z".parse().unwrap();
        let history = |created: i64| {
            let of = |entry: HistoryEntry| HistoryEntry { created, ..entry };
            vec![base(), of(entry("ENV A=1", 0)), of(entry("RUN /bin/sh -c true # buildkit", 0))]
        };
        let (first, layers) =
            configuration(&image("2026-11-23T08:00:00.1Z"), &history(1), time).unwrap();
        let (second, _) = configuration(&image("2026-11-24T08:00:00Z"), &history(2), time).unwrap();
        assert_eq!((&first, layers), (&second, 2));
        assert_eq!(
            String::from_utf8(first).unwrap(),
            concat!(
                r#"{"architecture":"amd64","config":{"Env":["B=","A=1"],"Labels":{"a":"1","z":""},"#,
                r#""WorkingDir":"/app"},"created":"2026-11-23T07:32:33Z","history":["#,
                r#"{"created":"2020-09-13T12:26:40Z"},"#,
                r#"{"comment":"buildkit.dockerfile.v0","created":"2026-11-23T07:32:33Z","#,
                r#""created_by":"ENV A=1","empty_layer":true},"#,
                r#"{"comment":"buildkit.dockerfile.v0","created":"2026-11-23T07:32:33Z","#,
                r#""created_by":"RUN /bin/sh -c true # buildkit"}],"#,
                r#""os":"linux","rootfs":{"diff_ids":["sha256:1","sha256:2"],"type":"layers"}}"#,
            )
        );
    }

    #[test]
    fn layers_that_hold_nothing_are_told_from_none() {
        let empty = |history: &[HistoryEntry], layers| without_layer(history, layers);
        let history = [
            base(),
            entry("/bin/sh -c #(nop)  CMD [\"bash\"]", 0),
            entry("WORKDIR /", 0),
            entry("WORKDIR /app", 0),
            entry("LABEL a=b", 0),
        ];
        assert_eq!(empty(&history, 3), Some(vec![false, true, false, false, true]));
        assert_eq!(empty(&history, 2), Some(vec![false, true, true, false, true]));
        assert_eq!(empty(&history, 4), None);
        assert_eq!(empty(&history, 0), None);
        assert_eq!(empty(&[], 0), Some(vec![]));
    }

    proptest! {
        #[test]
        fn the_history_always_has_as_many_layers_as_the_image(
            entries in proptest::collection::vec(("(RUN x|ENV a|WORKDIR /|CMD|)", 0i64..2), 0..12),
            layers in 0usize..12,
        ) {
            let history: Vec<_> = entries.iter().map(|(text, size)| entry(text, *size)).collect();
            if let Some(empty) = without_layer(&history, layers) {
                prop_assert_eq!(empty.iter().filter(|empty| !**empty).count(), layers);
                for (entry, empty) in history.iter().zip(empty) {
                    prop_assert!(entry.size == 0 || !empty);
                }
            }
        }
    }

    #[test]
    fn provisional_names_are_names() {
        let (one, other) = (provisional().unwrap(), provisional().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.all[0].path(), REPOSITORY);
    }
}
