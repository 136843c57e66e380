//! Pieces of a page: what is escaped, how tables and pictures are written, the style.
//!
//! A page is one file without scripts and without anything from elsewhere. Must not know reports. Start at
//! [`document`].

use super::draw::{Picture, dark_rules};

/// Colours are variables, exchanged for dark.
const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1f2328;--faint:#57606a;--line:#d8dee4;--soft:#f6f8fa;--back:#fff;
--good:#1a7f37;--bad:#cf222e}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px 20px 64px;max-width:960px;background:var(--back);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{margin:0 0 4px;font-size:28px}h2{margin:36px 0 10px;font-size:20px}h3{margin:20px 0 8px;font-size:16px}
p{margin:6px 0}.faint{color:var(--faint)}
.verdict{display:inline-block;margin:8px 0;padding:3px 12px;border-radius:6px;color:#fff;font-weight:600}
.passed{background:var(--good)}.failed,.void{background:var(--bad)}
.reasons{margin:6px 0;padding-left:20px;color:var(--bad);font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin:6px 0}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.columns{columns:2 380px;column-gap:40px}.columns .wide{overflow:visible}.columns table{width:100%;margin:0}.columns tr{break-inside:avoid}
.halves{display:flex;flex-wrap:wrap;gap:8px 16px}.halves figure{flex:1 1 400px;max-width:452px}
figure{margin:14px 0;padding:8px;border:1px solid var(--line);border-radius:8px}
figure svg{display:block;width:100%;height:auto}
pre{margin:6px 0;padding:12px;overflow-x:auto;border-radius:8px;background:var(--soft);
font:13px/1.45 ui-monospace,monospace}
.command{white-space:pre-wrap;overflow-wrap:anywhere}
";

const DARK: &str = ":root{--ink:#e6edf3;--faint:#9aa4af;--line:#30363d;--soft:#161b22;--back:#0d1117;
--good:#238636;--bad:#da3633}.reasons{color:#ff7b72}";

/// Text that may stand between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A whole page. The title is text, the body is HTML.
pub(super) fn document(title: &str, body: &str) -> String {
    let (title, dark) = (escape(title), dark_rules());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}@media (prefers-color-scheme:dark){{{DARK}{dark}}}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// A heading with what belongs below it; nothing if there is nothing below.
pub(super) fn section(title: &str, inside: &str) -> String {
    if inside.is_empty() {
        return String::new();
    }
    format!("<h2>{}</h2>\n{inside}", escape(title))
}

/// A table. Columns that hold only numbers are aligned to the right; without a head the first column names the row.
pub(super) fn table(head: &[String], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let numeric = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        cells.all(|cell| cell.chars().all(|c| c.is_ascii_digit() || " ,.-/×%".contains(c)))
    };
    let class = |column: usize| if numeric(column) { " class=\"n\"" } else { "" };
    let mut html = "<div class=\"wide\"><table>\n".to_owned();
    if !head.is_empty() {
        let cells = head.iter().enumerate().map(|(c, text)| format!("<th{}>{}</th>", class(c), escape(text)));
        html += &format!("<tr>{}</tr>\n", cells.collect::<String>());
    }
    for row in rows {
        let cells = row.iter().enumerate().map(|(c, text)| match (c, head.is_empty()) {
            (0, true) => format!("<th>{}</th>", escape(text)),
            _ => format!("<td{}>{}</td>", class(c), escape(text)),
        });
        html += &format!("<tr>{}</tr>\n", cells.collect::<String>());
    }
    html + "</table></div>\n"
}

/// A list of texts.
pub(super) fn list(class: &str, texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let items: String = texts.iter().map(|text| format!("<li>{}</li>\n", escape(text))).collect();
    format!("<ul class=\"{class}\">\n{items}</ul>\n")
}

/// Text in a fixed width.
pub(super) fn verbatim(text: &str) -> String {
    format!("<pre>{}</pre>\n", escape(text.trim_end()))
}

/// What is typed into a shell, broken where the window ends.
pub(super) fn command(text: &str) -> String {
    format!("<pre class=\"command\">{}</pre>\n", escape(text))
}

/// A chart inside the page.
pub(super) fn figure(picture: &Picture) -> String {
    let label = escape(&picture.title);
    let labelled = picture.svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
    format!("<figure>{labelled}</figure>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_could_end_a_text_is_escaped() {
        assert_eq!(escape("<a href='x' b=\"y\">&"), "&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;");
        let evil = "</td><script>alert(1)</script>".to_owned();
        let rows = [vec![evil.clone(), evil.clone()]];
        let pages = [
            table(std::slice::from_ref(&evil), &rows),
            list("", std::slice::from_ref(&evil)),
            verbatim(&evil),
            section(&evil, "x"),
            document(&evil, ""),
        ];
        for html in pages {
            assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
        }
    }

    #[test]
    fn numbers_are_aligned_and_nothing_gives_nothing() {
        let rows = [vec!["a".to_owned(), "1,000.5".to_owned()], vec!["b".to_owned(), "12/20".to_owned()]];
        let html = table(&["name".to_owned(), "value".to_owned()], &rows);
        assert!(html.contains("<td>a</td><td class=\"n\">1,000.5</td>"), "{html}");
        assert_eq!(section("Notes", &list("", &[])) + &table(&[], &[]), "");
    }
}
