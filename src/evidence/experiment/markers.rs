//! Three markers in the guest that tell what a restart does to data: one that the guest fsynced, one that
//! it wrote and never synced, and one that it handed to the disk without a flush.
//!
//! Each is a file of one block that was allocated, filled with zeros and synced before, and is then
//! overwritten with a token of the run. So nothing but the block's own data decides its fate: no
//! allocation, no size, no journal. After the restart each file holds the token, or zeros, or (which
//! nothing explains) something else.
//!
//! What makes their fates certain:
//! - The kernel writes a dirty page back when it is older than `vm.dirty_expire_centisecs` (30 s), and ext4
//!   does not write overwritten data at a commit (`data=ordered` is about newly allocated blocks), so the page-cache
//!   marker stays in memory for 30 s. Nothing is held off: the restart comes sooner.
//! - A flush is for the whole disk, whoever asks for it. The script syncs everything first, so that no
//!   transaction of ext4 is open; the markers' own writes open one, and its commit, which flushes, comes
//!   5 s later (measured: 5.4 to 6.1 s). Where somebody else caused a flush while the script ran, which shows in
//!   the disk's own count, or where the guest was too slow, the script begins again.

use super::seeded::Seeded;
use host::hex::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The length of a marker, in bytes: one page and one block, a multiple of any disk's sector.
const LENGTH: usize = 4096;
/// Where they lie in the guest: a folder of their own on the root file system.
const FOLDER: &str = "/var/lib/boma-markers";

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marker {
    /// Written and fsynced.
    Fsynced,
    /// Written, and never synced.
    PageCache,
    /// Written with O_DIRECT, and the disk was not told to flush.
    Direct,
}

/// What became of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It holds its token.
    Survived,
    /// It holds what it held before.
    Lost,
    /// It holds neither.
    Torn,
    /// Its file is gone.
    Missing,
}

/// The conditions under which the markers were planted, as the guest saw them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planted {
    /// The uptime of the guest's kernel at the end, in seconds.
    pub uptime_s: f64,
    /// Seconds since the first of what was not synced was written: that long a transaction has been open.
    pub open_s: f64,
    /// How often it was done until nobody else flushed the disk meanwhile and it was quick enough.
    pub attempts: u32,
    /// The file system that they lie on.
    pub file_system: String,
    /// After how many seconds the guest's kernel writes a dirty page back.
    pub dirty_expire_s: f64,
    /// The guest's count of flushes of that disk; none where it keeps none.
    pub flushes: Option<u64>,
}

/// Why the answer of a script cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// A line is not there, or not as it should be.
    #[error("the guest's answer has no {what}: {text:?}")]
    Answer {
        /// What is missing.
        what: &'static str,
        /// The answer.
        text: String,
    },
}

impl Marker {
    /// All of them, in the order in which they are planted.
    pub const ALL: [Self; 3] = [Self::Fsynced, Self::PageCache, Self::Direct];

    /// Its name, which is also that of its file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsynced => "fsynced",
            Self::PageCache => "page-cache",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Survived => "survived",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Missing => "missing",
        })
    }
}

/// The markers of one run: their tokens follow from the experiment's seed and the run's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    tokens: [String; 3],
}

impl Markers {
    /// The markers of run `number` of the experiment with that seed.
    pub fn of(seed: u64, number: usize) -> Self {
        let mut random = Seeded::new(seed ^ (number as u64).rotate_left(32));
        Self { tokens: Marker::ALL.map(|_| format!("{:016x}{:016x}", random.number(), random.number())) }
    }

    fn token(&self, marker: Marker) -> &str {
        &self.tokens[marker as usize]
    }

    /// The script that plants them, as the guest's root. Its last act is the direct write: what is to
    /// happen to the machine must follow at once.
    pub fn plant_script(&self) -> String {
        let [fsynced, cached, direct] = Marker::ALL.map(|marker| (marker.name(), self.token(marker)));
        format!(
            r#"set -e
mkdir -p {FOLDER} && cd {FOLDER}
part=$(readlink -f /sys/dev/block/$(stat -c %Hd:%Ld .) || true)
disk=$part; [ ! -e "$part/partition" ] || disk=${{part%/*}}
flushes() {{ awk '{{ print $16 }}' "$disk/stat" 2>/dev/null || true; }}
put() {{ yes "$1" | head -c {LENGTH} | dd of="$2" bs={LENGTH} iflag=fullblock status=none conv="$3" $4; }}
echo "type $(stat -f -c %T .)"
echo "expire $(cat /proc/sys/vm/dirty_expire_centisecs)"
attempt=0
while :; do
    attempt=$((attempt + 1))
    for file in {} {} {}; do head -c {LENGTH} /dev/zero > $file; done
    sync
    put {} {} notrunc,fsync
    read -r opened idle < /proc/uptime
    put {} {} notrunc
    before=$(flushes)
    put {} {} notrunc oflag=direct
    after=$(flushes)
    read -r uptime idle < /proc/uptime
    [ "$before" = "$after" ] && [ $((${{uptime%%.*}} - ${{opened%%.*}})) -lt 3 ] && break
    [ $attempt -lt 10 ] || break
done
echo "opened $opened"
echo "uptime $uptime"
echo "attempts $attempt"
echo "flushes $after"
"#,
            fsynced.0, cached.0, direct.0, fsynced.1, fsynced.0, cached.1, cached.0, direct.1, direct.0
        )
    }

    /// What became of them, from the answer to [`read_script`].
    pub fn fates(&self, answer: &str) -> Result<[(Marker, Fate); 3], MarkerError> {
        let mut fates = Marker::ALL.map(|marker| (marker, Fate::Missing));
        for (marker, fate) in &mut fates {
            let name = marker.name();
            let missing = || MarkerError::Answer { what: name, text: answer.to_owned() };
            let line = answer.lines().find_map(|line| line.strip_suffix(name)).ok_or_else(missing)?.trim_end();
            *fate = match line {
                "missing" => Fate::Missing,
                sum if sum == digest(&content(self.token(*marker))) => Fate::Survived,
                sum if sum == digest(&[0; LENGTH]) => Fate::Lost,
                sum if sum.len() == 64 => Fate::Torn,
                _ => return Err(missing()),
            };
        }
        Ok(fates)
    }
}

/// The script that reads them after the restart, as the guest's root.
pub fn read_script() -> String {
    let names = Marker::ALL.map(Marker::name).join(" ");
    format!(
        r#"for file in {names}; do
    if [ -e {FOLDER}/$file ]; then sum=$(sha256sum < {FOLDER}/$file); else sum=missing; fi
    echo "${{sum%% *}} $file"
done
"#
    )
}

impl Planted {
    /// From the answer to [`Markers::plant_script`].
    pub fn parse(answer: &str) -> Result<Self, MarkerError> {
        let field = |what: &'static str| {
            let found = answer.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
            found.map(str::trim).ok_or_else(|| MarkerError::Answer { what, text: answer.to_owned() })
        };
        let number = |what: &'static str| {
            let text = field(what)?;
            text.parse::<f64>().map_err(|_| MarkerError::Answer { what, text: answer.to_owned() })
        };
        Ok(Self {
            uptime_s: number("uptime")?,
            open_s: number("uptime")? - number("opened")?,
            attempts: number("attempts")? as u32,
            file_system: field("type")?.to_owned(),
            dirty_expire_s: number("expire")? / 100.0,
            flushes: field("flushes")?.parse().ok(),
        })
    }
}

fn content(token: &str) -> Vec<u8> {
    format!("{token}\n").into_bytes().into_iter().cycle().take(LENGTH).collect()
}

fn digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Run the scripts for real, on a folder of this machine and as an ordinary user.
    fn sh(script: &str, folder: &std::path::Path) -> String {
        let script = script.replace(FOLDER, folder.to_str().unwrap());
        let out = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// A folder on a file system that knows O_DIRECT: the build's own.
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).unwrap()
    }

    #[test]
    fn what_is_planted_is_found_and_what_was_not_written_is_lost() {
        let (dir, markers) = (folder(), Markers::of(7, 1));
        let planted = Planted::parse(&sh(&markers.plant_script(), dir.path())).unwrap();
        assert!(
            planted.uptime_s > 0.0
                && (0.0..5.0).contains(&planted.open_s)
                && planted.dirty_expire_s > 0.0
                && planted.attempts >= 1,
            "{planted:?}"
        );
        let fates = markers.fates(&sh(&read_script(), dir.path())).unwrap();
        assert_eq!(fates, Marker::ALL.map(|marker| (marker, Fate::Survived)));

        std::fs::write(dir.path().join("page-cache"), [0; LENGTH]).unwrap();
        std::fs::write(dir.path().join("direct"), [1; LENGTH]).unwrap();
        std::fs::remove_file(dir.path().join("fsynced")).unwrap();
        let fates = markers.fates(&sh(&read_script(), dir.path())).unwrap().map(|(_, fate)| fate);
        assert_eq!(fates, [Fate::Missing, Fate::Lost, Fate::Torn]);
    }

    #[test]
    fn the_markers_of_another_run_have_not_survived_in_this_one() {
        let (dir, markers) = (folder(), Markers::of(7, 1));
        sh(&markers.plant_script(), dir.path());
        for other in [Markers::of(7, 2), Markers::of(8, 1)] {
            let fates = other.fates(&sh(&read_script(), dir.path())).unwrap().map(|(_, fate)| fate);
            assert_eq!(fates, [Fate::Torn; 3]);
        }
        assert_eq!(Markers::of(7, 1), markers, "the same seed gives the same tokens");
    }

    #[test]
    fn an_answer_that_is_no_answer_is_an_error_and_no_fate() {
        let markers = Markers::of(7, 1);
        for bad in [
            "",
            "sudo: a password is required",
            "missing fsynced\nmissing direct\n",
            "x fsynced\nx page-cache\nx direct\n",
        ] {
            assert!(markers.fates(bad).is_err(), "{bad:?}");
            assert!(Planted::parse(bad).is_err(), "{bad:?}");
        }
    }
}
