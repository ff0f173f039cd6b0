//! Waits until a service answers as it should.

fn main() -> std::process::ExitCode {
    slipway_shell::main::<healthwait::HealthWait>()
}
