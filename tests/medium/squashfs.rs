//! A squashfs in an image, as its own tools list it.

use crate::files::FILES;
use crate::site::{Site, tool};
use boot_media::medium::Holds;
use std::collections::BTreeSet;

#[test]
fn a_squashfs_is_listed_as_its_own_tool_lists_it() {
    let names: Vec<_> = (0..700).map(|n| format!("usr/share/{}/{n}-{}", n % 40, "name".repeat(n % 30))).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let inner = Site::new(&files);
    std::fs::create_dir(inner.tree().join("empty")).unwrap();
    std::os::unix::fs::symlink("usr", inner.tree().join("link")).unwrap();
    let outer = Site::new(&[]);
    inner.put("large", &LARGE.repeat(40_000));
    std::fs::File::create(inner.tree().join("hole")).unwrap().set_len(600_000).unwrap();
    let packings = ["gzip", "xz", "zstd", "lz4"];
    for packing in packings.iter().chain(&["lzo"]) {
        let file = outer.tree().join(packing);
        tool("mksquashfs", &[inner.tree().as_str(), file.as_str(), "-comp", packing, "-quiet", "-no-progress"]);
    }
    let medium = outer.xorriso(&["-R"]);
    for packing in packings {
        let listed = tool("unsquashfs", &["-lln", "-d", "", outer.tree().join(packing).as_str()]);
        let wanted: BTreeSet<_> = listed.lines().filter_map(listed_path).collect();
        let mut found = BTreeSet::new();
        let squashfs =
            medium.squashfs_names(&format!("/{packing}"), &mut |name| found.extend([name.to_owned()])).unwrap();
        assert_eq!(squashfs.compression.to_string(), packing);
        assert!(wanted.len() > 740, "{listed}");
        assert_eq!(found, wanted, "{packing}");
        for name in names.iter().step_by(50) {
            assert_eq!(medium.read(&format!("/{packing}:/{name}"), 1 << 20).unwrap(), name.as_bytes(), "{packing}");
            assert_eq!(medium.read(&format!("/{packing}:/link/../{name}"), 1 << 20).unwrap().len(), name.len());
        }
        let large = medium.read(&format!("/{packing}:/large"), 1 << 20).unwrap();
        assert!(large == LARGE.repeat(40_000), "{packing}");
        assert_eq!(medium.read(&format!("/{packing}:/hole"), 1 << 20).unwrap(), vec![0; 600_000], "{packing}");
        let error = medium.read(&format!("/{packing}:/usr/none"), 10).unwrap_err().to_string();
        assert!(error.contains("there is no /usr/none in it"), "{error}");
    }
    let within: Vec<_> = medium.within().unwrap().into_iter().map(|one| (one.name, one.holds)).collect();
    assert_eq!(within, ["/gzip", "/lz4", "/lzo", "/xz", "/zstd"].map(|name| (name.to_owned(), Holds::Squashfs)));
    let error = medium.squashfs_names("/lzo", &mut |_| {}).unwrap_err().to_string();
    assert!(error.ends_with("it is packed with lzo; gzip, xz, zstd, lz4 and lzma can be read"), "{error}");
}

/// Several blocks of it compress well, and are not all the same.
const LARGE: &[u8] = b"0123456789abcdef";

/// A line of `unsquashfs -lln`: mode, owner, size, date, time, path, and where a link leads.
fn listed_path(line: &str) -> Option<String> {
    let path = &line[line.find(" /").map(|at| at + 1).or_else(|| line.find(" squashfs-root").map(|at| at + 1))?..];
    let path = path.split(" -> ").next()?;
    (path != "/" && !path.is_empty()).then(|| if line.starts_with('d') { format!("{path}/") } else { path.to_owned() })
}

#[test]
fn a_squashfs_that_is_cut_off_or_none_is_an_error() {
    let inner = Site::new(&FILES);
    let outer = Site::new(&[(
        "other",
        b"not a squashfs, but as long as its superblock at least: ninety-six bytes and a few more on top",
    )]);
    let file = outer.tree().join("short");
    tool("mksquashfs", &[inner.tree().as_str(), file.as_str(), "-quiet", "-no-progress", "-nopad"]);
    let length = file.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 10).unwrap();
    let medium = outer.xorriso(&["-R"]);
    let error = medium.squashfs_names("/short", &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains(&format!("/short in {}", medium.path())) && error.contains("it is cut off"), "{error}");
    let error = medium.squashfs_names("/other", &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("does not begin with the superblock"), "{error}");
}
