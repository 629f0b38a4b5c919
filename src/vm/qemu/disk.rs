//! The files that a machine over a golden image writes to, before its first start.

use super::Overlay;
use camino::Utf8Path;
use host::cmd::{Cmd, CmdError};

/// Make the overlay, the file for its snapshots' memory, and the data disks. Nothing is ever written to the image below, which
/// is of `format`; the guest sees a disk of `size` (as for `qemu-img`, `20G`).
pub fn make(overlay: &Overlay, image: &Utf8Path, format: &str, size: &str) -> Result<(), CmdError> {
    over(image, format, &overlay.disk, Some(size))?;
    // The memory lies behind the end of the disk that the image stands for, however small that is.
    create().args([overlay.memory.as_str(), "1M"]).run()?;
    for disk in &overlay.disks {
        create().args([disk.path.as_str(), &format!("{}M", disk.size.0)]).run()?;
    }
    Ok(())
}

/// The same over a template's disk. That lies over a golden image that may have been somewhere else when it was made, so it
/// is not looked at.
pub fn make_over_template(overlay: &Overlay, template: &Utf8Path, size: &str) -> Result<(), CmdError> {
    create().args(["-u", "-F", "qcow2", "-b", template.as_str(), overlay.disk.as_str(), size]).run()?;
    create().args([overlay.memory.as_str(), "1M"]).run().map(drop)
}

/// Make an overlay at `path` over an image, as large as that or of a size of its own.
pub(super) fn over(image: &Utf8Path, format: &str, path: &Utf8Path, size: Option<&str>) -> Result<(), CmdError> {
    create().args(["-F", format, "-b", image.as_str(), path.as_str()]).args(size).run()?;
    Ok(())
}

fn create() -> Cmd {
    Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2"])
}
