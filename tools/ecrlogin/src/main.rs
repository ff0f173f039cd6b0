//! Gets registry credentials from Amazon ECR.

fn main() -> std::process::ExitCode {
    ecrlogin::main()
}
