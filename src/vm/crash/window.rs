//! What a disk was given between two moments, as the guest gave it: from the log of the drive, which lies below the qcow2.
//!
//! The log is of the image's file, where the guest's data stands among the image's own tables, and at other places than in
//! the guest. So it is not replayed write by write. The disk is read as QEMU would read it after each flush, and what differs
//! from the flush before is what a crash between the two may have left there or not, sector by sector. That needs no
//! assumption on how QEMU orders its tables, and a flush of QEMU's own is one flush more: a drive may write back early.
//! *Cost:* of a sector that was written twice between two flushes only the last version is known.

use super::CrashError;
use crate::drive::log::{Entry, Recorded};
use crate::qemu::Machine;
use crate::qemu::template::Part;
use boot_media::medium::layers::{Below, Disk, Patch};
use camino::Utf8PathBuf;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// What is there or not there as a whole, in bytes: no drive tears it.
pub const SECTOR: usize = 512;

/// The images of a disk.
#[derive(Clone, Debug)]
pub struct Images {
    /// The machine's own qcow2.
    pub top: Utf8PathBuf,
    /// What it lies over, the lowest last.
    pub below: Vec<Below>,
}

impl Images {
    /// The first disk of a machine; none if it boots from media.
    pub fn of(machine: &Machine) -> Option<Self> {
        let overlay = machine.overlay()?;
        let template = machine.template.as_ref().and_then(Part::disk);
        let template = template.map(|path| Below { path: path.to_owned(), qcow2: true });
        let golden = overlay.golden.as_ref();
        let golden = golden.map(|image| Below { path: image.path.clone(), qcow2: image.format == "qcow2" });
        Some(Self { top: overlay.disk.clone(), below: template.into_iter().chain(golden).collect() })
    }

    /// The disk, as its files are now.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn disk(&self) -> Result<Disk, CrashError> {
        Ok(Disk::open(&self.top, Vec::new(), &self.below)?)
    }
}

/// A part of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its first byte.
    pub start: u64,
    /// Its length.
    pub length: u64,
}

/// Neighbouring sectors that changed between two flushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The first byte, in the partition.
    pub at: u64,
    /// What is there after the second flush.
    pub data: Vec<u8>,
}

impl Change {
    /// How many sectors it has.
    pub fn sectors(&self) -> usize {
        self.data.len() / SECTOR
    }
}

/// What changed in a partition, flush by flush.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Between the beginning and the first flush, between that and the second, and so on; the last has no flush behind it.
    pub epochs: Vec<Vec<Change>>,
    /// How many flushes there were before the mark.
    pub promised: usize,
    /// How often the log was full, and the window began anew.
    pub overruns: u32,
}

/// A state that a crash could have left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// How many flushes had come to their end.
    pub after: usize,
    /// Which changes of the time behind the last of them are there, and which sectors of each.
    pub kept: Vec<(usize, Range<usize>)>,
}

impl Window {
    /// Make it of a log that began when the images were as they are now.
    ///
    /// # Errors
    /// If the log has no mark, or an image cannot be read.
    pub fn of(recorded: &Recorded, images: &Images, partition: Partition) -> Result<Self, CrashError> {
        let marks = recorded.entries.iter().position(|entry| *entry == Entry::Mark);
        let Some(mark) = marks else { return Err(CrashError::NoMark { overruns: recorded.overruns }) };
        let promised = recorded.entries[..mark].iter().filter(|entry| **entry == Entry::Flush).count();
        let (mut before, mut epochs) = (Arc::new(Patch::default()), Vec::new());
        let mut clusters = images.disk()?.clusters()?;
        for given in recorded.entries.split(|entry| *entry == Entry::Flush) {
            let epoch = Arc::new(patch(given));
            epochs.push(changes(images, &before, &epoch, partition, &mut clusters)?);
            Arc::make_mut(&mut before).merge(&epoch);
        }
        Ok(Self { epochs, promised, overruns: recorded.overruns })
    }

    /// What has to be written over the partition as it was at the beginning, in order, to get a state.
    pub fn writes<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (u64, &'a [u8])> {
        let certain = self.epochs[..state.after].iter().flatten().map(|change| (change.at, change.data.as_slice()));
        let kept = state.kept.iter().map(|(number, sectors)| {
            let change = &self.epochs[state.after][*number];
            let at = change.at + (sectors.start * SECTOR) as u64;
            (at, &change.data[sectors.start * SECTOR..sectors.end * SECTOR])
        });
        certain.chain(kept)
    }

    /// How much changed in all, in bytes.
    pub fn bytes(&self) -> u64 {
        self.epochs.iter().flatten().map(|change| change.data.len() as u64).sum()
    }
}

fn patch(given: &[Entry]) -> Patch {
    let mut patch = Patch::default();
    for entry in given {
        match entry {
            Entry::Write { offset, data } => patch.write(*offset, data),
            Entry::Zero { offset, length } => patch.zero(*offset..offset + length),
            Entry::Flush | Entry::Mark => {}
        }
    }
    patch
}

/// Of each of the guest's clusters what the image says, and where in its file it lies.
type Clusters = Vec<(u64, Option<u64>)>;

/// What an epoch changed in the partition. `clusters` are those before it, and then those after it.
fn changes(
    images: &Images,
    before: &Arc<Patch>,
    epoch: &Arc<Patch>,
    partition: Partition,
    clusters: &mut Clusters,
) -> Result<Vec<Change>, CrashError> {
    if epoch.ranges().next().is_none() {
        return Ok(Vec::new());
    }
    let old = Disk::open(&images.top, vec![before.clone()], &images.below)?;
    let new = Disk::open(&images.top, vec![before.clone(), epoch.clone()], &images.below)?;
    let end = partition.start + partition.length;
    let cluster = new.cluster();
    let mut found = Vec::new();
    for number in touched(&new, epoch, clusters)? {
        let from = (number * cluster).max(partition.start);
        let to = ((number + 1) * cluster).min(end).min(new.size());
        if from < to {
            let (mut was, mut is) = (vec![0; (to - from) as usize], vec![0; (to - from) as usize]);
            old.read(from, &mut was)?;
            new.read(from, &mut is)?;
            differences(&was, &is, from - partition.start, &mut found);
        }
    }
    Ok(found)
}

/// Clusters that one request may zero: 64 GiB of the usual ones.
const MOST: u64 = 1 << 20;

/// The guest's clusters that may differ: they lie elsewhere now, or where they lie was written to.
fn touched(new: &Disk, epoch: &Patch, was: &mut Clusters) -> Result<Vec<u64>, CrashError> {
    let cluster = new.cluster();
    let mut written = HashSet::new();
    for range in epoch.ranges() {
        let clusters = range.start / cluster..range.end.div_ceil(cluster);
        if clusters.end - clusters.start > MOST {
            return Err(CrashError::TooLong { bytes: range.end - range.start });
        }
        written.extend(clusters);
    }
    let is = new.clusters()?;
    let differs = |(n, (entry, host)): (usize, &(u64, Option<u64>))| {
        let moved = was.get(n).is_none_or(|(before, _)| before != entry);
        let rewritten = host.is_some_and(|host| written.contains(&(host / cluster)));
        (moved || rewritten).then_some(n as u64)
    };
    let touched = is.iter().enumerate().filter_map(differs).collect();
    *was = is;
    Ok(touched)
}

/// Runs of sectors in which two readings of the same place differ.
fn differences(was: &[u8], is: &[u8], at: u64, found: &mut Vec<Change>) {
    let mut open = false;
    for (n, (old, new)) in was.chunks(SECTOR).zip(is.chunks(SECTOR)).enumerate() {
        match (old == new, open, found.last_mut()) {
            (true, ..) => open = false,
            (false, true, Some(last)) => last.data.extend_from_slice(new),
            (false, ..) => {
                found.push(Change { at: at + (n * SECTOR) as u64, data: new.to_vec() });
                open = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Drive;
    use camino::Utf8Path;
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    fn qemu(program: &str, args: &[&str]) {
        let out = Command::new(program).args(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    const SIZE: u64 = 2 << 20;

    /// A disk of ones below a qcow2, and what QEMU gives the drive when it is written to and then stands still.
    fn recorded(dir: &Utf8Path, commands: &[&str]) -> (Recorded, Images) {
        let (low, top, socket) = (dir.join("low"), dir.join("top"), dir.join("socket"));
        qemu("qemu-img", &["create", "-q", "-f", "raw", low.as_str(), "2M"]);
        qemu("qemu-io", &["-f", "raw", "-c", "write -P 1 0 2M", low.as_str()]);
        qemu("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", low.as_str(), top.as_str()]);
        let listener = UnixListener::bind(&socket).unwrap();
        let image = format!("driver=qcow2,file.driver=nbd,file.server.type=unix,file.server.path={socket}");
        let mut client = Command::new("qemu-io")
            .args(["-t", "writeback", "-d", "unmap", "--image-opts", "-c", "sleep 200"])
            .args(commands.iter().flat_map(|command| ["-c", command]))
            .args(["-c", "sigraise 19", &image])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let drive = Drive::start(&top, listener.accept().unwrap().0).unwrap();
        // It reads the tables, and then sleeps.
        drive.begin_log().unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", client.id())).unwrap();
        while !state().contains(") T ") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        drive.mark().unwrap();
        drive.save_log(&dir.join("log")).unwrap();
        let images = Images { top: dir.join("kept"), below: vec![Below { path: low, qcow2: false }] };
        // The drive writes the rest out when its client is gone.
        std::fs::copy(&top, &images.top).unwrap();
        client.kill().unwrap();
        client.wait().unwrap();
        (Recorded::load(dir.join("log").as_std_path()).unwrap(), images)
    }

    /// What the disk is after each flush.
    fn views(window: &Window) -> Vec<Vec<u8>> {
        let view = |after: usize| {
            let mut disk = vec![1; SIZE as usize];
            let state = State { after, kept: Vec::new() };
            window
                .writes(&state)
                .for_each(|(at, data)| disk[at as usize..at as usize + data.len()].copy_from_slice(data));
            disk
        };
        (0..window.epochs.len()).map(view).collect()
    }

    #[test]
    fn after_each_flush_the_disk_is_what_the_guest_had_written_by_then() {
        let keep = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(keep.path()).unwrap();
        let first = ["write -P 2 0 4k", "write -P 3 100k 8k", "flush"];
        let second = ["write -P 4 512 512", "write -z 64k 64k", "discard 1M 64k", "write -P 5 1M 1k", "flush"];
        let (log, images) = recorded(dir, &[&first[..], &second[..], &["write -P 6 2k 1k"]].concat());
        let window = Window::of(&log, &images, Partition { start: 0, length: SIZE }).unwrap();
        let mut expected = vec![1; SIZE as usize];
        expected[..4096].fill(2);
        expected[100 << 10..108 << 10].fill(3);
        let views = views(&window);
        let at = views.iter().position(|view| *view == expected);
        assert!(at.is_some(), "the first flush is none of {}", views.len());
        expected[512..1024].fill(4);
        expected[64 << 10..128 << 10].fill(0);
        expected[1 << 20..(1 << 20) + (64 << 10)].fill(0);
        expected[1 << 20..(1 << 20) + 1024].fill(5);
        assert!(views[views.len() - 1] == expected, "the second one differs");
        assert_eq!(window.promised, views.len() - 1);
        // What came behind it is a change of its own, of the sectors that differ.
        let last = Change { at: 2048, data: vec![6; 1024] };
        assert_eq!(window.epochs[window.promised], [last]);
        // A part of the disk has its own places, and only what lies in it.
        let part = Window::of(&log, &images, Partition { start: 2560, length: 4096 }).unwrap();
        assert_eq!(part.epochs[part.promised], [Change { at: 0, data: vec![6; 512] }]);
    }

    #[test]
    fn a_log_without_its_mark_is_refused_with_the_reason() {
        let images = Images { top: "/nonexistent".into(), below: Vec::new() };
        let log = Recorded { entries: vec![Entry::Flush], overruns: 2 };
        let error = Window::of(&log, &images, Partition { start: 0, length: SIZE }).unwrap_err();
        assert!(error.to_string().contains("256 MiB"), "{error}");
    }

    #[test]
    fn a_state_is_what_was_flushed_and_the_sectors_that_were_kept() {
        let change = |at, byte, sectors| Change { at, data: vec![byte; sectors * SECTOR] };
        let epochs = vec![vec![change(0, 1, 4)], vec![change(512, 2, 2), change(4096, 3, 3)], Vec::new()];
        let window = Window { epochs, promised: 1, overruns: 0 };
        let state = State { after: 1, kept: vec![(1, 1..3)] };
        let writes: Vec<_> = window.writes(&state).map(|(at, data)| (at, data.len(), data[0])).collect();
        assert_eq!(writes, [(0, 2048, 1), (4608, 1024, 3)]);
        assert_eq!(window.bytes(), 9 * 512);
    }
}
