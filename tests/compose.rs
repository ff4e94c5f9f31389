//! `docker-compose.yml`: images cannot be pulled everywhere, so it is held against the specification instead, and
//! the files it mounts against the repository.

use std::path::Path;
use std::process::Command;

use crate::support::programs::{Folder, from_venv};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn docker_compose_is_as_the_specification_says() {
    let checked = Command::new(from_venv("check-jsonschema", "check-jsonschema"))
        .args(["--builtin-schema", "vendor.compose-spec", "docker-compose.yml"])
        .current_dir(ROOT)
        .output()
        .expect("check-jsonschema can be run");
    assert!(checked.status.success(), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn docker_compose_mounts_files_that_exist() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docker-compose.yml")).expect("docker-compose.yml can be read");
    let mounted: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next()).collect();
    assert!(!mounted.is_empty());
    for file in mounted {
        assert!(Path::new(ROOT).join(file).exists(), "docker-compose.yml mounts {file}");
    }
}

#[test]
fn docker_compose_configures_keygate_without_a_mistake() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docker-compose.yml")).expect("docker-compose.yml can be read");
    let (_, configs) = text.split_once("\nconfigs:\n").expect("it has configs");
    let (_, config) = configs.split_once("  keygate:\n    content: |\n").expect("one of them is Keygate's");
    let lines = config.lines().take_while(|line| line.is_empty() || line.starts_with("      "));
    let config: String = lines.flat_map(|line| [line.trim_start(), "\n"]).collect();
    let folder = Folder::new();
    // The secret that is mounted there.
    assert!(config.contains("/run/secrets/server.key"), "{config}");
    let key = folder.write("server.key", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    let config = config.replace("/run/secrets/server.key", &key.display().to_string());
    let file = folder.write("keygate.toml", &config);
    let checked =
        Command::new(env!("CARGO_BIN_EXE_keygate")).args(["config", "check"]).arg(file).output().expect("keygate can be run");
    assert!(checked.status.success(), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
}
