//! The key of a server that has none configured: one file for each address that it listens on, which nobody but its own user can read.
//!
//! That a request comes from this machine says nothing about who sends it: a proxy on this machine sends what the whole internet asks, and
//! to the server it looks as everything else that is local. Who can read a file of the server's user is that user, though.
//!
//! A server holds a lock on its files for as long as it lives. So a file of one that was killed is known as such: nobody sends its key
//! anywhere, and the next server that starts takes it away. A key is good for one life of its server.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::api::is_key;

const KEY_BYTES: usize = 32;
/// No file here is longer.
const FILE_MAX: u64 = 1024;
/// What whoever changes the files of a folder has locked.
const LOCK: &str = ".lock";

/// The key that a server of this user on this machine has made for itself, if one listens at `address` and has no keys configured
/// ([`ApiKeys::local`](crate::ApiKeys::local)).
///
/// It opens the server API. Send it to that very address only, and never hand it to a page.
pub fn local_key(address: SocketAddr) -> Option<String> {
    let folders = folders();
    listeners(address).find_map(|listener| folders.iter().find_map(|folder| read(&folder.join(listener.to_string()))))
}

/// Who may listen where a client connects to.
fn listeners(address: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    let any: &[IpAddr] = match address.ip().is_loopback() {
        // Elsewhere another machine may be meant.
        false => &[],
        true => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
    };
    std::iter::once(address).chain(any.iter().map(move |&ip| SocketAddr::new(ip, address.port())))
}

/// The key in a file, if a server holds it.
fn read(path: &Path) -> Option<String> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path).ok()?;
    let there = file.metadata().ok()?;
    if !there.is_file() || !is_private(&there) || flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim_end().to_owned()).filter(|key| is_key(key))
}

/// Ours, and nobody else's.
fn is_private(there: &fs::Metadata) -> bool {
    there.uid() == rustix::process::geteuid().as_raw() && there.mode() & 0o077 == 0
}

/// A key for as long as a server runs.
#[derive(Debug)]
pub(crate) struct LocalKey {
    folder: PathBuf,
    /// With the lock on each.
    files: Vec<(PathBuf, File)>,
}

impl LocalKey {
    /// Makes a key, and leaves it for programs of this user that connect to one of these addresses.
    ///
    /// # Errors
    /// There is no folder that is this user's alone.
    pub(crate) fn make(addresses: &[SocketAddr]) -> io::Result<(Self, Box<str>)> {
        let mut random = [0; KEY_BYTES];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut problem = io::Error::other("there is no XDG_RUNTIME_DIR and no HOME");
        for folder in folders() {
            match Self::keep(&folder, addresses, &key) {
                Ok(kept) => return Ok((kept, key.into())),
                Err(error) => problem = io::Error::new(error.kind(), format!("{}: {error}", folder.display())),
            }
        }
        Err(problem)
    }

    fn keep(folder: &Path, addresses: &[SocketAddr], key: &str) -> io::Result<Self> {
        make_private(folder)?;
        let _changing = lock_folder(folder)?;
        remove_stale(folder);
        let mut kept = Self { folder: folder.to_owned(), files: Vec::new() };
        for address in addresses {
            let path = folder.join(address.to_string());
            let new = folder.join(format!(".new-{}", std::process::id()));
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            writeln!(file, "{key}")?;
            // What was there is of a server that had this address before, and has it no longer.
            fs::rename(&new, &path)?;
            kept.files.push((path, file));
        }
        Ok(kept)
    }
}

impl Drop for LocalKey {
    fn drop(&mut self) {
        let Ok(_changing) = lock_folder(&self.folder) else { return };
        for (path, file) in &self.files {
            let is_ours =
                fs::symlink_metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| there.ino() == ours.ino()));
            if is_ours {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Where such files may be, the best first: the user's runtime directory, which the system empties; else one that only the user can
/// read. Who looks for a key looks in all of them: a server may have been started where not all of this was set.
fn folders() -> Vec<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let runtime = absolute("XDG_RUNTIME_DIR").filter(|path| {
        // Not somebody else's, as with sudo.
        path.metadata().is_ok_and(|there| there.uid() == rustix::process::geteuid().as_raw())
    });
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let own = std::env::temp_dir().join(format!("longwire-{}", rustix::process::geteuid().as_raw()));
    [runtime.map(|path| path.join("longwire")), cache.map(|path| path.join("longwire/run")), Some(own)]
        .into_iter()
        .flatten()
        .collect()
}

/// # Errors
/// It cannot be made, or is not this user's alone.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let there = fs::symlink_metadata(folder)?;
    if !there.is_dir() || there.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "this is no folder of this user"));
    }
    if there.mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Held for moments only.
fn lock_folder(folder: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

/// Takes away the files of servers that were killed: nobody holds them.
fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() != LOCK
            && File::open(&path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
        {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("longwire-keys-{name}-{}", std::process::id())))
        }

        fn keep(&self, address: &str) -> LocalKey {
            LocalKey::keep(&self.0, &[address.parse().unwrap()], KEY).unwrap()
        }

        fn read(&self, address: &str) -> Option<String> {
            read(&self.0.join(address))
        }

        fn mode(&self, name: &str) -> u32 {
            fs::metadata(self.0.join(name)).unwrap().mode() & 0o777
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_key_is_there_for_its_user_alone_while_its_server_lives() {
        let folder = Folder::new("life");
        let kept = folder.keep("127.0.0.1:8000");
        assert_eq!((folder.mode(""), folder.mode("127.0.0.1:8000")), (0o700, 0o600));
        assert_eq!(folder.read("127.0.0.1:8000").as_deref(), Some(KEY));
        assert_eq!(folder.read("127.0.0.1:8001"), None);
        drop(kept);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left but the lock");
    }

    #[test]
    fn what_a_killed_server_has_left_is_no_key_and_goes() {
        let folder = Folder::new("killed");
        for port in [8000, 8001] {
            let mut killed = folder.keep(&format!("127.0.0.1:{port}"));
            killed.files.iter_mut().for_each(|(_, file)| flock(&*file, FlockOperation::Unlock).unwrap());
            std::mem::forget(killed);
        }
        assert_eq!(folder.read("127.0.0.1:8000"), None);
        let next = folder.keep("127.0.0.1:8000");
        assert_eq!(folder.read("127.0.0.1:8000").as_deref(), Some(KEY));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "the other one is gone");
        drop(next);
    }

    #[test]
    fn one_that_others_can_read_or_that_leads_elsewhere_is_none() {
        let folder = Folder::new("open");
        let kept = folder.keep("[::1]:8000");
        let path = folder.0.join("[::1]:8000");
        std::os::unix::fs::symlink(&path, folder.0.join("127.0.0.1:8000")).unwrap();
        assert_eq!(folder.read("127.0.0.1:8000"), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(folder.read("[::1]:8000"), None);
        drop(kept);
    }

    /// Where the server listens on every address, one connects to one of this machine; another machine's is not this server.
    #[test]
    fn keys_are_looked_for_under_every_address_that_may_be_meant() {
        let of = |address: &str| listeners(address.parse().unwrap()).map(|listener| listener.to_string()).collect::<Vec<_>>();
        assert_eq!(of("127.0.0.1:80"), ["127.0.0.1:80", "0.0.0.0:80", "[::]:80"]);
        assert_eq!(of("[::1]:80"), ["[::1]:80", "0.0.0.0:80", "[::]:80"]);
        assert_eq!(of("192.168.1.5:80"), ["192.168.1.5:80"]);
    }
}
