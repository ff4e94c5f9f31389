//! A changed configuration file changes the policy of the running service; a bad one does not.

use std::{fs, os::unix::fs::symlink};

use crate::support::dialects::ask;
use crate::support::keygate::Keygate;
use crate::support::programs::wait_for;
use crate::support::shop::{CONFIG, get};

const PATHS: [&str; 3] = ["/public/a", "/open/a", "/free/a"];

/// The configuration in which that path is the public one.
fn opening(path: &str) -> String {
    let moved = CONFIG.replace("/public/{*rest}", &path.replace("/a", "/{*rest}"));
    assert!(path == PATHS[0] || moved != CONFIG);
    moved
}

/// Waits until that path is public and the others are not.
fn wait_until_open(keygate: &Keygate, path: &str) {
    let is_open = |path: &str| {
        let verdict = ask(keygate, "nginx", &get(path)).unwrap();
        assert!(matches!((verdict.status, verdict.reason()), (200, "") | (403, "no_rule")), "{path}: {verdict:?}");
        verdict.status == 200
    };
    wait_for(&format!("{path} to be open"), || PATHS.iter().all(|each| is_open(each) == (*each == path)).then_some(()));
}

#[test]
fn a_file_that_is_written_again_or_replaced_is_loaded() {
    let keygate = Keygate::start(CONFIG);
    wait_until_open(&keygate, PATHS[0]);
    keygate.write_config(&opening(PATHS[1]));
    wait_until_open(&keygate, PATHS[1]);

    // As editors do.
    let new = keygate.folder.write("keygate.toml.new", &keygate.fill(&opening(PATHS[2])));
    fs::rename(new, keygate.config()).unwrap();
    wait_until_open(&keygate, PATHS[2]);
    // What replaced it is watched as well.
    keygate.write_config(CONFIG);
    wait_until_open(&keygate, PATHS[0]);
}

#[test]
fn a_link_that_is_turned_as_kubernetes_does_is_followed() {
    let mut keygate = Keygate::prepare(CONFIG);
    let folder = keygate.folder.path().to_owned();
    for (version, path) in ["v1", "v2"].into_iter().zip(PATHS) {
        fs::create_dir(folder.join(version)).unwrap();
        keygate.folder.write(&format!("{version}/keygate.toml"), &keygate.fill(&opening(path)));
    }
    fs::remove_file(keygate.config()).unwrap();
    symlink("v1", folder.join("..data")).unwrap();
    symlink("..data/keygate.toml", keygate.config()).unwrap();
    keygate.restart();
    wait_until_open(&keygate, PATHS[0]);
    symlink("v2", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    wait_until_open(&keygate, PATHS[1]);
}

/// The file stands in a directory that is not watched, so that nothing but the signal tells of it.
#[test]
fn sighup_loads_it_anew() {
    let mut keygate = Keygate::prepare(CONFIG);
    let elsewhere = keygate.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let file = elsewhere.join("keygate.toml");
    fs::rename(keygate.config(), &file).unwrap();
    symlink(&file, keygate.config()).unwrap();
    keygate.restart();
    wait_until_open(&keygate, PATHS[0]);
    for path in [PATHS[1], PATHS[2]] {
        fs::write(&file, keygate.fill(&opening(path))).unwrap();
        keygate.program().signal("HUP");
        wait_until_open(&keygate, path);
    }
}

#[test]
fn a_bad_file_leaves_the_policy_and_is_named() {
    let keygate = Keygate::start(CONFIG);
    let bad = [
        (CONFIG.replace("public = true", "public = \"yes\""), "keygate.toml:13: rules[0].public"),
        (format!("{CONFIG}\n[[rules]\n"), "keygate.toml:28: "),
        (CONFIG.replace("access = \"view\"", "access = \"look\""), "keygate.toml:19: rules[1].access"),
    ];
    for (count, (config, named)) in bad.iter().enumerate() {
        keygate.write_config(config);
        wait_for("the mistake to be named", || {
            let log = keygate.log();
            let kept = log.matches("the running policy stays as it is").count();
            (kept > count && log.contains(named)).then_some(())
        });
        wait_until_open(&keygate, PATHS[0]);
    }
    // Mended, and it goes on.
    keygate.write_config(&opening(PATHS[1]));
    wait_until_open(&keygate, PATHS[1]);
}

#[test]
fn other_settings_wait_for_the_next_start_and_the_log_says_so() {
    let mut keygate = Keygate::start(CONFIG);
    keygate.write_config(&opening(PATHS[1]).replace("[check]\n", "[check]\nunix = \"check.sock\"\n"));
    wait_until_open(&keygate, PATHS[1]);
    wait_for("a word about it", || keygate.log().contains("take effect at the next start").then_some(()));
    assert!(!keygate.folder.path().join("check.sock").exists());
    keygate.restart();
    assert!(keygate.folder.path().join("check.sock").exists());
}
