//! From a file, the environment and flags to [`Settings`] and a [`Policy`].
//!
//! Finds every mistake in one run and names its place; whatever is not known or not built is refused, never ignored.
//! Knows nothing of what is done with a setting. Reading again with the same [`Sources`] is how a changed file
//! comes in.
//!
//! The way of a value: `raw` (with its line) → `layers` (one for each key) → `validate` (what it means).

mod keys;
mod layers;
mod mistake;
mod raw;
mod rules;
mod settings;
mod show;
mod store_url;
mod validate;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use mistake::Mistakes;
pub use mistake::{Mistake, Place};
pub use settings::{Check, Credentials, Log, LogFormat, LogLevel, MAX_STALENESS, Realm, Settings, Store, UnixSocket};

use crate::domain::policy::Policy;

/// Where a configuration comes from; later ones go over earlier ones.
#[derive(Clone, Default)]
pub struct Sources {
    /// A TOML file. `None`: nothing but defaults, and no rules.
    pub file: Option<PathBuf>,
    /// Variables by name. All but `KEYGATE_…` are ignored.
    pub environment: BTreeMap<String, String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

impl Sources {
    /// The environment of this process, and what the command line said.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, data_dir: Option<PathBuf>) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
        Self { file, environment: variables.filter(|(name, _)| name.starts_with("KEYGATE_")).collect(), data_dir }
    }
}

impl fmt::Debug for Sources {
    /// Without the variables' values: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.keys().collect();
        f.debug_struct("Sources").field("file", &self.file).field("environment", &names).field("data_dir", &self.data_dir).finish()
    }
}

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub policy: Policy,
    /// The merged configuration as TOML, secrets masked: what `config show` prints.
    pub shown: String,
}

/// Reads everything anew: the file, and the files that `*_file` keys name.
///
/// # Errors
/// All mistakes, those of the file first and by line. Text that is not TOML is the only one reported.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let (from_file, rules) = match &sources.file {
        Some(path) => layers::from_file(raw::read(path).map_err(|mistake| vec![mistake])?, &mut mistakes),
        None => Default::default(),
    };
    let from_environment = layers::from_environment(&sources.environment, &mut mistakes);
    let from_flags = layers::from_flags(sources.data_dir.as_deref(), &mut mistakes);
    let values = layers::merge(vec![layers::defaults(), from_file, from_environment, from_flags]);
    let settings = validate::settings(&values, &mut mistakes);
    let policy = rules::read(rules.as_ref(), &mut mistakes);
    match (settings, policy) {
        (Ok(settings), Ok(policy)) if mistakes.is_empty() => {
            Ok(Loaded { settings, policy, shown: show::text(&values, rules.as_ref()) })
        }
        _ => Err(mistakes.sorted()),
    }
}

#[cfg(test)]
mod tests;
