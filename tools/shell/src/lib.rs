//! The shell of a tool: arguments, streams, signals, progress and exit status.
