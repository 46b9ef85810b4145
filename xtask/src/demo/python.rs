//! The story of Python: `http.server` asks listen() for 5 unless its program says otherwise.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::story::{Clamp, Story};
use crate::setup::servers;

pub(super) const STORY: Story = Story {
    name: "python-spike",
    about: "\
A small service on Python's http.server, which asks listen() for 5: socketserver.TCPServer.request_queue_size. The
kernel would give 65,535. The service has a thread for each connection, so nobody expects it to turn anybody away.
3,000 clients come within a second.",
    server: &servers::PYTHON,
    prepare,
    path: "/",
    backlog: None,
    asks_for: 5,
    somaxconn: 65_535,
    clamp: Clamp::Application,
    connections: 3000,
};

/// A service as one writes it on an afternoon.
const PROGRAM: &str = r#"import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.02)  # somebody else's service
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    if len(sys.argv) > 2:
        request_queue_size = int(sys.argv[2])


Server(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"#;

fn prepare(_: &Path, base: &Path, backlog: Option<u32>, port: u16) -> Result<Vec<String>> {
    fs::write(base.join("server.py"), PROGRAM)?;
    let mut command: Vec<String> = ["/usr/bin/python3", "/srv/server.py"].map(str::to_owned).to_vec();
    command.push(port.to_string());
    command.extend(backlog.map(|backlog| backlog.to_string()));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_backlog_that_is_wanted_is_set() {
        let base = std::env::temp_dir().join(format!("xtask-python-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let of = |backlog| prepare(Path::new("/"), &base, backlog, 80).unwrap().split_off(2);
        assert_eq!(of(None), ["80"]);
        assert_eq!(of(Some(4096)), ["80", "4096"]);
        fs::remove_dir_all(base).unwrap();
    }
}
