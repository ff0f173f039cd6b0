//! Pushes the built image to the registry and proves its digest.

fn main() -> std::process::ExitCode {
    slipway_shell::main::<imgpush::ImgPush>()
}
