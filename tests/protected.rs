//! Sessions at protected hosts: the whole way of a browser through the real proxies, and what an attacker may try.

mod attacks;
mod callback;
mod own;
mod races;
mod store;
mod way;
