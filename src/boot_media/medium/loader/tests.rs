use super::*;
use std::collections::BTreeMap;

/// Configurations on the volume, or by `efi:` on an EFI image.
struct Files(BTreeMap<Place, String>);

impl Files {
    fn new<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self(files.map(|(path, text)| (place(path), text.to_owned())).into())
    }
}

fn place(path: &str) -> Place {
    match path.strip_prefix("efi:") {
        Some(path) => Place { volume: 1, path: path.to_owned() },
        None => Place { volume: 0, path: path.to_owned() },
    }
}

impl Shelf for Files {
    fn places(&self) -> Vec<Place> {
        self.0.keys().cloned().collect()
    }
    fn find(&self, place: &Place) -> Option<Place> {
        self.0.keys().find(|k| k.volume == place.volume && k.path.eq_ignore_ascii_case(&place.path)).cloned()
    }
    fn name(&self, place: &Place) -> String {
        if place.volume == 0 { place.path.clone() } else { format!("/efi.img:{}", place.path) }
    }
    fn text(&self, place: &Place) -> Result<String, String> {
        self.0.get(place).cloned().ok_or_else(|| "gone".to_owned())
    }
}

fn read_all<const N: usize>(files: [(&str, &str); N]) -> Loaders {
    read(&Files::new(files))
}

/// Every entry as one line: place, title, kernel, RAM disks, arguments, and a star for the default.
fn told(loaders: &Loaders) -> Vec<String> {
    let one = |e: &LoaderEntry| {
        let star = if e.default { "*" } else { "" };
        let kernel = e.kernel.as_deref().unwrap_or("-");
        format!("{}:{} {star}{:?} {} {kernel} [{}] {}", e.file, e.line, e.title, e.command, e.initrd.join(" "), e.args)
    };
    loaders.entries.iter().map(|entry| one(entry).trim_end().to_owned()).collect()
}

#[test]
fn isolinux_labels_are_told_with_what_they_boot() {
    let text = "SERIAL 0 115200\nDEFAULT vesamenu.c32\nTIMEOUT 50\nAPPEND quiet\n\nLABEL boot\n  MENU LABEL ^NixOS\n  \
                LINUX /boot/bzImage\n  APPEND init=/nix/init console=ttyS0,115200\n  INITRD /boot/initrd,extra\n\
                LABEL plain\n  kernel vmlinuz root=x\nlabel none\n kernel /vmlinuz\n append -\n\
                LABEL mem\n KERNEL memtest.bin\nLABEL disk\n LOCALBOOT 0x80\n MENU DEFAULT\n";
    let loaders = read_all([("/isolinux/isolinux.cfg", text)]);
    assert_eq!(
        told(&loaders),
        [
            "/isolinux/isolinux.cfg:9 \"NixOS\" linux /boot/bzImage [/boot/initrd /isolinux/extra] init=/nix/init console=ttyS0,115200",
            "/isolinux/isolinux.cfg:12 \"plain\" linux /isolinux/vmlinuz [] root=x quiet",
            "/isolinux/isolinux.cfg:15 \"none\" linux /vmlinuz []",
            "/isolinux/isolinux.cfg:17 \"mem\" bss /isolinux/memtest.bin [] quiet",
            "/isolinux/isolinux.cfg:18 *\"disk\" localboot - [] quiet",
        ]
    );
    assert!(loaders.entries[0].has_arg("console=ttyS0,115200") && !loaders.entries[0].has_arg("console=ttyS0"));
    let linux: Vec<_> = loaders.entries.iter().map(LoaderEntry::boots_linux).collect();
    assert_eq!(linux, [true, true, true, false, false]);
    assert_eq!(loaders.serial[0].to_string(), "/isolinux/isolinux.cfg:1: SERIAL 0 115200");
}

#[test]
fn isolinux_files_lead_to_others_relative_to_the_first() {
    let loaders = read_all([
        (
            "/isolinux/isolinux.cfg",
            "include menu/live.cfg\nMENU INCLUDE gone.cfg\nlabel adv\n kernel vesamenu.c32\n append adv.cfg\n",
        ),
        (
            "/isolinux/menu/live.cfg",
            "default live\nlabel live\n linux /live/vmlinuz\n append initrd=/live/initrd boot=live\ninclude again.cfg\n",
        ),
        ("/isolinux/again.cfg", "include isolinux.cfg\n"),
        ("/isolinux/adv.cfg", "label rescue\n linux /live/vmlinuz\n append single\n menu default\n"),
    ]);
    assert_eq!(
        told(&loaders),
        [
            "/isolinux/menu/live.cfg:4 *\"live\" linux /live/vmlinuz [/live/initrd] initrd=/live/initrd boot=live",
            "/isolinux/isolinux.cfg:5 \"adv\" com32 /isolinux/vesamenu.c32 [] adv.cfg",
            "/isolinux/adv.cfg:3 \"rescue\" linux /live/vmlinuz [] single",
        ]
    );
    let problems: Vec<_> = loaders.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["/isolinux/isolinux.cfg:2: /isolinux/gone.cfg is not in the image"]);
}

#[test]
fn a_kernel_in_the_default_line_is_an_entry() {
    let loaders = read_all([("/syslinux.cfg", "DEFAULT vmlinuz initrd=initrd.gz console=ttyS0\n")]);
    assert_eq!(
        told(&loaders),
        ["/syslinux.cfg:1 *\"vmlinuz\" linux /vmlinuz [/initrd.gz] initrd=initrd.gz console=ttyS0"]
    );
}

#[test]
fn beside_an_isolinux_configuration_one_for_syslinux_does_not_count() {
    let label = "label a\n linux /a\n";
    assert_eq!(read_all([("/isolinux/isolinux.cfg", label), ("/syslinux/syslinux.cfg", label)]).configs.len(), 1);
    assert_eq!(read_all([("/syslinux/syslinux.cfg", label)]).configs.len(), 1);
}

#[test]
fn grub_entries_are_told_with_submenus_variables_and_quotes() {
    let text = r#"
set default="more>two"
serial --unit=0 --speed=115200
terminal_output gfxterm serial console
menuentry_id_option="--id"
params="quiet  console=ttyS0,115200"
if [ "${grub_platform}" = efi ]; then set x=1; else insmod vga; fi
menuentry 'NixOS "x"' --class nixos --unrestricted $menuentry_id_option first {
  # linux /not/this
  linux /boot/bzImage ${isoboot} init=/nix/init \
    $params a="b c" # trailing
  initrd /boot/initrd /boot/ucode
}
submenu "More" --id=more {
  menuentry "One" { linux ($root)/one; initrd ($root)/one.img }
  menuentry "Two" --id two {
    if [ -f /two ]; then
      linuxefi /two single
    fi
  }
  menuentry "Off" { halt }
}
"#;
    let loaders = read_all([("/boot/grub/grub.cfg", text)]);
    let [first, one, two, off] = told(&loaders).try_into().unwrap();
    assert_eq!(
        first,
        "/boot/grub/grub.cfg:10 \"NixOS \\\"x\\\"\" linux /boot/bzImage [/boot/initrd /boot/ucode] \
         ${isoboot} init=/nix/init quiet  console=ttyS0,115200 a=b c"
    );
    assert_eq!(one, "/boot/grub/grub.cfg:15 \"One\" linux /one [/one.img]");
    assert_eq!(two, "/boot/grub/grub.cfg:18 *\"Two\" linuxefi /two [] single");
    assert_eq!(off, "/boot/grub/grub.cfg:21 \"Off\"  - []");
    assert!(loaders.entries[0].has_arg("console=ttyS0,115200"));
    assert_eq!(loaders.serial.len(), 2);
    assert_eq!(loaders.problems, []);
}

#[test]
fn grub_files_lead_to_others_on_the_volume_and_in_the_efi_image() {
    let loaders = read_all([
        (
            "efi:/EFI/BOOT/grub.cfg",
            "search --file --set=root /.disk/info\nset prefix=($root)/boot/grub\nsource $prefix/grub.cfg\n",
        ),
        (
            "/boot/grub/grub.cfg",
            "set default=1\nsource /boot/grub/theme.cfg\nif [ -e /x.cfg ]; then source /x.cfg; fi\nsource $prefix/live.cfg\nsource ${config_directory}/y.cfg\nconfigfile gone.cfg\n",
        ),
        ("/boot/grub/theme.cfg", "set gfxmode=auto\nsource theme.cfg\n"),
        (
            "/boot/grub/live.cfg",
            "menuentry a { linux /a; }\nmenuentry b { linux /b; }\nmenuentry more { configfile /boot/grub/more.cfg }\n",
        ),
        ("/boot/grub/more.cfg", "menuentry c { linux /c; }\n"),
    ]);
    let titles: Vec<_> = loaders.entries.iter().map(|e| (e.title.as_str(), e.default)).collect();
    assert_eq!(titles, [("c", false), ("a", false), ("b", true), ("more", false)]);
    let problems: Vec<_> = loaders.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["/boot/grub/grub.cfg:6: gone.cfg is not in the image"]);
    assert_eq!(loaders.configs.len(), 5);
    assert_eq!(loaders.configs[4].file, "/efi.img:/EFI/BOOT/grub.cfg");
}

#[test]
fn an_efi_configuration_of_its_own_has_its_own_default() {
    let loaders = read_all([
        ("efi:/EFI/BOOT/grub.cfg", "linux /vmlinuz console=ttyS0\ninitrd /initrd\nboot\n"),
        ("/boot/grub/grub.cfg", "set default=gone\nmenuentry a { linux /a }\n"),
    ]);
    assert_eq!(
        told(&loaders),
        [
            "/boot/grub/grub.cfg:2 *\"a\" linux /a []",
            "/efi.img:/EFI/BOOT/grub.cfg:1 *\"(without a menu)\" linux /vmlinuz [/initrd] console=ttyS0",
        ]
    );
}

#[test]
fn a_default_on_a_condition_that_nobody_knows_does_not_count() {
    let text = "if [ \"${next_entry}\" ] ; then\n set default=\"${next_entry}\"\nelse\n set default=\"1\"\nfi\n\
                menuentry a { linux /a }\nmenuentry b { linux /b }\n";
    let loaders = read_all([("/boot/grub/grub.cfg", text)]);
    assert_eq!(loaders.entries.iter().map(|e| e.default).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_entries_of_systemd_boot_are_files_of_their_own() {
    let loaders = read_all([
        ("efi:/loader/loader.conf", "timeout 5\n# default no\ndefault 01-*\n"),
        (
            "efi:/loader/entries/01-live.conf",
            "title  Live\nlinux /live/vmlinuz\ninitrd /ucode\ninitrd /initrd\noptions quiet\noptions console=ttyS0\n",
        ),
        ("efi:/loader/entries/02-shell.conf", "title Shell\nefi /shellx64.efi\n"),
    ]);
    assert_eq!(
        told(&loaders),
        [
            "/efi.img:/loader/entries/01-live.conf:6 *\"Live\" linux /live/vmlinuz [/ucode /initrd] quiet console=ttyS0",
            "/efi.img:/loader/entries/02-shell.conf:2 \"Shell\" efi /shellx64.efi []",
        ]
    );
}

#[test]
fn a_configuration_that_wants_to_be_endless_ends() {
    let doubling: String = (0..60).map(|n| format!("set a{}=$a{n}$a{n}\n", n + 1)).collect();
    let many = format!("set a0=xxxxxxxx\n{doubling}{}", "menuentry $a60 { linux /k $a60 $a60 }\n".repeat(2_000));
    let loaders = read_all([("/boot/grub/grub.cfg", &many)]);
    assert!(loaders.entries.iter().map(|entry| entry.args.len()).sum::<usize>() < MOST_TEXT);
    assert_eq!(loaders.problems.len(), 1);
    for text in ["then ".repeat(20_000), "{ ".repeat(20_000), "${".repeat(20_000), "source $x\n".repeat(5_000)] {
        assert_eq!(read_all([("/boot/grub/grub.cfg", &text)]).entries, []);
    }
    let many = format!("append {}\n{}", "x".repeat(100_000), "label a\nlinux /k\n".repeat(2_000));
    let loaders = read_all([("/isolinux.cfg", &many)]);
    assert!(loaders.entries.len() < 200 && loaders.problems.len() == 1);
}

#[test]
fn paths_are_cleaned() {
    assert_eq!(clean("//boot/./grub/../x/"), "/boot/x");
    assert_eq!(clean("../../etc"), "/etc");
}
