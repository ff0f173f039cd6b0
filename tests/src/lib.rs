//! End-to-end tests over real components.
