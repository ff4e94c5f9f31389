//! Finds the server keys: the configured file, or the one in the data directory, which is made only for the
//! embedded store. With Redis a missing key is a refusal to start, because the other replicas have one.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rand::{rand_core::UnwrapErr, rngs::SysRng};
use zeroize::Zeroizing;

use crate::{
    config::{Settings, Store},
    domain::key::{KeyFileError, ServerKeys},
};

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("server keys: {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("server keys: {}: {source}", path.display())]
    Malformed { path: PathBuf, source: KeyFileError },
    #[error(
        "server keys: {} does not exist; all replicas on one Redis share one key file, so it is never made by itself: \
         make it once with `printf 'k1:%s\\n' \"$(head -c32 /dev/urandom | base64)\"`, keep it secret, and name it in `keys.file`",
        .0.display()
    )]
    Missing(PathBuf),
}

/// The keys, made where they may be made.
pub(super) fn load(settings: &Settings) -> Result<ServerKeys, KeysError> {
    let made_by_itself = settings.keys_file.is_none() && matches!(settings.store, Store::Embedded { .. });
    match find(settings) {
        Err(KeysError::Missing(path)) if made_by_itself => make(&path),
        found => found,
    }
}

/// The keys, if they are there.
pub(super) fn find(settings: &Settings) -> Result<ServerKeys, KeysError> {
    let own = settings.data_dir.join("keygate.key");
    let path = settings.keys_file.as_deref().unwrap_or(&own);
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeysError::Missing(path.to_owned())),
        Err(source) => return Err(KeysError::Unreadable { path: path.to_owned(), source }),
    };
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
        tracing::warn!(file = %path.display(), "everybody on this machine may read the server keys: chmod 600");
    }
    ServerKeys::parse(&text).map_err(|source| KeysError::Malformed { path: path.to_owned(), source })
}

/// On the disk before it is used: a token that was minted under a lost key is lost too.
fn make(path: &Path) -> Result<ServerKeys, KeysError> {
    let text = Zeroizing::new(ServerKeys::generate_file(&mut UnwrapErr(SysRng)));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|source| KeysError::Unreadable { path: path.to_owned(), source })?;
    ServerKeys::parse(&text).map_err(|source| KeysError::Malformed { path: path.to_owned(), source })
}
