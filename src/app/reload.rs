//! A changed configuration file changes the policy without a restart: when the file is written or replaced, and on
//! SIGHUP. A bad file leaves the running policy in place and says so.

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    config::{self, Loaded, SecretsFingerprint, Sources},
    domain::policy::Policy,
    metrics::Metrics,
};

/// Editors and orchestrators change a file in several steps; this is how long it must be quiet.
const QUIET: Duration = Duration::from_millis(200);

/// What keeps the watching alive.
pub(super) struct Watching {
    _watcher: Option<RecommendedWatcher>,
}

/// What is watched, and what the service was started with.
pub struct Reload {
    sources: Sources,
    settings: String,
    secrets: SecretsFingerprint,
    /// The rules in force.
    rules: String,
}

impl Reload {
    #[must_use]
    pub fn of(sources: Sources, loaded: &Loaded) -> Self {
        Self {
            sources,
            settings: loaded.shown_settings.clone(),
            secrets: loaded.secrets_fingerprint.clone(),
            rules: loaded.shown_rules.clone(),
        }
    }

    /// Starts watching; ends when what it returns is dropped, or with the runtime.
    pub(super) fn watch(mut self, policy: Arc<ArcSwap<Policy>>, metrics: Arc<Metrics>) -> Watching {
        // One waiting notice stands for all that come before it is taken.
        let (sender, mut changes) = mpsc::channel(1);
        let watcher = self.sources.file.as_deref().and_then(|file| watch_file(file, sender.clone()));
        tokio::spawn(async move {
            // The sender is kept here, so that the channel stays open when no file is watched.
            let _sender = sender;
            let mut hangup = match signal(SignalKind::hangup()) {
                Ok(hangup) => hangup,
                Err(error) => return tracing::error!(%error, "SIGHUP cannot be listened for"),
            };
            // The file may have changed while the service started.
            self.read(&policy, &metrics, false);
            loop {
                tokio::select! {
                    _ = hangup.recv() => {}
                    _ = changes.recv() => while let Ok(Some(())) = tokio::time::timeout(QUIET, changes.recv()).await {},
                }
                self.read(&policy, &metrics, true);
            }
        });
        Watching { _watcher: watcher }
    }

    fn read(&mut self, policy: &ArcSwap<Policy>, metrics: &Metrics, says_unchanged: bool) {
        let loaded = match config::load(&self.sources) {
            Ok(loaded) => loaded,
            Err(mistakes) => {
                metrics.count_reload("mistakes");
                for mistake in &mistakes {
                    tracing::error!(%mistake, "configuration");
                }
                return tracing::error!(
                    mistakes = mistakes.len(),
                    "the configuration has mistakes; the running policy stays as it is"
                );
            }
        };
        if loaded.shown_settings != self.settings || loaded.secrets_fingerprint != self.secrets {
            tracing::warn!("settings other than rules have changed; they take effect at the next start");
        }
        let rules = loaded.policy.rules().len();
        if loaded.shown_rules != self.rules {
            policy.store(Arc::new(loaded.policy));
            self.rules = loaded.shown_rules;
            metrics.policy_is(rules);
            metrics.count_reload("done");
            tracing::info!(rules, "the policy was loaded anew");
        } else if says_unchanged {
            tracing::info!(rules, "the policy is as it was");
        }
    }
}

/// Watches the directory: a file that is replaced, by an editor or by Kubernetes, is another file.
fn watch_file(file: &Path, changed: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().map(ToOwned::to_owned);
    let notice = move |event: notify::Result<notify::Event>| {
        // `..data` is the link that Kubernetes turns to a new version of all files. Other files here are not ours.
        let concerns = |path: &std::path::PathBuf| path.file_name() == name.as_deref() || path.ends_with("..data");
        if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(concerns)) {
            let _one_waits_already = changed.try_send(());
        }
    };
    let watching = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching.map_err(|error| tracing::warn!(%error, "the configuration file cannot be watched; SIGHUP loads it anew")).ok()
}
