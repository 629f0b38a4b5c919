use super::*;
use proptest::prelude::*;

fn scratch(most: usize) -> (tempfile::NamedTempFile, Cache) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Cache::open(file.path(), most).unwrap();
    (file, cache)
}

fn all(cache: &Cache, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; length];
    cache.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_was_not_flushed_is_read_back_and_is_gone_when_it_is_lost() {
    let (_file, mut cache) = scratch(1 << 20);
    cache.write(0, &[1; 8192]).unwrap();
    cache.flush().unwrap();
    cache.write(1000, &[2; 10]).unwrap();
    assert_eq!((all(&cache, 8192)[1005], cache.unflushed()), (2, BLOCK as u64));
    cache.lose();
    assert_eq!((all(&cache, 8192), cache.unflushed()), (vec![1; 8192], 0));
}

#[test]
fn a_full_cache_writes_out_early_and_says_how_much() {
    let (file, mut cache) = scratch(2 * BLOCK);
    cache.write(0, &[3; 2 * BLOCK]).unwrap();
    assert_eq!((cache.early(), std::fs::read(file.path()).unwrap().len()), (0, 0));
    cache.write(BLOCK as u64 * 9, &[3]).unwrap();
    assert_eq!((cache.early(), cache.unflushed()), (3 * BLOCK as u64, 0));
    cache.lose();
    assert_eq!(all(&cache, 2 * BLOCK), vec![3; 2 * BLOCK]);
}

#[test]
fn zeroes_give_their_room_back_when_they_are_flushed_and_not_before() {
    let (file, mut cache) = scratch(1 << 30);
    cache.write(0, &[4; 1 << 20]).unwrap();
    cache.flush().unwrap();
    let room = || std::os::unix::fs::MetadataExt::blocks(&file.as_file().metadata().unwrap());
    let full = room();
    cache.zero(0, 1 << 20).unwrap();
    assert_eq!((all(&cache, 1 << 20), room()), (vec![0; 1 << 20], full));
    cache.flush().unwrap();
    assert_eq!(all(&cache, 1 << 20), vec![0; 1 << 20]);
    assert!(room() < full / 4, "{} of {full}", room());
}

#[test]
fn zeroing_all_of_a_drive_takes_one_entry() {
    let (_file, mut cache) = scratch(1 << 20);
    cache.write(0, &[6; 3 * BLOCK]).unwrap();
    cache.flush().unwrap();
    // 16 TiB by the longest request there is, and what it leaves over.
    let longest = (4 << 30) - BLOCK;
    for start in (0..1 << 44).step_by(4 << 30) {
        cache.zero(start, longest).unwrap();
        cache.zero(start + longest as u64, BLOCK).unwrap();
    }
    assert_eq!((cache.entries(), cache.early()), (1, 0));
    assert_eq!(all(&cache, 3 * BLOCK), vec![0; 3 * BLOCK]);
    cache.lose();
    assert_eq!(all(&cache, 3 * BLOCK), vec![6; 3 * BLOCK]);
    cache.zero(100, longest).unwrap();
    assert_eq!(cache.entries(), 3, "a range, and a part of a block at each end");
    cache.flush().unwrap();
    assert_eq!(all(&cache, 3 * BLOCK), [vec![6; 100], vec![0; 3 * BLOCK - 100]].concat());
}

#[test]
fn zeroes_in_ever_new_places_are_written_out_early_and_so_are_parts_of_blocks() {
    let (_file, mut cache) = scratch(16 * BLOCK);
    let mut most = 0;
    for n in 0..3 * MOST_EXTENTS as u64 {
        cache.zero(2 * n * BLOCK as u64, BLOCK).unwrap();
        most = most.max(cache.entries());
    }
    assert!(most <= MOST_EXTENTS + 1, "{most} entries");
    assert!(cache.early() > 0, "it is told");
    for n in 0..1000 {
        cache.zero((1 << 40) + n * BLOCK as u64, 10).unwrap();
        assert!(cache.unflushed() <= 16 * BLOCK as u64);
    }
}

#[test]
fn while_a_log_is_kept_the_file_stays_and_the_log_is_all_that_was_given_since() {
    let (file, mut cache) = scratch(1 << 20);
    cache.write(0, &[1; BLOCK]).unwrap();
    cache.begin_log(1 << 20).unwrap();
    cache.write(0, &[2; 512]).unwrap();
    cache.flush().unwrap();
    cache.zero(1024, 512).unwrap();
    assert!(cache.mark());
    assert_eq!(std::fs::read(file.path()).unwrap(), [1; BLOCK], "as it was");
    assert_eq!(all(&cache, BLOCK)[..512], [2; 512], "and the guest sees what it wrote");
    let log = cache.log().unwrap();
    let first = Given::Write { offset: 0, data: vec![2; 512] };
    assert_eq!(log.entries, [first, Given::Flush, Given::Zero { offset: 1024, length: 512 }, Given::Mark]);
    cache.end_log().unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), all(&cache, BLOCK));
    assert!(!cache.mark(), "there is no log any more");
}

#[test]
fn a_power_loss_while_a_log_is_kept_keeps_what_was_flushed_and_nothing_else() {
    let (file, mut cache) = scratch(1 << 20);
    cache.begin_log(1 << 20).unwrap();
    cache.write(0, &[1; BLOCK]).unwrap();
    cache.flush().unwrap();
    cache.write(0, &[2; BLOCK]).unwrap();
    cache.settle().unwrap();
    assert_eq!(cache.unflushed(), BLOCK as u64);
    cache.lose();
    assert_eq!((all(&cache, BLOCK), std::fs::read(file.path()).unwrap()), (vec![1; BLOCK], vec![1; BLOCK]));
}

#[test]
fn a_full_log_is_written_out_begins_anew_and_is_counted() {
    let (file, mut cache) = scratch(1 << 20);
    cache.begin_log(3 * BLOCK).unwrap();
    for n in 0..4 {
        cache.write(0, &[n; BLOCK]).unwrap();
    }
    let log = cache.log().unwrap();
    assert_eq!((log.overruns, log.entries.len()), (1, 1), "the third was one too many");
    assert_eq!(std::fs::read(file.path()).unwrap(), [2; BLOCK], "what came before is certain from now on");
    // Flushes alone have an end, too.
    for _ in 0..1000 {
        cache.flush().unwrap();
    }
    assert!(cache.log().unwrap().overruns > 1);
}

#[test]
fn after_an_error_nothing_is_lost() {
    let (file, mut cache) = scratch(1 << 20);
    cache.file = File::open(file.path()).unwrap();
    cache.write(0, &[5; BLOCK]).unwrap();
    assert!(cache.flush().is_err());
    assert_eq!((all(&cache, BLOCK), cache.unflushed()), (vec![5; BLOCK], BLOCK as u64));
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, usize, u8),
    Zero(u64, usize),
    Flush,
    Lose,
}

const SIZE: usize = 5 * BLOCK;

fn op() -> impl Strategy<Value = Op> {
    let place = || (0..SIZE as u64, 0..SIZE);
    prop_oneof![
        4 => (place(), any::<u8>()).prop_map(|((at, length), byte)| Op::Write(at, length, byte)),
        2 => place().prop_map(|(at, length)| Op::Zero(at, length)),
        1 => Just(Op::Flush),
        1 => Just(Op::Lose),
    ]
}

proptest! {
    /// Against two plain buffers: what the drive shows, and what it would still have without power.
    #[test]
    fn it_is_a_drive(ops in proptest::collection::vec(op(), 0..40)) {
        let (_file, mut cache) = scratch(1 << 20);
        let (mut live, mut kept) = (vec![0; 2 * SIZE], vec![0; 2 * SIZE]);
        for op in ops {
            match op {
                Op::Write(at, length, byte) => {
                    cache.write(at, &vec![byte; length]).unwrap();
                    live[at as usize..at as usize + length].fill(byte);
                }
                Op::Zero(at, length) => {
                    cache.zero(at, length).unwrap();
                    live[at as usize..at as usize + length].fill(0);
                }
                Op::Flush => {
                    cache.flush().unwrap();
                    kept.clone_from(&live);
                }
                Op::Lose => {
                    cache.lose();
                    live.clone_from(&kept);
                }
            }
            prop_assert_eq!(&all(&cache, 2 * SIZE), &live);
        }
    }
}
