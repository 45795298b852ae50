//! Draws the large table's medians as horizontal bars.

use std::fmt::Write;

use crate::report::Report;

const ROW_HEIGHT: usize = 24;
const LABEL_WIDTH: usize = 120;
const CHART_WIDTH: usize = 760;
/// The width of the longest bar. The space to the bar's right is for its number.
const MAX_BAR_WIDTH: f64 = 540.0;

/// Returns the chart as an SVG document.
pub fn svg(report: &Report) -> String {
    let mut rows: Vec<_> = report.contenders.iter().map(|(name, figures)| (name, figures.wall_s[1])).collect();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    let longest = rows.last().map_or(1.0, |row| row.1);
    let height = ROW_HEIGHT * (rows.len() + 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {CHART_WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{CHART_WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"20\">{} rows, 22 columns, PostgreSQL → Parquet: seconds, median (shorter is better)</text>\n",
        report.rows
    );
    for (at, (name, seconds)) in rows.into_iter().enumerate() {
        let y = ROW_HEIGHT * (at + 1) + 8;
        let width = seconds / longest * MAX_BAR_WIDTH;
        let fill = match name.as_str() {
            "psql_copy" | "encode_only" => "#bbb",
            name if name.starts_with("ours") => "#0a7",
            _ => "#47a",
        };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LABEL_WIDTH}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{fill}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{seconds:.2}</text>",
            LABEL_WIDTH - 8,
            y + 14,
            ROW_HEIGHT - 6,
            LABEL_WIDTH as f64 + width + 6.0,
            y + 14
        );
    }
    svg + "</svg>\n"
}
