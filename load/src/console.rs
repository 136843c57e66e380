//! What a person sees while a scenario runs: a progress bar on a terminal, nothing elsewhere.
//!
//! Must not know what is counted. Standard output stays free for the report. Start at [`Console::progress`].

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// To standard error.
    Terminal,
    /// Nowhere.
    Silent,
}

impl Console {
    /// A terminal if standard error is one.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Terminal } else { Self::Silent }
    }

    /// A bar for work whose end is told while it goes on.
    #[must_use]
    pub fn bar(self, label: &'static str) -> Bar {
        Bar(self.progress(label, 0))
    }

    /// A bar that ends at `total`.
    pub(crate) fn progress(self, label: &'static str, total: u64) -> ProgressBar {
        let to = match self {
            Self::Terminal => ProgressDrawTarget::stderr_with_hz(4),
            Self::Silent => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{msg:12} {wide_bar} {pos}/{len} {elapsed} {per_sec}");
        let bar = ProgressBar::with_draw_target(Some(total), to).with_message(label);
        bar.set_style(style.expect("the template is a constant"));
        bar
    }
}

/// A bar of somebody else's work. Dropping it takes it off the terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// So much is done, of what is known now.
    pub fn at(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
