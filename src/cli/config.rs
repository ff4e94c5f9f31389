//! `keygate config`: what is wrong with a configuration, and what it comes to. Needs no running Keygate.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, GlobalOptions, output, serve};
use crate::{
    app::{self, LiveStore},
    config::{self, Sources},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find every mistake in configuration and policy, in one run
    ///
    /// Names each mistake by file, line and key, or by the environment variable. Exits with 0 when there is none, else
    /// with 2; with --live, with 3 when the store cannot be reached.
    Check {
        /// The file [default: the one of --config]
        file: Option<PathBuf>,
        /// Ask the store as well
        #[arg(long)]
        live: bool,
    },
    /// Print the merged configuration, secrets masked
    Show {
        /// The file [default: the one of --config]
        file: Option<PathBuf>,
    },
}

impl Command {
    pub(super) fn run(self, global: &GlobalOptions) -> Result<(), Failure> {
        let from = |file: Option<PathBuf>| Sources::of_process(file.or_else(|| global.config.clone()), global.data_dir.clone());
        match self {
            Self::Check { file, live } => {
                let mistaken = |mistakes: &[String]| {
                    if global.json {
                        output::json(&json!({ "mistakes": mistakes }));
                    }
                };
                let checked = config::check(&from(file));
                if let Err(mistakes) = &checked {
                    mistaken(&mistakes.iter().map(ToString::to_string).collect::<Vec<_>>());
                }
                let loaded = serve::noted(checked)?;
                let (mut store, mut warnings) = ("", Vec::new());
                if live {
                    let ask = async { app::ask_store(&loaded.settings).await.map_err(|error| serve::failure(&error)) };
                    let asked = serve::in_runtime(ask);
                    if let Err(Failure::Usage(sentence)) = &asked {
                        mistaken(std::slice::from_ref(sentence));
                    }
                    store = match asked? {
                        LiveStore::Answers(found) => {
                            warnings = found;
                            ", and the store answers"
                        }
                        LiveStore::InUse => ", and a running Keygate has the embedded store: ask it with `keygate health`",
                        LiveStore::NotThereYet => ", and the embedded store will be made at the first start",
                    };
                }
                let rules = loaded.policy.rules().len();
                let plural = if rules == 1 { "rule" } else { "rules" };
                if global.json {
                    let mut found = json!({ "mistakes": [], "rules": rules });
                    if live {
                        found["warnings"] = json!(warnings);
                    }
                    output::json(&found);
                } else {
                    output::say(&format!("no mistakes; {rules} {plural}{store}\n"));
                }
                for warning in warnings {
                    output::note(&format!("keygate: {warning}"));
                }
                for hint in loaded.settings.hints(app::memory::available()) {
                    output::note(&format!("keygate: {hint}"));
                }
                if rules == 0 {
                    output::note("keygate: without rules every request is refused");
                }
                Ok(())
            }
            Self::Show { file } => {
                let loaded = serve::load(&from(file))?;
                if global.json {
                    output::json(&loaded.shown_json);
                } else {
                    output::say(&loaded.shown);
                }
                Ok(())
            }
        }
    }
}
