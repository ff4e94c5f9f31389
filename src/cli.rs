//! The command line. One file per group of commands; those that look at or change records speak to a running
//! Keygate over its control socket or to its URL, and know HTTP only: no store, no rules.

mod access;
mod account;
mod audit;
mod blocked;
mod client;
mod config;
mod explain;
mod output;
mod overview;
mod paper;
mod quickstart;
mod serve;
mod session;
mod site;
mod snippet;
mod store;
mod token;

use std::{ffi::OsString, fmt, path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind, parser::ValueSource};

use crate::domain::text::printable;
use client::{Client, Place};
use output::Output;

/// Options that every command has, apart from its own.
const GLOBAL: &str = "Options of every command";

const AFTER_HELP: &str = "\
Examples:
  keygate site create shop --host shop.example.com
  keygate account create ci --service
  keygate access set ci shop write
  keygate token create ci --name 'nightly job' --expires 90d

Exit codes: 0 done; 1 refused or not found; 2 wrong usage, configuration or file; 3 the service or store cannot be \
reached, a port is in use, a data directory is held by another process.";

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
    /// The configuration file: what `serve` serves by; others find the running Keygate by its `data_dir`
    #[arg(long, value_name = "FILE", env = "KEYGATE_CONFIG", hide_env_values = true, global = true, help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// The data directory: where `serve` keeps its data, and others find the running Keygate [default: ./keygate-data]
    #[arg(long, value_name = "DIR", env = "KEYGATE__DATA_DIR", hide_env_values = true, global = true, help_heading = GLOBAL)]
    pub data_dir: Option<PathBuf>,
    /// Answer in JSON: the objects of the REST API, a list as one array
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Speak to the Keygate at this URL, as the token in the variable `KEYGATE_TOKEN` with the scope `manage`
    #[arg(long, value_name = "URL", env = "KEYGATE_SERVER", hide_env_values = true, global = true, help_heading = GLOBAL)]
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
    /// Sessions: where people are signed in
    #[command(subcommand)]
    Session(session::Command),
    /// The overview: what was decided in the last hour, and how the servers are
    Overview(overview::Overview),
    /// The audit trail: who did what, when, and from where
    Audit(audit::Audit),
    /// Blocks: who may not try for a while, because too many attempts have failed
    #[command(subcommand)]
    Blocked(blocked::Command),
    /// The store: where the records are, and how stale a memory of them may be
    #[command(subcommand)]
    Store(store::Command),
    /// Completions for a shell, on standard output
    Completions(paper::Completions),
    /// The manual, as a man page on standard output
    Man(paper::Manual),

    // Commands of later versions: refused by name, so that nobody takes a typing error for an old version.
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
}

impl Command {
    /// Whether it speaks to a running Keygate, wherever that is.
    fn is_conversation(&self) -> bool {
        !matches!(self, Self::Quickstart | Self::Serve | Self::Config(_) | Self::Snippet(_) | Self::Completions(_) | Self::Man(_))
    }
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
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are no failures, but come this way too.
            if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                let _ = error.print();
            } else {
                output::note(&format!("keygate: {}", usage_error(&error, &args)));
            }
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

/// The command line and the environment. What is on the command line goes before what is in the environment.
fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let written = |name: &str, matches: &ArgMatches| matches.value_source(name) == Some(ValueSource::CommandLine);
    if written("server", &matches) {
        if !cli.command.is_conversation() {
            let sentence = "--server is for commands that speak to a running Keygate; leave it out here";
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, sentence));
        }
    } else if written("data_dir", &matches) || written("config", &matches) {
        cli.global.server = None;
    }
    Ok(cli)
}

/// In one sentence: what is wrong, what was perhaps meant, and where it is written how it goes.
fn usage_error(error: &clap::Error, args: &[OsString]) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let lines = paragraphs.next().unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let what = lines.strip_prefix("error: ").unwrap_or(&lines);
    let tip = paragraphs.filter_map(|paragraph| paragraph.trim().strip_prefix("tip: ")?.lines().next());
    let similar = tip.filter(|tip| tip.contains("similar")).map(|tip| format!("; {tip}")).next().unwrap_or_default();
    let mut command = Cli::command();
    let mut path = command.get_name().to_owned();
    for word in args.iter().skip(1) {
        if let Some(below) = command.find_subcommand(word).cloned() {
            path = format!("{path} {}", below.get_name());
            command = below;
        }
    }
    format!("{}; see `{path} --help`", printable(&format!("{what}{similar}")))
}

fn execute(Cli { global, command }: Cli) -> Result<(), Failure> {
    let remote = |global: &GlobalOptions| -> Result<Session, Failure> {
        Ok(Session { client: Client::new(place(global)?.identified()?)?, output: Output { json: global.json } })
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
        Command::Session(command) => wait_for(command.run(remote(&global)?)),
        Command::Overview(_) => wait_for(overview::run(remote(&global)?)),
        Command::Audit(audit) => wait_for(audit.run(remote(&global)?)),
        Command::Blocked(command) => wait_for(command.run(remote(&global)?)),
        Command::Store(command) => wait_for(command.run(remote(&global)?)),
        Command::Completions(completions) => {
            completions.run(&Cli::command());
            Ok(())
        }
        Command::Man(manual) => manual.run(&Cli::command()),
        Command::Doctor(_) => Err(Failure::not_available("doctor")),
        Command::Policy(_) => Err(Failure::not_available("policy")),
        Command::Import(_) => Err(Failure::not_available("import")),
        Command::Scan(_) => Err(Failure::not_available("scan")),
        Command::Export(_) => Err(Failure::not_available("export")),
        Command::Restore(_) => Err(Failure::not_available("restore")),
        Command::Key(_) => Err(Failure::not_available("key")),
    }
}

/// Where the Keygate is that is meant.
fn place(global: &GlobalOptions) -> Result<Place, Failure> {
    match &global.server {
        Some(url) => Place::server(url),
        None => data_dir(global).map(Place::Directory),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every argument of a command and of those below it, with what its help says.
    fn arguments(path: &str, command: &clap::Command, found: &mut Vec<(String, Option<String>)>) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let help = argument.get_help().map(ToString::to_string);
            found.push((format!("{path} {}", argument.get_id()), help));
        }
        for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(below.get_about().is_some(), "{path} {}", below.get_name());
            arguments(&format!("{path} {}", below.get_name()), below, found);
        }
    }

    #[test]
    fn every_argument_says_what_it_is() {
        let mut found = Vec::new();
        arguments("keygate", &Cli::command(), &mut found);
        assert!(found.len() > 50, "{}", found.len());
        let silent: Vec<_> = found.iter().filter(|(_, help)| help.as_deref().unwrap_or_default().is_empty()).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn wrong_usage_is_one_sentence_that_says_where_to_look() {
        for (line, sentence) in [
            (
                "tokne list",
                "unrecognized subcommand 'tokne'; some similar subcommands exist: 'store', 'token'; see `keygate --help`",
            ),
            (
                "account list --jsno",
                "unexpected argument '--jsno' found; a similar argument exists: '--json'; see `keygate account list --help`",
            ),
            (
                "token create",
                "the following required arguments were not provided: --name <TEXT> <LOGIN>; see `keygate token create --help`",
            ),
            (
                "access set a b root",
                "invalid value 'root' for '<LEVEL>' [possible values: none, view, write, admin]; see `keygate access set --help`",
            ),
            ("site show a\nb c", "unexpected argument 'c' found; see `keygate site show --help`"),
            ("site x\u{1b}[2J", "unrecognized subcommand 'x'; see `keygate site --help`"),
        ] {
            let args: Vec<OsString> = ["keygate"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
            let error = Cli::try_parse_from(&args).unwrap_err();
            assert_eq!((usage_error(&error, &args).as_str(), error.exit_code()), (sentence, 2));
        }
    }
}
