//! Sessions: the whole way of a browser through the real proxies, what an attacker may try, and how people manage theirs.

mod attacks;
mod management;
mod own;
mod store;
mod way;
