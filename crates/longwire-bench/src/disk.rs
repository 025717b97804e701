//! What a disk can do for a server that appends and syncs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::report::{Disk, Latency};
use crate::{Error, Stop};

/// The most that is written, in bytes: a fast disk needs no more to show what it can do.
const WRITTEN_MAX: u64 = 1 << 30;

/// Appends batches of records to a new file in `folder` for as long as `length`, each batch with one write and one fdatasync; the
/// file is removed. No more often synced, no server can make more publications durable in a second than this.
pub(crate) fn measure(folder: &Path, batch: usize, record: usize, length: Duration, stop: &Stop) -> Result<Disk, Error> {
    let path = folder.join(format!("longwire-bench-{}.tmp", std::process::id()));
    let measured = append(&path, batch, record, length, stop);
    // It may not be there, when it could not be made.
    let _ = fs::remove_file(&path);
    let (latency, seconds) =
        measured.map_err(Error::io(format!("{} cannot be written and synced: see --disk", path.display())))?;
    let syncs = latency.count();
    Ok(Disk {
        batch: batch as u64,
        record_bytes: record as u64,
        syncs,
        records_per_second: (syncs * batch as u64) as f64 / seconds.max(1e-9),
        sync_us: Latency::of(&latency),
    })
}

fn append(path: &Path, batch: usize, record: usize, length: Duration, stop: &Stop) -> std::io::Result<(Histogram, f64)> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let bytes: Vec<u8> = (0..batch * record).map(|at| b' ' + (at % 95) as u8).collect();
    let (mut latency, mut written) = (Histogram::new(), 0);
    let began = Instant::now();
    while began.elapsed() < length && written < WRITTEN_MAX && !stop.requested() {
        let at = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        latency.record(at.elapsed().as_nanos() as u64);
        written += bytes.len() as u64;
    }
    Ok((latency, began.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_synced_and_the_file_goes() {
        let folder = std::env::temp_dir().join(format!("longwire-bench-disk-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let disk = measure(&folder, 10, 128, Duration::from_millis(50), &Stop::default()).unwrap();
        assert!(disk.syncs > 0 && disk.sync_us.count == disk.syncs);
        assert!(disk.records_per_second >= disk.syncs as f64 * 10.0);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
        let error = measure(&folder, 1, 1, Duration::from_millis(50), &Stop::default()).unwrap_err();
        assert!(error.to_string().contains("--disk"), "{error}");
    }
}
