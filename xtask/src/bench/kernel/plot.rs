//! The figures as a picture, for docs/PERFORMANCE.md: a bar for each watcher, a field for each kernel.

use anyhow::Result;
use plotters::prelude::*;

use super::report::Report;
use super::watchers::WATCHERS;
use super::workloads::Workload;
use crate::bench::picture::{self, Area, Drawn};

const PICTURE: &str = "docs/cost.svg";

/// The workloads that are drawn, with what a bar tells.
const DRAWN: [(Workload, &str); 2] = [
    (Workload::Accepted, "instructions added to an accepted connection"),
    (Workload::SynDropped, "instructions added to a SYN that is dropped"),
];

/// It also prints each connection: five to six times as much as the dearest of the others, which would be short beside it.
const OFF_SCALE: &str = "tcpaccept.bt";

const WIDTH: u32 = 1_000;
const ROW: u32 = 18;
const MARGIN: u32 = 40;

/// Draws these kernels.
pub(super) fn write(reports: &[Report]) -> Result<()> {
    picture::write(PICTURE, draw(reports))
}

/// The picture, as SVG.
fn draw(reports: &[Report]) -> Drawn<String> {
    let names: Vec<&str> =
        WATCHERS.iter().map(|watcher| watcher.name).filter(|name| *name != OFF_SCALE).collect();
    let field = u32::try_from(names.len())?.saturating_mul(ROW).saturating_add(2 * MARGIN);
    let height = u32::try_from(reports.len())?.max(1).saturating_mul(field);
    picture::on_white((WIDTH, height), |sheet| {
        for (report, row) in reports.iter().zip(sheet.split_evenly((reports.len().max(1), 1))) {
            for ((workload, caption), area) in DRAWN.iter().zip(row.split_evenly((1, DRAWN.len()))) {
                let costs = names.iter().map(|name| report.extra(name, workload.name()));
                bars(&area, &format!("{}: {caption}", report.kernel), &names, &costs.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    })
}

/// A bar for each name; none where nothing was measured.
fn bars(area: &Area<'_>, caption: &str, names: &[&str], costs: &[Option<f64>]) -> Drawn<()> {
    let most = costs.iter().flatten().copied().fold(1.0, f64::max);
    let rows = i32::try_from(names.len())?;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 13))
        .margin(8)
        .x_label_area_size(20)
        .y_label_area_size(150)
        .build_cartesian_2d(0.0..most, (0..rows).into_segmented())?;
    let name = |row: &SegmentValue<i32>| match row {
        SegmentValue::CenterOf(row) => {
            // The first one on top.
            let place = usize::try_from(rows - 1 - row).ok();
            place.and_then(|place| names.get(place)).map_or_else(String::new, |name| (*name).to_owned())
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(names.len())
        .y_label_formatter(&name)
        .x_labels(5)
        .x_label_formatter(&|instructions| format!("{instructions:.0}"))
        .draw()?;
    chart.draw_series((0..rows).rev().zip(costs).filter_map(|(row, cost)| {
        let corners = [
            (0.0, SegmentValue::Exact(row)),
            (cost.unwrap_or_default().max(0.0), SegmentValue::Exact(row + 1)),
        ];
        let mut bar = Rectangle::new(corners, RGBColor(49, 104, 142).filled());
        bar.set_margin(2, 2, 0, 0);
        cost.map(|_| bar)
    }))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::kernel::report::{Figures, Watched};
    use crate::bench::kernel::statistics::Spread;
    use crate::bench::kernel::watchers::{ONE_LINER, TRAMPOLINE};

    fn watched(name: &str, cost: f64) -> Watched {
        let spread = Spread { median: cost, ..Spread::default() };
        let extra = Figures::from([(Workload::Accepted.name().to_owned(), spread)]);
        Watched { name: name.to_owned(), extra, ..Watched::default() }
    }

    /// The widths of the bars, which are of another colour than all else.
    fn widths(picture: &str) -> Vec<u32> {
        let bars = picture.lines().filter(|line| line.contains("#31688E"));
        bars.filter_map(|line| line.split_once(" width=\"")?.1.split_once('"')?.0.parse().ok()).collect()
    }

    #[test]
    fn a_bar_is_as_long_as_what_it_tells_and_who_was_not_measured_has_none() {
        let watchers = vec![watched(ONE_LINER, 1_000.0), watched(TRAMPOLINE, 2_000.0)];
        let report = Report { kernel: "6.12".to_owned(), watchers, ..Report::default() };
        let picture = draw(&[report]).unwrap();
        let widths = widths(&picture);
        assert_eq!(widths.len(), 2, "{picture}");
        assert!(widths[1].abs_diff(2 * widths[0]) <= 2, "{widths:?}");
        assert!(picture.contains("6.12: instructions added to a SYN"), "{picture}");
        assert!(WATCHERS.iter().all(|watcher| picture.contains(watcher.name) != (watcher.name == OFF_SCALE)));
    }
}
