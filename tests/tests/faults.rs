//! Some cells of the fault suite (`tests/bench/faults.py`): a deploy is struck, users are served all
//! the same, and a plain rerun leaves nothing over. Everybody on that server is struck too, so this
//! is a program of its own.

use std::process::Command;

use slipway_tests::lab::run;
use slipway_tests::{from_run_sh, project};

/// The lab answers again, whatever became of the test.
struct Mended;

impl Drop for Mended {
    fn drop(&mut self) {
        let lab = project().join("tests/lab/lab.sh");
        run(Command::new(lab).args(["up", "--dir", &from_run_sh("LAB_DIR")]));
    }
}

#[test]
fn whatever_strikes_a_deploy_users_are_served_and_a_plain_rerun_converges() {
    let _mended = Mended;
    let figures = tempfile::tempdir().unwrap();
    let output = Command::new("python3")
        .arg(project().join("tests/bench/faults.py"))
        .args(["--quick", "--bin", &from_run_sh("SLIPWAY_BIN_DIR"), "--figures"])
        .arg(figures.path().join("faults.json"))
        .output()
        .unwrap();
    let (matrix, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{matrix}");
}
