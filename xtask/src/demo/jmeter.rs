//! JMeter as the load client, for those who trust no other: the spike in its own terms, and its account of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::stage::Stage;
use super::story::PORT;
use super::tomcat;
use crate::spike::tally::{Outcome, Tally};

/// JMeter's own folders and Debian's folder of jars, in what was unpacked.
const JARS: [&str; 4] =
    ["usr/share/java", "usr/share/jmeter/bin", "usr/share/jmeter/lib", "usr/share/jmeter/lib/ext"];
const PROPERTIES: &str = "usr/share/jmeter/bin";
/// Jars that would bring the same classes twice, or pages of documentation, are left out by name.
const LEFT_OUT: [&str; 2] = ["xercesSamples.jar", "bshclient.jar"];
const SCRIPT: &str = include_str!("spike.bsh");
const RESULTS: &str = "results.csv";
/// To start so many threads beside a server takes an emulated processor its time.
const WITHIN: Duration = Duration::from_secs(900);

/// A spike that JMeter shall make.
pub(super) struct Spike<'a> {
    /// What JMeter was unpacked to.
    pub(super) jmeter: &'a Path,
    /// A root file system with a JVM.
    pub(super) jvm: &'a Path,
    /// Its own folder.
    pub(super) folder: &'a Path,
    pub(super) path: &'a str,
    pub(super) connections: u32,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
}

impl Spike<'_> {
    /// Makes it, inside the stage's network namespace.
    pub(super) fn run(&self, stage: &Stage) -> Result<Tally> {
        self.prepare()?;
        let started = Instant::now();
        let mut jmeter = stage.start_server(self.jvm, self.folder, &self.command()?)?;
        while jmeter.0.try_wait()?.is_none() {
            if started.elapsed() > WITHIN {
                bail!("demo: JMeter is not done after {} s", WITHIN.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let results = self.folder.join(RESULTS);
        let text = fs::read_to_string(&results).with_context(|| {
            format!("demo: JMeter wrote no {}, see server.log beside it", results.display())
        })?;
        account(&text)
    }

    fn prepare(&self) -> Result<()> {
        for folder in ["jars", "bin"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        for folder in JARS {
            copy(&self.jmeter.join(folder), ".jar", &self.folder.join("jars"))?;
        }
        copy(&self.jmeter.join(PROPERTIES), ".properties", &self.folder.join("bin"))?;
        fs::write(self.folder.join("spike.bsh"), SCRIPT)?;
        match fs::remove_file(self.folder.join(RESULTS)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn command(&self) -> Result<Vec<String>> {
        let mut command = vec![tomcat::java_in(self.jvm)?.to_string_lossy().into_owned()];
        let options = ["-Xmx512m", "-Xss228k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        command.extend(options.map(str::to_owned));
        command.extend(["-Djava.awt.headless=true", "-Djava.io.tmpdir=/tmp"].map(str::to_owned));
        command.push(format!("-Dspike.port={PORT}"));
        command.push(format!("-Dspike.path={}", self.path));
        command.push(format!("-Dspike.connections={}", self.connections));
        command.push(format!("-Dspike.connect.milliseconds={}", self.connect_timeout.as_millis()));
        command.push(format!("-Dspike.milliseconds={}", self.timeout.as_millis()));
        command.extend(["-cp", "/srv/jars/*", "bsh.Interpreter", "/srv/spike.bsh"].map(str::to_owned));
        Ok(command)
    }
}

/// Files with that ending, and what links with that ending lead to. Names with a version are left to the links.
fn copy(from: &Path, ending: &str, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_linked_to = from.ends_with("java") && entry.file_type()?.is_file();
        if name.ends_with(ending) && !is_linked_to && !LEFT_OUT.contains(&name.as_str()) {
            let failed = || format!("cannot copy {} to {}", entry.path().display(), to.display());
            fs::copy(entry.path(), to.join(&name)).with_context(failed)?;
        }
    }
    Ok(())
}

/// JMeter's results: when a sample ended, how long it took, its label, the code of the answer, a message ...
fn account(csv: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    let (mut starts, mut waits) = (Vec::new(), Vec::new());
    for line in csv.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())) {
        let mut cells = line.splitn(5, ',');
        let mut number = || cells.next().and_then(|cell| cell.parse::<u64>().ok());
        let (ended, took) = number().zip(number()).with_context(|| format!("demo: not of JMeter: {line}"))?;
        let (code, rest) = (cells.nth(1).unwrap_or_default(), cells.next().unwrap_or_default());
        let outcome = outcome(code, rest);
        tally.count(outcome);
        starts.push(ended.saturating_sub(took));
        if outcome == Outcome::Answered {
            waits.push(Duration::from_millis(took));
        }
    }
    let first = starts.iter().min().zip(starts.iter().max());
    let spread = first.map_or(0, |(first, last)| last - first);
    tally.seconds_to_open = Duration::from_millis(spread).as_secs_f64();
    tally.set_waits(waits);
    Ok(tally)
}

/// A code is that of HTTP, or the name of an exception.
fn outcome(code: &str, rest: &str) -> Outcome {
    let exception = code.rsplit('.').next().unwrap_or_default();
    match exception {
        "200" => Outcome::Answered,
        "ConnectTimeoutException" | "HttpHostConnectException" if rest.contains("timed out") => {
            Outcome::ConnectTimeout
        }
        "SocketTimeoutException" if rest.to_lowercase().contains("connect timed out") => {
            Outcome::ConnectTimeout
        }
        "SocketTimeoutException" => Outcome::AnswerTimeout,
        "ConnectTimeoutException" => Outcome::ConnectTimeout,
        "ConnectException" | "HttpHostConnectException" => Outcome::Refused,
        "SocketException" => Outcome::Reset,
        "NoHttpResponseException" => Outcome::Closed,
        code if code.parse::<u16>().is_ok() => Outcome::WrongAnswer,
        _ => Outcome::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_how_they_ended() {
        let csv = "\
1795739101000,200,,200,OK,1-1,text,true,120,3,3,190
1795739101900,900,,Non HTTP response code: org.apache.http.conn.ConnectTimeoutException,Non HTTP response message: Connect to 127.0.0.1:8080 timed out,1-2,text,false,2032,9,9,0
1795739102000,1,,Non HTTP response code: java.net.ConnectException,Non HTTP response message: Connection refused,1-3,text,false,2032,9,9,0
1795739102000,100,,Non HTTP response code: java.net.SocketException,Non HTTP response message: Connection reset,1-4,text,false,2032,9,9,0
1795739102000,100,,Non HTTP response code: java.net.SocketTimeoutException,Non HTTP response message: Read timed out,1-5,text,false,2032,9,9,0
";
        let tally = account(csv).unwrap();
        assert_eq!((tally.connections, tally.answered, tally.connect_timeouts), (5, 1, 1));
        assert_eq!((tally.refused, tally.resets, tally.answer_timeouts), (1, 1, 1));
        assert_eq!((tally.seconds_to_open, tally.slowest_seconds), (1.199, Some(0.2)));
    }

    #[test]
    fn lines_of_a_message_are_no_samples() {
        assert_eq!(account("\tat java.lang.Thread.run\ntimeStamp,elapsed\n").unwrap(), Tally::default());
    }
}
