//! imgpush over the lab's engine and registry, and against a front that answers as Amazon ECR.

#[path = "push/also.rs"]
mod also;
#[path = "push/attach.rs"]
mod attach;
#[path = "push/direct.rs"]
mod direct;
#[path = "push/engine.rs"]
mod engine;
#[path = "push/faults.rs"]
mod faults;
#[path = "push/memory.rs"]
mod memory;
#[path = "push/podman.rs"]
mod podman;
#[path = "push/site.rs"]
mod site;
#[path = "push/ssh.rs"]
mod ssh;
