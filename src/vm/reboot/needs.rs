//! What a mode needs in the guest: checked, and where it can be done without a package, made so, before
//! anything happens to the machine.

use super::error::RebootError;
use super::mode::Mode;
use crate::ssh::Session;
use std::time::Duration;

/// The time that one preparation has; `kexec -l` reads a kernel and an initramfs.
const LIMIT: Duration = Duration::from_secs(120);
/// The exit code by which a script says that something is missing.
const MISSING: i32 = 70;

/// Ends a script with what is missing.
const NO: &str = r#"no() { echo "$1" >&2; exit 70; }; "#;

/// The machine's own watchdog among those that the guest may have (a software one may be there, too).
const FIND_WATCHDOG: &str = r#"w=; for d in /sys/class/watchdog/watchdog*; do
  case "$(cat $d/identity 2>/dev/null)" in i6300ESB*) w=$d;; esac
done; "#;

/// A dead kernel is dead for ever unless it was told otherwise.
const PANIC: &str = r#"
[ -w /proc/sysrq-trigger ] || no "its kernel has no sysrq to crash it with"
modprobe -q pvpanic-pci
ls /sys/bus/pci/drivers/pvpanic-pci/0000:* >/dev/null 2>&1 || no "it has no driver for the pvpanic device (module pvpanic-pci), so nobody would be told"
[ "$(cat /sys/kernel/kexec_crash_loaded 2>/dev/null)" != 1 ] || no "a crash kernel is loaded (kdump), which a panic would start"
was=$(cat /proc/sys/kernel/panic)
case $was in
  0) echo 3 >/proc/sys/kernel/panic && echo "kernel.panic was 0, so that a panic is for ever, and was set to 3";;
  *) echo "kernel.panic is $was";;
esac"#;

/// Six seconds instead of the driver's thirty, where `wdctl` (util-linux) can set them.
const WATCHDOG: &str = r#"
[ -n "$w" ] || { modprobe -q i6300esb; look; }
[ -n "$w" ] || no "it has no driver for the watchdog of the machine (module i6300esb)"
state=$(cat $w/state 2>/dev/null)
[ "$state" != active ] || no "somebody feeds its watchdog already (RuntimeWatchdogSec of systemd, or a daemon)"
wdctl -s 6 /dev/${w##*/} >/dev/null 2>&1
echo "the watchdog /dev/${w##*/} fires after $(cat $w/timeout) s without food""#;

/// The kernel that runs, once more. systemd would look for one in an EFI partition.
const KEXEC: &str = r#"
command -v kexec >/dev/null || no "it has no kexec (package kexec-tools)"
[ -e /sys/kernel/kexec_loaded ] || no "its kernel has no kexec"
k=/boot/vmlinuz-$(uname -r); i=/boot/initrd.img-$(uname -r)
[ -r $k ] || no "$k, the kernel that runs, is not there"
[ -r $i ] && initrd=--initrd=$i || initrd=
said=$(kexec -l $k $initrd --reuse-cmdline 2>&1) || no "kexec -l $k failed: $said"
[ "$(cat /sys/kernel/kexec_loaded)" = 1 ] || no "kexec -l $k loaded nothing: $said"
echo "kexec -l $k $initrd --reuse-cmdline""#;

const SOFT_REBOOT: &str = r#"
case "$(systemctl show -p SoftRebootsCount --value)" in
  ""|*[!0-9]*) no "its systemd knows no soft reboot (254 or later does)";;
esac"#;

/// The script of a mode, for a root shell; none where nothing is needed.
fn script(mode: Mode) -> Option<String> {
    let look = format!("look() {{ {FIND_WATCHDOG} }}; look; ");
    Some(match mode {
        Mode::Panic => format!("{NO}{PANIC}"),
        Mode::Watchdog => format!("{NO}{look}{WATCHDOG}"),
        Mode::Kexec => format!("{NO}{KEXEC}"),
        Mode::SoftReboot => format!("{NO}{SOFT_REBOOT}"),
        Mode::Guest | Mode::Acpi | Mode::Reset | Mode::PowerCycle | Mode::PowerLoss => return None,
    })
}

/// Open the watchdog and never feed it. Closing it without the magic character does not stop it either.
pub(super) fn starve_watchdog() -> String {
    root(&format!("{FIND_WATCHDOG} [ -n \"$w\" ] && : >/dev/${{w##*/}}"))
}

/// A command that runs `script` as root.
fn root(script: &str) -> String {
    format!("sudo -n sh -c '{script}'")
}

/// Check and prepare; what was done, in sentences.
pub(super) async fn prepare(mode: Mode, session: &Session) -> Result<Vec<String>, RebootError> {
    let Some(script) = script(mode) else { return Ok(Vec::new()) };
    let failed = |source| RebootError::Prepare { mode, source };
    let answer = session.ask(&root(&script), LIMIT).await.map_err(failed)?;
    match answer.code {
        0 => Ok(answer.stdout.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()),
        MISSING => Err(RebootError::Missing { mode, what: answer.stderr.trim().to_owned() }),
        code => Err(failed(crate::ssh::SshError::Failed {
            command: format!("the preparation of {mode}"),
            code,
            said: answer.stderr.trim().to_owned(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run a script without root, with `/` as it is here.
    fn run(script: &str) -> std::process::Output {
        std::process::Command::new("sh").args(["-c", script]).output().unwrap()
    }

    #[test]
    fn every_script_is_a_shell_script_and_fits_between_single_quotes() {
        for script in Mode::ALL.into_iter().filter_map(script).chain([starve_watchdog().replace('\'', "")]) {
            assert!(!script.contains('\''), "{script}");
            let checked = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
            assert!(checked.status.success(), "{script}\n{}", String::from_utf8_lossy(&checked.stderr));
        }
    }

    #[test]
    fn what_is_missing_is_said_and_ends_the_script() {
        let out = run(&format!("{NO} true || no never; no \"there is none\"; echo not here"));
        assert_eq!(out.status.code(), Some(MISSING));
        assert_eq!(String::from_utf8_lossy(&out.stderr), "there is none\n");
        assert!(out.stdout.is_empty());
    }
}
