//! Pictures of results, as SVG: dots of all rounds, and curves over time.

use std::fmt::Write;
use std::path::Path;

use crate::failure::Failure;
use crate::report::Spread;

/// Of every picture, in pixels.
pub const WIDTH: f64 = 960.0;
/// Of the names of rows, in pixels.
const NAMES: f64 = 150.0;
/// Of what is written behind a row, in pixels.
const NUMBERS: f64 = 190.0;
/// One for each row or curve, and from the beginning again.
const COLOURS: [&str; 6] = ["#b0413e", "#2f6f9f", "#d98c21", "#3f8f5b", "#7d5ba6", "#6b6b6b"];
const GREY: &str = "#555";
const PALE: &str = "#ddd";

/// A picture that is being drawn.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    body: String,
}

// Writing to a String cannot fail, so its result says nothing.
impl Picture {
    /// White, with a title.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let mut picture = Self::default();
        picture.text((10.0, 22.0), 15, "black", title);
        picture
    }

    /// Writes text that begins at a point.
    pub fn text(&mut self, at: (f64, f64), size: u32, colour: &str, text: &str) {
        let ((x, y), text) = (at, escape(text));
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\">{text}</text>"
        );
    }

    /// Fills a rectangle: left upper corner, width and height.
    pub fn rectangle(&mut self, at: (f64, f64), size: (f64, f64), colour: &str) {
        let ((x, y), (width, height)) = (at, size);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    /// A dot that others show through.
    pub fn dot(&mut self, at: (f64, f64), colour: &str) {
        let (x, y) = at;
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" fill-opacity=\"0.5\"/>"
        );
    }

    /// A line through all points.
    pub fn line(&mut self, points: &[(f64, f64)], colour: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.body,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
    }

    /// The whole picture, so high.
    #[must_use]
    pub fn to_svg(&self, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Writes a picture to a file.
///
/// # Errors
/// The system's.
pub fn write(file: &Path, svg: &str) -> Result<(), Failure> {
    std::fs::write(file, svg).map_err(Failure::io("write the picture"))
}

/// Named numbers.
pub type Row = (String, Vec<f64>);

/// A panel for each figure: a row for each peer with a dot for each round, and a bar at the median. Scales begin at 0.
#[must_use]
pub fn of_rounds(title: &str, panels: &[(&str, Vec<Row>)]) -> String {
    const ROW: f64 = 26.0;
    let mut picture = Picture::new(title);
    let mut y = 40.0;
    for (figure, rows) in panels {
        let scale = Scale::of(rows.iter().flat_map(|(_, numbers)| numbers), WIDTH - NAMES - NUMBERS);
        y += 18.0;
        picture.text((10.0, y), 13, "black", figure);
        let bottom = y + 8.0 + rows.len() as f64 * ROW;
        scale.draw(&mut picture, (NAMES, y + 8.0), bottom);
        for ((name, numbers), colour) in rows.iter().zip(COLOURS.iter().cycle()) {
            let middle = y + 8.0 + ROW / 2.0;
            picture.text((20.0, middle + 4.0), 13, colour, name);
            for number in numbers {
                picture.dot((NAMES + scale.pixels(*number), middle), colour);
            }
            if let Some(spread) = Spread::of(numbers) {
                let x = NAMES + scale.pixels(spread.median);
                picture.rectangle((x - 1.5, middle - 10.0), (3.0, 20.0), colour);
                picture.text((WIDTH - NUMBERS + 15.0, middle + 4.0), 11, GREY, &spread.to_text());
            }
            y += ROW;
        }
        y = bottom + 26.0;
    }
    picture.to_svg(y)
}

/// How many of something have come by when: each row has the instants, in ascending order, and gets a curve.
#[must_use]
pub fn of_arrivals(title: &str, axis: &str, rows: &[Row]) -> String {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 45.0;
    const HEIGHT: f64 = 300.0;
    let mut picture = Picture::new(title);
    let across = Scale::of(rows.iter().flat_map(|(_, instants)| instants), WIDTH - LEFT - NUMBERS);
    let most = rows.iter().map(|(_, instants)| instants.len()).max().unwrap_or(0) as f64;
    let upwards = Scale::of(std::iter::once(&most), HEIGHT);
    let bottom = TOP + HEIGHT;
    across.draw(&mut picture, (LEFT, TOP), bottom);
    for mark in upwards.marks() {
        let y = bottom - upwards.pixels(mark);
        picture.rectangle((LEFT, y), (across.pixels, 1.0), PALE);
        picture.text((10.0, y + 4.0), 11, GREY, &format!("{mark}"));
    }
    picture.text((LEFT, bottom + 34.0), 11, GREY, axis);
    for (number, ((name, instants), colour)) in rows.iter().zip(COLOURS.iter().cycle()).enumerate() {
        // No more points than can be seen.
        let step = (instants.len() / 400).max(1);
        let last = instants.len().saturating_sub(1);
        let seen = instants.iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last);
        let point = |index: usize, instant: f64| {
            (LEFT + across.pixels(instant), bottom - upwards.pixels((index + 1) as f64))
        };
        let points: Vec<_> = seen.map(|(index, instant)| point(index, *instant)).collect();
        picture.line(&points, colour);
        picture.text((WIDTH - NUMBERS + 15.0, TOP + 12.0 + number as f64 * 18.0), 13, colour, name);
    }
    picture.to_svg(bottom + 50.0)
}

/// From 0 to a round number, on so many pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    end: f64,
    step: f64,
    pixels: f64,
}

impl Scale {
    /// One that has room for all numbers, with a mark at each of at most six steps.
    fn of<'a>(numbers: impl Iterator<Item = &'a f64>, pixels: f64) -> Self {
        const STEPS_MAX: f64 = 6.0;
        let most = numbers.copied().fold(0.0, f64::max).max(1e-9);
        let power = 10.0_f64.powf((most / STEPS_MAX).log10().floor());
        let fits = |step: &f64| step * STEPS_MAX >= most * (1.0 - 1e-9);
        let step = [power, 2.0 * power, 5.0 * power].into_iter().find(fits).unwrap_or(10.0 * power);
        // What is a hair above a mark by rounding is on it.
        Self { end: (most / step - 1e-9).ceil() * step, step, pixels }
    }

    fn pixels(self, number: f64) -> f64 {
        number / self.end * self.pixels
    }

    fn marks(self) -> impl Iterator<Item = f64> {
        let (end, step) = (self.end, self.step);
        // Without what binary fractions add: 0.30000000000000004.
        let marks = (0_u32..).map(move |number| (f64::from(number) * step * 1e9).round() / 1e9);
        marks.take_while(move |mark| *mark <= end * (1.0 + 1e-9))
    }

    /// Upright lines from a left upper corner down to `bottom`, with their numbers below.
    fn draw(self, picture: &mut Picture, at: (f64, f64), bottom: f64) {
        let (left, top) = at;
        for mark in self.marks() {
            let x = left + self.pixels(mark);
            picture.rectangle((x, top), (1.0, bottom - top), PALE);
            picture.text((x - 3.0, bottom + 14.0), 11, GREY, &format!("{mark}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Scale, of_arrivals, of_rounds};

    fn marks(most: f64) -> Vec<f64> {
        Scale::of([most].iter(), 100.0).marks().collect()
    }

    #[test]
    fn scales_have_round_marks_and_room_for_all() {
        assert_eq!(marks(0.3), [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
        assert_eq!(marks(7.6), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(marks(15_000.0), [0.0, 5_000.0, 10_000.0, 15_000.0]);
        assert_eq!(marks(0.0).first(), Some(&0.0));
        let scale = Scale::of([3.0, 7.0].iter(), 100.0);
        assert!((scale.pixels(8.0) - 100.0).abs() < 1e-9, "{scale:?}");
    }

    #[test]
    fn every_round_is_a_dot_and_names_are_escaped() {
        let rows = vec![("a<b".to_owned(), vec![1.0, 2.0, 3.0]), ("other".to_owned(), Vec::new())];
        let svg = of_rounds("title & more", &[("cpu_us", rows)]);
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert!(svg.contains("title &amp; more") && svg.contains("a&lt;b"), "{svg}");
        assert!(svg.contains("2.00 [1.00-3.00]") && svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn a_curve_ends_with_the_last_arrival() {
        let instants: Vec<f64> = (1..=1_001).map(f64::from).collect();
        let svg = of_arrivals("back", "s", &[("kill".to_owned(), instants), ("none".to_owned(), Vec::new())]);
        let points =
            svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        assert_eq!(points.split(' ').count(), 501, "every second of 1,001");
        // 1,001 of 1,200 on both scales: 70 + 700 * 1001/1200, and 345 - 300 * 1001/1200.
        assert_eq!(points.split(' ').next_back(), Some("653.9,94.8"), "{points}");
    }
}
