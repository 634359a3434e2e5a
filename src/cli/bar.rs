//! Progress on standard error: bytes, rate, keys, time left.

use super::common;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rdbtool::Progress;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// As a bar, when standard error is a terminal and results go into a file
    Auto,
    /// As a bar; where standard error is no terminal, as a line of text a second
    Always,
    /// Not at all
    Never,
    /// As a line of JSON a second, and one at the end
    Json,
}

/// Shows progress until it is finished or dropped.
#[derive(Debug)]
pub(crate) struct Bar {
    progress: Arc<Progress>,
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
    begun: Instant,
}

impl Bar {
    /// `shared` says that results may go to the same terminal.
    pub(crate) fn new(when: When, shared: bool) -> Bar {
        let progress = Arc::new(Progress::new());
        let drawable = std::io::stderr().is_terminal();
        let drawn = match when {
            When::Auto => drawable && !shared,
            When::Always | When::Json => true,
            When::Never => false,
        };
        let drawing = drawn.then(|| {
            let (stop, stopped) = channel();
            let progress = Arc::clone(&progress);
            let thread = std::thread::spawn(move || {
                let mut show: Box<dyn FnMut(&Progress)> = match when {
                    When::Json => Box::new(json()),
                    _ if drawable => Box::new(draw()),
                    _ => Box::new(lines()),
                };
                let once = if drawable && when != When::Json {
                    100
                } else {
                    1000
                };
                let every = Duration::from_millis(once);
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    show(&progress);
                }
                if when == When::Json {
                    show(&progress);
                }
            });
            (stop, thread)
        });
        Bar {
            progress,
            drawing,
            begun: Instant::now(),
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Clears the bar; gives how long it all took.
    pub(crate) fn finish(mut self) -> Duration {
        self.stop();
        self.begun.elapsed()
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.drawing.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Draws the bar, and takes it away at the end.
fn draw() -> impl FnMut(&Progress) {
    struct Cleared(ProgressBar);
    impl Drop for Cleared {
        fn drop(&mut self) {
            self.0.finish_and_clear();
        }
    }
    let target = ProgressDrawTarget::stderr();
    let bar = Cleared(ProgressBar::with_draw_target(None, target));
    let style = |template| ProgressStyle::with_template(template).ok();
    let known = style("{prefix} {wide_bar} {percent:>3}% {msg}");
    let unknown = style("{prefix} {msg}");
    let mut pace = Pace::new(Instant::now());
    move |progress| {
        let bar = &bar.0;
        let (text, new) = pace.tell(progress, Instant::now());
        if new {
            let (name, size) = progress.source();
            bar.reset();
            bar.set_prefix(short(&name));
            match size {
                Some(n) => bar.set_length(n),
                None => bar.unset_length(),
            }
            let wanted = if size.is_some() { &known } else { &unknown };
            if let Some(s) = wanted {
                bar.set_style(s.clone());
            }
        }
        bar.set_message(text);
        bar.set_position(progress.bytes_read());
    }
}

/// Prints a line, for a standard error that is no terminal.
fn lines() -> impl FnMut(&Progress) {
    let mut pace = Pace::new(Instant::now());
    move |progress| {
        let (text, _) = pace.tell(progress, Instant::now());
        let (name, size) = progress.source();
        let percent = match size {
            Some(n) => format!(
                "{}%, ",
                progress.bytes_read().saturating_mul(100) / n.max(1)
            ),
            None => String::new(),
        };
        super::exit::tell(&format!("{name}: {percent}{text}"));
    }
}

/// How fast it goes, by the last few seconds: the average of a whole run would not show that a pipe has run dry, and what there is
/// at the first glance is no rate at all.
#[derive(Debug)]
struct Pace {
    /// What is being read, and since when.
    source: Option<(String, Option<u64>)>,
    begun: Instant,
    /// When how many bytes had been read.
    seen: VecDeque<(Instant, u64)>,
}

impl Pace {
    const SPAN: Duration = Duration::from_secs(5);

    fn new(now: Instant) -> Pace {
        Pace {
            source: None,
            begun: now,
            seen: VecDeque::from([(now, 0)]),
        }
    }

    /// The state in words, and whether the source is a new one.
    fn tell(&mut self, progress: &Progress, now: Instant) -> (String, bool) {
        let source = progress.source();
        let new = self.source.as_ref() != Some(&source);
        if new && self.source.is_some() {
            self.seen.clear();
            self.begun = now;
        }
        let text = self.words(source.1, progress.bytes_read(), progress.keys(), now);
        self.source = Some(source);
        (text, new)
    }

    /// `503 MiB of 910 MiB, 902 MiB/s, 785,200 keys, 3s left`: with a name, a bar and a percentage it fits 80 columns.
    fn words(&mut self, size: Option<u64>, bytes: u64, keys: u64, now: Instant) -> String {
        self.seen.push_back((now, bytes));
        while self.seen.len() > 2 && self.seen.front().is_some_and(|s| now - s.0 > Self::SPAN) {
            self.seen.pop_front();
        }
        let rate = self.seen.front().map_or(0.0, |&(then, before)| {
            let seconds = (now - then).as_secs_f64();
            match seconds > 0.0 {
                true => bytes.saturating_sub(before) as f64 / seconds,
                false => 0.0,
            }
        });
        let mut text = common::size(bytes);
        if let Some(n) = size {
            text += &format!(" of {}", common::size(n));
        }
        if rate > 0.0 {
            text += &format!(", {}/s", common::size(rate as u64));
        }
        text += &format!(", {}", common::count(keys, "key"));
        match size {
            Some(n) if rate > 0.0 => {
                let left = n.saturating_sub(bytes) as f64 / rate;
                // A rate near nothing makes it longer than a duration can be.
                if let Ok(left) = Duration::try_from_secs_f64(left) {
                    text += &format!(", {} left", common::clock(left));
                }
            }
            Some(_) => {}
            None => {
                text += &format!(", {} so far", common::clock(now - self.begun));
            }
        }
        text
    }
}

/// The last part of a path, and no more than fits before a bar.
fn short(name: &str) -> String {
    const SHOWN: usize = 18;
    let last = name.rsplit('/').next().unwrap_or(name);
    // A name is someone's data and may hold terminal codes.
    let mut text: String = last
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if let Some((at, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// Prints a line of JSON.
fn json() -> impl FnMut(&Progress) {
    let begun = Instant::now();
    move |progress| {
        let (source, size) = progress.source();
        let line = serde_json::json!({
            "source": source,
            "bytes": progress.bytes_read(),
            "total_bytes": size,
            "keys": progress.keys(),
            "elapsed_s": (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        });
        eprintln!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bar_says() {
        const MIB: u64 = 1 << 20;
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        let mut known = |ms, mib: u64, keys| pace.words(Some(1000 * MIB), mib * MIB, keys, at(ms));
        assert_eq!(known(0, 0, 0), "0 B of 1000 MiB, 0 keys");
        assert_eq!(
            known(1000, 100, 1234),
            "100 MiB of 1000 MiB, 100 MiB/s, 1,234 keys, 9s left"
        );
        // It has stood still for longer than what is looked back at.
        known(2000, 200, 1);
        known(8000, 200, 1);
        assert_eq!(known(14000, 200, 1), "200 MiB of 1000 MiB, 1 key");
        let mut pace = Pace::new(start);
        assert_eq!(
            pace.words(None, 50 * MIB, 7, at(500)),
            "50.0 MiB, 100 MiB/s, 7 keys, 0s so far"
        );
    }

    #[test]
    fn names_before_a_bar() {
        for (name, want) in [
            ("dump.rdb", "dump.rdb"),
            ("/var/lib/redis/dump.rdb", "dump.rdb"),
            ("a-rather-long-name-of-a-file.rdb", "a-rather-long-name…"),
            ("\x1b[31mred", "?[31mred"),
        ] {
            assert_eq!(short(name), want);
        }
    }
}
