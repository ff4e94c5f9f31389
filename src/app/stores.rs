//! Which store the settings mean, and what is found out about it from outside.

use std::sync::Arc;

use super::{StartError, keys};
use crate::{
    config::{self, Settings},
    directory::{self, BootstrapError},
    gate::records::{Bounds, MemoryRules},
    store::{
        Store,
        embedded::{EmbeddedStore, OpenError},
        live::Finding,
        redis::{RedisOptions, RedisStore, WentBack},
    },
};

/// What was found out about a store from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveStore {
    /// It answers; with what limits what may be claimed of it.
    Answers(Vec<String>),
    /// A running Keygate has the embedded store for itself.
    InUse,
    /// The embedded store will be made at the first start.
    NotThereYet,
}

/// Whether the store that is configured answers, is one of ours, and may be used as it is set up. Changes nothing in it, and
/// makes nothing.
pub async fn ask(settings: &Settings) -> Result<LiveStore, StartError> {
    let store = match &settings.store {
        config::Store::Embedded { dir } if !dir.join("keygate.db").exists() => return Ok(LiveStore::NotThereYet),
        config::Store::Embedded { .. } | config::Store::Redis { .. } => match open(settings) {
            Ok(store) => store,
            Err(StartError::DataDirectoryHeld(_)) => return Ok(LiveStore::InUse),
            Err(error) => return Err(error),
        },
    };
    store.ping().await.map_err(|error| StartError::Bootstrap(BootstrapError::Store(error)))?;
    let mut warnings = Vec::new();
    for finding in store.live().await.findings() {
        match finding {
            Finding::Unfit(sentence) | Finding::Denied(sentence) => {
                return Err(StartError::Bootstrap(BootstrapError::Unfit(sentence)));
            }
            Finding::Warning(sentence) => warnings.push(sentence),
        }
    }
    let keys = keys::find(settings)?;
    let own_staleness = match settings.store {
        config::Store::Embedded { .. } => None,
        config::Store::Redis { .. } => Some(settings.hot_path.max_staleness),
    };
    directory::verify(store.as_ref(), &keys, own_staleness).await.map_err(StartError::Bootstrap)?;
    Ok(LiveStore::Answers(warnings))
}

pub(super) fn open(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    match &settings.store {
        config::Store::Embedded { dir } => match EmbeddedStore::open(dir) {
            Ok(store) => Ok(Arc::new(store)),
            Err(error @ OpenError::Held(_)) => Err(StartError::DataDirectoryHeld(error.to_string())),
            Err(error) => Err(StartError::Embedded(error)),
        },
        config::Store::Redis { url, prefix, timeout, wait_replicas, went_back } => {
            let options = RedisOptions {
                prefix: prefix.clone(),
                max_staleness: settings.hot_path.max_staleness,
                wait_replicas: *wait_replicas,
                went_back: match went_back {
                    config::WentBack::Report => WentBack::Report,
                    config::WentBack::Refuse => WentBack::Refuse,
                },
                ..RedisOptions::at(url.clone(), *timeout)
            };
            let store = RedisStore::new(&options).map_err(|error| StartError::Redis(error.to_string()))?;
            Ok(Arc::new(store))
        }
    }
}

pub(super) fn memory_rules(settings: &Settings) -> MemoryRules {
    let config::HotPath { max_staleness, entries, bytes } = settings.hot_path;
    let store_timeout = match &settings.store {
        config::Store::Embedded { .. } => max_staleness,
        config::Store::Redis { timeout, .. } => *timeout,
    };
    MemoryRules { max_staleness, store_timeout, bounds: Bounds { entries: entries.into(), bytes } }
}
