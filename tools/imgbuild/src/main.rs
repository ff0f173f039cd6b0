//! Builds a directory with a Dockerfile into an image.

fn main() -> std::process::ExitCode {
    slipway_shell::main::<imgbuild::ImgBuild>()
}
