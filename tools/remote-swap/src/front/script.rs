//! What is run in a front's container, as root, to replace its files.
//!
//! Root has no power there: files are its own, and the engine sends the signal to the front. The
//! configuration comes on stdin, since a command line can be read by everybody on the host, and by all who may see the
//! engine's events.

use futures_util::StreamExt;
use slipway_engine::bollard::container::LogOutput;
use slipway_engine::bollard::exec::StartExecResults;
use slipway_engine::bollard::models::ExecConfig;
use slipway_engine::bollard::query_parameters::KillContainerOptions;
use slipway_engine::{Engine, Error};
use slipway_untrusted::limit;
use tokio::io::AsyncWriteExt;

use super::{DIRECTORY, USER};

/// What a script comes to: what it says if it fails.
type Told = std::result::Result<std::result::Result<(), String>, Error>;

/// Checks a configuration, and keeps it. What is renamed has been synced, so that the disk
/// holds the old file or the new one, whatever happens; a `sync` that takes no file syncs all.
/// What comes short is of a connection that broke. The file is for the group of the front itself,
/// which another image may have chosen.
const RELOAD: &str = r#"set -e
umask 027
cd "$1"
new=haproxy.cfg.new.$$
trap 'rm -f "$new"' EXIT
rm -f haproxy.cfg.new*
head -c "$2" >"$new"
test "$(wc -c <"$new")" -eq "$2"
group=$(stat -c %g /proc/1)
test "$(stat -c %g "$new")" = "$group" || chgrp "$group" "$new"
haproxy -c -q -f "$new"
sync "$new" 2>/dev/null || sync
mv "$new" haproxy.cfg"#;

/// Keeps the slot that serves.
const KEEP_LIVE: &str = r#"set -e
cd "$1"
printf '%s' "$2" >live.map.new
sync live.map.new 2>/dev/null || sync
mv live.map.new live.map"#;

/// Has a front check a configuration, keep it and take it up.
pub(super) async fn reload(engine: &Engine, front: &str, text: &str) -> Told {
    let kept = run(engine, front, RELOAD, &text.len().to_string(), text).await?;
    if kept.is_ok() {
        let options = KillContainerOptions { signal: "SIGUSR2".to_owned() };
        engine.docker().kill_container(front, Some(options)).await?;
    }
    Ok(kept)
}

/// Has a front keep a map.
pub(super) async fn keep_live(engine: &Engine, front: &str, map: &str) -> Told {
    run(engine, front, KEEP_LIVE, map, "").await
}

/// Runs a script with the front's directory and one more argument. It runs to its end also if the
/// connection breaks, unless it still waits for its input then.
async fn run(engine: &Engine, front: &str, script: &str, argument: &str, input: &str) -> Told {
    let words = ["sh", "-c", script, "sh", DIRECTORY, argument];
    let config = ExecConfig {
        attach_stdin: Some(!input.is_empty()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(words.into_iter().map(str::to_owned).collect()),
        user: Some(format!("0:{USER}")),
        ..ExecConfig::default()
    };
    let exec = engine.docker().create_exec(front, config).await?.id;
    let mut told = limit::EXEC_OUTPUT.gather();
    if let StartExecResults::Attached { mut output, input: mut stdin } =
        engine.docker().start_exec(&exec, None).await?
    {
        // A script that ends before it has read all says why.
        if !input.is_empty() && stdin.write_all(input.as_bytes()).await.is_ok() {
            let _ = stdin.flush().await;
        }
        while let Some(chunk) = output.next().await {
            if let LogOutput::StdOut { message } | LogOutput::StdErr { message } = chunk? {
                // The rest is passed over.
                let _ = told.push(&message);
            }
        }
    }
    let code = engine.docker().inspect_exec(&exec).await?.exit_code;
    Ok(match code {
        Some(0) => Ok(()),
        _ => Err(last_line(&String::from_utf8_lossy(told.bytes()))),
    })
}

/// The first line that tells an alert, else the last one.
fn last_line(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let alert = lines().find(|line| line.contains("[ALERT]"));
    alert.or_else(|| lines().next_back()).unwrap_or("it says nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_refused_configuration() {
        let told = "[NOTICE]   (9) : haproxy version is 2.6\n[ALERT]    (9) : config : parsing [x:3] : unknown keyword\n[ALERT] (9) : Fatal errors found\n";
        assert!(last_line(told).contains("unknown keyword"));
        assert_eq!(last_line("sh: mv: not found\n\n"), "sh: mv: not found");
        assert_eq!(last_line(""), "it says nothing");
    }
}
