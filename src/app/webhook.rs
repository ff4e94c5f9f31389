//! Sends word of tokens that need somebody's care to the one URL that is configured. The URL is a secret, as such URLs hold
//! keys: only its host is ever logged. Who is away for long misses something; the audit trail has it all.

use std::{error::Error as _, sync::Arc, time::Duration};

use reqwest::{Client, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use super::StartError;
use crate::{
    directory::{Notices, Recorded, shown::EventView},
    metrics::Metrics,
};

/// Notices that wait to be sent.
const WAITING: usize = 1_000;
/// For one try.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Before the second try, and before the third.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The end at which notices go in.
pub(super) struct Webhook {
    queue: mpsc::Sender<Recorded>,
    metrics: Arc<Metrics>,
}

/// The end at which they come out, and are sent.
pub(super) struct Delivery {
    queue: mpsc::Receiver<Recorded>,
    client: Client,
    url: Url,
    metrics: Arc<Metrics>,
}

/// Why a notice has not arrived, and whether it may on another try.
struct Undelivered {
    why: String,
    again: bool,
}

/// # Errors
/// When no certificates are found by which an `https` host could be told from another.
pub(super) fn webhook(url: &SecretString, metrics: &Arc<Metrics>) -> Result<(Webhook, Delivery), StartError> {
    let url = Url::parse(url.expose_secret()).map_err(|error| StartError::Webhook(error.to_string()))?;
    // Refused only where it has been done before.
    drop(rustls::crypto::ring::default_provider().install_default());
    let agent = concat!("keygate/", env!("CARGO_PKG_VERSION"));
    let builder = Client::builder().user_agent(agent).timeout(ANSWER_WITHIN).redirect(redirect::Policy::none()).no_proxy();
    let builder = if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
    let client = builder.build().map_err(|error| {
        let cause = error.source().map(ToString::to_string);
        StartError::Webhook(cause.unwrap_or_else(|| "TLS cannot be set up".to_owned()))
    })?;
    let (sender, queue) = mpsc::channel(WAITING);
    Ok((Webhook { queue: sender, metrics: metrics.clone() }, Delivery { queue, client, url, metrics: metrics.clone() }))
}

impl Notices for Webhook {
    fn tell(&self, recorded: Recorded) {
        if self.queue.try_send(recorded).is_err() {
            self.metrics.count_notice("dropped");
        }
    }
}

impl Delivery {
    /// Sends one notice after the other, for ever.
    pub(super) async fn run(mut self) {
        while let Some(recorded) = self.queue.recv().await {
            let (action, target) = (recorded.event.action.clone(), recorded.event.target.id.clone());
            let outcome = match self.deliver(&EventView::from(recorded)).await {
                Ok(()) => "delivered",
                Err(why) => {
                    let host = self.url.host_str();
                    tracing::warn!(host, action, target, why, "a notice could not be delivered to the webhook");
                    "failed"
                }
            };
            self.metrics.count_notice(outcome);
        }
    }

    async fn deliver(&self, event: &EventView) -> Result<(), String> {
        let mut pauses = PAUSES.into_iter();
        loop {
            match self.send(event).await {
                Ok(()) => return Ok(()),
                Err(Undelivered { why, again }) => match pauses.next().filter(|_| again) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(why),
                },
            }
        }
    }

    async fn send(&self, event: &EventView) -> Result<(), Undelivered> {
        match self.client.post(self.url.clone()).json(event).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => {
                let status = response.status();
                let again =
                    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
                Err(Undelivered { why: format!("it answered {}", status.as_u16()), again })
            }
            Err(error) => {
                let why = if error.is_timeout() { "it did not answer in time" } else { "it could not be reached" };
                Err(Undelivered { why: why.to_owned(), again: true })
            }
        }
    }
}
