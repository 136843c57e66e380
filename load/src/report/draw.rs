//! From lines and boxes on two axes to SVG.
//!
//! The only place that knows the drawing library. Colours are a fixed few, so that [`DARK`] can exchange each of them by
//! a rule of CSS; nothing else of a picture depends on where it is shown. Must not know what is drawn. Start at
//! [`Plot::draw`].

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Circle, DrawingArea, DrawingAreaErrorKind, EmptyElement,
    FontStyle, IntoDrawingArea as _, IntoFont as _, LineSeries, RGBColor, Rectangle, SVGBackend, Text,
    TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, IntoTextStyle as _};

use super::axis::Axis;
use crate::error::Error;

/// Text and axes.
const INK: RGBColor = RGBColor(0x1F, 0x23, 0x28);
/// Labels of marks.
const FAINT: RGBColor = RGBColor(0x57, 0x60, 0x6A);
/// Lines behind the values.
const GRID: RGBColor = RGBColor(0xD8, 0xDE, 0xE4);

/// One for each layer, in turn. Told apart also by those who see red and green alike.
const HUES: [RGBColor; 6] = [
    RGBColor(0x09, 0x69, 0xDA),
    RGBColor(0xBC, 0x4C, 0x00),
    RGBColor(0x1B, 0x7C, 0x83),
    RGBColor(0x82, 0x50, 0xDF),
    RGBColor(0xBF, 0x39, 0x89),
    RGBColor(0x7D, 0x4E, 0x00),
];

/// Each colour above and the one on a dark background.
const DARK: [(RGBColor, &str); 9] = [
    (INK, "#e6edf3"),
    (FAINT, "#9aa4af"),
    (GRID, "#30363d"),
    (HUES[0], "#58a6ff"),
    (HUES[1], "#f0883e"),
    (HUES[2], "#39c5cf"),
    (HUES[3], "#bc8cff"),
    (HUES[4], "#f778ba"),
    (HUES[5], "#d4a72c"),
];

/// About the width of a character of legends and labels, pixels.
const CHARACTER_WIDTH: usize = 7;

/// Lines of a legend and above it, pixels.
const LEGEND_LINE_HEIGHT: i32 = 20;
const TITLE_HEIGHT: i32 = 34;

/// Where drawing can fail; a text in memory does not.
type Outcome = Result<(), DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Canvas<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// A finished chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Also the name of its file, in words.
    pub(super) title: String,
    /// One `<svg>` element without style.
    pub(super) svg: String,
}

/// A chart to be drawn. Values are in the measure of the axes.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) layers: Vec<Layer>,
    pub(super) grid: Grid,
    /// Pixels, of the whole picture.
    pub(super) size: (u32, u32),
}

/// What has one colour and one name in the legend. A legend is drawn for two and more that are named.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// What a layer consists of.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Points that are joined.
    Line(Vec<(f64, f64)>),
    /// Points that are joined and seen.
    Dots(Vec<(f64, f64)>),
    /// Filled boxes, each by two corners, with a text to the right of the second.
    Boxes(Vec<([(f64, f64); 2], String)>),
}

/// Along which axis' marks lines are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    X,
    Y,
    Both,
}

impl Picture {
    /// A document of its own: with style, for light and dark.
    pub(super) fn document(&self) -> String {
        let dark = dark_rules();
        let style = format!(
            "<style>svg{{background:#fff}}@media (prefers-color-scheme:dark){{svg{{background:#0d1117}}{dark}}}</style>"
        );
        let (tag, rest) = self.svg.split_once('>').unwrap_or((&self.svg, ""));
        format!("{tag}>{style}{rest}")
    }

    /// The title as the name of a file, without ending.
    pub(super) fn file_stem(&self) -> String {
        let words = self.title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let stem = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
        if stem.is_empty() { "chart".into() } else { stem.chars().take(60).collect() }
    }
}

/// Rules of CSS that exchange the colours of pictures for those on a dark background.
pub(super) fn dark_rules() -> String {
    let mut rules = String::new();
    for (RGBColor(r, g, b), dark) in DARK {
        for property in ["fill", "stroke"] {
            let _infallible =
                write!(rules, "svg [{property}=\"#{r:02X}{g:02X}{b:02X}\"]{{{property}:{dark}}}");
        }
    }
    rules
}

impl Plot {
    /// The picture.
    ///
    /// # Errors
    /// [`Error`] if the drawing library refuses something.
    pub(super) fn draw(&self) -> Result<Picture, Error> {
        let mut svg = String::new();
        let wrong = |error: &dyn std::fmt::Display| Error::new(format!("drawing {:?}: {error}", self.title));
        self.paint(&mut svg).map_err(|error| wrong(&error))?;
        Ok(Picture { title: self.title.clone(), svg: svg.trim().to_owned() })
    }

    fn paint(&self, svg: &mut String) -> Outcome {
        let root = SVGBackend::with_string(svg, self.size).into_drawing_area();
        let legend = self.legend();
        let head_height =
            TITLE_HEIGHT + legend.iter().map(|(_, (_, y))| y + LEGEND_LINE_HEIGHT).max().unwrap_or(0);
        let (head, body) = root.split_vertically(head_height);
        self.paint_head(&head, &legend)?;
        let widest = self.y.marks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        let title_width = if self.y.title.is_empty() { 0 } else { 24 };
        let below = if self.x.title.is_empty() { 28 } else { 46 };
        let mut chart = ChartBuilder::on(&body)
            .margin_right(28)
            .margin_left(8)
            .margin_bottom(4)
            .margin_top(6)
            .x_label_area_size(below)
            .y_label_area_size((14 + title_width + widest * CHARACTER_WIDTH) as u32)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let mut mesh = chart.configure_mesh();
        match self.grid {
            Grid::X => mesh.disable_y_mesh(),
            Grid::Y => mesh.disable_x_mesh(),
            Grid::Both => &mut mesh,
        };
        mesh.axis_style(FAINT)
            .bold_line_style(GRID)
            .light_line_style(GRID)
            .label_style(text(15, &FAINT))
            .axis_desc_style(text(15, &INK))
            .x_desc(self.x.title.as_str())
            .y_desc(self.y.title.as_str())
            .draw()?;
        for (layer, hue) in self.layers.iter().zip(HUES.iter().cycle()) {
            layer.shape.paint(hue, &mut chart)?;
        }
        drop(chart);
        root.present()
    }

    /// The names of layers and where they stand below the title, if there are several.
    fn legend(&self) -> Vec<(&str, (i32, i32))> {
        let several = self.layers.iter().filter(|layer| !layer.name.is_empty()).count() > 1;
        let names = self.layers.iter().map(|layer| layer.name.as_str()).filter(|_| several);
        let (mut x, mut y) = (14, 0);
        let placed = names.map(|name| {
            let width = (name.chars().count() * CHARACTER_WIDTH) as i32 + 44;
            if x > 14 && x + width > self.size.0 as i32 {
                (x, y) = (14, y + LEGEND_LINE_HEIGHT);
            }
            x += width;
            (name, (x - width, y))
        });
        placed.collect()
    }

    fn paint_head(&self, area: &Area<'_>, legend: &[(&str, (i32, i32))]) -> Outcome {
        let title = ("sans-serif", 19).into_font().style(FontStyle::Bold).color(&INK);
        area.draw_text(&self.title, &title, (14, 8))?;
        for ((name, (x, y)), hue) in legend.iter().zip(HUES.iter().cycle()) {
            let (x, y) = (*x, TITLE_HEIGHT + *y);
            area.draw(&Rectangle::new([(x, y + 4), (x + 16, y + 10)], hue.filled()))?;
            area.draw_text(name, &text(15, &INK), (x + 22, y))?;
        }
        Ok(())
    }
}

impl Shape {
    fn paint(&self, hue: &RGBColor, canvas: &mut Canvas<'_, '_>) -> Outcome {
        let line = |points: &[(f64, f64)]| LineSeries::new(points.to_vec(), hue.stroke_width(2));
        match self {
            Self::Line(points) => {
                canvas.draw_series(line(points))?;
            }
            Self::Dots(points) => {
                canvas.draw_series(line(points))?;
                canvas.draw_series(points.iter().map(|point| Circle::new(*point, 3, hue.filled())))?;
            }
            Self::Boxes(boxes) => {
                let filled = boxes.iter().map(|(corners, _)| Rectangle::new(*corners, hue.filled()));
                canvas.draw_series(filled)?;
                let style = text(15, &INK).pos(Pos::new(HPos::Left, VPos::Center));
                let told = boxes.iter().filter(|(_, told)| !told.is_empty()).map(|(corners, told)| {
                    let [(_, from), (x, to)] = *corners;
                    EmptyElement::at((x.max(0.0), f64::midpoint(from, to)))
                        + Text::new(told.clone(), (6, 0), style.clone())
                });
                canvas.draw_series(told)?;
            }
        }
        Ok(())
    }
}

fn text<'a>(size: u32, color: &'a RGBColor) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(color).into_text_style(&(1, 1))
}

/// Places are mapped to pixels evenly; how values become places is the axis' own business.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (place - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.marks.iter().map(|(at, _)| *at).collect(),
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, place: &f64) -> String {
        self.label(*place)
    }
}
