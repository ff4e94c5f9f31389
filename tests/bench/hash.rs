//! The control of the flood of wrong logins: hashes passwords on one thread for each two cores, as Keygate does at its busiest,
//! at the lowest priority, until it is killed. What checks lose beside this is not lost to Keygate's logins.

use std::thread;

use keygate::domain::password::{Cost, Password, PasswordHash, Workspace};
use rand::{rand_core::UnwrapErr, rngs::SysRng};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let password = Password::chosen("correct horse").map_err(|_| "this is no password")?;
    rustix::process::setpriority_process(None, 19)?;
    let threads = (thread::available_parallelism()?.get() / 2).max(1);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut workspace = Workspace::default();
                loop {
                    PasswordHash::generate(&password, Cost::DEFAULT, &mut UnwrapErr(SysRng), &mut workspace);
                }
            });
        }
    });
    Ok(())
}
