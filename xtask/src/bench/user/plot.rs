//! The figures as a picture, for docs/PERFORMANCE.md: what grows with the number of listeners, a line for each who was asked.

use anyhow::Result;
use plotters::prelude::*;

use super::report::Figures;
use crate::bench::picture::{self, Area, Drawn};

const PICTURE: &str = "docs/scale.svg";
const SIZE: (u32, u32) = (1_000, 380);
const DAEMON: RGBColor = RGBColor(49, 104, 142);
const EXPORTER: RGBColor = RGBColor(214, 96, 36);
const SS: RGBColor = RGBColor(74, 140, 63);
const NETSTAT: RGBColor = RGBColor(130, 90, 160);
const MAPS: RGBColor = RGBColor(120, 120, 120);

/// One who was asked: listeners, and what it took.
struct Line {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws these.
pub(super) fn write(figures: &Figures) -> Result<()> {
    picture::write(PICTURE, draw(figures))
}

fn draw(figures: &Figures) -> Drawn<String> {
    picture::on_white(SIZE, |sheet| {
        let fields = [
            ("until the whole answer is there, median, ms", times(figures)),
            ("resident memory between two scrapes, MiB", memory(figures)),
        ];
        for ((caption, lines), area) in fields.iter().zip(sheet.split_evenly((1, fields.len()))) {
            field(&area, caption, lines)?;
        }
        Ok(())
    })
}

fn times(figures: &Figures) -> Vec<Line> {
    let daemon = |one: &super::probe::Figures| (one.listeners as f64, one.scrape.median_milliseconds);
    let mut lines = vec![Line {
        name: "tcp-backlog-probe, /metrics",
        colour: DAEMON,
        points: figures.probe.iter().map(daemon).collect(),
    }];
    for (name, colour) in [("node_exporter", EXPORTER), ("ss -ltn", SS), ("netstat -ltn", NETSTAT)] {
        let of_it = figures.others.iter().filter(|one| one.what == name);
        let points = of_it.map(|one| (one.listeners as f64, one.median_milliseconds)).collect();
        lines.push(Line { name, colour, points });
    }
    lines
}

/// `ss` and `netstat` are gone when they have answered.
fn memory(figures: &Figures) -> Vec<Line> {
    let mebibytes = |kibibytes: u64| kibibytes as f64 / 1024.0;
    let daemon = |of: fn(&super::probe::Figures) -> u64| {
        figures.probe.iter().map(|one| (one.listeners as f64, mebibytes(of(one)))).collect()
    };
    let exporter =
        figures.others.iter().filter_map(|one| Some((one.listeners as f64, one.resident_kibibytes?)));
    vec![
        Line { name: "tcp-backlog-probe", colour: DAEMON, points: daemon(|one| one.resident_kibibytes) },
        Line {
            name: "node_exporter",
            colour: EXPORTER,
            points: exporter.map(|(listeners, kibibytes)| (listeners, mebibytes(kibibytes))).collect(),
        },
        Line {
            name: "of the daemon's: maps, which are the kernel's",
            colour: MAPS,
            points: daemon(|one| one.mapped_kibibytes),
        },
    ]
}

fn field(area: &Area<'_>, caption: &str, lines: &[Line]) -> Drawn<()> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let widest = points().map(|(listeners, _)| listeners).fold(10.0, f64::max);
    // The names have room above the lines.
    let highest = 1.35 * points().map(|(_, value)| value).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 15))
        .margin(10)
        .margin_right(30)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d((1.0..widest).log_scale(), 0.0..highest)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("listeners")
        .x_label_formatter(&|listeners| crate::bench::table::whole(*listeners))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for line in lines {
        let stroke = line.colour.stroke_width(2);
        chart
            .draw_series([PathElement::new(line.points.clone(), stroke)])?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, line.colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::user::{others, probe};

    fn figures() -> Figures {
        let daemon = |listeners, median_milliseconds, resident_kibibytes| probe::Figures {
            listeners,
            resident_kibibytes,
            scrape: probe::Scrapes { median_milliseconds, ..probe::Scrapes::default() },
            ..probe::Figures::default()
        };
        let other = |listeners, median_milliseconds| others::Figures {
            what: "ss -ltn".to_owned(),
            listeners,
            median_milliseconds,
            ..others::Figures::default()
        };
        Figures {
            probe: vec![daemon(1, 2.0, 13_000), daemon(100, 4.0, 14_000), daemon(10_000, 50.0, 60_000)],
            others: vec![other(1, 6.0), other(10_000, 30.0)],
            ..Figures::default()
        }
    }

    /// The centres of the circles of a colour, in points of the picture.
    fn circles(picture: &str, colour: &str) -> Vec<(f64, f64)> {
        let number = |line: &str, name: &str| {
            line.split_once(&format!(" {name}=\"")).unwrap().1.split_once('"').unwrap().0.parse().unwrap()
        };
        let circles = picture.lines().filter(|line| line.starts_with("<circle") && line.contains(colour));
        circles.map(|line| (number(line, "cx"), number(line, "cy"))).collect()
    }

    #[test]
    fn a_hundred_times_as_many_listeners_are_as_far_away_each_time() {
        let picture = draw(&figures()).unwrap();
        let daemon = circles(&picture, "#31688E");
        assert_eq!(daemon.len(), 6, "{picture}");
        let [(first, low), (second, _), (third, high)] = daemon[..3] else { panic!("{daemon:?}") };
        assert!(((third - second) - (second - first)).abs() <= 2.0, "{daemon:?}");
        assert!(high < low, "what takes longer is higher: {daemon:?}");
    }

    #[test]
    fn who_was_not_asked_has_no_points() {
        let picture = draw(&figures()).unwrap();
        assert_eq!(circles(&picture, "#4A8C3F").len(), 2, "{picture}");
        assert!(picture.contains("netstat -ltn") && circles(&picture, "#825AA0").is_empty());
    }
}
