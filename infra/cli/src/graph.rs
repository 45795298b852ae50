//! `check --graph`: when each dataset is refreshed, and which datasets are built from which, as text, Mermaid or DOT.

use std::{fmt::Write, path::Path};

use anyhow::Result;
use clap::ValueEnum;
use turntable::config::{Config, Dataset};

use crate::{datasets::Datasets, laptop};

/// How to print the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One line for each dataset.
    Text,
    /// <https://mermaid.js.org>, which GitHub draws in Markdown.
    Mermaid,
    /// <https://graphviz.org>
    Dot,
}

/// Reads a file and prints its graph. Fails if the file has errors.
pub fn graph(file: &Path, form: Form) -> Result<String> {
    Ok(shown(&Datasets::read(file, laptop::BUCKET)?.config, form))
}

/// Returns the graph of these datasets. An arrow leads from an input to what is built from it; it is dashed if a flip
/// of any of the inputs is enough.
pub fn shown(config: &Config, form: Form) -> String {
    match form {
        Form::Text => text(config),
        Form::Mermaid => {
            let node = |dataset: &Dataset| format!("    {}\n", dataset.name);
            let edge = |from: &str, to: &str, any| format!("    {from} {} {to}\n", if any { "-.->" } else { "-->" });
            format!("graph LR\n{}", drawn(config, node, edge))
        }
        Form::Dot => {
            let node = |dataset: &Dataset| format!("    {};\n", dataset.name);
            let edge = |from: &str, to: &str, any| {
                format!("    {from} -> {to}{};\n", if any { " [style=dashed]" } else { "" })
            };
            format!("digraph datasets {{\n    rankdir=LR;\n{}}}\n", drawn(config, node, edge))
        }
    }
}

fn drawn(config: &Config, node: impl Fn(&Dataset) -> String, edge: impl Fn(&str, &str, bool) -> String) -> String {
    let mut drawn: String = config.datasets().map(node).collect();
    for dataset in config.datasets() {
        for after in dataset.refresh.iter().flat_map(|refresh| &refresh.after) {
            for input in &after.inputs {
                drawn += &edge(&input.dataset, &dataset.name, after.any);
            }
        }
    }
    drawn
}

fn text(config: &Config) -> String {
    let width = config.datasets().map(|dataset| dataset.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for dataset in config.datasets() {
        let _ = writeln!(text, "{:width$}  {}", dataset.name, when(dataset));
    }
    text
}

/// Says in words when a dataset is refreshed.
pub fn when(dataset: &Dataset) -> String {
    let Some(refresh) = &dataset.refresh else {
        return if dataset.is_inbox() { "its drops".into() } else { "the stack's Schedule".into() };
    };
    let mut times: Vec<String> = refresh.schedules.iter().map(|schedule| schedule.text().to_owned()).collect();
    if let Some(zone) = refresh.zone.iana_name().filter(|zone| !times.is_empty() && *zone != "UTC") {
        times.push(format!("in {zone}"));
    }
    times.extend(refresh.after.iter().map(|after| {
        let inputs: Vec<&str> = after.inputs.iter().map(|input| input.dataset.as_str()).collect();
        format!("after {}", inputs.join(if after.any { " or " } else { " and " }))
    }));
    if times.is_empty() { "by hand".into() } else { times.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_has_every_dataset_and_every_input() {
        let files = "source = { files = { location = \"s3://lake/in/\" } }\n";
        let text = format!(
            "[defaults]\ndatabase = \"d\"\nlocation = \"s3://lake/s\"\n[datasets.archive]\n{files}refresh = \"manual\"\n\
             [datasets.orders]\n{files}refresh = [\"rate(1 hour)\", \"cron(0 2 * * ? *)\"]\ntimezone = \"Asia/Tokyo\"\n\
             [datasets.prices]\n{files}\
             [datasets.sales]\n{files}refresh = {{ after = [\"prices\", \"orders\"] }}\n\
             [datasets.totals]\n{files}refresh = [\"rate(1 day)\", {{ after = [\"sales\"], any = true }}]\n"
        );
        let config = Config::parse("f", &text).unwrap();
        assert_eq!(
            shown(&config, Form::Text),
            "archive  by hand\n\
             orders   rate(1 hour), cron(0 2 * * ? *), in Asia/Tokyo\n\
             prices   the stack's Schedule\n\
             sales    after orders and prices\n\
             totals   rate(1 day), after sales\n"
        );
        assert_eq!(
            shown(&config, Form::Mermaid),
            "graph LR\n    archive\n    orders\n    prices\n    sales\n    totals\n    orders --> sales\n    prices --> sales\n    \
             sales -.-> totals\n"
        );
        assert_eq!(
            shown(&config, Form::Dot),
            "digraph datasets {\n    rankdir=LR;\n    archive;\n    orders;\n    prices;\n    sales;\n    totals;\n    \
             orders -> sales;\n    prices -> sales;\n    sales -> totals [style=dashed];\n}\n"
        );
    }
}
