//! The root file system of a lab machine: a cpio archive in the format the kernel unpacks ("newc",
//! Documentation/driver-api/early-userspace/buffer-format.rst in the kernel tree).

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes one archive.
pub(crate) struct Initramfs<W: Write> {
    output: W,
    entries: u32,
}

impl Initramfs<BufWriter<File>> {
    /// Starts an archive file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::new(BufWriter::new(file)))
    }
}

impl<W: Write> Initramfs<W> {
    fn new(output: W) -> Self {
        Self { output, entries: 0 }
    }

    /// An empty folder. Folders above it have to be added before.
    pub(crate) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY, (0, 0), &[])
    }

    /// An executable file.
    pub(crate) fn program(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.entry(name, PROGRAM, (0, 0), content)
    }

    /// A character device. The kernel opens /dev/console for init before anything is mounted.
    pub(crate) fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// A symbolic link.
    fn link(&mut self, name: &str, target: &Path) -> io::Result<()> {
        self.entry(name, LINK, (0, 0), target.as_os_str().as_bytes())
    }

    /// A folder with everything in it. Links stay links, wherever they lead.
    pub(crate) fn tree(&mut self, name: &str, folder: &Path) -> Result<()> {
        self.folder(name)?;
        let unreadable = || format!("cannot read {}", folder.display());
        let mut entries: Vec<_> =
            fs::read_dir(folder).and_then(Iterator::collect).with_context(unreadable)?;
        entries.sort_by_key(fs::DirEntry::file_name); // the same archive every time
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            let unreadable = || format!("cannot read {}", path.display());
            if kind.is_dir() {
                self.tree(&name, &path)?;
            } else if kind.is_symlink() {
                self.link(&name, &fs::read_link(&path).with_context(unreadable)?)?;
            } else if kind.is_file() {
                let mode = entry.metadata()?.permissions().mode() & 0o777;
                self.entry(&name, FILE | mode, (0, 0), &fs::read(&path).with_context(unreadable)?)?;
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let length = |size: usize| u32::try_from(size).map_err(|_| io::Error::other("over 4 GiB in a cpio"));
        self.entries += 1;
        let fields = [
            self.entries, // inode number: any, as long as it is not used twice
            mode,
            0, // owner
            0, // group
            1, // links
            0, // time of modification
            length(content.len())?,
            0, // device the file is on
            0,
            device.0,
            device.1,
            length(name.len() + 1)?,
            0, // checksum, not used in this format
        ];
        let mut header = b"070701".to_vec();
        for field in fields {
            write!(header, "{field:08x}")?;
        }
        header.extend_from_slice(name.as_bytes());
        header.push(0);
        self.aligned(&header)?;
        self.aligned(content)
    }

    fn aligned(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        for _ in 0..padding {
            self.output.write_all(&[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_the_kernel_expects() {
        let mut archive = Initramfs::new(Vec::new());
        archive.folder("bin").unwrap();
        archive.device("console", 5, 1).unwrap();
        archive.program("init", b"#!/x\n").unwrap();
        let bytes = archive.finish().unwrap();
        let mut expected = Vec::new();
        let zero = "00000000";
        let header = |inode: u32, mode: u32, size: u32, device: &str, name_size: u32| {
            format!(
                "070701{inode:08x}{mode:08x}{zero}{zero}00000001{zero}{size:08x}{zero}{zero}{device}{name_size:08x}{zero}"
            )
        };
        // 110 bytes of header and the name with its zero byte, filled up to a multiple of four.
        expected.extend(header(1, DIRECTORY, 0, "0000000000000000", 4).bytes());
        expected.extend(b"bin\0\0\0");
        expected.extend(header(2, CHARACTER_DEVICE, 0, "0000000500000001", 8).bytes());
        expected.extend(b"console\0\0\0");
        expected.extend(header(3, PROGRAM, 5, "0000000000000000", 5).bytes());
        expected.extend(b"init\0\0#!/x\n\0\0\0");
        expected.extend(header(4, 0, 0, "0000000000000000", 11).bytes());
        expected.extend(b"TRAILER!!!\0\0\0\0");
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn a_tree_keeps_its_links_and_modes() {
        let folder = std::env::temp_dir().join(format!("xtask-initramfs-{}", std::process::id()));
        fs::create_dir_all(folder.join("a")).unwrap();
        fs::write(folder.join("a/file"), "content").unwrap();
        fs::set_permissions(folder.join("a/file"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.join("link")).unwrap();
        let mut archive = Initramfs::new(Vec::new());
        archive.tree("top", &folder).unwrap();
        let text = String::from_utf8_lossy(&archive.finish().unwrap()).into_owned();
        let position = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"));
        assert!(position("top\0") < position("top/a\0") && position("top/a\0") < position("top/a/file\0"));
        assert!(position("top/a/file\0") < position("content"));
        assert!(text.contains(&format!("{:08x}", FILE | 0o640)) && text.contains("/nowhere"), "{text}");
        fs::remove_dir_all(folder).unwrap();
    }
}
