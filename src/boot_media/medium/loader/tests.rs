//! Configurations as distributions write them and as the loaders' documentation has them, in `tests/loaders`: each file names
//! its source, and says what every boot path comes to.

use super::memory::Memory;
use super::*;
use std::fmt::Write;

fn told(loaders: &Loaders) -> String {
    let mut text = String::new();
    for path in &loaders.paths {
        let loader = path.loader.map_or("-".into(), |loader| loader.to_string());
        let config = path.configs.first().map_or("-", |config| &config.file);
        writeln!(text, "=== {}: {loader}, {config}, {}", path.name(), path.wait).unwrap();
        let defaults: Vec<_> = path.defaults().collect();
        for entry in &path.entries {
            let star = if defaults.contains(&entry) { "*" } else { " " };
            let kernel = entry.kernel.as_deref().unwrap_or("-");
            let line = format!(
                "{star} {:?} {:?} {kernel} [{}] {}",
                entry.path(),
                entry.boots,
                entry.initrd.join(" "),
                entry.args
            );
            text.push_str(line.trim_end());
            for (what, names) in [("unknown", &entry.unknown), ("missing", &entry.missing), ("unsure", &entry.unsure)] {
                if !names.is_empty() {
                    write!(text, "; {what} {}", names.join(" ")).unwrap();
                }
            }
            text.push('\n');
        }
        match &path.chosen {
            Chosen::Entries(_) => {}
            Chosen::NotFound(why) => writeln!(text, "! {why}").unwrap(),
            Chosen::NotKnown { why, .. } => writeln!(text, "? {why}").unwrap(),
        }
        for problem in path.problems.iter().chain(&path.searches) {
            writeln!(text, "problem: {problem}").unwrap();
        }
    }
    text
}

#[test]
fn every_configuration_comes_to_what_its_documentation_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/loaders");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 30, "{} cases", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (given, expected) = text.split_once("\n=== ").expect("a case says what is expected");
        let (found, expected) = (told(&read(&Memory::parse(given))), format!("=== {expected}"));
        if found != expected {
            wrong.push(format!("{}:\n{found}instead of\n{expected}", file.display()));
        }
        assert!(text.starts_with("# "), "{} does not name its source", file.display());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read_all<const N: usize>(what: &str, files: [(&str, &str); N]) -> Loaders {
    let files = files.map(|(path, text)| format!("\n--- {path}\n{text}"));
    read(&Memory::parse(&format!("start: {what}{}", files.concat())))
}

#[test]
fn a_configuration_that_wants_to_be_endless_ends() {
    let doubling: String = (0..60).map(|n| format!("set a{}=$a{n}$a{n}\n", n + 1)).collect();
    let many = format!("set a0=xxxxxxxx\n{doubling}{}", "menuentry $a60 { linux /k $a60 $a60 }\n".repeat(2_000));
    let loaders = read_all("bios /grub.img", [("/boot/grub/grub.cfg", &many)]);
    assert!(loaders.entries.iter().map(|entry| entry.args.len()).sum::<usize>() < MOST_TEXT);
    assert!(matches!(loaders.paths[0].chosen, Chosen::NotKnown { .. }), "{:?}", loaders.paths[0].chosen);
    let unknown: String = (0..40).map(|n| format!("if keystatus; then menuentry {n} {{ linux /k; }}; fi\n")).collect();
    let recursion = "function f { f; }\nf\n".to_owned();
    let loops = "while true; do true; done\nwhile keystatus; do menuentry a { linux /k; }; done\n".to_owned();
    let itself = "source /boot/grub/grub.cfg\n".repeat(50);
    let deep = ["then ", "{ ", "${", "if true; then ", "submenu a { ", "$("].map(|text| text.repeat(20_000));
    for text in [unknown, recursion, loops, itself].into_iter().chain(deep) {
        let loaders = read_all("bios /grub.img", [("/boot/grub/grub.cfg", &text)]);
        assert!(!matches!(loaders.paths[0].chosen, Chosen::Entries(_)), "{:?}", &text[..text.len().min(60)]);
    }
    let many = format!("append {}\n{}", "x".repeat(100_000), "label a\nlinux /k\n".repeat(2_000));
    let loaders = read_all("bios /isolinux.bin", [("/isolinux.cfg", &many)]);
    assert!(loaders.entries.len() < 200, "{}", loaders.entries.len());
    assert!(!matches!(loaders.paths[0].chosen, Chosen::Entries(_)));
    let kernels = format!("set default=0\nmenuentry a {{\n{}}}\n", "linux /k\n".repeat(2_000));
    let loaders = read_all("bios /grub.img", [("/boot/grub/grub.cfg", &kernels)]);
    assert!(matches!(loaders.paths[0].chosen, Chosen::NotKnown { .. }), "{:?}", loaders.paths[0].chosen);
    // A row that runs its own menu, and a label that runs the graphical one.
    for program in ["menu.c32", "vesamenu.c32", "gfxboot.c32"] {
        let itself = format!("ui {program}\ntimeout 10\nlabel a\nmenu default\ncom32 {program}\n");
        let loaders = read_all("bios /isolinux.bin", [("/isolinux.cfg", &itself)]);
        assert!(!matches!(loaders.paths[0].chosen, Chosen::Entries(_)), "{program}");
    }
    // Twice as many entries with each file: as many as are read, and each is compared with all others.
    let twice = format!("{}menu begin more\nlabel a\nkernel /k\nmenu end\n", "include isolinux.cfg\n".repeat(2));
    let loaders = read_all("bios /isolinux.bin", [("/isolinux.cfg", &twice)]);
    assert!(!matches!(loaders.paths[0].chosen, Chosen::Entries(_)));
    let around = read_all(
        "bios /isolinux.bin",
        [("/isolinux.cfg", "include isolinux.cfg\ndefault a\nlabel a\nconfig isolinux.cfg\n")],
    );
    assert!(!matches!(around.paths[0].chosen, Chosen::Entries(_)));
}

#[test]
fn a_boot_image_that_nobody_knows_is_no_reason_to_guess() {
    let both = [
        ("/isolinux/isolinux.cfg", "default a\nlabel a\nlinux /k\n"),
        ("/boot/grub/grub.cfg", "menuentry a { linux /k }\n"),
    ];
    let loaders = read_all("bios /odd.img", both);
    assert!(matches!(&loaders.paths[0].chosen, Chosen::NotKnown { why, .. } if why.contains("/odd.img")));
    let loaders = read_all("efi", []);
    assert!(matches!(&loaders.paths[0].chosen, Chosen::NotFound(why) if why.contains("BOOTX64.EFI")));
    let loaders = read_all("bios /isolinux/isolinux.bin", [("/docs/isolinux.cfg", "")]);
    assert!(matches!(&loaders.paths[0].chosen, Chosen::NotFound(_)));
}

#[test]
fn paths_are_cleaned() {
    assert_eq!(clean("//boot/./grub/../x/"), "/boot/x");
    assert_eq!(clean("../../etc"), "/etc");
}
