//! One SSH connection that carries streams to a host's sockets and ports.
