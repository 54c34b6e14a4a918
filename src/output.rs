//! Writing to standard error and standard output without ever waiting for whoever reads them.
//!
//! A terminal that is held, a pipe that nobody reads or a disk that hangs must not keep a program from
//! its work, nor from a signal. So lines wait in memory for a thread that only writes. If they come
//! faster than they are taken, the latest are dropped, and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

/// Time between two attempts to write to something that says that it is full.
const RETRY_PERIOD: Duration = Duration::from_millis(20);

/// `None` if the system gives no thread.
static ERRORS: LazyLock<Option<Outlet>> =
    LazyLock::new(|| Outlet::start("log", Unlocked(io::stderr())).ok());
static ANNOUNCEMENTS: LazyLock<Option<Outlet>> =
    LazyLock::new(|| Outlet::start("announce", Unlocked(io::stdout())).ok());

/// Standard error.
pub fn errors() -> Option<&'static Outlet> {
    ERRORS.as_ref()
}

/// Writes lines to standard output, as soon as somebody takes them.
pub fn say(text: &str) {
    send(ANNOUNCEMENTS.as_ref(), text);
}

/// Writes lines to standard error, as soon as somebody takes them.
pub fn complain(text: &str) {
    send(ERRORS.as_ref(), text);
}

fn send(outlet: Option<&Outlet>, text: &str) {
    let line = format!("{text}\n");
    match outlet {
        Some(outlet) => outlet.send(line.into_bytes()),
        // The last resort, at a start that is about to fail.
        None => io::stderr().write_all(line.as_bytes()).unwrap_or_default(),
    }
}

/// Gives what was written last a moment to be taken: to be called before a process ends.
pub fn flush() {
    for outlet in [ERRORS.as_ref(), ANNOUNCEMENTS.as_ref()].into_iter().flatten() {
        outlet.flush(limits::OUTPUT_FLUSH_TIMEOUT);
    }
}

/// A way out for lines. Clones share it.
#[derive(Clone)]
pub struct Outlet {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is a line to write.
    arrived: Condvar,
    /// All lines are written, or given up.
    done: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    byte_count: usize,
    /// Lines that nobody will see, since the last time that this was said.
    lost: u64,
    is_writing: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    /// Starts the thread that writes to `target`, which may take any time over it.
    ///
    /// # Errors
    /// What the system says if it gives no thread.
    pub fn start(name: &str, target: impl Write + Send + 'static) -> io::Result<Self> {
        let outlet = Self { shared: Arc::default() };
        let shared = Arc::clone(&outlet.shared);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all_lines(&shared, target))?;
        Ok(outlet)
    }

    /// Takes a line, or drops it if too many wait.
    pub fn send(&self, line: Vec<u8>) {
        let mut waiting = self.shared.waiting();
        if waiting.byte_count + line.len() > limits::OUTPUT_WAITING_MAX {
            waiting.lost += 1;
            return;
        }
        waiting.byte_count += line.len();
        waiting.lines.push_back(line);
        drop(waiting);
        self.shared.arrived.notify_one();
    }

    /// Waits until all lines are written, but no longer than `limit`.
    pub fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut waiting = self.shared.waiting();
        while waiting.is_writing || !waiting.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.done.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The log takes each event as one piece, which is a line.
impl Write for Outlet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Never ends.
fn write_all_lines(shared: &Shared, mut target: impl Write) {
    // A line of which only the beginning was taken.
    let mut is_torn = false;
    loop {
        let (mut line, lost) = next_line(shared);
        if lost > 0 {
            let note = format!("({lost} lines are missing here: they were not taken)\n");
            line.splice(..0, note.into_bytes());
        }
        if is_torn {
            line.insert(0, b'\n');
        }
        let written = write_line(&mut target, &line);
        is_torn = match written {
            Ok(()) => false,
            Err(0) => is_torn,
            Err(_) => true,
        };
        let mut waiting = shared.waiting();
        waiting.is_writing = false;
        if written.is_err() {
            waiting.lost += lost + 1;
        }
        drop(waiting);
        shared.done.notify_all();
    }
}

/// The next line, and how many were lost before it.
fn next_line(shared: &Shared) -> (Vec<u8>, u64) {
    let mut waiting = shared.waiting();
    loop {
        if let Some(line) = waiting.lines.pop_front() {
            waiting.byte_count -= line.len();
            waiting.is_writing = true;
            return (line, std::mem::take(&mut waiting.lost));
        }
        waiting = shared.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
    }
}

/// # Errors
/// How many bytes were taken, if not all of them.
fn write_line(target: &mut impl Write, line: &[u8]) -> Result<(), usize> {
    let mut taken = 0;
    while taken < line.len() {
        match target.write(&line[taken..]) {
            Ok(0) => return Err(taken),
            Ok(more) => taken += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody has made it non-blocking, for a reason of his own.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::park_timeout(RETRY_PERIOD);
            }
            Err(_) => return Err(taken),
        }
    }
    Ok(())
}

/// Standard output or standard error without the lock that the standard library has on it: whoever
/// waits in a write must not keep others from one.
struct Unlocked<S>(S);

impl<S: AsFd> Write for Unlocked<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::Outlet;
    use crate::limits;

    /// Takes what it is given when it is told to, or fails.
    struct Target {
        orders: Receiver<io::Result<()>>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Target {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.orders.recv().unwrap_or(Ok(()))?;
            self.taken.send(bytes.to_vec()).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn outlet() -> (Outlet, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let (order, orders) = channel();
        let (taken, lines) = channel();
        (Outlet::start("outlet", Target { orders, taken }).unwrap(), order, lines)
    }

    #[test]
    fn who_writes_does_not_wait_and_hears_how_much_was_lost() {
        let (outlet, order, lines) = outlet();
        let line = vec![b'x'; 1 << 10];
        for _ in 0..2 * limits::OUTPUT_WAITING_MAX / line.len() {
            outlet.send(line.clone());
        }
        outlet.flush(Duration::from_millis(1));
        drop(order);
        outlet.flush(Duration::from_secs(60));
        outlet.send(b"last\n".to_vec());
        outlet.flush(Duration::from_secs(60));
        let written: Vec<_> = lines.try_iter().collect();
        let lost = written.iter().filter_map(|line| {
            let text = std::str::from_utf8(line).unwrap().strip_prefix('(')?;
            text.split_once(' ')?.0.parse::<usize>().ok()
        });
        let count = 2 * limits::OUTPUT_WAITING_MAX / line.len() + 1;
        assert_eq!(written.len() + lost.sum::<usize>(), count);
    }

    #[test]
    fn errors_lose_lines_and_nothing_else() {
        let (outlet, order, lines) = outlet();
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        for outcome in [full(), full(), Ok(())] {
            order.send(outcome).unwrap();
            outlet.send(b"line\n".to_vec());
            outlet.flush(Duration::from_secs(60));
        }
        let written: Vec<_> = lines.try_iter().collect();
        let expected = b"(2 lines are missing here: they were not taken)\nline\n";
        assert_eq!(written, [expected]);
    }
}
