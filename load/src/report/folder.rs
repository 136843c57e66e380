//! The folder of a report: the page, its charts as files of their own, and the JSON.
//!
//! Owns names of files. Must not know what stands in them. Start at [`Report::write_to`].

use std::path::{Path, PathBuf};

use super::draw::Picture;
use super::{Comparison, Report, page};
use crate::error::Error;

/// The page.
const PAGE: &str = "index.html";

impl Report {
    /// Writes `index.html`, one `.svg` for each chart and `report.json` into a folder, which is made if it is missing.
    /// Gives the path of the page.
    ///
    /// # Errors
    /// [`Error`] that names the file that could not be written.
    pub fn write_to(&self, folder: &Path) -> Result<PathBuf, Error> {
        let pictures = self.pictures()?;
        let page = write(folder, &page::page(self, &pictures), &pictures)?;
        write_file(&folder.join("report.json"), &(self.json_text() + "\n"))?;
        Ok(page)
    }
}

impl Comparison {
    /// Writes `index.html` and one `.svg` for each chart into a folder, which is made if it is missing. Gives the path
    /// of the page. A single report gets the page it had.
    ///
    /// # Errors
    /// [`Error`] that names the file that could not be written.
    pub fn write_to(&self, folder: &Path) -> Result<PathBuf, Error> {
        if let Some(report) = self.only() {
            return report.write_to(folder);
        }
        let (page, pictures) = self.page()?;
        write(folder, &page, &pictures)
    }
}

fn write(folder: &Path, page: &str, pictures: &[Picture]) -> Result<PathBuf, Error> {
    let made = std::fs::create_dir_all(folder);
    made.map_err(|error| Error::io(format!("making the folder {}", folder.display()), &error))?;
    for (name, picture) in names(pictures).iter().zip(pictures) {
        write_file(&folder.join(name), &picture.document())?;
    }
    let path = folder.join(PAGE);
    write_file(&path, page)?;
    Ok(path)
}

/// After the titles; the second one of the same name gets a number.
fn names(pictures: &[Picture]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for picture in pictures {
        let stem = picture.file_stem();
        let mut name = format!("{stem}.svg");
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{stem}-{number}.svg");
            number += 1;
        }
        names.push(name);
    }
    names
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|error| Error::io(format!("writing {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_with_one_title_get_files_of_their_own() {
        let picture = |title: &str| Picture { title: title.into(), svg: String::new() };
        let names = names(&["a b", "A/B", "../..", "a b"].map(picture));
        assert_eq!(names, ["a-b.svg", "a-b-2.svg", "chart.svg", "a-b-3.svg"]);
    }
}
