use super::reader::{joliet, rock_ridge, short_names};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TIME: u64 = 1_795_173_699;

fn seen(files: &[File]) -> Vec<u8> {
    let image = write("cidata", files, TIME).unwrap();
    let wanted: BTreeMap<_, _> = files.iter().map(|f| (f.name.clone(), f.bytes.clone())).collect();
    for tree in [rock_ridge(&image), joliet(&image)] {
        let found: BTreeMap<_, _> = tree.into_iter().map(|s| (s.name, s.bytes)).collect();
        assert!(found == wanted, "read back {:?}, wrote {:?}", found.keys(), wanted.keys());
    }
    image
}

#[test]
fn sizes_around_the_sector_come_back_whole() {
    let sizes = [0, 1, 2047, 2048, 2049, 4095, 4096, 4097];
    seen(&sizes.map(|n| File::new(format!("file-{n}"), vec![n as u8 | 1; n])));
    for n in sizes {
        seen(&[File::new("only", vec![7; n])]);
    }
}

#[test]
fn no_file_at_all_is_an_empty_folder() {
    seen(&[]);
}

#[test]
fn every_name_length_comes_back_whole() {
    for n in 1..=103 {
        seen(&[File::new("x".repeat(n), "content"), File::new(format!("{}y", "x".repeat(n - 1)), "")]);
    }
}

#[test]
fn a_folder_over_several_sectors_lists_every_file() {
    for n in [10, 17, 18, 19, 40, 500] {
        seen(&(0..n).map(|i| File::new(format!("file-number-{i:04}.with.dots"), [i as u8])).collect::<Vec<_>>());
    }
}

#[test]
fn the_order_of_the_files_leaves_no_trace() {
    let mut files = vec![File::new("user-data", "a"), File::new("meta-data", "b"), File::new("é€😀", "c")];
    let image = seen(&files);
    files.reverse();
    assert_eq!(write("cidata", &files, TIME).unwrap(), image);
}

#[test]
fn only_root_may_read_the_files() {
    let image = write("cidata", &[File::new("user-data", "secret")], TIME).unwrap();
    assert_eq!(rock_ridge(&image)[0].mode, Some(0o100_400));
}

#[test]
fn records_are_in_the_order_that_the_standard_wants() {
    let image = seen(&["b.c", "b", "B1", "a-b", "b.a"].map(|n| File::new(n, n)));
    assert_eq!(short_names(&image), ["A_B.;1", "B.;1", "B.A;1", "B.C;1", "B1.;1"]);
}

#[test]
fn a_time_that_no_date_holds_is_refused() {
    assert_eq!(write("cidata", &[], u64::MAX), Err(IsoError::Time(u64::MAX)));
}

/// Names that are allowed, many of them alike in their first eight characters.
fn names() -> impl Strategy<Value = BTreeSet<String>> {
    let name = prop_oneof!["[a-zA-Z0-9_.-]{0,102}[a-z]", "user-data[a-z.-]{0,3}[a-z]", "[a-zé€😀 ]{1,40}",];
    prop::collection::btree_set(name, 0..80).prop_map(|set| set.into_iter().filter(|n| n != "." && n != "..").collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_files_come_back_as_they_went_in(names in names(), sizes in prop::collection::vec(0..5000_usize, 80)) {
        let files: Vec<_> = names.into_iter().zip(sizes).map(|(n, s)| File::new(n, vec![s as u8 | 1; s])).collect();
        let image = seen(&files);
        let shorts: BTreeSet<_> = short_names(&image).into_iter().collect();
        prop_assert_eq!(shorts.len(), files.len());
    }
}
