//! remote-swap as a process.

fn main() -> std::process::ExitCode {
    slipway_shell::main::<remote_swap::RemoteSwap>()
}
