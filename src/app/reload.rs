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
    config::{self, Sources},
    domain::policy::Policy,
    metrics::Metrics,
};

/// Editors and orchestrators change a file in several steps; this is how long it must be quiet.
const QUIET: Duration = Duration::from_millis(200);

/// What keeps the watching alive.
pub(super) struct Watching {
    _watcher: Option<RecommendedWatcher>,
}

pub(super) fn watch(sources: Sources, policy: Arc<ArcSwap<Policy>>, metrics: Arc<Metrics>) -> Watching {
    let (sender, mut changes) = mpsc::unbounded_channel();
    let watcher = sources.file.as_deref().and_then(|file| watch_file(file, sender.clone()));
    // What the settings in use were loaded from; a difference in them is worth a word.
    let started_with = config::load(&sources).map(|loaded| loaded.shown).unwrap_or_default();
    tokio::spawn(async move {
        // The sender is kept here, so that the channel stays open when no file is watched.
        let _sender = sender;
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return tracing::error!(%error, "SIGHUP cannot be listened for"),
        };
        let mut shown = started_with.clone();
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = changes.recv() => while let Ok(Some(())) = tokio::time::timeout(QUIET, changes.recv()).await {},
            }
            reload(&sources, &policy, &metrics, &mut shown, &started_with);
        }
    });
    Watching { _watcher: watcher }
}

fn reload(sources: &Sources, policy: &ArcSwap<Policy>, metrics: &Metrics, shown: &mut String, started_with: &str) {
    match config::load(sources) {
        Ok(loaded) if loaded.shown == *shown => tracing::info!("the configuration is as it was"),
        Ok(loaded) => {
            let rules = loaded.policy.rules().len();
            let settings_of = |text: &str| text.split("[[rules]]").next().unwrap_or_default().trim().to_owned();
            let restart = settings_of(&loaded.shown) != settings_of(started_with);
            policy.store(Arc::new(loaded.policy));
            metrics.policy_is(rules);
            metrics.count_reload("done");
            *shown = loaded.shown;
            tracing::info!(rules, "the policy was loaded anew");
            if restart {
                tracing::warn!("settings other than rules have changed; they take effect at the next start");
            }
        }
        Err(mistakes) => {
            metrics.count_reload("mistakes");
            for mistake in &mistakes {
                tracing::error!(%mistake, "configuration");
            }
            tracing::error!(mistakes = mistakes.len(), "the configuration has mistakes; the running policy stays as it is");
        }
    }
}

/// Watches the directory: a file that is replaced, by an editor or by Kubernetes, is another file.
fn watch_file(file: &Path, changed: mpsc::UnboundedSender<()>) -> Option<RecommendedWatcher> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().map(ToOwned::to_owned);
    let notice = move |event: notify::Result<notify::Event>| {
        // `..data` is the link that Kubernetes turns to a new version of all files. Other files here are not ours.
        let concerns = |path: &std::path::PathBuf| path.file_name() == name.as_deref() || path.ends_with("..data");
        if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(concerns)) {
            let _nobody_listens = changed.send(());
        }
    };
    let watching = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching.map_err(|error| tracing::warn!(%error, "the configuration file cannot be watched; SIGHUP loads it anew")).ok()
}
