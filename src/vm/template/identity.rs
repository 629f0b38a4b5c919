//! What makes a clone a machine of its own: one script, run as root over the first login.
//!
//! The order is that of what must not be seen. The kernel's random numbers come first, for keys and ids are made of them;
//! then the clock, with the timers stopped (a template of last week would have every timer of a week elapse at once, and
//! `apt-daily` locks the package manager); then what the guest is called and known by; sshd's own key last, since with it the
//! template's key has done its work.

use boot_media::seed::{HostKey, RESCUE_USER, Secrets};
use host::hex::hex;
use host::shell::quoted;
use std::fmt::Write;
use std::time::SystemTime;

/// What a template's guest is called.
pub const HOST: &str = "template";
/// What stands before the name of the step that failed.
pub(super) const STEP: &str = "step: ";
/// The bytes that the kernel's random numbers are seeded with, twice: now, and at the next boot.
const SEED: usize = 64;

/// A machine's own identity.
#[derive(Debug)]
pub struct Identity<'a> {
    /// The guest's name.
    pub host: &'a str,
    /// The user that logs in.
    pub user: &'a str,
    /// Its keys, and the rescue user's password hash.
    pub secrets: &'a Secrets,
    /// The public key that logs in to the template.
    pub theirs: &'a str,
}

impl Identity<'_> {
    /// The script. It ends with 0 only where every step was done; else the last line of its standard error names the step.
    pub(super) fn script(&self) -> String {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let values = [
            ("host", self.host.to_owned()),
            ("template", HOST.to_owned()),
            ("user", self.user.to_owned()),
            ("theirs", self.theirs.to_owned()),
            ("keys", self.secrets.authorized().join("\n")),
            ("rescue", format!("{RESCUE_USER}:{}", self.secrets.rescue_hash)),
            ("machine", format!("{:032x}", rand::random::<u128>())),
            ("now_seed", hex(rand::random::<[u8; SEED]>())),
            ("boot_seed", hex(rand::random::<[u8; SEED]>())),
            ("nonce", crate::snapshot::NONCE.to_owned()),
            ("now", format!("{}.{:09}", now.as_secs(), now.subsec_nanos())),
        ];
        let mut script = String::new();
        for (name, value) in values {
            host::presence::ignore(writeln!(script, "{name}={}", quoted(&value)), host::presence::IN_MEMORY);
        }
        script + &self.host_keys() + &steps()
    }

    /// The function that puts the host keys where sshd reads them.
    fn host_keys(&self) -> String {
        let put = |key: &HostKey| {
            let (private, public) = (quoted(key.pair.private().trim_end()), quoted(key.pair.public()));
            format!("    host_key {} {private} {public}\n", key.kind)
        };
        format!("host_keys() {{\n{}}}\n", self.secrets.host.iter().map(put).collect::<String>())
    }
}

/// The script of a machine that goes on as what it was: only what time and chance have made of it is put right.
pub(super) fn wake() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let values = [
        ("now_seed", hex(rand::random::<[u8; SEED]>())),
        ("boot_seed", hex(rand::random::<[u8; SEED]>())),
        ("nonce", crate::snapshot::NONCE.to_owned()),
        ("now", format!("{}.{:09}", now.as_secs(), now.subsec_nanos())),
    ];
    let values: String = values.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    format!("{values}{AWAKE}rm -f \"$nonce\"\n{TIMERS}")
}

/// The steps. Forks are few: each costs 10 ms and more under emulation.
fn steps() -> String {
    format!("{AWAKE}{ITSELF}{TIMERS}{HOST_KEYS}")
}

/// What any machine does first that goes on after a time.
const AWAKE: &str = r#"
set -eu
umask 077
at='its start'
trap '[ "$?" = 0 ] || echo "step: $at" >&2' EXIT

at='the random numbers'
set -- /sys/bus/*/drivers/vmgenid/*:*
if ! [ -e "$1" ]; then
    # A kernel before 5.18 is not told that it goes on elsewhere: RNDADDENTROPY and RNDRESEEDCRNG, random(4).
    printf %s "$now_seed" | python3 -c '
import fcntl, struct, sys
seed = bytes.fromhex(sys.stdin.read())
with open("/dev/urandom", "wb") as urandom:
    fcntl.ioctl(urandom, 0x40085203, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
    fcntl.ioctl(urandom, 0x5207)'
fi
printf %s "$now_seed" >/dev/urandom
[ ! -e /var/lib/systemd/random-seed ] || printf %s "$boot_seed" >/var/lib/systemd/random-seed
rm -f /var/lib/systemd/credential.secret

at='the clock and the timers'
timers=$(systemctl show --property=Id,ActiveState,TimersCalendar '*.timer' |
    awk -F= '/^Id=/ { id = $2 } /^TimersCalendar=/ { calendar = 1 } /^ActiveState=/ { active = $2 == "active" }
             /^$/ { if (calendar && active) print id; calendar = active = 0 }
             END { if (calendar && active) print id }')
[ -z "$timers" ] || systemctl stop $timers
date -u -s "@$now" >/dev/null
for stamp in /var/lib/systemd/timers/stamp-*; do
    [ ! -e "$stamp" ] || touch "$stamp"
done
"#;

/// What makes it another one than it was.
const ITSELF: &str = r#"
at='the name'
umask 022
echo "$host" >/etc/hostname
echo "$host" >/proc/sys/kernel/hostname
sed -i "/^127\.0\.1\.1[[:space:]]/s/\b$template\b/$host/g" /etc/hosts
# cloud-init takes a name that it has not set itself for the user's, and before it reads the seed it goes by what it has kept.
cloud=/var/lib/cloud
[ ! -e "$cloud/data/previous-hostname" ] || echo "$host" >"$cloud/data/previous-hostname"
for kept in "$cloud/data/set-hostname" "$cloud/instance/cloud-config.txt"; do
    [ ! -e "$kept" ] || sed -i "s/\(hostname\|fqdn\)\(\"\{0,1\}: *\"\{0,1\}\)$template\b/\1\2$host/" "$kept"
done
# What cloud-init keeps of the seed is the template's. Without it the next boot reads this machine's own; the instance is the
# same, so nothing is made anew.
rm -f "$cloud/instance/obj.pkl"

at='the machine id'
read -r old </etc/machine-id
echo "$machine" >/etc/machine-id
[ -L /var/lib/dbus/machine-id ] || [ ! -e /var/lib/dbus/machine-id ] || echo "$machine" >/var/lib/dbus/machine-id
for journal in /var/log/journal /run/log/journal; do
    [ ! -d "$journal/$old" ] || mv "$journal/$old" "$journal/$machine"
done
systemctl restart systemd-journald.service

at='the keys that log in'
own() {
    [ -e "$1" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        *"$theirs"*)
            printf '%s\n' "$keys" | while IFS= read -r key; do
                printf '%s%s\n' "${line%%"$theirs"*}" "$key"
            done ;;
        *) printf '%s\n' "$line" ;;
        esac
    done <"$1" >"$1.own"
    cat "$1.own" >"$1"
    rm "$1.own"
}
umask 077
entry=$(getent passwd "$user")
home=${entry%:*}
home=${home##*:}
own /root/.ssh/authorized_keys
[ "$home" = /root ] || own "$home/.ssh/authorized_keys"
if grep -qF "$theirs" /root/.ssh/authorized_keys "$home/.ssh/authorized_keys" 2>/dev/null; then
    echo "the template's key is still there" >&2
    exit 1
fi

at='the rescue password'
echo "$rescue" | chpasswd -e

at='the seed disk'
seed=/dev/disk/by-label/cidata
[ ! -e "$seed" ] || blockdev --flushbufs "$seed"

at='the console'
systemctl try-restart --no-block 'serial-getty@*.service' 'getty@*.service'
rm -f "$nonce"
"#;

/// The timers go on.
const TIMERS: &str = r#"
at='the timers'
[ -z "$timers" ] || systemctl start --no-block $timers
"#;

/// The last step: with it the template's key has done its work.
const HOST_KEYS: &str = r#"
at='the host keys'
host_key() {
    printf '%s\n' "$2" >"/etc/ssh/ssh_host_$1_key"
    printf '%s\n' "$3" >"/etc/ssh/ssh_host_$1_key.pub"
}
host_keys
for unit in ssh.service sshd.service; do
    if systemctl --quiet is-active "$unit"; then
        systemctl reload "$unit"
        break
    fi
done
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn secrets() -> Secrets {
        Secrets {
            client: "ssh-ed25519 AAAAours it's ours".into(),
            own: vec!["ssh-ed25519 AAAAmine me@home".into()],
            host: HostKey::named("-----BEGIN-----\nx\n-----END-----\n", "AAAAhost"),
            rescue_hash: "$6$salt$hash".into(),
        }
    }

    fn script() -> String {
        let secrets = secrets();
        Identity { host: "askari", user: "ansible", secrets: &secrets, theirs: "ssh-ed25519 AAAAt boma-qemu for t" }
            .script()
    }

    fn sh(script: &str) -> (bool, String) {
        let out = Command::new("sh").args(["-c", script]).output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap())
    }

    /// The script up to its steps, and then another one.
    fn with_values(rest: &str) -> (bool, String) {
        sh(&format!("{}{rest}", script().split_once("\nset -eu\n").unwrap().0.to_owned() + "\nset -eu\n"))
    }

    #[test]
    fn a_shell_reads_the_script_whole() {
        for script in [script(), wake()] {
            let out = Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        assert!(!wake().contains("/etc/machine-id") && !wake().contains("ssh_host"), "it stays who it is");
    }

    #[test]
    fn no_two_machines_get_the_same_numbers() {
        let random = |script: String| {
            let of = |name: &str| script.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
            ["machine=", "now_seed=", "boot_seed="].map(of)
        };
        let (one, other) = (random(script()), random(script()));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{one:?} {other:?}");
    }

    #[test]
    fn every_key_takes_the_templates_place_with_what_stood_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("authorized_keys");
        let text = "# a comment\ncommand=\"echo no\" ssh-ed25519 AAAAt boma-qemu for t\nssh-rsa AAAAother it\n";
        std::fs::write(&file, text).unwrap();
        let steps = steps();
        let start = steps.find("own() {").unwrap();
        let function = &steps[start..start + steps[start..].find("\n}\n").unwrap() + 3];
        let (ok, said) = with_values(&format!("{function}own {}", file.display()));
        assert!(ok, "{said}");
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "# a comment\ncommand=\"echo no\" ssh-ed25519 AAAAours it's ours\n\
             command=\"echo no\" ssh-ed25519 AAAAmine me@home\nssh-rsa AAAAother it\n"
        );
    }

    #[test]
    fn a_step_that_fails_is_named() {
        let trap = AWAKE.lines().find(|line| line.starts_with("trap ")).unwrap();
        let (ok, said) = with_values(&format!("at='the name'\n{trap}\nfalse\n"));
        assert!(!ok);
        assert_eq!(said.trim(), format!("{STEP}the name"));
    }
}
