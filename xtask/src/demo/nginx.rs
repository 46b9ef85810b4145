//! The story of nginx: its own default of 511, on a host whose kernel would give 65,535.
//!
//! A slow service behind nginx does not fill its accept queue: nginx takes the connections and waits. What keeps it
//! from accept() is work of its own, here the compression of answers by its only worker.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::story::{Clamp, Story};
use crate::setup::servers;

pub(super) const STORY: Story = Story {
    name: "nginx-spike",
    about: "\
nginx with one worker, as in a container with one processor, that compresses reports on the fly (gzip_comp_level 9).
`listen 8080` without a backlog asks for 511, however much net.core.somaxconn allows: here 65,535.
3,000 clients come within a second.",
    server: &servers::NGINX,
    prepare,
    path: "/report.csv",
    backlog: None,
    asks_for: 511,
    somaxconn: 65_535,
    clamp: Clamp::Application,
    connections: 3000,
};

/// Lines of the report: about 25 kB, a millisecond or two of a processor's time to compress.
const LINES: u32 = 900;

fn configuration(backlog: Option<u32>, port: u16) -> String {
    let backlog = backlog.map(|backlog| format!(" backlog={backlog}")).unwrap_or_default();
    format!(
        "user nobody nogroup;
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid /srv/nginx.pid;
error_log /srv/error.log;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    types {{
        text/csv csv;
    }}
    gzip on;
    gzip_comp_level 9;
    gzip_types text/csv;
    server {{
        listen 127.0.0.1:{port}{backlog};
        root /srv/pages;
    }}
}}
"
    )
}

/// Numbers without a pattern that compression could use.
fn report() -> String {
    let mut seed: u32 = 1;
    let mut text = String::from("account,amount,balance\n");
    for line in 0..LINES {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line},{},{}.{:02}", seed >> 7, seed >> 11, seed % 100);
    }
    text
}

fn prepare(_: &Path, base: &Path, backlog: Option<u32>, port: u16) -> Result<Vec<String>> {
    fs::create_dir_all(base.join("pages"))?;
    fs::write(base.join("nginx.conf"), configuration(backlog, port))?;
    fs::write(base.join("pages/report.csv"), report())?;
    let command = ["/usr/sbin/nginx", "-e", "/srv/error.log", "-p", "/srv/", "-c", "/srv/nginx.conf"];
    Ok(command.map(str::to_owned).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_the_servers_own_unless_one_is_given() {
        assert!(configuration(None, 8080).contains("listen 127.0.0.1:8080;\n"));
        assert!(configuration(Some(4096), 8080).contains("listen 127.0.0.1:8080 backlog=4096;\n"));
    }

    #[test]
    fn a_report_is_the_same_in_every_run() {
        let report = report();
        assert_eq!(report, super::report());
        assert!((15_000..35_000).contains(&report.len()), "{}", report.len());
    }
}
