//! The command line as a process that ends, and all that can be seen of it.

use std::{
    fmt,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The exit code, standard output and standard error of a command; the folder's path is written `DIR`.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

/// Standard output, standard error behind `!`, and the exit code.
impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stdout)?;
        for line in self.stderr.lines() {
            writeln!(f, "! {line}")?;
        }
        write!(f, "exit {}", self.code)
    }
}

/// A command that knows nothing but its arguments and these variables.
pub fn keygate(folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
    for name in ["KEYGATE_CONFIG", "KEYGATE_SERVER", "KEYGATE_TOKEN", "KEYGATE__DATA_DIR", "COLUMNS"] {
        command.env_remove(name);
    }
    command.current_dir(folder).envs(variables.iter().copied());
    command
}

/// Runs a command whose words are separated by blanks, without anything on standard input.
pub fn run(folder: &Path, command: &str, variables: &[(&str, &str)]) -> Ran {
    run_words(folder, &command.split(' ').collect::<Vec<_>>(), variables, "")
}

pub fn run_words(folder: &Path, words: &[&str], variables: &[(&str, &str)], input: &str) -> Ran {
    let mut child = keygate(folder, variables)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("keygate can be run");
    // One that refuses at once does not read.
    drop(child.stdin.take().expect("it was asked for").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("keygate ends");
    let text = |bytes| String::from_utf8(bytes).expect("keygate writes UTF-8").replace(&folder.display().to_string(), "DIR");
    Ran { code: output.status.code().expect("no signal ended it"), stdout: text(output.stdout), stderr: text(output.stderr) }
}
