//! Replaces the running container on application servers over SSH.
