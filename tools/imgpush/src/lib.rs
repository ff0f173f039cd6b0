//! Pushes the built image to the registry and proves its digest.
