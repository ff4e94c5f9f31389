//! The command line. One file per group of commands; those that look at or change records speak to a running
//! Keygate over its control socket, and know HTTP only: no store, no rules.

mod access;
mod account;
mod client;
mod config;
mod explain;
mod output;
mod quickstart;
mod serve;
mod site;
mod snippet;
mod token;

use std::{ffi::OsString, fmt, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use client::Client;
use output::Output;

/// Options that every command has, apart from its own.
const GLOBAL: &str = "Options of every command";

const AFTER_HELP: &str = "\
Examples:
  keygate site create shop --host shop.example.com
  keygate account create ci --service
  keygate access set ci shop write
  keygate token create ci --name 'nightly job' --expires 90d

Exit codes: 0 done; 1 refused or not found; 2 wrong usage, configuration or file; 3 the service or store cannot be reached.";

/// Keygate answers one question for a proxy: may this request pass, and who is it?
#[derive(Debug, Parser)]
#[command(name = "keygate", version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

/// Where the Keygate is, and how to answer.
#[derive(Clone, Debug, Args)]
pub struct GlobalOptions {
    /// The configuration file; its `data_dir` says where the running Keygate is
    #[arg(long, value_name = "FILE", env = "KEYGATE_CONFIG", hide_env_values = true, global = true, help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// The data directory of the running Keygate [default: ./keygate-data]
    #[arg(long, value_name = "DIR", env = "KEYGATE__DATA_DIR", hide_env_values = true, global = true, help_heading = GLOBAL)]
    pub data_dir: Option<PathBuf>,
    /// Answer in JSON: the objects of the REST API, a list as one array
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Another Keygate, by its URL
    #[arg(long, value_name = "URL", global = true, hide = true)]
    pub server: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a working server on a bare machine, and lines to paste
    ///
    /// Keeps its data in ./keygate-data. If that is empty, it makes a site `demo`, a superuser `admin` and a service
    /// account `demo` with a token, and shows their secrets once. Run again, it serves what is there.
    Quickstart,
    /// Serve: answer proxies until told to stop
    ///
    /// Without a configuration file, every request is refused. The policy is read again when the file changes, and on
    /// SIGHUP; a file with mistakes leaves the running policy in place.
    Serve,
    /// Exit with 0 when the running Keygate is ready, else with 1
    Health,
    /// The configuration: find its mistakes, or show what it comes to
    #[command(subcommand)]
    Config(config::Command),
    /// The decision on a request, rule by rule, and why
    Explain(explain::Explain),
    /// A proxy's configuration to paste, with every header it needs
    Snippet(snippet::Snippet),
    /// Accounts: people, and services that call an API
    #[command(subcommand)]
    Account(account::Command),
    /// Sites: what access is given on
    #[command(subcommand)]
    Site(site::Command),
    /// Access: who may do how much on which site
    #[command(subcommand)]
    Access(access::Command),
    /// Tokens: what API clients hold
    #[command(subcommand)]
    Token(token::Command),

    // Commands of later versions: refused by name, so that nobody takes a typing error for an old version.
    #[command(hide = true)]
    Session(Rest),
    #[command(hide = true)]
    Doctor(Rest),
    #[command(hide = true)]
    Policy(Rest),
    #[command(hide = true)]
    Import(Rest),
    #[command(hide = true)]
    Scan(Rest),
    #[command(hide = true)]
    Export(Rest),
    #[command(hide = true)]
    Restore(Rest),
    #[command(hide = true)]
    Key(Rest),
    #[command(hide = true)]
    Audit(Rest),
    #[command(hide = true)]
    Completions(Rest),
    #[command(hide = true)]
    Man(Rest),
}

/// Whatever follows a command that is not available.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<OsString>,
}

/// What takes something away holds everywhere when the command returns.
#[derive(Clone, Copy, Debug, Args)]
struct Waiting {
    /// Return at once, before the change holds everywhere
    #[arg(long)]
    no_wait: bool,
}

impl Waiting {
    /// As the query of a request.
    fn query(self) -> &'static [(&'static str, &'static str)] {
        if self.no_wait { &[] } else { &[("wait", "true")] }
    }
}

/// Why a command did not succeed, by its exit code. One sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Refused, or not found.
    Refused(String),
    /// Wrong usage, configuration or file.
    Usage(String),
    /// The service or the store cannot be reached.
    Unreachable(String),
}

impl Failure {
    fn not_available(what: &str) -> Self {
        Self::Usage(format!("{what}: not available in this version"))
    }

    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(sentence) | Self::Usage(sentence) | Self::Unreachable(sentence)) = self;
        f.write_str(sentence)
    }
}

/// What the commands that speak to a running Keygate work with.
struct Session {
    client: Client,
    output: Output,
}

/// Runs the command line. Everything it has to say has been said when it returns.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are no failures, but come this way too.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("keygate: {failure}"));
            failure.exit_code()
        }
    }
}

fn execute(Cli { global, command }: Cli) -> Result<(), Failure> {
    if global.server.is_some() {
        return Err(Failure::not_available("--server"));
    }
    let remote = |global: &GlobalOptions| -> Result<Session, Failure> {
        Ok(Session { client: Client::new(data_dir(global)?)?, output: Output { json: global.json } })
    };
    match command {
        Command::Quickstart => quickstart::run(&global),
        Command::Serve => serve::run(&global),
        Command::Health => serve::health(&global),
        Command::Config(command) => command.run(&global),
        Command::Snippet(snippet) => snippet.run(&global),
        Command::Explain(explain) => wait_for(explain.run(remote(&global)?)),
        Command::Account(command) => wait_for(command.run(remote(&global)?)),
        Command::Site(command) => wait_for(command.run(remote(&global)?)),
        Command::Access(command) => wait_for(command.run(remote(&global)?)),
        Command::Token(command) => wait_for(command.run(remote(&global)?)),
        Command::Session(_) => Err(Failure::not_available("session")),
        Command::Doctor(_) => Err(Failure::not_available("doctor")),
        Command::Policy(_) => Err(Failure::not_available("policy")),
        Command::Import(_) => Err(Failure::not_available("import")),
        Command::Scan(_) => Err(Failure::not_available("scan")),
        Command::Export(_) => Err(Failure::not_available("export")),
        Command::Restore(_) => Err(Failure::not_available("restore")),
        Command::Key(_) => Err(Failure::not_available("key")),
        Command::Audit(_) => Err(Failure::not_available("audit")),
        Command::Completions(_) => Err(Failure::not_available("completions")),
        Command::Man(_) => Err(Failure::not_available("man")),
    }
}

/// The data directory of the Keygate that is meant.
fn data_dir(global: &GlobalOptions) -> Result<PathBuf, Failure> {
    match (&global.data_dir, &global.config) {
        (Some(directory), _) => Ok(directory.clone()),
        (None, Some(_)) => Ok(serve::load(&serve::sources(global))?.settings.data_dir),
        (None, None) => Ok(PathBuf::from("./keygate-data")),
    }
}

/// Runs one conversation on this thread.
fn wait_for<T>(conversation: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Unreachable(format!("the operating system gives no resources to wait with: {error}")))?;
    runtime.block_on(conversation)
}
