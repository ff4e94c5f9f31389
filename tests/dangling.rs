//! Nothing dangles: whatever ends in the middle of a use case, each record, claim, list and event still has all the others
//! that belong to it.
//!
//! First step by step: the store dies at each call of each use case, before it was carried out and after. Then for real:
//! the service and Redis are killed under load.

mod contents;
mod killed;
mod steps;
