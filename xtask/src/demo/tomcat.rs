//! The story of Tomcat: `acceptCount="10000"` on a host whose kernel allows 128.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::story::{Clamp, Story};
use crate::setup::servers;

/// In the server's own root file system.
const HOME: &str = "/usr/share/tomcat10";
const JARS: &str = "usr/share/java";
const JVMS: &str = "usr/lib/jvm";

pub(super) const STORY: Story = Story {
    name: "tomcat-spike",
    about: "\
Tomcat with acceptCount=\"10000\", 200 threads and as many connections, and a page that takes 100 ms. The network
namespace has net.core.somaxconn=128, which was the default before Linux 5.4. 3,000 clients come within a second.",
    server: &servers::TOMCAT,
    prepare,
    path: "/page.jsp",
    backlog: Some(10_000),
    asks_for: 10_000,
    somaxconn: 128,
    clamp: Clamp::Somaxconn,
    connections: 3000,
};

/// Pages are compiled once; nothing is scanned for at the start.
const WEB_XML: &str = r#"<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true">
  <absolute-ordering/>
  <servlet>
    <servlet-name>jsp</servlet-name>
    <servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class>
    <init-param><param-name>development</param-name><param-value>false</param-value></init-param>
    <load-on-startup>1</load-on-startup>
  </servlet>
  <servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
</web-app>
"#;

/// A page that waits for a database, say.
const PAGE: &str = "<%@ page session=\"false\" %><% Thread.sleep(100); %>ok\n";

fn server_xml(backlog: u32, port: u16) -> String {
    format!(
        r#"<Server port="-1">
  <Service name="Catalina">
    <Connector port="{port}" address="127.0.0.1" protocol="HTTP/1.1"
               acceptCount="{backlog}" maxThreads="200" maxConnections="200"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>
"#
    )
}

/// Writes Tomcat's own folder and gives the command that starts it.
fn prepare(root: &Path, base: &Path, backlog: Option<u32>, port: u16) -> Result<Vec<String>> {
    for folder in ["conf", "lib", "logs", "work", "webapps/ROOT/WEB-INF"] {
        fs::create_dir_all(base.join(folder))?;
    }
    fs::write(base.join("conf/server.xml"), server_xml(backlog.unwrap_or(100), port))?;
    fs::write(base.join("conf/web.xml"), WEB_XML)?;
    let application = "<web-app xmlns=\"https://jakarta.ee/xml/ns/jakartaee\" version=\"6.0\" metadata-complete=\"true\"/>\n";
    fs::write(base.join("webapps/ROOT/WEB-INF/web.xml"), application)?;
    fs::write(base.join("webapps/ROOT/page.jsp"), PAGE)?;
    for jar in compiler(root)? {
        let link = base.join("lib").join(&jar);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("/").join(JARS).join(&jar), link)?;
        }
    }
    Ok(command(&java_in(root)?))
}

/// The Java compiler that turns pages into classes. Debian's packages leave it to the service to find it.
fn compiler(root: &Path) -> Result<Vec<String>> {
    let jars = root.join(JARS);
    let names = fs::read_dir(&jars).with_context(|| format!("demo: cannot read {}", jars.display()))?;
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with("eclipse-jdt-core")).collect())
}

/// The JVM that was unpacked, by its path inside.
pub(super) fn java_in(root: &Path) -> Result<PathBuf> {
    let jvms = root.join(JVMS);
    let entries = fs::read_dir(&jvms).with_context(|| format!("demo: cannot read {}", jvms.display()))?;
    let mut javas = entries.filter_map(|entry| Some(entry.ok()?.path().join("bin/java")));
    let java = javas.find(|java| java.is_file());
    let java = java.with_context(|| format!("demo: no java in {}: remove the folder", jvms.display()))?;
    Ok(Path::new("/").join(java.strip_prefix(root)?))
}

/// The quick compiler only: a demonstration is over before the better one has paid off.
fn command(java: &Path) -> Vec<String> {
    let options =
        ["-Xmx256m", "-Xss256k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.io.tmpdir=/tmp"];
    let mut command = vec![java.to_string_lossy().into_owned()];
    command.extend(options.map(str::to_owned));
    command.push(format!("-Dcatalina.home={HOME}"));
    command.push("-Dcatalina.base=/srv".to_owned());
    command.push("-Dtomcat.util.scan.StandardJarScanFilter.jarsToSkip=*.jar".to_owned());
    command.push("-cp".to_owned());
    command.push(format!("{HOME}/bin/bootstrap.jar:{HOME}/bin/tomcat-juli.jar"));
    command.extend(["org.apache.catalina.startup.Bootstrap", "start"].map(str::to_owned));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connector_has_the_backlog_that_the_story_asks_for() {
        let text = server_xml(10_000, 8080);
        assert!(text.contains(r#"acceptCount="10000" maxThreads="200" maxConnections="200""#), "{text}");
        assert!(text.contains(r#"port="8080" address="127.0.0.1""#), "{text}");
    }

    #[test]
    fn the_folder_is_written_as_often_as_the_server_is_started() {
        let scratch = std::env::temp_dir().join(format!("xtask-tomcat-{}", std::process::id()));
        let (root, base) = (scratch.join("root"), scratch.join("base"));
        fs::create_dir_all(root.join(JVMS).join("java-21/bin")).unwrap();
        fs::create_dir_all(root.join(JARS)).unwrap();
        fs::write(root.join(JVMS).join("java-21/bin/java"), "").unwrap();
        fs::write(root.join(JARS).join("eclipse-jdt-core.jar"), "").unwrap();
        for backlog in [10, 20] {
            let command = prepare(&root, &base, Some(backlog), 80).unwrap();
            assert_eq!(command.first().map(String::as_str), Some("/usr/lib/jvm/java-21/bin/java"));
        }
        assert!(fs::read_to_string(base.join("conf/server.xml")).unwrap().contains("acceptCount=\"20\""));
        let jar = fs::read_link(base.join("lib/eclipse-jdt-core.jar")).unwrap();
        assert_eq!(jar, Path::new("/usr/share/java/eclipse-jdt-core.jar"));
        fs::remove_dir_all(scratch).unwrap();
    }
}
