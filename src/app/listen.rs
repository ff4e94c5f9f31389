//! Binds listeners, and says what is wrong when one cannot be bound.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use super::StartError;

pub(super) fn tcp(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address: address.to_string(), key, source })
}

/// Takes over a socket that nobody listens on any more. Its mode is set before anybody could connect with more:
/// it is bound under another name and then put in its place.
pub(super) fn unix(path: &Path, mode: u32, key: &'static str) -> Result<UnixListener, StartError> {
    let error = |source| StartError::Listen { address: path.display().to_string(), key, source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            if UnixStream::connect(path).is_ok() {
                return Err(error(io::Error::from(io::ErrorKind::AddrInUse)));
            }
        }
        Ok(_) => return Err(error(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        Err(other) => return Err(error(other)),
    }
    // A short name: the kernel takes no more than 107 bytes of a path.
    let new = path.with_file_name(format!(".{}", std::process::id()));
    let bind = || {
        if new.exists() {
            fs::remove_file(&new)?;
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
        fs::rename(&new, path)?;
        Ok(listener)
    };
    bind().map_err(error)
}
