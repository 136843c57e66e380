//! `trunkline bench report`: saved reports side by side. Start at [`ReportArgs::run`].

use std::path::{Path, PathBuf};

use clap::Args;
use load::{Comparison, Report};

use super::args::folder;
use crate::cli::{Failure, print};

/// Show saved reports side by side: a table here, a page with charts in a folder
#[derive(Debug, Args)]
#[command(after_help = "The first report is the one that ratios refer to.

Examples:
  trunkline bench fanout --connections 1000 --rate 50 --json > ours.json
  trunkline bench report ours.json theirs.json --report compared
  trunkline bench report a/report.json b/report.json --name before --name after --report compared")]
pub(super) struct ReportArgs {
    /// What --json printed, or the report.json that --report wrote
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Names of the reports in the order of the files; without them the files' own
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Folder for the page: index.html and one SVG file for each chart
    #[arg(long, value_name = "DIR", value_parser = folder)]
    report: PathBuf,
}

impl ReportArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (files, names) = (self.files.len(), self.name.len());
        if names > 0 && names != files {
            return Err(Failure(format!("{files} files but {names} of --name: one for each file, or none")));
        }
        let mut reports = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let name = self.name.get(index).cloned().unwrap_or_else(|| name_of(file));
            reports.push((name, read(file)?));
        }
        let comparison = Comparison::new(reports)?;
        let page = comparison.write_to(&self.report)?;
        print(&format!("{comparison}report: {}\n", page.display()))
    }
}

fn read(file: &Path) -> Result<Report, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    Report::from_json(&text).map_err(|error| wrong(&error))
}

/// The stem of the file; of a `report.json` the folder it is in.
fn name_of(file: &Path) -> String {
    let folder = file.parent().and_then(Path::file_name).filter(|_| file.ends_with("report.json"));
    let name = folder.or(file.file_stem()).unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}
