//! How long it takes to make a seed image; the aim is below 1 ms. Run with `cargo bench --bench seed_iso`.

use boot_media::seed::iso::{File, write};

fn main() {
    divan::main();
}

/// A seed with user data of this many bytes, besides the two small files.
#[divan::bench(args = [0, 4_000, 64_000])]
fn seed_image(bencher: divan::Bencher<'_, '_>, user_data: usize) {
    let sizes = [("meta-data", 80), ("network-config", 300), ("user-data", user_data)];
    let files = sizes.map(|(name, length)| File::new(name, vec![b'x'; length]));
    bencher.bench(|| write("cidata", divan::black_box(&files), 1_795_173_699));
}
