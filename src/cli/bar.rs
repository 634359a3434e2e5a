//! Progress on standard error: bytes, rate, keys, time left.

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rdbtool::Progress;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// When standard error is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
    /// As a line of JSON a second
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
    /// `shared` says that results go to the same terminal.
    pub(crate) fn new(when: When, shared: bool) -> Bar {
        let progress = Arc::new(Progress::new());
        let drawn = match when {
            When::Auto => std::io::stderr().is_terminal() && !shared,
            When::Always | When::Json => true,
            When::Never => false,
        };
        let drawing = drawn.then(|| {
            let (stop, stopped) = channel();
            let progress = Arc::clone(&progress);
            let thread = std::thread::spawn(move || {
                let mut show: Box<dyn FnMut(&Progress)> = match when {
                    When::Json => Box::new(json()),
                    _ => Box::new(draw(when == When::Always)),
                };
                let every = Duration::from_millis(if when == When::Json { 1000 } else { 100 });
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
fn draw(always: bool) -> impl FnMut(&Progress) {
    struct Cleared(ProgressBar);
    impl Drop for Cleared {
        fn drop(&mut self) {
            self.0.finish_and_clear();
        }
    }
    // A bar that is always wanted is drawn into a log or a pipe too, which indicatif would not do by itself.
    let target = if always && !std::io::stderr().is_terminal() {
        ProgressDrawTarget::term_like(Box::new(Lines))
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = Cleared(ProgressBar::with_draw_target(None, target));
    let style = |template| ProgressStyle::with_template(template).ok();
    let known = style(
        "{prefix} {wide_bar} {percent}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg} {eta} left",
    );
    let unknown = style("{prefix} {binary_bytes} {binary_bytes_per_sec} {msg} {elapsed}");
    let mut drawn_for = None;
    move |progress| {
        let source = progress.source();
        let bar = &bar.0;
        if drawn_for.as_ref() != Some(&source) {
            bar.reset();
            bar.set_prefix(source.0.clone());
            match source.1 {
                Some(n) => bar.set_length(n),
                None => bar.unset_length(),
            }
            let wanted = if source.1.is_some() { &known } else { &unknown };
            if let Some(s) = wanted {
                bar.set_style(s.clone());
            }
            drawn_for = Some(source);
        }
        bar.set_message(super::common::count(progress.keys(), "key"));
        bar.set_position(progress.bytes_read());
    }
}

/// Standard error that is no terminal: each state of the bar is a line.
#[derive(Debug)]
struct Lines;

impl indicatif::TermLike for Lines {
    fn width(&self) -> u16 {
        100
    }
    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn write_line(&self, s: &str) -> std::io::Result<()> {
        self.write_str(s)
    }
    fn write_str(&self, s: &str) -> std::io::Result<()> {
        let s = s.trim();
        if !s.is_empty() {
            eprintln!("{s}");
        }
        Ok(())
    }
    fn clear_line(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
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
