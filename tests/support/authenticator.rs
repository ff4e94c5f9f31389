//! An authenticator app: `oathtool` of Debian makes its codes, and `zbarimg` reads what it would see with its camera.

use std::{path::Path, process::Command};

use keygate::clock::{Clock, SystemClock};

use super::programs::{from_debian, wait_for};

/// Seconds of a step.
const STEP: i64 = 30;

/// Holds one secret, in base32.
pub struct Authenticator(pub String);

impl Authenticator {
    /// The code that is shown now, or so many steps later. There are some seconds left of the step.
    pub fn code(&self, steps: i64) -> String {
        let now = wait_for("a step that goes on for a while", || Some(seconds()).filter(|now| now % STEP < STEP - 8));
        self.code_at(now + steps * STEP)
    }

    fn code_at(&self, seconds: i64) -> String {
        let output = Command::new(from_debian("oathtool", "oathtool"))
            .args(["--totp", "--base32", &format!("--now=@{seconds}"), &self.0])
            .output()
            .expect("oathtool can be run");
        let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success() && code.len() == 6, "{}", String::from_utf8_lossy(&output.stderr));
        code
    }
}

fn seconds() -> i64 {
    SystemClock.now().as_millis() / 1000
}

/// What the QR code in a picture says.
pub fn scanned(picture: &Path) -> String {
    let output = Command::new(from_debian("zbarimg", "zbar-tools")).args(["--quiet", "--raw"]).arg(picture).output();
    let output = output.expect("zbarimg can be run");
    assert!(output.status.success(), "{}: {}", picture.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
