//! Counts page faults before and after the setting. Runs on the main thread, hence without a test
//! harness.

fn main() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        a_large_block_is_brought_once();
        what_is_free_goes_back_when_that_is_asked_for();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn what_is_free_goes_back_when_that_is_asked_for() {
    let resident = || {
        let sizes = std::fs::read_to_string("/proc/self/statm").expect("readable");
        sizes
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
            .expect("a number")
            >> 8
    };
    // A block behind the large one, so that the freed memory is not at the end of the heap.
    let large = std::hint::black_box(vec![1u8; 256 << 20]);
    let behind = std::hint::black_box(vec![1u8; 1 << 20]);
    drop(large);
    let kept = resident();
    heap::give_back_free_blocks();
    let left = resident();
    assert!(kept > 256 && left < 64, "{kept} MiB, {left} after");
    drop(behind);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_large_block_is_brought_once() {
    let faults = || {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("readable");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        after_name
            .split_whitespace()
            .nth(7)
            .and_then(|faults| faults.parse::<u64>().ok())
            .expect("a number")
    };
    let touch_five = || {
        let before = faults();
        for _ in 0..5 {
            drop(std::hint::black_box(vec![1u8; 64 << 20]));
        }
        faults() - before
    };
    // 64 MiB are 16,384 pages of 4 KiB, or 32 huge pages.
    let brought = touch_five();
    assert!(heap::keep_large_blocks());
    touch_five();
    let kept = touch_five();
    assert!(
        kept < 1000 && kept * 10 < brought,
        "{kept} pages, {brought} before"
    );
    // Blocks allocated by one thread and freed by another, as batches are: 40 MiB are 10,240 pages,
    // and two or three blocks exist at a time.
    let (sender, blocks) = std::sync::mpsc::sync_channel(0);
    let make = move || (0..25).for_each(|_| sender.send(vec![1u8; 40 << 20]).expect("taken"));
    let maker = std::thread::Builder::new()
        .name("maker".to_owned())
        .spawn(make)
        .expect("a thread");
    assert!(!heap::keep_large_blocks(), "beside another thread");
    blocks.iter().take(5).for_each(drop);
    let before = faults();
    blocks.iter().for_each(drop);
    let handed = faults() - before;
    maker.join().expect("a thread that ends");
    assert!(
        handed < 20_000,
        "{handed} pages in 20 blocks that were handed over"
    );
}
