//! QEMU: its devices, and machines that are made, asked and ended within a second.

use super::{Site, broken};
use crate::audit::outcome::Seen;
use crate::audit::probe::Accelerator;
use host::cmd::{Cmd, CmdError, Output};
use host::deadline::Deadline;
use host::programs::find;
use std::process::ExitStatus;
use vm::qemu::accel::{Wanted, choose, facts};
use vm::qemu::{Accel, PROGRAM, lacking};

/// What is said to a machine that is made to see whether it can be: QMP's greeting is answered, then it may go.
const ASK_AND_QUIT: &str = concat!(
    r#"{"execute": "qmp_capabilities"}"#,
    "\n",
    r#"{"execute": "query-status"}"#,
    "\n",
    r#"{"execute": "quit"}"#,
    "\n"
);

/// A boot sector that adds 1 to 6 and writes the sum to the port of `isa-debug-exit`: an exit code of its own, which
/// only a machine that ran these instructions can give.
///
/// ```text
/// 31 c0     xor ax, ax
/// b9 06 00  mov cx, 6
/// 01 c8     add ax, cx
/// e2 fc     loop -4
/// e6 f4     out 0xf4, al
/// f4 eb fd  hlt; jmp -3
/// ```
const SUM: [u8; 14] = [0x31, 0xc0, 0xb9, 0x06, 0x00, 0x01, 0xc8, 0xe2, 0xfc, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];
/// `isa-debug-exit` ends QEMU with twice the value, plus one.
const SUM_CODE: i32 = 21 * 2 + 1;

fn qemu(site: &Site, deadline: &Deadline) -> Result<Cmd, Seen> {
    let file = find(&site.path, PROGRAM).ok_or_else(|| {
        let cause = format!("`{PROGRAM}` is not in PATH");
        Seen::fails(cause.clone(), cause)
    })?;
    Ok(Cmd::new(file).limit(deadline.left()))
}

/// The devices are in `-device help`.
pub(super) fn devices(site: &Site, expect: &[String], deadline: &Deadline) -> Seen {
    let asked = qemu(site, deadline).map(|qemu| qemu.args(["-device", "help"]).run());
    match asked {
        Err(seen) => seen,
        Ok(Err(error)) => broken(&error),
        Ok(Ok(output)) => {
            let names: Vec<&str> = expect.iter().map(String::as_str).collect();
            let lacks = lacking(&output.stdout, &names);
            let cause = (!lacks.is_empty()).then(|| format!("QEMU has no {}", lacks.join(", ")));
            Seen::judged(format!("{} of {} are there", names.len() - lacks.len(), names.len()), cause)
        }
    }
}

/// A machine with the devices is made, and says over QMP that it stands before its first instruction.
pub(super) fn smoke(site: &Site, devices: &[String], deadline: &Deadline) -> Seen {
    let more: Vec<&str> = devices.iter().flat_map(|device| ["-device", device]).collect();
    stopped_machine(site, &more, deadline)
}

/// The same with a card on user networking, which QEMU may have been built without.
pub(super) fn user_network(site: &Site, device: &str, deadline: &Deadline) -> Seen {
    stopped_machine(site, &["-netdev", "user,id=n0", "-device", &format!("{device},netdev=n0")], deadline)
}

fn stopped_machine(site: &Site, more: &[&str], deadline: &Deadline) -> Seen {
    let qemu = match qemu(site, deadline) {
        Ok(qemu) => qemu.args(MACHINE).args(["-accel", "tcg", "-S", "-qmp", "stdio"]).args(more),
        Err(seen) => return seen,
    };
    let line = qemu.line();
    match qemu.stdin(ASK_AND_QUIT).status() {
        Err(CmdError::TimedOut { limit, said, .. }) => {
            Seen::fails(said, format!("QEMU does not answer within {:.0} s", limit.as_secs_f64()))
        }
        Err(error) => broken(&error),
        Ok((status, output)) => {
            judge_stopped(status, &output).in_text(format!("$ {line}\n{}{}", output.stdout, output.stderr))
        }
    }
}

fn judge_stopped(status: ExitStatus, output: &Output) -> Seen {
    if status.success() && output.stdout.contains(r#""status": "prelaunch""#) {
        return Seen::holds("made, asked and ended");
    }
    let said = output.stderr.lines().rfind(|line| !line.trim().is_empty());
    let cause = said.map_or_else(|| format!("QEMU ended with {status} and no word"), |line| line.trim().to_owned());
    Seen::fails(status.to_string(), cause)
}

/// The machine that all of these are: as little as there can be.
const MACHINE: [&str; 9] =
    ["-machine", "q35", "-m", "64", "-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"];

/// The accelerator runs a program of ours, each time.
pub(super) fn accelerator(site: &Site, expect: Accelerator, times: u8, deadline: &Deadline) -> Seen {
    let (accel, why) = match choose(Wanted::Auto, &facts()) {
        Ok(choice) => choice,
        Err(error) => return Seen::unknown(error.to_string()),
    };
    match (accel, expect) {
        (Accel::Tcg, Accelerator::Kvm) => Seen::fails("TCG only", format!("KVM cannot be used: {why}")),
        (Accel::Tcg, Accelerator::Any) => match sums(site, Accel::Tcg, times, deadline) {
            Ok(()) => Seen::holds(format!("TCG ran a program {times} times; no KVM: {why}")),
            Err(cause) => Seen::fails("TCG only", format!("TCG: {cause}")),
        },
        (Accel::Kvm, expect) => match (sums(site, Accel::Kvm, times, deadline), expect) {
            (Ok(()), _) => Seen::holds(format!("KVM ran a program {times} times")),
            (Err(cause), Accelerator::Kvm) => Seen::fails(why, format!("KVM: {cause}")),
            (Err(kvm), Accelerator::Any) => match sums(site, Accel::Tcg, times, deadline) {
                Ok(()) => Seen::holds(format!("TCG ran a program {times} times; KVM is there and does not: {kvm}")),
                Err(tcg) => Seen::fails(why, format!("TCG: {tcg}; KVM: {kvm}")),
            },
        },
    }
}

/// Boot the sector so often; the first thing that went otherwise than it must.
fn sums(site: &Site, accel: Accel, times: u8, deadline: &Deadline) -> Result<(), String> {
    let mut sector = [0; 512];
    sector[..SUM.len()].copy_from_slice(&SUM);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut disk = tempfile::NamedTempFile::new().map_err(|error| format!("cannot make a disk: {error}"))?;
    // The firmware boots no disk that is smaller than a cylinder.
    let written = std::io::Write::write_all(&mut disk, &sector).and_then(|()| disk.as_file().set_len(1 << 20));
    written.map_err(|error| format!("cannot write a disk: {error}"))?;
    let drive = format!("if=none,id=d,format=raw,read-only=on,file={}", disk.path().display());
    let accel = match accel {
        Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
        Accel::Tcg => ["-accel", "tcg", "-cpu", "max"],
    };
    for n in 1..=times {
        let qemu = qemu(site, deadline).map_err(|seen| seen.observed)?;
        let devices = ["-device", "virtio-blk-pci,drive=d", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"];
        let qemu = qemu.args(MACHINE).args(accel).args(["-drive", &drive]).args(devices);
        let (status, output) = qemu.status().map_err(|error| error.to_string())?;
        if status.code() != Some(SUM_CODE) {
            let said = output.stderr.lines().next().unwrap_or("no word").to_owned();
            return Err(format!("run {n} of {times} ended with {status}, not with the program's own code: {said}"));
        }
    }
    Ok(())
}
