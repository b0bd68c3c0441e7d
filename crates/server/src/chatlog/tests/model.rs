//! Proves against a model that nothing that was noted is lost, none comes out of order, and what a crash tears at any byte is
//! cut and not served; and what happens at the limits.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::Index;
use protocol::id::Id;
use protocol::limit::chat_log::SEGMENT_BYTES_MAX;

use super::super::lane::{Lane, Rules};
use super::super::reader::Bounds;
use super::{Process, RULES, id, note, ship_all};

/// What happens to a server.
#[derive(Clone, Debug)]
enum Step {
    /// A room publishes, for one or both of two logging configurations.
    Note { room: u128, configurations: usize },
    /// A batch of at most so many records is shipped of a logging configuration; whether its taking is noted.
    Ship { configuration: usize, records: usize, is_noted: bool },
    /// The process is killed, having written some bytes of a record more.
    Kill(Vec<u8>),
    /// The power is cut: the last segment of a logging configuration loses bytes, all of which was on disk long ago but the
    /// last record.
    CutPower(usize, Index),
    /// Another process takes over, a room publishes there, and the process ends before it was ready: the first one goes on.
    FailToTakeOver { room: u128, configurations: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..5_u128, 0..3_usize).prop_map(|(room, configurations)| Step::Note { room, configurations }),
        4 => (0..2_usize, 1..6_usize, any::<bool>())
            .prop_map(|(configuration, records, is_noted)| Step::Ship { configuration, records, is_noted }),
        1 => vec(any::<u8>(), 0..60).prop_map(Step::Kill),
        1 => (0..2_usize, any::<Index>()).prop_map(|(configuration, at)| Step::CutPower(configuration, at)),
        1 => Just(Step::Kill(vec![0; 100])),
        1 => (0..5_u128, 0..3_usize)
            .prop_map(|(room, configurations)| Step::FailToTakeOver { room, configurations }),
    ]
}

/// What must hold, for one logging configuration: what its rooms published, and what its destination got.
#[derive(Default)]
struct Model {
    noted: Vec<(Id, String)>,
    arrived: Vec<(Id, String)>,
}

impl Model {
    /// All arrived, each room's in order; some of it once more, as a whole piece from an earlier place on.
    fn check(&self) {
        let by_room = |all: &[(Id, String)]| {
            let mut rooms: BTreeMap<Id, Vec<String>> = BTreeMap::new();
            for (room, text) in all {
                rooms.entry(*room).or_default().push(text.clone());
            }
            rooms
        };
        let (noted, arrived) = (by_room(&self.noted), by_room(&self.arrived));
        for (room, texts) in &noted {
            let mut next = 0;
            for text in arrived.get(room).map(Vec::as_slice).unwrap_or_default() {
                let at = texts.iter().position(|other| other == text).expect("only what was noted arrives");
                assert!(at <= next, "{text} arrived before what was noted before it");
                next = next.max(at + 1);
            }
            assert_eq!(next, texts.len(), "something is lost in {room}");
        }
        assert!(arrived.keys().all(|room| noted.contains_key(room)));
    }
}

/// The segment that was begun last in the folder of a logging configuration.
fn last_segment(process: &Process, configuration: Id) -> Option<PathBuf> {
    let spool = process.spools.spool(&super::key(configuration));
    let (name, _) = spool.segments().unwrap().pop()?;
    Some(spool.folder.join(name.to_string()))
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

/// The first, the second, or both of the logging configurations.
fn which(configurations: usize) -> Range<usize> {
    [0..1, 1..2, 0..2][configurations].clone()
}

struct Run {
    folder: tempfile::TempDir,
    process: Process,
    lanes: Vec<Lane>,
    configurations: [Id; 2],
    models: [Model; 2],
    count: usize,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(folder.path());
        let lanes = (0..2).map(|index| process.lane(index, RULES)).collect();
        Self { process, folder, lanes, configurations: [id(1), id(2)], models: Default::default(), count: 0 }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Note { room, configurations } => {
                let text = self.publish(room, configurations);
                let lane = &mut self.lanes[usize::from(room % 2 == 1)];
                note(lane, room, &self.configurations[which(configurations)], &text).unwrap();
            }
            Step::FailToTakeOver { room, configurations } => {
                let text = self.publish(room, configurations);
                self.process.spools.give_way();
                let other = Process::start(self.folder.path());
                let mut lane = other.lane(u8::from(room % 2 == 1), RULES);
                note(&mut lane, room, &self.configurations[which(configurations)], &text).unwrap();
                drop((lane, other));
                self.process.spools.go_on();
            }
            Step::Ship { configuration, records, is_noted } => {
                let mut reader = self.process.reader(self.configurations[configuration]);
                for stretch in reader.look().unwrap() {
                    let bounds = Bounds {
                        bytes_max: usize::MAX,
                        records_max: records,
                        end: None,
                        goes_on: &|_, _| true,
                    };
                    let batch = reader.read(&stretch, &bounds).unwrap();
                    self.models[configuration].arrived.extend(batch.records.iter().map(super::said));
                    if is_noted && batch.end > batch.from {
                        reader.acknowledge(batch.lane, batch.end).unwrap();
                    }
                }
            }
            Step::Kill(torn) => {
                for configuration in self.configurations {
                    if let Some(path) = last_segment(&self.process, configuration) {
                        append(&path, &torn);
                    }
                }
                self.restart();
            }
            Step::CutPower(configuration, at) => self.cut_power(configuration, at),
        }
    }

    /// A room publishes something for some of the logging configurations: what.
    fn publish(&mut self, room: u128, configurations: usize) -> String {
        self.count += 1;
        let text = self.count.to_string();
        for model in &mut self.models[which(configurations)] {
            model.noted.push((id(room), text.clone()));
        }
        text
    }

    /// A record that was noted and never synced may be forgotten: the model forgets it, too, wherever in it the file ends.
    fn cut_power(&mut self, configuration: usize, at: Index) {
        self.count += 1;
        let text = self.count.to_string();
        let before = last_segment(&self.process, self.configurations[configuration]);
        let length = before.as_ref().map(|path| fs::metadata(path).unwrap().len());
        note(&mut self.lanes[0], 0, &[self.configurations[configuration]], &text).unwrap();
        let Some(path) = last_segment(&self.process, self.configurations[configuration]) else { return };
        let (start, end) = (
            if before.as_ref() == Some(&path) { length.unwrap_or(0) } else { 8 },
            fs::metadata(&path).unwrap().len(),
        );
        if start < end {
            let left = start + at.index(usize::try_from(end - start).unwrap()) as u64;
            OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
        } else {
            // Lane 0 has written to a segment that is not the last.
            self.models[configuration].noted.push((id(0), text));
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.lanes.clear();
        self.process = Process::start(self.folder.path());
        self.lanes = (0..2).map(|index| self.process.lane(index, RULES)).collect();
    }

    /// Ships all there is; the first process has ended before, or lives.
    fn finish(mut self, is_over: bool) {
        if is_over {
            self.restart();
        }
        for (configuration, model) in self.configurations.iter().zip(&mut self.models) {
            model.arrived.extend(ship_all(&mut self.process.reader(*configuration)));
            model.check();
            assert!(ship_all(&mut self.process.reader(*configuration)).is_empty(), "all is noted as shipped");
            assert!(!is_over || last_segment(&self.process, *configuration).is_none(), "and removed");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_crashes_tear_all_that_was_noted_arrives_in_order(steps in vec(step(), 0..60), is_over in any::<bool>()) {
        let mut run = Run::new();
        steps.into_iter().for_each(|step| run.carry_out(step));
        run.finish(is_over);
    }

    #[test]
    fn a_segment_that_ends_or_is_damaged_at_any_byte_gives_all_that_is_whole(cut in any::<Index>(), flip in any::<Option<Index>>()) {
        let folder = tempfile::tempdir().unwrap();
        let configuration = id(1);
        let mut ends = vec![8];
        let path = {
            let process = Process::start(folder.path());
            let mut lane = process.lane(0, RULES);
            for number in 0..5 {
                note(&mut lane, 1, &[configuration], &number.to_string()).unwrap();
                ends.push(fs::metadata(last_segment(&process, configuration).unwrap()).unwrap().len());
            }
            last_segment(&process, configuration).unwrap()
        };
        let length = usize::try_from(*ends.last().unwrap()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let end = 8 + cut.index(length - 7);
        bytes.truncate(end);
        let damaged = flip.filter(|_| end > 8).map(|flip| 8 + flip.index(end - 8));
        if let Some(at) = damaged {
            bytes[at] ^= 0x10;
        }
        fs::write(&path, bytes).unwrap();
        let process = Process::start(folder.path());
        let is_whole = |number: &usize| {
            let record = usize::try_from(ends[*number]).unwrap()..usize::try_from(ends[number + 1]).unwrap();
            record.end <= end && damaged.is_none_or(|at| !record.contains(&at))
        };
        let expected: Vec<String> = (0..5).filter(is_whole).map(|number| number.to_string()).collect();
        let shipped = ship_all(&mut process.reader(configuration));
        let texts: Vec<String> = shipped.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected);
    }
}

#[test]
fn a_torn_end_is_counted_and_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    {
        let process = Process::start(folder.path());
        note(&mut process.lane(0, RULES), 1, &[id(1)], "whole").unwrap();
        append(&last_segment(&process, id(1)).unwrap(), b"torn");
    }
    let process = Process::start(folder.path());
    let path = last_segment(&process, id(1)).unwrap();
    let stretch = process.reader(id(1)).look().unwrap().remove(0);
    let batch = process.reader(id(1)).read(&stretch, &super::EVERYTHING).unwrap();
    assert_eq!(batch.records.len(), 1);
    assert_eq!(process.metric("damaged_bytes_total"), 4);
    assert!(!fs::read(path).unwrap().ends_with(b"torn"));
}

#[test]
fn a_full_spool_loses_its_own_records_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_spools_of(folder.path(), 2_000);
    let mut lane = process.lane(0, RULES);
    let (full, other) = (id(1), id(2));
    for number in 0..40 {
        note(&mut lane, 1, &[full], &number.to_string()).unwrap();
    }
    let lost = process.lost(full);
    assert!((1..40).contains(&lost), "{lost}");
    note(&mut lane, 1, &[full, other], "late").unwrap();
    assert_eq!((process.lost(full), process.lost(other)), (lost + 1, 0));
    assert_eq!(ship_all(&mut process.reader(other)).len(), 1);
    let kept = ship_all(&mut process.reader(full));
    let expected: Vec<String> = (0..40 - lost).map(|number| number.to_string()).collect();
    assert_eq!(kept.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected);
}

#[test]
fn where_a_log_may_not_fail_a_record_is_in_all_spools_or_in_none() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_spools_of(folder.path(), 2_000);
    let (full, other) = (id(1), id(2));
    note(&mut process.lane(0, RULES), 1, &[full], &"x".repeat(1_800)).unwrap();
    let mut lane = process.lane(1, Rules { refuses: true, ..RULES });
    assert!(note(&mut lane, 1, &[other, full], "refused").is_err());
    note(&mut lane, 1, &[other], "taken").unwrap();
    assert_eq!(ship_all(&mut process.reader(other)), [(id(1), "taken".to_owned())]);
    assert_eq!(process.lost(full) + process.lost(other), 0, "what was not published is not lost");
}

#[test]
fn a_spool_that_cannot_be_written_loses_records_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    // A file where a folder belongs.
    let in_the_way = folder.path().join("chatlog");
    fs::write(&in_the_way, b"").unwrap();
    note(&mut lane, 1, &[id(1)], "lost").unwrap();
    assert_eq!((process.lost(id(1)), process.metric("write_failures_total")), (1, 1));
    fs::remove_file(in_the_way).unwrap();
    note(&mut lane, 1, &[id(1)], "kept").unwrap();
    assert_eq!(ship_all(&mut process.reader(id(1))), [(id(1), "kept".to_owned())]);
}

#[test]
fn segments_follow_each_other_and_are_removed_when_they_are_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    let text = "x".repeat(200_000);
    let count = usize::try_from(SEGMENT_BYTES_MAX).unwrap() * 5 / 2 / text.len();
    for _ in 0..count {
        note(&mut lane, 1, &[id(1)], &text).unwrap();
    }
    let spool = process.spools.spool(&super::key(id(1)));
    assert_eq!(spool.segments().unwrap().len(), 3);
    assert_eq!(ship_all(&mut process.reader(id(1))).len(), count);
    assert_eq!(spool.segments().unwrap(), [], "also the one that was written to: it is large");
    assert_eq!(spool.bytes(), 0);
    note(&mut lane, 1, &[id(1)], "more").unwrap();
    assert_eq!(ship_all(&mut process.reader(id(1))), [(id(1), "more".to_owned())]);
}
