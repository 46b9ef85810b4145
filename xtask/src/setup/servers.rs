//! Real servers for the demonstrations, each with all it needs to run, down to the C library: a small root file
//! system that a server is started in, on this machine as well as in a machine of the lab.
//!
//! They are Debian's packages, unpacked and never installed, of one release for everybody.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::debian::{Archive, PackageVersion};
use crate::cache::Cache;

/// The release that they are of, but for what is compared with an older one.
pub(super) const SUITE: &str = "trixie";

/// Where the kernel's file systems, a place for temporary files and the server's own folder are mounted.
const MOUNT_POINTS: [&str; 4] = ["proc", "dev", "tmp", "srv"];

/// What an installation would have made.
const ACCOUNTS: [(&str, &str); 3] = [
    ("etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
];

/// What no server reads.
const LEFT_OUT: [&str; 5] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug"];

/// A server that can be unpacked.
pub(crate) struct Server {
    /// The name of its folder in the cache.
    pub(crate) name: &'static str,
    /// The release that its packages are of.
    pub(super) suite: &'static str,
    pub(super) packages: &'static [&'static str],
    /// Which of their dependencies it takes; all others are for what it does not do here.
    pub(super) needs: fn(&str) -> bool,
    /// A file that is there if the unpacking went well.
    pub(super) proof: &'static str,
}

/// Tomcat on a JVM, with the compiler that makes its pages into classes.
pub(crate) const TOMCAT: Server = Server {
    name: "tomcat10",
    suite: SUITE,
    packages: &["tomcat10-common", "openjdk-21-jre-headless"],
    needs: |package| {
        let ends = ["-java", "-jre-headless", "-common"].iter().any(|end| package.ends_with(end));
        let is_java = ends && !package.starts_with("ca-certificates") && package != "libaudit-common";
        is_java || ["libc6", "libgcc-s1", "libstdc++6", "zlib1g"].contains(&package)
    },
    proof: "usr/share/tomcat10/bin/bootstrap.jar",
};

/// nginx without its modules.
pub(crate) const NGINX: Server = Server {
    name: "nginx",
    suite: SUITE,
    packages: &["nginx"],
    needs: |package| {
        let tools = ["debconf", "iproute2", "libcap2-bin"];
        !tools.contains(&package)
    },
    proof: "usr/sbin/nginx",
};

/// Python with its standard library.
pub(crate) const PYTHON: Server = Server {
    name: "python3",
    suite: SUITE,
    packages: &["python3"],
    needs: |package| !["debconf", "dpkg", "tar", "tzdata"].contains(&package),
    proof: "usr/bin/python3",
};

/// JMeter, a load client. Only its classes: it is run by the JVM that comes with Tomcat.
pub(crate) const JMETER: Server = Server {
    name: "jmeter",
    suite: SUITE,
    packages: &["jmeter", "jmeter-http"],
    needs: |package| {
        let is_java = package.ends_with("-java") && !package.starts_with("ca-certificates");
        is_java || package.starts_with("jmeter")
    },
    proof: "usr/share/jmeter/bin/ApacheJMeter.jar",
};

/// The server's root file system in the cache; unpacked if it is not there.
pub(crate) fn provide(server: &Server, cache: &Cache) -> Result<PathBuf> {
    let name = Path::new("servers").join(format!("{}-{}", server.name, server.suite));
    let root = cache.entry(&name, |folder| unpack(server, cache, folder)).with_context(|| {
        format!(
            "setup: {} could not be unpacked (remedy: a network that reaches Debian's archive)",
            server.name
        )
    })?;
    // Not exists(): what is there may be a link that only leads somewhere inside the root.
    ensure!(
        fs::symlink_metadata(root.join(server.proof)).is_ok(),
        "setup: no {} in {}: remove the folder",
        server.proof,
        root.display()
    );
    Ok(root)
}

fn unpack(server: &Server, cache: &Cache, folder: &Path) -> Result<()> {
    let suite = Archive::of_this_machine(cache.temporary())?.suite(server.suite)?;
    let mut packages = suite.closure(server.packages)?;
    packages.retain(|package| (server.needs)(&package.name));
    let names: Vec<String> = packages.iter().map(PackageVersion::to_string).collect();
    println!("setup: {}: unpacking {} packages of {}", server.name, names.len(), server.suite);
    suite.unpack(&names, folder)?;
    for left_out in LEFT_OUT.map(|path| folder.join(path)).iter().filter(|path| path.is_dir()) {
        fs::remove_dir_all(left_out)?;
    }
    for point in MOUNT_POINTS {
        fs::create_dir_all(folder.join(point))?;
    }
    for (name, content) in ACCOUNTS {
        fs::write(folder.join(name), content)?;
    }
    merge_usr(folder)
}

/// On an installed system these are links, made by a package's script.
fn merge_usr(root: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let (link, target) = (root.join(name), Path::new("usr").join(name));
        if fs::symlink_metadata(&link).is_err() && root.join(&target).is_dir() {
            symlink(&target, &link).with_context(|| format!("cannot make {}", link.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tomcat_takes_java_and_the_c_library_only() {
        let needs = TOMCAT.needs;
        let taken =
            ["tomcat10-common", "libtomcat10-java", "libeclipse-jdt-core-java", "openjdk-21-jre-headless"];
        assert!(taken.iter().chain(&["libc6", "zlib1g"]).all(|package| needs(package)));
        let left = ["ca-certificates-java", "libaudit-common", "debconf", "util-linux", "libsystemd0"];
        assert!(!left.iter().any(|package| needs(package)));
    }

    #[test]
    fn links_of_an_installed_system_are_made() {
        let root = std::env::temp_dir().join(format!("xtask-servers-{}", std::process::id()));
        fs::create_dir_all(root.join("usr/lib64")).unwrap();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        merge_usr(&root).unwrap();
        assert_eq!(fs::read_link(root.join("lib64")).unwrap(), Path::new("usr/lib64"));
        assert!(!root.join("bin").is_symlink() && !root.join("sbin").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
