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
pub use settings::{
    Audit, Check, Credentials, HotPath, Log, LogFormat, LogLevel, Notify, Portal, Realm, SecretsFingerprint, Settings, Store,
    UnixSocket, WentBack,
};

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
    /// The merged configuration as TOML, secrets masked: what `config show` prints. The settings, then the rules.
    pub shown: String,
    /// The part of `shown` that takes effect at a start.
    pub shown_settings: String,
    /// The part of `shown` that takes effect when it is read again.
    pub shown_rules: String,
    /// The same as `shown`, as JSON.
    pub shown_json: serde_json::Value,
    /// Tells whether a secret, which is masked in `shown`, is another one than before. Not to be printed or stored.
    pub secrets_fingerprint: SecretsFingerprint,
}

/// Reads everything anew: the file, and the files that `*_file` keys of secrets name. The file of the server keys is
/// opened by whoever uses them, and by [`check`].
///
/// # Errors
/// All mistakes, those of the file first and by line. Of a file that is not TOML it is the only one; those of the
/// environment and the flags are found all the same.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Mistake>> {
    read(sources, false)
}

/// As [`load`], and looks into a configured `keys.file` too. For whoever is about to use it, or says that all is well.
///
/// # Errors
/// As those of [`load`], in the same run.
pub fn check(sources: &Sources) -> Result<Loaded, Vec<Mistake>> {
    read(sources, true)
}

fn read(sources: &Sources, with_server_keys: bool) -> Result<Loaded, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let root = sources.file.as_deref().map(raw::read).transpose();
    let whole = root.is_ok();
    let (from_file, rules) = match root {
        Ok(Some(root)) => layers::from_file(root, &mut mistakes),
        Ok(None) => Default::default(),
        Err(mistake) => {
            mistakes.push(mistake);
            Default::default()
        }
    };
    let from_environment = layers::from_environment(&sources.environment, &mut mistakes);
    let from_flags = layers::from_flags(sources.data_dir.as_deref(), &mut mistakes);
    let values = layers::merge(vec![layers::defaults(), from_file, from_environment, from_flags]);
    let settings = validate::settings(&values, whole, &mut mistakes);
    if with_server_keys {
        validate::server_keys(&values, &mut mistakes);
    }
    let policy = rules::read(rules.as_ref(), settings.as_ref().ok().map(|settings| &settings.portal), &mut mistakes);
    match (settings, policy) {
        (Ok(settings), Ok(policy)) if mistakes.is_empty() => {
            let (shown_settings, shown_rules) = (show::settings(&values), show::rules(rules.as_ref()));
            let secrets_fingerprint = SecretsFingerprint::of(&settings);
            Ok(Loaded {
                settings,
                policy,
                shown: format!("{shown_settings}{shown_rules}"),
                shown_settings,
                shown_rules,
                shown_json: show::json(&values, rules.as_ref()),
                secrets_fingerprint,
            })
        }
        _ => Err(mistakes.sorted()),
    }
}

#[cfg(test)]
mod tests;
