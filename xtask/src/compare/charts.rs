//! Charts: made by `trunkline bench report` out of the saved reports, one folder for each run.
//!
//! The binary draws every figure that differs; the page takes percentiles, courses over time, and the figure by which servers
//! are ranked. Must not know what is on them. Where the binary makes none, there are none. Start at [`draw`].

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::results::{Results, RunResult};
use super::scenario::Section;

/// A chart in the folder it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chart {
    pub(crate) section: String,
    pub(crate) file: String,
    pub(crate) title: String,
}

/// Draws what every run of these sections showed, in the median turn of each server, into `out`. Reports are in `saved`.
pub(crate) fn draw(
    trunkline: &Path,
    results: &Results,
    sections: &[&Section],
    saved: &Path,
    out: &Path,
) -> Result<Vec<Chart>> {
    clear(out)?;
    let mut charts = Vec::new();
    for section in sections {
        let Some(figure) = section.figures.first() else { continue };
        for run in section.runs {
            let Some(result) = results.run(section, run) else { continue };
            let folder = saved.join("charts").join(format!("{}-{}", section.name, run.name));
            if !ask(trunkline, result, figure.name, saved, &folder)? {
                continue;
            }
            let wanted = wanted(result, figure.name, saved)?;
            for path in svg_files(&folder)?.iter().filter(|path| wanted.contains(&stem(path))) {
                charts.push(take(section, run.name, path, out)?);
            }
        }
    }
    Ok(charts)
}

/// Charts of an earlier page.
fn clear(out: &Path) -> Result<()> {
    if out.is_dir() {
        svg_files(out)?.iter().try_for_each(std::fs::remove_file)?;
    }
    Ok(())
}

/// Whether the binary drew anything. The reports get the names of their servers, which are those on the charts.
fn ask(trunkline: &Path, run: &RunResult, figure: &str, saved: &Path, folder: &Path) -> Result<bool> {
    let named = folder.join("reports");
    std::fs::create_dir_all(&named)?;
    let mut command = Command::new(trunkline);
    command.args(["bench", "report"]);
    let mut count = 0;
    for server in &run.servers {
        let Some(report) = server.median_report(figure) else { continue };
        let copy = named.join(format!("{}.json", server.server));
        std::fs::copy(saved.join(report), &copy)?;
        command.arg(&copy);
        count += 1;
    }
    if count == 0 {
        return Ok(false);
    }
    command.arg("--report").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().is_ok_and(|status| status.success()))
}

/// Names of the charts that the page takes, as the binary makes them out of their titles.
fn wanted(run: &RunResult, figure: &str, saved: &Path) -> Result<Vec<String>> {
    let mut titles = vec![figure.to_owned()];
    for report in run.servers.iter().filter_map(|server| server.median_report(figure)) {
        let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(saved.join(report))?)?;
        let named = |list: &str, name: &str| {
            let list = report.get(list).and_then(serde_json::Value::as_array).into_iter().flatten();
            list.filter_map(|each| each.get(name)?.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        titles.extend(named("histograms", "name").iter().map(|name| format!("{name} by percentile")));
        titles.extend(named("series", "chart"));
        titles.extend(named("bars", "name"));
    }
    Ok(titles.iter().map(|title| slug(title)).collect())
}

/// Letters and digits in small, all else a dash.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn svg_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let is_svg = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "svg");
    let mut files: Vec<PathBuf> = entries.into_iter().filter(is_svg).collect();
    files.sort();
    Ok(files)
}

/// Copies a chart under a name that says where it belongs.
fn take(section: &Section, run: &str, path: &Path, out: &Path) -> Result<Chart> {
    let stem = stem(path);
    let file = format!("{}-{run}-{stem}.svg", section.name);
    std::fs::create_dir_all(out)?;
    std::fs::copy(path, out.join(&file))?;
    Ok(Chart { section: section.name.to_owned(), file, title: format!("{run}: {}", stem.replace('-', " ")) })
}

#[cfg(test)]
mod tests {
    use super::super::results::testing::{results, server};
    use super::*;
    use crate::compare::scenario::SECTIONS;

    #[test]
    fn charts_of_the_binary_are_taken_over_under_names_of_their_own() {
        use std::os::unix::fs::PermissionsExt as _;
        let saved = std::env::temp_dir().join(format!("xtask-charts-{}", std::process::id()));
        std::fs::create_dir_all(&saved).unwrap();
        let program = saved.join("trunkline");
        let script = "#!/bin/sh
            while [ \"$1\" != --report ]; do all=\"$all$1 \"; shift; done
            for name in a-by-percentile deliveries-per-second cpu; do echo \"$all\" > \"$2/$name.svg\"; done\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let report = r#"{"histograms":[{"name":"A"}],"series":[{"chart":"memory (RSS)"}]}"#;
        std::fs::write(saved.join("r.json"), report).unwrap();
        let section = SECTIONS.iter().find(|section| section.name == "fanout").unwrap();
        let mut ours = server("trunkline", section.figures[0].name, &[1.0]);
        ours.turns[0].report = Some("r.json".into());
        let results = results("fanout", section.runs[0].name, vec![ours, server("nchan", "other", &[1.0])]);
        std::fs::create_dir_all(saved.join("out")).unwrap();
        std::fs::write(saved.join("out/old.svg"), "").unwrap();
        let charts = draw(&program, &results, &[section], &saved, &saved.join("out")).unwrap();
        let files: Vec<&str> = charts.iter().map(|chart| chart.file.as_str()).collect();
        assert_eq!(files, ["fanout-batch-a-by-percentile.svg", "fanout-batch-deliveries-per-second.svg"]);
        assert!(!saved.join("out/old.svg").exists(), "charts of an earlier page are gone");
        assert_eq!(charts[0].title, "batch: a by percentile");
        let asked = std::fs::read_to_string(saved.join("out/fanout-batch-a-by-percentile.svg")).unwrap();
        assert!(
            asked.starts_with("bench report ") && asked.ends_with("reports/trunkline.json \n"),
            "{asked}"
        );
        std::fs::remove_dir_all(&saved).unwrap();
    }
}
