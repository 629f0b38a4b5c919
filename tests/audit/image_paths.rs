//! Conditions over images: layouts as distributions have them, each with what is wrong in one place.

use crate::project::Project;
use crate::site::{Site, grub_efi, systemd_boot, tool, uki};
use assert_cmd::Command;
use camino::Utf8Path;
use serde_json::{Value, json};

/// What an audit of an image says of each condition: its result, and the cause or the first words of it.
pub(crate) fn audit(image: &Utf8Path, conditions: &[(&str, Value)]) -> Vec<(String, String)> {
    let world = Project::new();
    let of = |(id, probe): &(&str, Value)| json!({"id": id, "phase": "image", "what": "It holds.", "hint": "mend it", "probe": probe});
    let conditions: Vec<_> = conditions.iter().map(of).collect();
    let profile = json!({
        "kind": "audit", "guest": {"dialect": "debian", "user": "x"}, "machine": {"disks": []}, "conditions": conditions
    });
    std::fs::write(world.dir.join("profiles/own.json"), profile.to_string()).unwrap();
    let out = Command::from_std(world.command(&["audit", "own", "--image", image.as_str()])).output().unwrap();
    let audit = std::fs::read(world.dir.join("runs/latest/audit.json"));
    let audit = audit.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
    let audit: Value = serde_json::from_slice(&audit).unwrap();
    let told = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let result = if one["looked"] == false { "could not look".into() } else { text("result") };
        (result, if text("cause").is_empty() { text("observed") } else { text("cause") })
    };
    audit["conditions"].as_array().unwrap().iter().map(told).collect()
}

/// The result and the cause of one condition.
fn one(image: &Utf8Path, probe: Value) -> (String, String) {
    audit(image, &[("one", probe)]).remove(0)
}

#[track_caller]
pub(crate) fn passes(image: &Utf8Path, probe: Value) {
    let (result, why) = one(image, probe.clone());
    assert_eq!(result, "passed", "{probe}: {why}");
}

#[track_caller]
pub(crate) fn fails(image: &Utf8Path, probe: Value, words: &[&str]) {
    let (result, why) = one(image, probe.clone());
    assert_eq!(result, "failed", "{probe}: {why}");
    words.iter().for_each(|word| assert!(why.contains(word), "{word:?} is not in {why:?}"));
}

#[track_caller]
pub(crate) fn is_not_known(image: &Utf8Path, probe: Value, words: &[&str]) {
    let (result, why) = one(image, probe.clone());
    assert_eq!(result, "could not look", "{probe}: {why}");
    words.iter().for_each(|word| assert!(why.contains(word), "{word:?} is not in {why:?}"));
}

pub(crate) const CONSOLE: &str = "console=ttyS0,115200";

pub(crate) fn serial(entries: &str) -> Value {
    json!({"loader-args": {"expect": ["console=ttyS0,115200*"], "entries": entries}})
}

fn serial_but(except: &[&str]) -> Value {
    json!({"loader-args": {"expect": ["console=ttyS0,115200*"], "entries": "all", "except": except}})
}

/// A squashfs with these files.
pub(crate) fn squashfs(files: &[(&str, &[u8])]) -> Vec<u8> {
    let inner = Site::new(files);
    let file = inner.path.join("squashfs");
    tool("mksquashfs", &[inner.tree().as_str(), file.as_str(), "-quiet", "-no-progress"]);
    std::fs::read(file).unwrap()
}

#[test]
fn a_key_is_found_in_a_squashfs_whatever_it_is_called_and_in_a_partition_behind_the_image() {
    let keys = json!({"files-absent": {"paths": ["/**/ssh_host_*_key", "/**/id_rsa"]}});
    let packed = squashfs(&[("etc/ssh/ssh_host_ed25519_key", b"secret"), ("etc/hostname", b"live\n")]);
    let site = Site::new(&[("live/store.bin", &packed)]);
    fails(&site.bootable("A", None, None), keys.clone(), &["/live/store.bin:/etc/ssh/ssh_host_ed25519_key"]);

    let site = Site::new(&[("x", b"x")]);
    let fat = site.fat(&[("EFI/BOOT/id_rsa", b"secret")]);
    let image = site.bootable("A", None, Some(&fat));
    fails(&image, keys.clone(), &["El Torito entry 1:/EFI/BOOT/id_rsa"]);
    fails(&image, json!({"files-absent": {"paths": ["*:/EFI/BOOT/id_rsa"]}}), &["id_rsa"]);

    let site = Site::new(&[("live/store", &squashfs(&[("etc/hostname", b"live\n")]))]);
    passes(&site.bootable("A", None, None), keys);
}

#[test]
fn a_file_system_that_cannot_be_looked_into_is_not_taken_for_empty() {
    let keys = json!({"files-absent": {"paths": ["/**/id_rsa"]}});
    let site = Site::new(&[]);
    let disk = site.tree().join("root.img");
    tool("mke2fs", &["-q", "-t", "ext4", disk.as_str(), "1m"]);
    is_not_known(&site.bootable("A", None, None), keys.clone(), &["/root.img holds ext4"]);
    let site = Site::new(&[("live/root.squashfs", &squashfs(&[("LiveOS/rootfs.img", b"ext4")]))]);
    is_not_known(&site.bootable("A", None, None), keys.clone(), &["/LiveOS/rootfs.img"]);
    let mut broken = squashfs(&[("a", b"b")]);
    let table = u64::from_le_bytes(broken[72..80].try_into().unwrap()) as usize;
    broken[table..table + 8].fill(0xff);
    let site = Site::new(&[("root.squashfs", &broken)]);
    is_not_known(&site.bootable("A", None, None), keys, &["/root.squashfs"]);
}

#[test]
fn a_pattern_that_can_never_match_is_refused_before_anything_is_looked_at() {
    let world = Project::new();
    for (pattern, probe) in [("/live/", "files-absent"), ("/[x", "files-present"), ("/a//b", "files-absent")] {
        let profile = json!({"kind": "audit", "guest": {"dialect": "debian", "user": "x"}, "machine": {"disks": []}, "conditions": [
            {"id": "a", "phase": "image", "what": "w", "hint": "h", "probe": {probe: {"paths": [pattern]}}}]});
        std::fs::write(world.dir.join("profiles/own.json"), profile.to_string()).unwrap();
        world.refused(&["audit", "own"], 2, &["can never match", pattern]);
    }
}

#[test]
fn a_kernel_on_either_side_of_an_if_is_judged() {
    let cfg = "menuentry a {\n if [ \"$grub_platform\" = efi ]; then\n  linux /k quiet\n else\n  linux /k console=ttyS0,115200\n fi\n}\n";
    let site = Site::new(&[("boot/grub/grub.cfg", cfg.as_bytes()), ("k", b"k")]);
    for entries in ["all", "default"] {
        fails(&site.bootable("A", None, None), serial(entries), &["/boot/grub/grub.cfg:3", "lacks console=ttyS0"]);
    }
    // For one firmware only one side can run.
    let bios = site.make("grub-mkrescue", &["--quiet", "-d", "/usr/lib/grub/i386-pc"]);
    passes(bios.path(), serial("all"));
}

#[test]
fn a_value_that_the_image_does_not_have_is_not_known() {
    let cfg = "set timeout=1\nmenuentry a { linux /k ${kernelcmd} quiet }\n";
    let site = Site::new(&[("boot/grub/grub.cfg", cfg.as_bytes()), ("k", b"k")]);
    let image = site.bootable("A", None, None);
    is_not_known(&image, serial("default"), &["${kernelcmd}"]);
    is_not_known(&image, json!({"loader-args": {"forbid": ["debug"], "entries": "all"}}), &["${kernelcmd}"]);
    fails(&image, json!({"loader-args": {"forbid": ["qui*"], "entries": "all"}}), &["has qui*"]);
}

#[test]
fn a_boot_path_without_a_default_is_never_passed_over() {
    let with = format!("timeout 10\nlabel a\n linux /k\n append {CONSOLE}\n");
    let site = Site::new(&[("isolinux/isolinux.cfg", with.as_bytes()), ("k", b"k")]);
    let image = site.bootable("A", Some("isolinux"), None);
    fails(&image, serial("default"), &["BIOS, optical disc", "neither DEFAULT nor UI"]);
    passes(&image, serial("all"));
    fails(&image, json!({"boots-by-itself": {}}), &["BIOS, optical disc"]);
    // UEFI has a menu with the console, and BIOS has none at all.
    let site = Site::new(&[("readme", b""), ("k", b"k")]);
    let menu = format!("set timeout=1\nmenuentry a {{ linux /k {CONSOLE} }}\n");
    let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub_efi("/EFI/BOOT", "")), ("EFI/BOOT/grub.cfg", menu.as_bytes())]);
    let image = site.bootable("A", Some("isolinux"), Some(&fat));
    for entries in ["all", "default"] {
        fails(&image, serial(entries), &["BIOS, optical disc", "finds no isolinux.cfg"]);
    }
    // A default that is no Linux.
    let cfg = format!("default mem\nlabel mem\n kernel /memtest\nlabel a\n linux /k\n append {CONSOLE}\n");
    let site = Site::new(&[("isolinux/isolinux.cfg", cfg.as_bytes()), ("k", b"k"), ("memtest", b"m")]);
    let image = site.bootable("A", Some("isolinux"), None);
    fails(&image, serial("default"), &["\"mem\"", "no Linux"]);
    passes(&image, serial("all"));
}

/// The files of a Debian installer's disc.
fn netinst(args: &str) -> Site {
    let txt = format!(
        "label install\n\tmenu label ^Install\n\tkernel /install.amd/vmlinuz\n\tappend vga=788 initrd=/install.amd/initrd.gz {args} --- quiet\nlabel speech\n\tmenu label Install with ^speech synthesis\n\tkernel /install.amd/vmlinuz\n\tappend initrd=/install.amd/initrd.gz speakup.synth=soft --- quiet\n"
    );
    let gtk = format!(
        "default installgui\nlabel installgui\n\tmenu label ^Graphical install\n\tmenu default\n\tkernel /install.amd/vmlinuz\n\tappend vga=788 initrd=/install.amd/initrd.gz {args} --- quiet\n"
    );
    let grub = format!(
        "set timeout=5\nmenuentry --hotkey=g 'Graphical install' {{\n    linux    /install.amd/vmlinuz vga=788 {args} --- quiet\n    initrd   /install.amd/initrd.gz\n}}\nsubmenu --hotkey=a 'Advanced' {{\n    menuentry '... Expert' {{\n        linux    /install.amd/vmlinuz priority=low {args} ---\n        initrd   /install.amd/initrd.gz\n    }}\n}}\nmenuentry --hotkey=s 'Install with speech synthesis' {{\n    linux    /install.amd/vmlinuz speakup.synth=soft --- quiet\n    initrd   /install.amd/initrd.gz\n}}\n"
    );
    Site::new(&[
        ("isolinux/isolinux.cfg", b"path \ninclude menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 50\n"),
        ("isolinux/menu.cfg", b"menu hshift 7\ninclude gtk.cfg\ninclude txt.cfg\n"),
        ("isolinux/gtk.cfg", gtk.as_bytes()),
        ("isolinux/txt.cfg", txt.as_bytes()),
        ("isolinux/vesamenu.c32", b"c32"),
        ("boot/grub/grub.cfg", grub.as_bytes()),
        (".disk/info", b"Debian"),
        ("install.amd/vmlinuz", b"k"),
        ("install.amd/initrd.gz", b"i"),
    ])
}

#[test]
fn a_layout_like_debian_netinst_is_judged_path_by_path() {
    let grub = grub_efi("/EFI/debian", "search --file --set=root /.disk/info\nset prefix=($root)/boot/grub\n");
    for (args, good) in [(CONSOLE, true), ("console=tty0", false)] {
        let site = netinst(args);
        let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub)]);
        let image = site.bootable("Debian 13", Some("isolinux"), Some(&fat));
        match good {
            true => {
                let expected = json!({"boots-by-itself": {"title": "^Graphical install$", "within-s": 5}});
                let of = [
                    ("default", serial("default")),
                    ("all-but-one", serial_but(&["*speech synthesis"])),
                    ("itself", expected),
                    ("files", json!({"loader-files": {}})),
                    ("dashes", json!({"loader-args": {"expect": ["---"], "entries": "all"}})),
                ];
                for (result, why) in audit(&image, &of) {
                    assert_eq!(result, "passed", "{why}");
                }
                fails(&image, serial("all"), &["speech synthesis", "lacks console=ttyS0,115200*"]);
                fails(&image, json!({"boots-by-itself": {"title": "Expert"}}), &["\"Graphical install\" boots"]);
                fails(&image, json!({"boots-by-itself": {"within-s": 4}}), &["after 5 s"]);
            }
            false => fails(&image, serial("all"), &["lacks console=ttyS0,115200*"]),
        }
    }
}

#[test]
fn a_layout_like_live_build_names_the_file_that_is_missing() {
    let live = format!(
        "label live\n menu label ^Live\n menu default\n linux /live/vmlinuz\n initrd /live/initrd.img\n append boot=live components {CONSOLE}\nlabel failsafe\n menu label Live (fail-safe mode)\n linux /live/vmlinuz\n initrd /live/initrd.img\n append boot=live components noapic\n"
    );
    let grub = format!(
        "set timeout=5\nsource /boot/grub/config.cfg\nmenuentry \"Live\" --hotkey=l {{\n\tlinux\t/live/vmlinuz boot=live components {CONSOLE} findiso=${{iso_path}}\n\tinitrd\t/live/initrd.img\n}}\nmenuentry \"Live (fail-safe mode)\" {{\n\tlinux\t/live/vmlinuz boot=live components noapic\n\tinitrd\t/live/initrd.img\n}}\nsubmenu 'Utilities...' {{ source /boot/grub/memtest.cfg }}\n"
    );
    let put = |vmlinuz: &str| {
        let site = Site::new(&[
            ("isolinux/isolinux.cfg", b"include menu.cfg\nui vesamenu.c32\nprompt 0\ntimeout 50\n"),
            ("isolinux/menu.cfg", b"menu title Boot menu\ninclude live.cfg\n"),
            ("isolinux/live.cfg", live.as_bytes()),
            ("isolinux/vesamenu.c32", b"c32"),
            ("boot/grub/grub.cfg", grub.as_bytes()),
            ("boot/grub/config.cfg", b"set default=0\ninsmod part_gpt\nif loadfont $prefix/dejavu.pf2 ; then\n  terminal_output gfxterm\nfi\n"),
            ("boot/grub/memtest.cfg", b"menuentry \"Memory test\" --hotkey=m {\n linux16 /live/memtest.bin\n}\n"),
            ("live/memtest.bin", b"m"),
            ("live/initrd.img", b"i"),
            ("live/filesystem.squashfs", &squashfs(&[("etc/debian_version", b"13\n"), ("etc/os-release", b"ID=debian\n")])),
        ]);
        site.put(vmlinuz, b"k");
        let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub_efi("/boot/grub", ""))]);
        site.bootable("live", Some("isolinux"), Some(&fat)).parent().map(|_| (site, ())).unwrap()
    };
    let (site, ()) = put("live/vmlinuz");
    let image = site.image();
    fails(&image, serial("all"), &["fail-safe", "lacks console=ttyS0,115200*"]);
    let all_but_one = serial_but(&["Live (fail-safe*"]);
    for (result, why) in audit(
        &image,
        &[("default", serial("default")), ("all-but-one", all_but_one), ("files", json!({"loader-files": {}}))],
    ) {
        assert_eq!(result, "passed", "{why}");
    }
    let release = |contains: &str, lacks: &str| json!({"file-in-image": {"path": "/etc/os-release", "contains": [contains], "lacks": [lacks]}});
    passes(&image, release("^ID=debian$", "ubuntu"));
    fails(&image, release("^ID=ubuntu$", "x"), &["/live/filesystem.squashfs:/etc/os-release has nothing that matches"]);
    fails(&image, release("ID", "debian"), &["has \"ID=debian\""]);
    let digest = |sum: &str| json!({"file-in-image": {"path": "/live/initrd.img", "sha256": sum}});
    passes(&image, digest("de7d1b721a1e0632b7cf04edf5032c8ecffa9f9a08492152b926f1a5a7e765d7"));
    fails(&image, digest(&"0".repeat(64)), &["/live/initrd.img has the SHA-256"]);
    fails(&image, json!({"file-in-image": {"path": "/gone", "contains": ["x"]}}), &["/gone is not in the image"]);
    passes(&image, json!({"squashfs-lists": {"files": ["/etc/debian_version"], "required": true}}));
    let (site, ()) = put("live/VMLINUZ");
    fails(&site.image(), json!({"loader-files": {}}), &["/live/vmlinuz", "does not find"]);
}

#[test]
fn a_layout_like_nixos_is_green_with_its_memory_test_left_out() {
    let efi = format!(
        "set timeout=10\nsearch --set=root --file /EFI/nixos-installer-image\nif [ ${{iso_path}} ] ; then\n  set isoboot=\"findiso=${{iso_path}}\"\nfi\nmenuentry 'NixOS Installer'  --class installer {{\n  terminal_output console\n  linux /boot/bzImage ${{isoboot}} init=/nix/init root=LABEL=nixos-25.05 {CONSOLE}\n  initrd /boot/initrd\n}}\nmenuentry 'Old kernel' {{ linux /boot/bzImage init=/nix/old; initrd /boot/initrd }}\nmenuentry 'Firmware Setup' --class settings {{ fwsetup }}\nmenuentry 'Shutdown' --class shutdown {{ halt }}\nmenuentry 'Memtest86+' {{ linux /boot/memtest.efi }}\n"
    );
    let bios = format!(
        "SERIAL 0 115200\nTIMEOUT 100\nUI vesamenu.c32\nMENU TITLE NixOS\nDEFAULT boot\nLABEL boot\nMENU LABEL NixOS Installer\nLINUX /boot/bzImage\nAPPEND init=/nix/init root=LABEL=nixos-25.05 {CONSOLE}\nINITRD /boot/initrd\nLABEL memtest\nMENU LABEL Memtest86+\nLINUX /boot/memtest.bin\n"
    );
    let site = Site::new(&[
        ("isolinux/isolinux.cfg", bios.as_bytes()),
        ("isolinux/vesamenu.c32", b"c32"),
        ("boot/bzImage", b"k"),
        ("boot/initrd", b"i"),
        ("boot/memtest.bin", b"m"),
        ("boot/memtest.efi", b"m"),
        ("EFI/nixos-installer-image", b""),
        ("nix-store.squashfs", &squashfs(&[("x-systemd/bin/systemd", b"s")])),
    ]);
    let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub_efi("/EFI/BOOT", "")), ("EFI/BOOT/grub.cfg", efi.as_bytes())]);
    let image = site.bootable("nixos-25.05", Some("isolinux"), Some(&fat));
    fails(&image, serial("all"), &["\"Old kernel\"", "lacks console=ttyS0,115200*"]);
    let of = [
        ("all", serial_but(&["old kernel"])),
        ("default", serial("default")),
        ("labels", json!({"loader-labels": {"entries": "default"}})),
        ("itself", json!({"boots-by-itself": {"title": "Installer", "within-s": 10}})),
    ];
    for (result, why) in audit(&image, &of) {
        assert_eq!(result, "passed", "{why}");
    }
    let image = site.bootable("nixos-24.11", Some("isolinux"), Some(&fat));
    fails(&image, json!({"loader-labels": {}}), &["looks for the label \"nixos-25.05\"", "nixos-24.11"]);
}

#[test]
fn a_layout_like_arch_is_red_for_the_bios_path_that_lacks_the_console() {
    let build = |bios: &str| {
        let linux = format!(
            "LABEL arch\nMENU LABEL Arch Linux install medium (BIOS)\nLINUX /arch/boot/vmlinuz-linux\nINITRD /arch/boot/initramfs-linux.img\nAPPEND archisobasedir=arch archisolabel=ARCH_2026 {bios}\nLABEL archspeech\nMENU LABEL Arch Linux install medium with ^speech\nLINUX /arch/boot/vmlinuz-linux\nINITRD /arch/boot/initramfs-linux.img\nAPPEND archisobasedir=arch archisolabel=ARCH_2026 accessibility=on\n"
        );
        let site = Site::new(&[
            ("boot/syslinux/syslinux.cfg", b"DEFAULT select\nLABEL select\nCOM32 whichsys.c32\nAPPEND -pxe- pxe -sys- sys -iso- sys\nLABEL pxe\nCONFIG archiso_pxe.cfg\nLABEL sys\nCONFIG archiso_sys.cfg\n"),
            ("boot/syslinux/archiso_sys.cfg", b"INCLUDE archiso_head.cfg\nDEFAULT arch\nTIMEOUT 150\nINCLUDE archiso_sys-linux.cfg\nINCLUDE archiso_tail.cfg\n"),
            ("boot/syslinux/archiso_pxe.cfg", b"INCLUDE archiso_head.cfg\n"),
            ("boot/syslinux/archiso_head.cfg", b"SERIAL 0 115200\nUI vesamenu.c32\nMENU TITLE Arch Linux\n"),
            ("boot/syslinux/archiso_sys-linux.cfg", linux.as_bytes()),
            ("boot/syslinux/archiso_tail.cfg", b"LABEL existing\nTEXT HELP\nBoot an existing operating system.\nENDTEXT\nMENU LABEL Boot existing OS\nCOM32 chain.c32\nAPPEND hd0 0\nLABEL reboot\nCOM32 reboot.c32\nLABEL poweroff\nCOM32 poweroff.c32\n"),
            ("arch/boot/vmlinuz-linux", b"k"),
            ("arch/boot/initramfs-linux.img", b"i"),
        ]);
        let entry = format!(
            "title Arch Linux install medium (UEFI)\nsort-key 01\nlinux /arch/boot/vmlinuz-linux\ninitrd /arch/boot/initramfs-linux.img\noptions archisobasedir=arch archisolabel=ARCH_2026 {CONSOLE}\n"
        );
        let fat = site.fat(&[
            ("EFI/BOOT/BOOTX64.EFI", &systemd_boot()),
            ("loader/loader.conf", b"timeout 15\ndefault 01-archiso-linux.conf\n"),
            ("loader/entries/01-archiso-linux.conf", entry.as_bytes()),
            ("loader/entries/02-archiso-speech-linux.conf", b"title Arch Linux install medium (UEFI) with speech\nlinux /arch/boot/vmlinuz-linux\ninitrd /arch/boot/initramfs-linux.img\noptions archisobasedir=arch archisolabel=ARCH_2026 accessibility=on\n"),
            ("arch/boot/vmlinuz-linux", b"k"),
            ("arch/boot/initramfs-linux.img", b"i"),
        ]);
        let image = site.bootable("ARCH_2026", Some("boot/syslinux"), Some(&fat));
        (site, image)
    };
    let (_site, image) = build(CONSOLE);
    fails(&image, serial("all"), &["speech", "lacks console=ttyS0,115200*"]);
    for (result, why) in audit(
        &image,
        &[
            ("default", serial("default")),
            ("all-but-one", serial_but(&["*with speech"])),
            ("itself", json!({"boots-by-itself": {"title": "Arch Linux install medium", "within-s": 15}})),
            ("labels", json!({"loader-labels": {}})),
        ],
    ) {
        assert_eq!(result, "passed", "{why}");
    }
    let (_site, image) = build("quiet");
    fails(&image, serial("default"), &["/boot/syslinux/archiso_sys-linux.cfg", "(BIOS)", "lacks"]);
}

#[test]
fn a_layout_like_fedora_is_judged_by_its_label() {
    let cfg = |label: &str, args: &str| {
        format!(
            "set default=\"1\"\nfunction load_video {{\n  insmod all_video\n}}\nload_video\nset gfxpayload=keep\nset timeout=60\nsearch --no-floppy --set=root -l '{label}'\nmenuentry 'Start Fedora' --class fedora --class gnu {{\n  linux /images/pxeboot/vmlinuz quiet {args}\n  initrd /images/pxeboot/initrd.img\n}}\nmenuentry 'Test this media & start Fedora' --class fedora {{\n  linux /images/pxeboot/vmlinuz root=live:CDLABEL={label} rd.live.check {args}\n  initrd /images/pxeboot/initrd.img\n}}\nsubmenu 'Troubleshooting -->' {{\n  menuentry 'basic graphics' {{\n    linux /images/pxeboot/vmlinuz nomodeset\n    initrd /images/pxeboot/initrd.img\n  }}\n}}\n"
        )
    };
    let build = |label: &str, volume: &str, args: &str| {
        let text = cfg(label, args);
        let site = Site::new(&[
            ("boot/grub2/grub.cfg", text.as_bytes()),
            ("EFI/BOOT/grub.cfg", text.as_bytes()),
            ("images/pxeboot/vmlinuz", b"k"),
            ("images/pxeboot/initrd.img", b"i"),
            ("images/eltorito.img", b"boot"),
        ]);
        let fat =
            site.fat(&[("EFI/BOOT/BOOTX64.EFI", &grub_efi("/EFI/BOOT", "")), ("EFI/BOOT/grub.cfg", text.as_bytes())]);
        site.xorriso(&[
            "-R",
            "-V",
            volume,
            "-b",
            "images/eltorito.img",
            "-no-emul-boot",
            "-append_partition",
            "2",
            "0xef",
            fat.as_str(),
            "-eltorito-alt-boot",
            "-e",
            "--interval:appended_partition_2:all::",
            "-no-emul-boot",
        ]);
        site
    };
    let site = build("Fedora-L-43", "Fedora-L-43", CONSOLE);
    fails(&site.image(), serial("all"), &["basic graphics", "lacks console=ttyS0,115200*"]);
    for (result, why) in audit(
        &site.image(),
        &[
            ("default", serial("default")),
            ("all-but-one", serial_but(&["Troubleshooting*basic graphics"])),
            ("itself", json!({"boots-by-itself": {"title": "^Test this media", "within-s": 60}})),
            ("labels", json!({"loader-labels": {}})),
            ("files", json!({"loader-files": {}})),
        ],
    ) {
        assert_eq!(result, "passed", "{why}");
    }
    let site = build("Fedora-L-43", "Fedora-L-42", CONSOLE);
    fails(&site.image(), json!({"loader-labels": {}}), &["\"Fedora-L-43\"", "Fedora-L-42"]);
    let site = build("Fedora-L-43", "Fedora-L-43", "rhgb");
    fails(&site.image(), serial("default"), &["lacks console=ttyS0,115200*"]);
}

#[test]
fn a_layout_like_alpine_is_judged_on_both_loaders() {
    let build = |args: &str| {
        let bios = format!(
            "TIMEOUT 10\nPROMPT 1\nDEFAULT lts\nLABEL lts\nMENU LABEL Linux lts\nKERNEL /boot/vmlinuz-lts\nINITRD /boot/initramfs-lts\nFDTDIR /boot/dtbs-lts\nAPPEND modules=loop,squashfs quiet {CONSOLE}\nLABEL virt\nMENU LABEL Linux virt\nKERNEL /boot/vmlinuz-lts\nINITRD /boot/initramfs-lts\nAPPEND modules=loop,squashfs quiet\n"
        );
        let efi = format!(
            "set timeout=1\nmenuentry \"Linux lts\" {{\nlinux\t/boot/vmlinuz-lts modules=loop,squashfs quiet {args}\ninitrd\t/boot/initramfs-lts\n}}\nmenuentry \"Linux virt\" {{\nlinux\t/boot/vmlinuz-lts modules=loop,squashfs quiet\ninitrd\t/boot/initramfs-lts\n}}\n"
        );
        let site = Site::new(&[
            ("boot/syslinux/syslinux.cfg", bios.as_bytes()),
            ("boot/grub/grub.cfg", efi.as_bytes()),
            ("boot/vmlinuz-lts", b"k"),
            ("boot/initramfs-lts", b"i"),
        ]);
        let fat = site.fat(&[("efi/boot/bootx64.efi", &grub_efi("/boot/grub", ""))]);
        site.bootable("alpine", Some("boot/syslinux"), Some(&fat));
        site
    };
    let site = build(CONSOLE);
    fails(&site.image(), serial("all"), &["Linux virt", "lacks console=ttyS0,115200*"]);
    for (result, why) in audit(
        &site.image(),
        &[
            ("default", serial("default")),
            ("all-but-one", serial_but(&["linux virt"])),
            ("itself", json!({"boots-by-itself": {"title": "Linux lts", "within-s": 1}})),
            ("files", json!({"loader-files": {}})),
        ],
    ) {
        assert_eq!(result, "passed", "{why}");
    }
    fails(&build("console=tty0").image(), serial("default"), &["/boot/grub/grub.cfg", "lacks"]);
}

#[test]
fn a_unified_kernel_image_is_judged_by_the_command_line_in_it() {
    let site = Site::new(&[("x", b"x")]);
    for (args, good) in [(CONSOLE, true), ("quiet", false)] {
        let fat = site.fat(&[("EFI/BOOT/BOOTX64.EFI", &uki(args))]);
        let image = site.bootable("UKI", None, Some(&fat));
        match good {
            true => passes(&image, serial("default")),
            false => fails(&image, serial("default"), &["BOOTX64.EFI", "(\"Test OS\") lacks"]),
        }
    }
}
