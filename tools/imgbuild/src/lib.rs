//! Builds a directory with a Dockerfile into an image.
