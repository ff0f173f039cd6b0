//! What somebody made to harm the machine that reads it.

mod health;
