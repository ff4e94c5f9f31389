//! Completions and the man pages, given to the programs they are written for.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::support::{
    command::run,
    programs::{Folder, from_debian},
};

fn completions(folder: &Folder, shell: &str) -> String {
    let ran = run(folder.path(), &format!("completions {shell}"), &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    ran.stdout
}

fn ends_well_and_silently(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{text}");
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = Folder::new();
    let script = folder.write("keygate.bash", &completions(&folder, "bash"));
    let complete = |words: &str| {
        let typed: Vec<_> = words.split(' ').collect();
        let ask = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={}; _keygate keygate {} ''; echo \"${{COMPREPLY[*]}}\"",
            script.display(),
            typed.len() - 1,
            typed.last().unwrap()
        );
        let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
        ends_well_and_silently(&output);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("keygate tok"), "token");
    assert_eq!(complete("keygate token rev"), "revoke");
    assert_eq!(complete("keygate token revoke --unu"), "--unused");
    assert_eq!(complete("keygate completions z"), "zsh");
    // Nothing of what is not available.
    assert_eq!(complete("keygate doc"), "");
}

#[test]
fn zsh_and_fish_read_their_completions() {
    let folder = Folder::new();
    for shell in ["zsh", "fish"] {
        let text = completions(&folder, shell);
        assert!(text.contains("revoke") && !text.contains("doctor"), "{shell}");
        let script = folder.write(shell, &text);
        let output = Command::new(from_debian(shell, shell)).arg("-n").arg(&script).env("HOME", folder.path()).output().unwrap();
        ends_well_and_silently(&output);
    }
    assert_eq!(run(folder.path(), "completions tcsh", &[]).code, 2);
}

fn groff(folder: &Path, page: &str) -> String {
    let mut groff = Command::new(from_debian("groff", "groff-base"))
        .args(["-man", "-Tutf8", "-ww"])
        .env("GROFF_NO_SGR", "1")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    groff.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = groff.wait_with_output().unwrap();
    ends_well_and_silently(&output);
    // Letters are struck twice where they are bold.
    let text = String::from_utf8(output.stdout).unwrap();
    let mut plain = String::new();
    for c in text.chars() {
        if c == '\u{8}' { plain.truncate(plain.len() - plain.chars().next_back().map_or(0, char::len_utf8)) } else { plain.push(c) }
    }
    plain
}

#[test]
fn the_manual_is_a_man_page() {
    let folder = Folder::new();
    let page = run(folder.path(), "man", &[]);
    assert_eq!((page.code, page.stderr.as_str()), (0, ""));
    let read = groff(folder.path(), &page.stdout);
    for part in ["NAME\n", "SYNOPSIS\n", "keygate-token(1)", "--server <URL>", "keygate token create ci"] {
        assert!(read.contains(part), "{part}: {read}");
    }
    assert!(!read.contains("doctor"), "{read}");
}

#[test]
fn every_command_can_have_a_page_of_its_own() {
    let folder = Folder::new();
    assert_eq!(run(folder.path(), "man --all pages", &[]).to_string(), "exit 0");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.path().join("pages")).unwrap() {
        let path = entry.unwrap().path();
        groff(folder.path(), &std::fs::read_to_string(&path).unwrap());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["keygate.1", "keygate-token.1", "keygate-token-revoke.1", "keygate-audit.1"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    let nowhere = run(folder.path(), "man --all /dev/null/x", &[]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.stderr.starts_with("keygate: the manual cannot be written to /dev/null/x: "), "{nowhere}");
}
