//! Gets registry credentials from Amazon ECR.

fn main() -> std::process::ExitCode {
    slipway_shell::main::<ecrlogin::EcrLogin>()
}
