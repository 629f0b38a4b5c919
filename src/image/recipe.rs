//! What a built image consists of, as text: the commands, and the script that turns a tree of packages
//! into the likeness of Debian's genericcloud image.

use super::catalogue::Recipe;
use super::gpt::{ESP_START, ROOT_START, SECTOR, esp_sectors, root_sectors};
use camino::Utf8Path;

/// The root file system's UUID; constant, as every overlay is the disk of its own VM.
pub(super) const ROOT_UUID: &str = "b07a1336-13d1-4b0a-a13d-626f6d612d69";

/// The EFI file system's serial number, which is its UUID; constant for the same reason.
const ESP_SERIAL: &str = "b07ae51d";

/// Kernel arguments of Debian's cloud images: the screen, and the serial port as the console that counts.
const CONSOLE: &str = "console=tty0 console=ttyS0,115200";

/// Units that only make noise in a VM that lives for minutes.
const QUIET: &str = "apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer dpkg-db-backup.timer";

/// The mmdebstrap command. It runs as (possibly mapped) root in mount and pid namespaces of its own, so
/// `--mode=root` is right for everybody, and nothing stays mounted whatever ends it.
///
/// No mirror is named: mmdebstrap's own default is what the machine uses and what the guest's
/// sources.list gets. The hook finds its files through the environment (`BOMA_WORK`).
pub(super) fn bootstrap(recipe: &Recipe, root: &Utf8Path) -> Vec<String> {
    vec![
        "mmdebstrap".into(),
        "--mode=root".into(),
        "--variant=minbase".into(),
        "--architectures=amd64".into(),
        "--format=directory".into(),
        format!("--include={}", recipe.packages.join(",")),
        "--customize-hook=sh \"$BOMA_WORK/setup.sh\" \"$1\"".into(),
        recipe.suite.clone(),
        root.to_string(),
    ]
}

/// The mke2fs command: an ext4 file system with the tree's files, at the root partition's place.
///
/// Features that a GRUB older than Debian 13's cannot read are left out.
pub(super) fn file_system(recipe: &Recipe, root: &Utf8Path, disk: &Utf8Path) -> Vec<String> {
    let offset = ROOT_START * SECTOR;
    let args = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-L",
        "root",
        "-U",
        ROOT_UUID,
        "-m",
        "1",
        "-O",
        "^metadata_csum_seed,^orphan_file",
        "-E",
        &format!("offset={offset},hash_seed={ROOT_UUID},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"),
        "-d",
        root.as_str(),
        disk.as_str(),
        &format!("{}k", root_sectors(recipe.disk_mib) / 2),
    ];
    args.map(str::to_owned).to_vec()
}

/// The commands that make the EFI system partition in its place, of what the script has put aside for it in `work`.
pub(super) fn efi_partition(work: &Utf8Path, disk: &Utf8Path) -> Vec<Vec<String>> {
    let place = format!("{disk}@@{}", ESP_START * SECTOR);
    let (size, files) = (esp_sectors().to_string(), work.join("esp/EFI"));
    let format = ["mformat", "-i", &place, "-F", "-T", &size, "-v", "EFI", "-N", ESP_SERIAL, "::"];
    let copy = ["mcopy", "-i", &place, "-s", files.as_str(), "::/EFI"];
    [&format[..], &copy[..]].map(|argv| argv.iter().map(|word| (*word).to_owned()).collect()).to_vec()
}

/// The script that mmdebstrap runs when all packages are there; its first argument is the tree.
pub(super) fn setup_script() -> String {
    format!(
        r#"set -eu
root=$1
in_root() {{ chroot "$root" "$@"; }}

in_root systemctl enable systemd-networkd.service systemd-resolved.service
in_root systemctl mask {QUIET}

# A first boot makes these; a golden image must not share them.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname"
: > "$root/etc/machine-id"
ln -sfn ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# What runs when /usr is newer than /etc and /var (ldconfig, catalogs) has been done by the packages.
touch "$root/etc/.updated" "$root/var/.updated"

# kexec only when it is asked for, not in every reboot.
! [ -e "$root/etc/default/kexec" ] || sed -i 's/^LOAD_KEXEC=.*/LOAD_KEXEC=false/' "$root/etc/default/kexec"

cat > "$root/etc/fstab" <<'END'
UUID={ROOT_UUID} / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1
END
# The EFI system partition is not mounted: waiting for it costs 6 s of 57 of each emulated boot, and nothing in a VM's short
# life writes to it.
mkdir -p "$root/boot/efi"
cat > "$root/etc/cloud/cloud.cfg.d/01_boma_image.cfg" <<'END'
# sources.list is as the image was built with it.
apt:
  preserve_sources_list: true
manage_etc_hosts: true
disable_root: true
END
# Where cloud-init would set a locale that nobody has generated.
! [ -e "$root/usr/sbin/update-locale" ] || echo 'locale: C.UTF-8' > "$root/etc/cloud/cloud.cfg.d/02_locale.cfg"
cat > "$root/etc/default/grub" <<'END'
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX="{CONSOLE}"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
END

# The first grub.cfg; the guest's own update-grub makes the next one when it gets a new kernel.
kernel=$(basename "$root"/boot/vmlinuz-*)
initrd=$(basename "$root"/boot/initrd.img-*)
mkdir -p "$root/boot/grub"
cp -r "$root/usr/lib/grub/i386-pc" "$root/boot/grub/"
cat > "$root/boot/grub/grub.cfg" <<END
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
menuentry 'Debian GNU/Linux' {{
  search --no-floppy --fs-uuid --set=root {ROOT_UUID}
  linux /boot/$kernel root=UUID={ROOT_UUID} ro {CONSOLE}
  initrd /boot/$initrd
}}
END

# The guest's own GRUB, so that core and modules are of one version.
in_root grub-mkimage -O i386-pc -o /boot/core.img -p '(hd0,gpt1)/boot/grub' \
  biosdisk part_gpt ext2 normal linux search search_fs_uuid configfile serial terminal echo test
mv "$root/boot/core.img" "$BOMA_WORK/core.img"
cp "$root/usr/lib/grub/i386-pc/boot.img" "$BOMA_WORK/boot.img"

# The EFI system partition: Debian's signed shim and GRUB in the place where firmware looks that knows no boot entry. GRUB's
# own prefix is /EFI/debian.
esp=$BOMA_WORK/esp/EFI
mkdir -p "$esp/BOOT" "$esp/debian"
cp "$root/usr/lib/shim/shimx64.efi.signed" "$esp/BOOT/BOOTX64.EFI"
cp "$root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$esp/BOOT/grubx64.efi"
cp "$root/usr/lib/shim/shimx64.efi.signed" "$esp/debian/shimx64.efi"
cp "$root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$esp/debian/grubx64.efi"
cat > "$esp/debian/grub.cfg" <<'END'
search.fs_uuid {ROOT_UUID} root
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
END
"#
    )
}

/// The command around a step: it dies with us, and its mounts and processes die with it. An ordinary
/// user gets a user namespace with the subordinate ids, in which file owners are what they shall be.
pub(super) fn inside(as_root: bool, command: &[String]) -> Vec<String> {
    let mut argv: Vec<String> = ["setpriv", "--pdeathsig", "KILL", "unshare"].map(str::to_owned).to_vec();
    if !as_root {
        argv.extend(["--user", "--map-root-user", "--map-auto"].map(str::to_owned));
    }
    argv.extend(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"].map(str::to_owned));
    argv.extend_from_slice(command);
    argv
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe { suite: "trixie".into(), disk_mib: 3072, packages: vec!["sudo".into(), "docker-cli".into()] }
    }

    #[test]
    fn no_mirror_is_named() {
        let argv = bootstrap(&recipe(), "/c/root".into());
        assert_eq!(argv[argv.len() - 2..], ["trixie", "/c/root"]);
        assert!(argv.contains(&"--include=sudo,docker-cli".into()));
    }

    #[test]
    fn the_file_system_fills_the_root_partition_and_no_more() {
        let argv = file_system(&recipe(), "/c/root".into(), "/c/disk".into());
        assert_eq!(argv.last().unwrap(), &format!("{}k", 2943 * 1024));
        assert!(argv.iter().any(|a| a.starts_with("offset=134217728,")), "{argv:?}");
    }

    #[test]
    fn an_ordinary_user_is_mapped_and_root_is_not() {
        let run = |root| inside(root, &["true".into()]).join(" ");
        assert_eq!(
            run(true),
            "setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc -- true"
        );
        assert!(run(false).contains("unshare --user --map-root-user --map-auto --mount"));
    }

    #[test]
    fn the_setup_script_is_a_shell_script_with_its_facts_filled_in() {
        let script = setup_script();
        let out = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(script.contains(&format!("UUID={ROOT_UUID} / ext4 rw,discard")));
        assert!(script.contains("ro console=tty0 console=ttyS0,115200\n"));
        assert!(!script.contains("{{"), "braces are unescaped");
    }
}
