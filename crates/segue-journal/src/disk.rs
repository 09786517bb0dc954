//! Files and folders as a store wants them: private, synced, replaced in one step, and not
//! on a network.
//!
//! It knows nothing of runs and events.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The mode of every folder.
const DIR_MODE: u32 = 0o700;
/// The mode of every file.
const FILE_MODE: u32 = 0o600;

/// An operation on a file failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {op} `{}`: {source}", path.display())]
pub struct IoError {
    /// What was tried: `create`, `write`, `sync`, … .
    pub op: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl IoError {
    /// For `map_err`: names what was tried and on what.
    pub(crate) fn at<'a>(
        op: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self { op, path: path.to_owned(), source }
    }

    /// Whether the disk, a quota or a file's limit is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// Makes one private folder; says `false` if it was there.
pub(crate) fn create_dir(path: &Path) -> Result<bool, IoError> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(IoError::at("create", path)(error)),
    }
}

/// Makes a private folder and what is missing above it.
pub(crate) fn create_dir_all(path: &Path) -> Result<(), IoError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(IoError::at("create", path))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), IoError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(IoError::at("sync", path))
}

/// How private files are opened for reading and writing; they are made if missing.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    options
}

/// Writes a new private file and syncs its content; its name is synced with its folder.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(IoError::at("create", path))?;
    file.write_all(bytes).map_err(IoError::at("write", path))?;
    file.sync_all().map_err(IoError::at("sync", path))
}

/// Replaces the file at `path` in one step: a reader sees the old bytes or the new ones,
/// never a part. Mode 0600. Not synced: what is written this way is derived.
///
/// # Errors
/// [`IoError`]; the file at `path` is then as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    replace(path, bytes, |_| Ok(()))
}

/// As [`write_atomic`], with its content on disk before it gets its name; the name is synced
/// with its folder.
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    replace(path, bytes, File::sync_all)
}

fn replace(
    path: &Path,
    bytes: &[u8],
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), IoError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.{count}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| sync(&file)))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // Nothing more can be done about a temporary file that cannot be removed either.
        let _ = fs::remove_file(&temporary);
        IoError { op: "write", path: path.to_owned(), source }
    })
}

/// The name of the network file system with this magic number (`statfs.f_type`), or `None`
/// if it is not one. `mount_type` is the mount's type as `/proc/self/mountinfo` writes it,
/// which alone tells FUSE file systems apart (`fuse.sshfs`).
///
/// Numbers: `linux/magic.h`, and the sources of CIFS, Ceph, Lustre, GPFS and BeeGFS.
#[must_use]
pub fn network_file_system(magic: u64, mount_type: Option<&str>) -> Option<&'static str> {
    const FUSE: u64 = 0x6573_5546;
    const NETWORKED_FUSE: &[(&str, &str)] = &[
        ("fuse.sshfs", "sshfs"),
        ("fuse.rclone", "rclone"),
        ("fuse.s3fs", "s3fs"),
        ("fuse.mount-s3", "mount-s3"),
        ("fuse.gcsfuse", "gcsfuse"),
        ("fuse.blobfuse", "blobfuse"),
        ("fuse.blobfuse2", "blobfuse"),
        ("fuse.goofys", "goofys"),
        ("fuse.glusterfs", "GlusterFS"),
        ("fuse.ceph-fuse", "CephFS"),
        ("fuse.davfs", "WebDAV"),
        ("fuse.juicefs", "JuiceFS"),
        ("fuse.curlftpfs", "curlftpfs"),
    ];
    Some(match magic {
        0x6969 => "NFS",
        0x517B => "SMB",
        0xFF53_4D42 => "CIFS",
        0xFE53_4D42 => "SMB2",
        0x0102_1997 => "9p",
        0x564C => "NCP",
        0x7375_7245 => "Coda",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x00C3_6400 => "CephFS",
        0x0BD0_0BD0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x1983_0326 => "BeeGFS",
        FUSE => {
            let mount_type = mount_type?;
            NETWORKED_FUSE.iter().find(|(word, _)| *word == mount_type)?.1
        }
        _ => return None,
    })
}

/// The name of the network file system that `path` is on, or `None`.
pub(crate) fn network_file_system_at(path: &Path) -> Option<&'static str> {
    let magic = magic_at(path)?;
    let mount_type = mount_type_at(path);
    network_file_system(magic, mount_type.as_deref())
}

#[cfg(target_os = "linux")]
fn magic_at(path: &Path) -> Option<u64> {
    let found = nix::sys::statfs::statfs(path).ok()?.filesystem_type().0;
    // Magic numbers are 32 bits wide; some machines' `f_type` is signed and extends the sign.
    #[expect(clippy::cast_sign_loss, reason = "masked to the 32 bits that count")]
    Some(found as u64 & 0xFFFF_FFFF)
}

#[cfg(not(target_os = "linux"))]
fn magic_at(_path: &Path) -> Option<u64> {
    None
}

/// The type of the mount whose device `path` is on, from `/proc/self/mountinfo`.
#[cfg(target_os = "linux")]
fn mount_type_at(path: &Path) -> Option<String> {
    use nix::sys::stat::{major, minor};
    use std::os::unix::fs::MetadataExt as _;

    let device = fs::metadata(path).ok()?.dev();
    let wanted = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        // "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"
        let (mount, file_system) = line.split_once(" - ")?;
        let device = mount.split(' ').nth(2)?;
        let mount_type = file_system.split(' ').next()?;
        (device == wanted).then(|| mount_type.to_owned())
    })
}

#[cfg(not(target_os = "linux"))]
fn mount_type_at(_path: &Path) -> Option<String> {
    None
}
