//! The files of an image, as other programs list them; and what is not whole of them.

use crate::site::{Site, tool};
use boot_media::medium::{Damage, Kind, Medium, MediumError, Names};
use camino::Utf8Path;
use std::collections::BTreeSet;
use std::io::Read;

/// What isoinfo lists of an image.
pub(crate) fn isoinfo(image: &Utf8Path, tree: &str) -> BTreeSet<String> {
    tool("isoinfo", &[tree, "-f", "-i", image.as_str()]).lines().map(str::to_owned).collect()
}

pub(crate) fn paths(medium: &Medium) -> BTreeSet<String> {
    medium.files().map(|file| file.path.clone()).collect()
}

pub(crate) const FILES: [(&str, &[u8]); 4] = [
    ("readme.txt", b"hello"),
    ("live/A Long Name.squashfs", &[7; 5000]),
    ("d/e/f/g", b""),
    ("d/UPPER-lower_x.y.z", b"1"),
];

#[test]
fn rock_ridge_files_and_links_are_those_that_isoinfo_lists() {
    let site = Site::new(&FILES);
    std::os::unix::fs::symlink("../readme.txt", site.tree().join("live/link")).unwrap();
    std::os::unix::fs::symlink("/gone", site.tree().join("dead")).unwrap();
    let medium = site.xorriso(&["-R", "-J", "-V", "BOMA TEST"]);
    assert_eq!((medium.volume_id(), medium.names()), ("BOMA TEST", Names::RockRidge));
    assert_eq!(paths(&medium), isoinfo(&site.image(), "-R"));
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.read("/live/A Long Name.squashfs", 5000).unwrap(), [7; 5000]);
    assert_eq!(medium.read("/live/link", 10).unwrap(), b"hello", "through the link");
    let error = medium.read("/dead", 10).unwrap_err().to_string();
    assert!(error.contains("has no file /dead"), "{error}");
    let link = medium.files().find(|file| file.path == "/live/link").unwrap();
    assert_eq!(link.kind, Kind::Link("../readme.txt".into()));
    let mut streamed = Vec::new();
    medium.stream("/readme.txt").unwrap().read_to_end(&mut streamed).unwrap();
    assert_eq!(streamed, b"hello");
}

#[test]
fn without_rock_ridge_the_names_are_joliets_or_plain() {
    let site = Site::new(&FILES);
    let medium = site.make("genisoimage", &["-quiet", "-J"]);
    assert_eq!(medium.names(), Names::Joliet);
    assert_eq!(paths(&medium), isoinfo(&site.image(), "-J"));
    assert_eq!(medium.read("/live/A Long Name.squashfs", 5000).unwrap().len(), 5000);
    let medium = site.make("genisoimage", &["-quiet"]);
    assert_eq!(medium.names(), Names::Plain);
    assert!(medium.files().any(|file| file.path == "/README.TXT"), "{:?}", paths(&medium));
    assert_eq!(medium.read("/readme.txt", 10).unwrap(), b"hello", "in any case");
}

#[test]
fn a_folder_that_lies_too_deep_for_iso_9660_is_found_in_its_place() {
    let site = Site::new(&[("1/2/3/4/5/6/7/8/9/10/deep.txt", b"down here")]);
    let medium = site.make("genisoimage", &["-quiet", "-R"]);
    assert_eq!(medium.read("/1/2/3/4/5/6/7/8/9/10/deep.txt", 10).unwrap(), b"down here");
    assert_eq!(medium.damage(), []);
}

#[test]
fn many_files_with_long_names_are_all_listed() {
    let names: Vec<_> = (0..600).map(|n| format!("f{}/{n:04}{}", n % 7, "x".repeat(n % 230))).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let site = Site::new(&files);
    let medium = site.xorriso(&["-R"]);
    assert_eq!(paths(&medium), isoinfo(&site.image(), "-R"));
    for (name, bytes) in files {
        assert_eq!(medium.read(&format!("/{name}"), 1000).unwrap(), bytes);
    }
}

#[test]
fn an_image_that_is_cut_off_names_the_files_that_are_not_whole() {
    let site = Site::new(&[("a-small", &[1; 100]), ("z-large", &[2; 900_000])]);
    let whole = site.xorriso(&["-R"]);
    std::fs::OpenOptions::new().write(true).open(site.image()).unwrap().set_len(whole.size() / 2).unwrap();
    let medium = Medium::open(&site.image()).unwrap();
    assert!(matches!(medium.damage()[0], Damage::Short { says, has } if says == whole.size() && has == says / 2));
    let files: Vec<_> = medium.damage()[1..].iter().map(ToString::to_string).collect();
    assert!(files.len() == 1 && files[0].starts_with("/z-large is cut off"), "{files:?}");
    assert_eq!(medium.read("/a-small", 100).unwrap(), [1; 100]);
    assert!(matches!(medium.read("/z-large", 1 << 20), Err(MediumError::CutOff { .. })));
}

#[test]
fn a_small_fat32_is_one_by_its_parameters() {
    let site = Site::new(&[("a", b"")]);
    let fat = site.tree().join("efi.img");
    tool("mkfs.fat", &["-C", "-F", "32", "-s", "1", fat.as_str(), "4096"]);
    // mtools goes by the number of clusters and does not open it: the file is written here, as cluster 3, the root's being 2.
    let mut bytes = std::fs::read(&fat).unwrap();
    let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (table, root) = (number(14) * 512, (number(14) + 2 * number(36)) * 512);
    bytes[table + 12..table + 16].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
    bytes[root..root + 11].copy_from_slice(b"KEY        ");
    (bytes[root + 26], bytes[root + 28]) = (3, 5);
    bytes[root + 512..root + 517].copy_from_slice(b"hello");
    std::fs::write(&fat, bytes).unwrap();
    let medium = site.xorriso(&["-R", "-e", "efi.img", "-no-emul-boot"]);
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.read("/efi.img:/key", 10).unwrap(), b"hello");
}

/// The place of a file's own record in the root folder: the one whose name is this.
fn record(image: &[u8], name: &[u8]) -> usize {
    let at = image.windows(name.len() + 1).position(|window| window[0] == name.len() as u8 && &window[1..] == name);
    at.unwrap() - 32
}

fn changed(site: &Site, change: impl Fn(&mut Vec<u8>)) -> Vec<String> {
    let mut bytes = std::fs::read(site.image()).unwrap();
    change(&mut bytes);
    let medium = Medium::of_memory("changed.iso", bytes).unwrap();
    medium.damage().iter().map(ToString::to_string).collect()
}

#[test]
fn an_image_whose_numbers_contradict_or_whose_parts_are_missing_is_not_whole() {
    let site = Site::new(&[("alone.bin", &[1; 5000]), ("other.bin", &[2; 100])]);
    let whole = site.make("genisoimage", &["-quiet"]);
    assert_eq!(whole.damage(), []);
    let goes_on = changed(&site, |bytes| {
        let at = record(bytes, b"ALONE.BIN;1");
        bytes[at + 25] |= 0x80;
    });
    assert!(goes_on[0].contains("/ALONE.BIN") && goes_on[0].contains("a part of it is missing"), "{goes_on:?}");
    for (offset, word) in [(6, "block"), (14, "length")] {
        let contradicts = changed(&site, |bytes| {
            let at = record(bytes, b"OTHER.BIN;1");
            bytes[at + offset + 3] ^= 1;
        });
        assert!(contradicts[0].contains(&format!("its {word} is")), "{contradicts:?}");
    }
    for (offset, word) in [(84, "size"), (162, "root folder's block")] {
        let contradicts = changed(&site, |bytes| bytes[0x8000 + offset + 3] ^= 1);
        assert!(contradicts[0].contains(&format!("the volume's {word} is")), "{contradicts:?}");
    }
    let partition = changed(&site, |bytes| {
        bytes[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    });
    assert!(partition[0].starts_with("partition 1 (0x83): it reaches to byte 33554432"), "{partition:?}");
}

#[test]
fn a_file_in_several_extents_is_whole() {
    let site = Site::new(&[("a", b"")]);
    // What `mkisofs -iso-level 3` does with 4 GiB, by hand: two records of one name, one behind the other.
    let medium = site.make("genisoimage", &["-quiet"]);
    assert_eq!(medium.damage(), []);
    let tree = site.tree();
    std::fs::remove_file(tree.join("a")).unwrap();
    std::fs::write(tree.join("part1.bin"), [1; 2048]).unwrap();
    std::fs::write(tree.join("part2.bin"), [2; 100]).unwrap();
    site.make("genisoimage", &["-quiet"]);
    let mut bytes = std::fs::read(site.image()).unwrap();
    let (one, two) = (record(&bytes, b"PART1.BIN;1"), record(&bytes, b"PART2.BIN;1"));
    bytes[one + 25] |= 0x80;
    bytes[two + 33..two + 44].copy_from_slice(b"PART1.BIN;1");
    let medium = Medium::of_memory("two.iso", bytes).unwrap();
    assert_eq!(medium.damage(), []);
    assert_eq!(medium.read("/PART1.BIN", 4096).unwrap(), [vec![1; 2048], vec![2; 100]].concat());
}
