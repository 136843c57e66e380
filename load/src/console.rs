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
