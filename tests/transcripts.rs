//! Every command as it is typed and what it prints, word for word, in `tests/snapshots`. What differs from run to run
//! is replaced by its kind: ids of tokens by `ID1`, `ID2` in the order of their making, times, tokens and secrets.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_snapshot;

use crate::support::{
    command::{Ran, run, run_words},
    control::Control,
    dialects::PROXY,
    http::Request,
    programs::{Folder, wait_for},
};

/// Everything that was typed in one test, and what came of it.
struct Transcript<'a> {
    control: &'a Control,
    /// Ids of the tokens that were made, in their order.
    made: Vec<String>,
    text: String,
}

/// The words of a line; in single quotes, blanks are part of a word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (number, part) in line.split('\'').enumerate() {
        let mut pieces = if number % 2 == 0 { part.split(' ').collect() } else { vec![part] }.into_iter();
        words.last_mut().unwrap().push_str(pieces.next().unwrap_or_default());
        words.extend(pieces.map(str::to_owned));
    }
    words
}

/// A line with two blanks between its columns.
fn narrow(line: &str) -> String {
    let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
    let cells: Vec<_> = rest.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    format!("{indent}{}\n", cells.join("  "))
}

impl<'a> Transcript<'a> {
    fn of(control: &'a Control) -> Self {
        Self { control, made: Vec::new(), text: String::new() }
    }

    fn run(&self, line: &str, input: &str) -> Ran {
        let mut line = line.to_owned();
        for (number, id) in self.made.iter().enumerate() {
            line = line.replace(&format!("ID{}", number + 1), id);
        }
        let words = words(&line);
        let data_dir = self.control.data_dir().display().to_string();
        let words: Vec<_> = ["--data-dir", &data_dir].into_iter().chain(words.iter().map(String::as_str)).collect();
        run_words(self.control.keygate.folder.path(), &words, &[], input)
    }

    fn type_with(&mut self, line: &str, input: &str) {
        let mut ran = self.run(line, input);
        let token = ran.stdout.find("kg_").and_then(|at| ran.stdout.get(at + 5..at + 17));
        self.made.extend(token.map(str::to_owned));
        // Columns are as wide as times and ids of users, which are not always the same.
        if ran.stdout.contains(':') {
            ran.stdout = ran.stdout.lines().map(narrow).collect();
        }
        let input = if input.is_empty() { String::new() } else { format!(" <<< '{}'", input.trim_end()) };
        let _infallible = writeln!(self.text, "$ keygate {line}{input}\n{ran}\n");
    }

    /// Lines, each as it is typed after `keygate`.
    fn types(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.type_with(line, "");
        }
    }

    /// The text without what differs from run to run.
    fn plain(self) -> String {
        let mut text = self.text;
        for (number, id) in self.made.iter().enumerate() {
            text = text.replace(id, &format!("ID{}", number + 1));
        }
        text
    }
}

macro_rules! assert_transcript {
    ($transcript:expr) => {
        insta::with_settings!({ filters => vec![
            (r"kg_[a-z]_(ID\d+)[0-9A-Za-z]{38}", "kg_[TOKEN of $1]"),
            (r"acc_[0-9A-Za-z]+", "[ACCOUNT ID]"),
            (r"20[0-9]{2}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
            (r"control:\d+", "control:[UID]"),
            (r#""(id|request_id)": "[cr]?[0-9a-f-]{15,}""#, "\"$1\": \"[ID]\""),
        ], prepend_module_to_snapshot => false, omit_expression => true }, { assert_snapshot!($transcript.plain()) })
    };
}

#[test]
fn accounts() {
    let control = Control::start();
    let mut transcript = Transcript::of(&control);
    transcript.types("account create ci --service --name 'Builds of the shop'");
    transcript.type_with("account create vera --superuser --email vera@example.com --password-stdin", "correct horse\n");
    transcript.types(
        "account create ada --json
        account list
        account show ci
        account show vera
        account show vera --json
        account rename ada eda
        account disable eda
        account disable ci --no-wait --json
        account enable ci
        account enable ci --json
        account superuser eda on
        account superuser eda off --json
        account minting eda off
        account minting eda on --json
        account require-second-factor eda on
        account require-second-factor eda off --json
        account reset-second-factor eda
        account reset-second-factor eda --json
        account revoke-all ci
        account revoke-all ci --json
        account rename eda ida --json
        account rename ida eda
        account list --json
        account delete eda
        account delete ci --json",
    );
    transcript.type_with("account password vera --password-stdin", "another horse\n");
    transcript.type_with("account password vera --password-stdin --no-wait --json", "a third horse\n");
    transcript.types(
        "account show nobody
        account create VERA
        account create a/b
        account create ci --service --email ci@example.com
        account superuser vera off
        account delete vera
        account password vera
        account rename vera
        account minting vera perhaps
        account",
    );
    assert_transcript!(transcript);
}

#[test]
fn sites_and_access() {
    let control = Control::start();
    let mut transcript = Transcript::of(&control);
    transcript.types(
        "account create ci --service
        account create root --superuser
        site create shop --name 'The shop' --host shop.example.com --host www.shop.example.com
        site create blog --json
        site list
        site list --json
        site show shop
        site show blog --json
        site update blog --name 'The blog' --host blog.example.com
        site update blog --name '' --host '' --json
        access list
        access set ci shop write
        access set anonymous blog view --json
        access list
        access list ci
        access list --site blog --json
        access set ci shop none
        access set anonymous blog none --no-wait
        site delete blog
        site delete shop --json
        site show shop
        site create S/1
        site create shop
        site create shop
        site create other --host bad_host!
        site update shop
        access set anonymous shop write
        access set root shop view
        access set nobody shop view
        access set ci nowhere view
        access set ci shop root
        access list nobody",
    );
    assert_transcript!(transcript);
}

#[test]
fn tokens() {
    let control = Control::start();
    let mut transcript = Transcript::of(&control);
    transcript.types(
        "account create ci --service
        site create shop
        site create blog
        access set ci shop write
        token create ci --name 'nightly job' --device 'build machine' --access view --expires 90d
        token create ci --name deploy --access shop=write --access blog=view --scope deploy --from 192.0.2.0/24 --secure-only --json
        token list
        token show ID1
        token show ID2
        token show ID1 --json
        token rotate ID1 --grace 1h
        token rotate ID2 --no-wait --json
        token list ci
        token list ci --json
        token revoke ID3
        token revoke ID4 --no-wait --json
        token revoke --account ci
        token create ci
        token create nobody --name x
        token create ci --name x --access view --access shop=write
        token create ci --name x --access nowhere=view
        token create ci --name x --expires soon
        token create ci --name x --expires 2001-01-01T00:00:00Z
        token create ci --name x --from here
        token show nothing
        token rotate ID3
        token rotate ID1 --grace long
        token revoke
        token revoke ID1 --account ci
        token revoke ID1 --dry-run
        token revoke --name x --keep-minted
        token list nobody",
    );
    assert_transcript!(transcript);
}

#[test]
fn tokens_by_filters() {
    let control = Control::start();
    let mut transcript = Transcript::of(&control);
    transcript.types(
        "account create ci --service
        account create vera
        token create ci --name 'nightly 1' --expires 90d
        token create ci --name 'nightly 2' --expires never
        token create vera --name laptop
        token create ci --name keys --system
        token list --expiring 91d
        token list --expiring 89d
        token list --unused 1h
        token list --unused 1h --json
        token list --expiring soon
        token list --sort -name
        token list --sort created --state active --name 'nightly*'
        token list --creator nobody
        token list --sort colour
        token revoke --name 'nightly*' --dry-run
        token revoke --account ci --dry-run
        token revoke --older-than 1h
        token revoke --unused 1h --json
        token revoke --account vera --name 'nightly*'
        token revoke --account ci --name 'nightly*' --no-wait
        token revoke --name lap*
        token revoke ID4 --keep-minted
        token revoke --older-than long",
    );
    assert_transcript!(transcript);
}

/// Nobody has signed in; what is shown of who has, is looked at in `sessions.rs`.
#[test]
fn sessions() {
    let control = Control::start();
    let mut transcript = Transcript::of(&control);
    transcript.types(
        "account create vera
        session list
        session list vera --json
        session list nobody
        session revoke AbCdEfGh0123
        session revoke AbCdEfGh0123 --no-wait --json
        session revoke short",
    );
    assert_transcript!(transcript);
}

#[test]
fn the_audit_trail() {
    let control = Control::start();
    let mut transcript = Transcript::of(&control);
    transcript.types(
        "audit
        site create shop --host shop.example.com
        account create ci --service --name Builds
        account create CI
        access set ci shop view
        access set ci shop write
        token create ci --name 'nightly job' --access shop=view
        token revoke ID1
        account disable ci --no-wait
        account rename ci builds
        account delete builds
        audit
        audit --account ci --done
        audit --refused --json
        audit --done --limit 1 --json
        audit --since 1d --limit 2
        audit --since 2001-01-01T00:00:00Z --account nobody
        audit --since yesterday
        audit --limit 0
        audit --done --refused",
    );
    assert_transcript!(transcript);
}

/// Somebody guesses, and an administrator looks after it.
#[test]
fn blocks() {
    let guessing = "[[rules]]\nname = \"all\"\nsite = { host = true }\naccess = \"view\"\ncredentials = [\"basic\"]\n\n\
        [guessing]\nper_address = 0\nper_login = 1\n";
    let control = Control::with(guessing);
    let mut transcript = Transcript::of(&control);
    transcript.types("blocked list");
    for login in ["vera", "ada", "vera", "ada"] {
        let guess = format!("Basic {}", STANDARD.encode(format!("{login}:a wrong password")));
        let check = Request::new("GET", "/auth/check?method=GET&url=http%3A%2F%2Fa.example%2F").header("Host", "localhost");
        let answer = check.header("Authorization", &guess).send(PROXY, control.keygate.check).unwrap();
        assert_eq!(answer.header("X-Auth-Reason"), Some("mismatch"));
    }
    let listed = || transcript.run("blocked list", "").stdout.lines().count();
    wait_for("the blocks to be listed", || (listed() == 3).then_some(()));
    transcript.types(
        "blocked list
        blocked list --json
        blocked lift Vera
        blocked lift ada --json
        blocked list --json
        blocked lift vera
        blocked lift 203.0.113.7",
    );
    assert_transcript!(transcript);
}

#[test]
fn the_store() {
    let control = Control::start();
    let mut transcript = Transcript::of(&control);
    transcript.types(
        "store show
        store show --json
        store max-staleness 2s
        store max-staleness 2s --json
        store max-staleness 2
        store max-staleness 1h",
    );
    assert_transcript!(transcript);
}

/// Each of these is a line of the list of commands in a help.
fn commands_in(help: &str) -> Vec<String> {
    let list = help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_command() {
    let folder = Folder::new();
    let (mut paths, mut seen) = (vec![String::new()], BTreeSet::new());
    while let Some(path) = paths.pop() {
        let help = run(folder.path(), &format!("{path}--help"), &[]);
        paths.extend(commands_in(&help.stdout).into_iter().map(|name| format!("{path}{name} ")));
        let name = format!("help {path}").trim_end().replace(' ', "-");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, { assert_snapshot!(name.clone(), help) });
        seen.insert(name);
    }
    for name in ["help", "help-token-revoke", "help-account-create", "help-audit", "help-man"] {
        assert!(seen.contains(name), "{seen:?}");
    }
    // A command that has gone leaves its help behind; one that has come is to be typed in a transcript.
    let (mut kept, mut typed) = (BTreeSet::new(), String::new());
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("help") {
            kept.insert(name);
        } else {
            typed += &std::fs::read_to_string(path).unwrap();
        }
    }
    assert_eq!(kept, seen);
    let lines: Vec<_> = typed.lines().filter(|line| line.starts_with("$ keygate ")).collect();
    for name in seen.iter().filter(|name| name.matches('-').count() > 1) {
        let words = name.splitn(3, '-').skip(1).collect::<Vec<_>>().join(" ");
        let is_typed = |json: bool| {
            lines.iter().any(|line| line[10..].starts_with(&format!("{words} ")) && line.contains("--json") == json)
                || lines.contains(&format!("$ keygate {words}").as_str())
        };
        assert!(words.starts_with("config ") || is_typed(false) && is_typed(true), "{words}");
    }
}
