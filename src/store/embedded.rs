//! The embedded store: SQLite in the data directory.
