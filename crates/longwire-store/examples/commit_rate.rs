//! How many publications of 128 bytes a second can be kept in a directory, for each fsync policy and size of a batch, beside what
//! the disk itself does with the same bytes in the same batches:
//!
//! `cargo run --release -p longwire-store --example commit_rate -- DIR [SECONDS]`
//!
//! In the end it says how long a restart takes to read it all back.
//!
//! The publications go to 100 channels that keep 1,000 each, so that in the end each commit also trims. As in a server, batches
//! are handed over while earlier ones are being written: at most four at a time.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use longwire_core::broker::memory::Record;
use longwire_protocol::{Data, Epoch, Publication};
use longwire_store::{Done, Fsync, Options, Store};

const CHANNELS: u64 = 100;
const HISTORY: u64 = 1000;
const ON_THEIR_WAY: u64 = 4;
const BATCHES: [u64; 4] = [1, 10, 100, 1000];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let dir = arguments.next().ok_or("usage: commit_rate DIR [SECONDS]")?;
    let seconds = arguments.next().map_or(Ok(3.0), |text| text.to_string_lossy().parse())?;
    let dir = Path::new(&dir).join("commit-rate");
    let duration = Duration::from_secs_f64(seconds);
    println!("publications of 128 bytes kept a second; a commit's time from handing over to the report: median, 99 %, longest");
    println!("{:>18} {:>6} {:>12} {:>12} {:>28}", "fsync", "batch", "store", "bare disk", "commit");
    let policies =
        [("always", Fsync::Always), ("every second", Fsync::Interval(Duration::from_secs(1))), ("never", Fsync::Never)];
    for (name, fsync) in policies {
        for batch in BATCHES {
            fs::create_dir_all(&dir)?;
            let (rate, times) = store(&dir, fsync, batch, duration)?;
            let disk = disk(&dir, fsync == Fsync::Always, batch, duration.min(Duration::from_secs(2)))?;
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
            let times = format!("{:.2} {:.2} {:.1} ms", at(0.5), at(0.99), at(1.0));
            println!("{name:>18} {batch:>6} {rate:>12.0} {disk:>12.0} {times:>28}");
            if fsync != Fsync::Never || batch != BATCHES[BATCHES.len() - 1] {
                fs::remove_dir_all(&dir)?;
            }
        }
    }
    restart(&dir)?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Says how long it takes to open the store and to read back all that the last round has left.
fn restart(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let store = Store::open(dir, Options::default())?;
    let mut publications = 0;
    store.restore(|kept| {
        let records = kept.records.unwrap_or_default();
        publications += records.iter().filter(|record| matches!(record, Record::Publication(_))).count();
        true
    })?;
    let (taken, size) = (begun.elapsed().as_secs_f64() * 1e3, fs::metadata(store.path())?.len() / 1024);
    println!("restart: {publications} publications read in {taken:.0} ms from {size} KiB");
    Ok(())
}

/// Publications a second, and how long each commit took, from the shortest.
fn store(dir: &Path, fsync: Fsync, batch: u64, duration: Duration) -> Result<(f64, Vec<Duration>), Box<dyn std::error::Error>> {
    let store = Store::open(dir, Options { fsync, ..Options::default() })?;
    let (done, news) = mpsc::channel();
    let mut writer = store.writer(move |what| drop(done.send((what, Instant::now()))));
    let names: Vec<Arc<str>> = (0..CHANNELS).map(|at| format!("chat:room-{at}").into()).collect();
    let mut heads = vec![0; names.len()];
    let data = Data::from("x".repeat(128));
    let (mut token, mut kept, mut next) = (0, 0, 0_usize);
    let (mut given, mut times) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < duration || kept < token {
        if begun.elapsed() < duration && token - kept < ON_THEIR_WAY {
            let mut records = Vec::new();
            for _ in 0..batch {
                next = (next + 1) % names.len();
                publish(&names[next], &mut heads[next], &data, &mut records);
            }
            token += 1;
            given.push(Instant::now());
            writer.commit(records, token).map_err(|_| "the queue is full")?;
            continue;
        }
        match news.recv()? {
            (Done::Committed { token }, at) => {
                times.extend(given[kept as usize..token as usize].iter().map(|given| at - *given));
                kept = token;
            }
            (Done::Failed { error }, _) => return Err(error.into()),
        }
    }
    let rate = (token * batch) as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok((rate, times))
}

fn publish(name: &Arc<str>, head: &mut u64, data: &Data, records: &mut Vec<Record>) {
    if *head == 0 {
        records.push(Record::Epoch { channel: name.clone(), epoch: Epoch(1), head: 0 });
    }
    *head += 1;
    let (channel, data) = (name.clone(), Some(data.clone()));
    let publication = Publication { channel, offset: *head, time: 1_800_000_000_000, data, from: None, rare: None };
    records.push(Record::Publication(Arc::new(publication)));
    if *head > HISTORY {
        records.push(Record::Trim { channel: name.clone(), floor: *head - HISTORY, except: Vec::new() });
    }
}

/// The same bytes appended to a file, and forced onto the disk each time if that is asked.
fn disk(dir: &Path, sync: bool, batch: u64, duration: Duration) -> std::io::Result<f64> {
    let mut file = File::create(dir.join("bare"))?;
    let bytes = vec![b'x'; 128 * batch as usize];
    let (mut written, begun) = (0, Instant::now());
    while begun.elapsed() < duration {
        file.write_all(&bytes)?;
        if sync {
            file.sync_data()?;
        }
        written += batch;
    }
    Ok(written as f64 / begun.elapsed().as_secs_f64())
}
