//! Where log lines go: standard error, as text or JSON. Decides nothing about what is logged; no caller ever
//! hands it a secret.
//!
//! Lines are written by a thread of their own. When nobody reads them fast enough, lines are lost and counted:
//! whoever stalls the log must not stall the checks.

use std::{io::IsTerminal as _, time::Duration};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    filter::Targets,
    fmt::{
        self, FmtContext, FormatEvent,
        format::{Format, Json, JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    prelude::*,
    registry::LookupSpan,
};

use crate::config::{Log, LogFormat, LogLevel};

/// Lines that may wait to be written.
const WAITING_LINES: usize = 16 * 1024;
/// How often lost lines are reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Keeps the log being written; the last lines are flushed when it is dropped.
#[must_use]
pub struct Logging {
    _worker: WorkerGuard,
    lost: ErrorCounter,
}

/// Installs the subscriber of this process. `RUST_LOG` (`level` or `target=level`, comma-separated) goes over the
/// configuration.
pub fn init(log: Log) -> Logging {
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries speak up only when something is wrong, whatever our own level; the trail of changes does at any level.
    let configured = format!("warn,audit=info,keygate={level}");
    #[expect(clippy::disallowed_methods, reason = "the usual variable of Rust programs, for those who look for trouble")]
    let filter: Option<Targets> = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok());
    let filter = filter.or_else(|| configured.parse().ok()).unwrap_or_default();
    let (writer, worker) = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).finish(std::io::stderr());
    let lost = writer.error_counter();
    let lines = fmt::layer().with_writer(writer).with_ansi(std::io::stderr().is_terminal());
    let json = JsonLines(fmt::format().json().flatten_event(true));
    let registry = tracing_subscriber::registry().with(filter);
    // A second call, in a test, changes nothing.
    let _already_installed = match log.format {
        LogFormat::Json => registry.with(lines.fmt_fields(JsonFields::new()).event_format(json)).try_init(),
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
    };
    Logging { _worker: worker, lost }
}

/// One object a line. An event of the audit trail stands in its line as the object it is.
struct JsonLines(Format<Json>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for JsonLines {
    fn format_event(&self, context: &FmtContext<'_, S, JsonFields>, mut writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        if event.metadata().target() != "audit" {
            return self.0.format_event(context, writer, event);
        }
        let mut audit = AuditEvent(String::new());
        event.record(&mut audit);
        write!(writer, "{{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        writeln!(writer, "\",\"level\":\"{}\",\"target\":\"audit\",\"event\":{}}}", event.metadata().level(), audit.0)
    }
}

/// The JSON of an event of the audit trail.
struct AuditEvent(String);

impl Visit for AuditEvent {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Logging {
    /// Says how many lines were lost, while there are any. Never ends.
    pub async fn report_losses(&self) {
        let mut every = tokio::time::interval(REPORT_EVERY);
        let mut reported = 0;
        loop {
            every.tick().await;
            let lost = self.lost.dropped_lines();
            if lost > reported {
                tracing::warn!(lines = lost - reported, "log lines were lost: standard error is not read fast enough");
                reported = lost;
            }
        }
    }
}
