//! Waits until a service answers as it should.
