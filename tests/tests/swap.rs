//! remote-swap over the lab's real engine, sshd and registry: its options, its failures, its ends.
//!
//! What is deployed is a small server (`swap/server.py`) whose faults its environment switches on.

#[path = "swap/asking.rs"]
mod asking;
#[path = "swap/back.rs"]
mod back;
#[path = "swap/behind.rs"]
mod behind;
#[path = "swap/critical.rs"]
mod critical;
#[path = "swap/cuts.rs"]
mod cuts;
#[path = "swap/ends.rs"]
mod ends;
#[path = "swap/fleet.rs"]
mod fleet;
#[path = "swap/hosts.rs"]
mod hosts;
#[path = "swap/lock.rs"]
mod lock;
#[path = "swap/login.rs"]
mod login;
#[path = "swap/masked.rs"]
mod masked;
#[path = "swap/options.rs"]
mod options;
#[path = "swap/plan.rs"]
mod plan;
#[path = "swap/ports.rs"]
mod ports;
#[path = "swap/preflight.rs"]
mod preflight;
#[path = "swap/prune.rs"]
mod prune;
#[path = "swap/refused.rs"]
mod refused;
#[path = "swap/release_command.rs"]
mod release_command;
#[path = "swap/rollback.rs"]
mod rollback;
#[path = "swap/serving.rs"]
mod serving;
#[path = "swap/shell.rs"]
mod shell;
#[path = "swap/site.rs"]
mod site;
#[path = "swap/status.rs"]
mod status;
#[path = "swap/token.rs"]
mod token;
#[path = "swap/unreached.rs"]
mod unreached;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_tests::lab::{App, Run, app_engine, run};
use slipway_tests::process::with_input;
use slipway_tests::{from_run_sh, tool};

use site::*;
