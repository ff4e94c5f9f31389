//! `keygate serve`: the service itself, in this process, until it is told to stop.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, GlobalOptions, output};
use crate::{
    app::{App, Reload, StartError, memory},
    config::{self, Loaded, Mistake, Sources},
    directory::BootstrapError,
    domain::text::printable,
    telemetry::{self, Logging},
};

/// A service that takes longer is not healthy.
const HEALTH_PATIENCE: Duration = Duration::from_secs(3);

/// Serves by the configuration until SIGTERM or SIGINT.
pub(super) fn run(global: &GlobalOptions) -> Result<(), Failure> {
    let sources = sources(global);
    let loaded = noted(config::check(&sources))?;
    let logging = telemetry::init(loaded.settings.log);
    let rules = loaded.policy.rules().len();
    let hint = if rules > 0 {
        None
    } else if sources.file.is_some() {
        Some(
            "the policy has no rules, so every request is refused; add [[rules]] to the configuration file, which is read again when it changes",
        )
    } else {
        Some(
            "there is no configuration file, so every request is refused; write one and name it with --config, or try `keygate quickstart`",
        )
    };
    let reload = Reload::of(sources, &loaded);
    in_runtime(async {
        let Loaded { settings, policy, .. } = loaded;
        let hints = settings.hints(memory::available());
        let app = App::build(settings, policy).await.map_err(|error| failure(&error))?;
        announce(&app);
        for hint in hints {
            tracing::warn!("{hint}");
        }
        if let Some(hint) = hint {
            tracing::warn!("{hint}");
        }
        serve_until_told(app, Some(reload), &logging).await
    })
}

/// Where the configuration is, by flags and environment.
pub(super) fn sources(global: &GlobalOptions) -> Sources {
    Sources::of_process(global.config.clone(), global.data_dir.clone())
}

/// The configuration, for whoever does not use the server keys.
pub(super) fn load(sources: &Sources) -> Result<Loaded, Failure> {
    noted(config::load(sources))
}

/// Says every mistake, one a line, and then how many there were.
pub(super) fn noted(loaded: Result<Loaded, Vec<Mistake>>) -> Result<Loaded, Failure> {
    loaded.map_err(|mistakes| {
        for mistake in &mistakes {
            output::note(&mistake.to_string());
        }
        let what = if mistakes.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", mistakes.len()) };
        Failure::Usage(format!("{what} in the configuration; mend what is listed above"))
    })
}

pub(super) fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    actix_web::rt::System::new().block_on(work)
}

pub(super) fn announce(app: &App) {
    let addresses = app.addresses();
    let unix = addresses.check_unix.as_ref().map(|path| path.display().to_string());
    let (check, portal, grpc, control) = (addresses.check, addresses.portal, addresses.grpc, addresses.control.display());
    tracing::info!(%check, unix, %portal, %grpc, %control, "listening");
    if let Some(url) = &addresses.pages {
        tracing::info!(url, "people sign in here");
    } else {
        tracing::info!("nobody can sign in: the pages need `portal.url`");
    }
}

pub(super) async fn serve_until_told(app: App, reload: Option<Reload>, logging: &Logging) -> Result<(), Failure> {
    let unreachable = |error: std::io::Error| Failure::Unreachable(format!("the service broke off: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(unreachable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unreachable)?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        served = app.run_until(told, reload) => served.map_err(unreachable),
        () = logging.report_losses() => Ok(()),
    }
}

/// A port in use, a held data directory and a store that cannot be used are 3; what is wrong in files, the server keys
/// among them, is 2.
pub(super) fn failure(error: &StartError) -> Failure {
    let sentence = error.to_string();
    match error {
        StartError::Keys(_)
        | StartError::Io { .. }
        | StartError::Webhook(_)
        | StartError::Bootstrap(
            BootstrapError::OtherServerKey { .. } | BootstrapError::TooStale { .. } | BootstrapError::Unfit(_),
        ) => Failure::Usage(sentence),
        StartError::Listen { .. }
        | StartError::DataDirectoryHeld(_)
        | StartError::Embedded(_)
        | StartError::Redis(_)
        | StartError::Bootstrap(BootstrapError::Contended | BootstrapError::Store(_)) => Failure::Unreachable(sentence),
    }
}

/// `keygate health`: done when the running service is ready, else refused.
pub(super) fn health(global: &GlobalOptions) -> Result<(), Failure> {
    let place = super::place(global)?;
    let (client, url) = (place.http(HEALTH_PATIENCE)?, place.below(&["readyz"])?);
    let ask = async {
        let response = client.get(url).send().await?;
        Ok::<_, reqwest::Error>((response.status().is_success(), response.text().await?))
    };
    let (ready, detail) = match super::wait_for(async { Ok(ask.await) })? {
        Ok((ready, text)) => (ready, printable(text.lines().next().unwrap_or_default()).into_owned()),
        Err(error) if error.is_timeout() => {
            (false, format!("the Keygate on {place} did not answer in {} seconds; see its log", HEALTH_PATIENCE.as_secs()))
        }
        Err(error) => (false, place.explain(&error)),
    };
    if global.json {
        output::json(&serde_json::json!({ "ready": ready, "detail": detail }));
    } else if ready {
        output::say(&format!("{detail}\n"));
    }
    if ready { Ok(()) } else { Err(Failure::Refused(detail)) }
}
