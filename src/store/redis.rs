//! Redis or Valkey.
