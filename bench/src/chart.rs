//! The large table's medians as horizontal bars.

use std::fmt::Write;

use crate::report::Report;

const ROW: usize = 24;
const LABEL: usize = 120;
const WIDTH: usize = 760;
/// Of the longest bar; to its right stands its number.
const BAR: f64 = 540.0;

pub fn svg(report: &Report) -> String {
    let mut rows: Vec<_> = report.contenders.iter().map(|(name, figures)| (name, figures.wall_s[1])).collect();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    let longest = rows.last().map_or(1.0, |row| row.1);
    let height = ROW * (rows.len() + 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"20\">{} rows, 22 columns, PostgreSQL → Parquet: seconds, median (shorter is better)</text>\n",
        report.rows
    );
    for (at, (name, seconds)) in rows.into_iter().enumerate() {
        let y = ROW * (at + 1) + 8;
        let width = seconds / longest * BAR;
        let fill = match name.as_str() {
            "psql_copy" | "encode_only" => "#bbb",
            name if name.starts_with("ours") => "#0a7",
            _ => "#47a",
        };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{fill}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{seconds:.2}</text>",
            LABEL - 8,
            y + 14,
            ROW - 6,
            LABEL as f64 + width + 6.0,
            y + 14
        );
    }
    svg + "</svg>\n"
}
