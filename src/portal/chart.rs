//! Pictures of numbers over time, as SVG of paths alone. Takes numbers and words; knows nothing of what they mean.
//!
//! What is drawn stretches with the page, so that it is as wide as a phone or a desk; what is written stands beside it and
//! does not. Each picture says in words what it shows, and has its numbers in a table for who does not see it. Bands differ by
//! hatching and lines by dashes as well as by colour, which the stylesheet gives them by their classes.

use std::fmt::Write as _;

use askama::Template;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 160.0;
/// Rows of the table.
const ROWS: usize = 12;

/// Numbers over time, the oldest first.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub label: &'static str,
    /// By which the stylesheet knows it.
    pub class: &'static str,
    /// `None` where there is nothing to draw.
    pub values: Vec<Option<f64>>,
    /// What the legend says of all of them.
    pub sum: String,
}

/// What is drawn of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drawn {
    label: &'static str,
    class: &'static str,
    sum: String,
    path: String,
}

/// A row of the table: when, and what each series was then.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    time: String,
    values: Vec<String>,
}

/// A picture; its `Display` is HTML.
#[derive(Template)]
#[template(path = "portal/chart.html")]
pub(super) struct Chart {
    id: &'static str,
    title: &'static str,
    description: String,
    /// `areas` or `lines`.
    kind: &'static str,
    /// What stands beside the picture, from the top down.
    scale: Vec<String>,
    /// Lines across, at the numbers of the scale.
    grid: String,
    drawn: Vec<Drawn>,
    rows: Vec<Row>,
}

impl Chart {
    /// Each series upon the one before, from zero on.
    pub fn areas(id: &'static str, title: &'static str, description: String, series: Vec<Series>, unit: fn(f64) -> String) -> Self {
        let length = series.iter().map(|series| series.values.len()).max().unwrap_or_default();
        let mut tops = vec![vec![0.0; length]];
        for (below, series) in series.iter().enumerate() {
            let top = (0..length).map(|at| tops[below][at] + series.at(at).unwrap_or_default()).collect();
            tops.push(top);
        }
        let highest = tops.last().into_iter().flatten().fold(0.0, |highest: f64, top| highest.max(*top));
        let end = round_end(highest);
        let y = |value: f64| HEIGHT * (1.0 - value / end);
        let band = |below: &[f64], top: &[f64]| {
            if top.iter().zip(below).all(|(top, below)| top <= below) {
                return String::new();
            }
            let forth = top.iter().enumerate().map(|(at, value)| (x(at, length), y(*value)));
            let back = below.iter().enumerate().rev().map(|(at, value)| (x(at, length), y(*value)));
            path(forth.chain(back)) + "Z"
        };
        let paths: Vec<_> = tops.windows(2).map(|pair| band(&pair[0], &pair[1])).collect();
        let scale = [end, end / 2.0, 0.0].map(unit).into();
        Self::new(id, title, description, "areas", scale, series, paths, unit)
    }

    /// Each series by itself, on a scale where ten times as much is always as far.
    pub fn lines(id: &'static str, title: &'static str, description: String, series: Vec<Series>, unit: fn(f64) -> String) -> Self {
        let all = || series.iter().flat_map(|series| series.values.iter().flatten()).copied().filter(|value| *value > 0.0);
        let smallest = all().fold(f64::INFINITY, f64::min);
        let first = if smallest.is_finite() { smallest.log10().floor() } else { 0.0 };
        let last = all().fold(0.0, f64::max).max(f64::MIN_POSITIVE).log10().ceil().max(first + 1.0);
        let y = |value: f64| HEIGHT * (1.0 - (value.max(f64::MIN_POSITIVE).log10() - first) / (last - first)).clamp(0.0, 1.0);
        let line = |series: &Series| {
            let length = series.values.len();
            let mut line = String::new();
            for piece in series.values.iter().enumerate().collect::<Vec<_>>().split(|(_, value)| value.is_none()) {
                let points = piece.iter().filter_map(|(at, value)| value.map(|value| (x(*at, length), y(value))));
                line += &path(points);
                if piece.len() == 1 {
                    // Alone, it is a dot.
                    line += "h0";
                }
            }
            line
        };
        let paths = series.iter().map(line).collect();
        let mut scale = Vec::new();
        let mut power = last;
        while power >= first {
            scale.push(unit(10_f64.powf(power)));
            power -= 1.0;
        }
        Self::new(id, title, description, "lines", scale, series, paths, unit)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a picture, put together in one place")]
    fn new(
        id: &'static str,
        title: &'static str,
        description: String,
        kind: &'static str,
        scale: Vec<String>,
        series: Vec<Series>,
        paths: Vec<String>,
        unit: fn(f64) -> String,
    ) -> Self {
        let spaces = scale.len().saturating_sub(1).max(1);
        let mut grid = String::new();
        for line in 0..=spaces {
            let _infallible = write!(grid, "M0,{}H{WIDTH}", short(HEIGHT * part(line, spaces)));
        }
        let rows = rows(&series, unit);
        let draw = |(series, path): (Series, String)| Drawn { label: series.label, class: series.class, sum: series.sum, path };
        let drawn = series.into_iter().zip(paths).map(draw).collect();
        Self { id, title, description, kind, scale, grid, drawn, rows }
    }
}

impl Series {
    fn at(&self, at: usize) -> Option<f64> {
        self.values.get(at).copied().flatten()
    }

    /// The mean of a part, without what there is nothing to say of.
    fn mean(&self, from: usize, to: usize) -> Option<f64> {
        let (sum, count) =
            (from..to).filter_map(|at| self.at(at)).fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }
}

/// The hour in a few rows.
fn rows(series: &[Series], unit: fn(f64) -> String) -> Vec<Row> {
    let length = series.iter().map(|series| series.values.len()).max().unwrap_or_default();
    let each = length.div_ceil(ROWS).max(1);
    let row = |row: usize| {
        let minutes = (ROWS - row) * 60 / ROWS;
        let mean = |series: &Series| series.mean(row * each, (row + 1) * each).map_or_else(|| "none".to_owned(), unit);
        Row { time: format!("{minutes} minutes ago"), values: series.iter().map(mean).collect() }
    };
    (0..ROWS).map(row).collect()
}

fn x(at: usize, length: usize) -> f64 {
    WIDTH * part(at, length.saturating_sub(1).max(1))
}

#[expect(clippy::cast_precision_loss, reason = "there are as many points as can be seen")]
fn part(of: usize, all: usize) -> f64 {
    of as f64 / all as f64
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (number, (x, y)) in points.enumerate() {
        let _infallible = write!(path, "{}{},{}", if number == 0 { 'M' } else { 'L' }, short(x), short(y));
    }
    path
}

/// To a tenth, which nobody sees.
fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The next of a few digits with zeros, which all can be halved.
fn round_end(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0].map(|digit| digit * power).into_iter().find(|end| *end >= highest).unwrap_or(10.0 * power)
}

/// How long a bar is, in hundredths of the longest.
pub(super) fn bar(count: u64, longest: u64) -> u64 {
    (u128::from(count) * 100).checked_div(u128::from(longest)).and_then(|part| u64::try_from(part).ok()).unwrap_or(0).clamp(1, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(label: &'static str, values: &[f64]) -> Series {
        let values = values.iter().map(|value| value.is_finite().then_some(*value)).collect();
        Series { label, class: "x", values, sum: "<1>".to_owned() }
    }

    fn chart(kind: &str, all: Vec<Series>) -> Chart {
        let make = if kind == "areas" { Chart::areas } else { Chart::lines };
        make("some", "Some", "What it shows".to_owned(), all, |value| format!("{value:.1}/s"))
    }

    #[test]
    fn areas_stand_upon_one_another() {
        let chart = chart("areas", vec![series("a", &[0.0, 5.0, 10.0]), series("none", &[0.0; 3]), series("b", &[10.0, 5.0, 0.0])]);
        let paths: Vec<_> = chart.drawn.iter().map(|drawn| drawn.path.as_str()).collect();
        assert_eq!(paths, ["M0,160L300,80L600,0L600,160L300,160L0,160Z", "", "M0,0L300,0L600,0L600,0L300,80L0,160Z"]);
        assert_eq!(
            (chart.scale, chart.grid.as_str()),
            (["10.0/s", "5.0/s", "0.0/s"].map(str::to_owned).into(), "M0,0H600M0,80H600M0,160H600")
        );
    }

    #[test]
    fn lines_have_gaps_and_a_scale_of_tens() {
        let chart = chart("lines", vec![series("a", &[1.0, 10.0, f64::NAN, 100.0])]);
        assert_eq!(chart.drawn[0].path, "M0,160L200,80M600,0h0");
        assert_eq!(chart.scale, ["100.0/s", "10.0/s", "1.0/s"]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        for kind in ["areas", "lines"] {
            for all in [Vec::new(), vec![series("a", &[])], vec![series("a", &[f64::NAN])], vec![series("a", &[0.0; 2])]] {
                let html = chart(kind, all).render().unwrap();
                assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
            }
        }
    }

    #[test]
    fn a_picture_says_in_words_and_numbers_what_it_shows() {
        let html = chart("areas", vec![series("a", &(0..120).map(f64::from).collect::<Vec<_>>())]).render().unwrap();
        for part in [
            "role=\"img\" aria-labelledby=\"some-title some-description\"",
            "<title id=\"some-title\">Some</title>",
            "<desc id=\"some-description\">What it shows</desc>",
            "<td>114.5/s</td>",
            "<th scope=\"row\">5 minutes ago</th>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("<1>") && !html.contains("style="), "{html}");
    }

    #[test]
    fn ends_are_round_and_bars_are_seen() {
        for (highest, end) in [(0.0, 1.0), (0.03, 0.04), (1.0, 1.0), (1.1, 2.0), (23.0, 40.0), (51.0, 60.0), (9e6, 1e7)] {
            assert!((round_end(highest) / end - 1.0).abs() < 1e-9, "{highest}: {}", round_end(highest));
        }
        assert_eq!(
            [(0, 0), (0, 9), (1, 1_000), (1, 2), (7, 7), (u64::MAX, u64::MAX)].map(|(a, b)| bar(a, b)),
            [1, 1, 1, 50, 100, 100]
        );
    }
}
