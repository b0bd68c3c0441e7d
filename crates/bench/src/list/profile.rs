//! Where the server's processor time goes while it lists rooms: samples of Linux's `perf`, gathered by what each was
//! in the middle of, as a picture.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;
use crate::picture::{self, Picture};

/// Samples per second; no round number, so that nothing which happens regularly is in step with it.
const SAMPLES_PER_SECOND: &str = "499";
/// How much of the stack each sample keeps, in bytes: a request is deep inside a runtime.
const CALL_GRAPH: &str = "dwarf,24576";

/// What a sample is counted for: the first of its callers, from the inside out, whose name has one of these parts.
const SECTIONS: [(&str, &str, &[&str]); 7] = [
    ("signature", "#b0413e", &["sigv4", "authenticate"]),
    ("nextToken", "#7d5ba6", &["protocol::page", "page_token"]),
    (
        "answer's JSON",
        "#d98c21",
        &["protocol::control::room", "room::ListRoomsResponse", "control::room::summary"],
    ),
    ("rows from SQLite", "#2f6f9f", &["rusqlite", "sqlite3", "store::"]),
    (
        "sockets, in the kernel",
        "#6b6b6b",
        &["tcp_", "sock_", "inet_", "epoll", "__sys_sendto", "__sys_recvfrom"],
    ),
    ("HTTP", "#3f8f5b", &["hyper", "server::http", "httparse"]),
    ("operation", "#9c7c4d", &["server::control"]),
];
/// Whatever is in none of them.
const REST: (&str, &str) = ("runtime and rest", "#a9a9a9");

/// Samples a process until [`Recording::finish`].
pub(super) struct Recording {
    perf: Child,
    folder: tempfile::TempDir,
}

impl Recording {
    /// Starts, for so many seconds.
    pub(super) fn start(pid: u32, seconds: u64) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::io("make a folder"))?;
        let perf = Command::new("perf")
            .args(["record", "-q", "-F", SAMPLES_PER_SECOND, "--call-graph", CALL_GRAPH])
            .args(["-p", &pid.to_string(), "-o"])
            .arg(folder.path().join("samples"))
            .args(["--", "sleep", &seconds.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .map_err(Failure::io("run perf (is it installed?)"))?;
        Ok(Self { perf, folder })
    }

    /// Waits for the end and counts.
    pub(super) fn finish(mut self) -> Result<Profile, Failure> {
        self.perf.wait().map_err(Failure::io("wait for perf"))?;
        let script = Command::new("perf")
            .args(["script", "-F", "comm,ip,sym", "-i"])
            .arg(self.folder.path().join("samples"))
            .stderr(Stdio::null())
            .output()
            .map_err(Failure::io("read what perf has sampled"))?;
        Ok(Profile::of_script(&String::from_utf8_lossy(&script.stdout)))
    }
}

/// Samples by section, and within each by the function that was running.
#[derive(Debug, Default)]
pub(super) struct Profile {
    samples: u64,
    sections: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Profile {
    /// Reads the output of `perf script`: a paragraph per sample, its frames from the inside out.
    fn of_script(text: &str) -> Self {
        let mut profile = Self::default();
        for sample in text.split("\n\n") {
            // The first line names the thread; a frame is an address and a name.
            let frames = sample.trim_start_matches('\n').lines().skip(1);
            let names: Vec<&str> = frames.filter_map(|line| Some(line.trim().split_once(' ')?.1)).collect();
            let Some(running) = names.iter().find(|name| !name.ends_with("(inlined)")) else { continue };
            let section = names.iter().find_map(|name| section_of(name)).unwrap_or(REST.0);
            profile.samples += 1;
            *profile.sections.entry(section).or_default().entry(short_name(running)).or_default() += 1;
        }
        profile
    }

    /// Names and colours of the sections that have samples, and their share in percent.
    fn shares(&self) -> Vec<(&'static str, &'static str, f64)> {
        let known = SECTIONS.iter().map(|(name, colour, _)| (*name, *colour)).chain([REST]);
        let share = |name: &str| {
            let samples: u64 = self.sections.get(name).map_or(0, |functions| functions.values().sum());
            samples as f64 * 100.0 / self.samples.max(1) as f64
        };
        known.map(|(name, colour)| (name, colour, share(name))).filter(|(_, _, share)| *share > 0.0).collect()
    }

    /// One line for people.
    pub(super) fn to_text(&self) -> String {
        let shares: Vec<String> =
            self.shares().iter().map(|(name, _, share)| format!("{name} {share:.1} %")).collect();
        format!("{} samples: {}", self.samples, shares.join(", "))
    }

    /// Writes the picture: a bar of all sections, and below it what each was doing most.
    pub(super) fn write(&self, file: &Path, title: &str) -> Result<(), Failure> {
        picture::write(file, &self.to_svg(title))
    }

    fn to_svg(&self, title: &str) -> String {
        const FUNCTIONS: usize = 3;
        let shares = self.shares();
        let mut picture = Picture::new(title);
        let (mut x, mut y, scale) = (10.0, 100.0, (picture::WIDTH - 20.0) / 100.0);
        for (name, colour, share) in &shares {
            let width = share * scale;
            let functions = self.sections.get(name).map(|functions| most(functions, FUNCTIONS, self.samples));
            picture.rectangle((x, 36.0), (width, 36.0), colour);
            picture.rectangle((10.0, y - 11.0), (13.0, 13.0), colour);
            picture.text((30.0, y), 13, "black", &format!("{share:.1} % {name}"));
            picture.text((250.0, y), 11, "#555", &functions.unwrap_or_default());
            (x, y) = (x + width, y + 22.0);
        }
        picture.to_svg(y + 10.0)
    }
}

fn section_of(name: &str) -> Option<&'static str> {
    let is_in = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    SECTIONS.iter().find(|(_, _, parts)| is_in(parts)).map(|(section, _, _)| *section)
}

/// The last two parts of a function's path, without what it is generic over.
fn short_name(name: &str) -> String {
    let plain = name.split('<').next().filter(|plain| !plain.is_empty()).unwrap_or(name);
    let parts: Vec<&str> = plain.trim_end_matches("::").rsplitn(3, "::").take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("::")
}

fn most(functions: &BTreeMap<String, u64>, count: usize, samples: u64) -> String {
    let mut sorted: Vec<(&String, &u64)> = functions.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1));
    let shown = sorted.iter().take(count);
    let shown = shown.map(|(name, own)| format!("{name} {:.1} %", **own as f64 * 100.0 / samples as f64));
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn a_sample_counts_for_the_innermost_section_of_its_callers() {
        let script = "tokio-rt-worker \n\t 1 _int_malloc\n\t 2 alloc (inlined)\n\t 3 server::store::embedded::posting::list\n\
                      \t 4 server::control::handle\n\ntokio-rt-worker \n\t 5 protocol::sigv4::verify::verify\n\
                      \ntokio-rt-worker \n\t 6 __schedule\n\t 7 do_epoll_wait\n\n";
        let profile = Profile::of_script(script);
        assert_eq!(
            profile.to_text(),
            "3 samples: signature 33.3 %, rows from SQLite 33.3 %, sockets, in the kernel 33.3 %"
        );
        let svg = profile.to_svg("a < b");
        assert!(svg.contains("a &lt; b") && svg.contains("_int_malloc 33.3 %"), "{svg}");
    }
}
