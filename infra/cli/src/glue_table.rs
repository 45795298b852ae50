//! Describes a dataset's Glue table, as text and as Terraform.

use std::collections::BTreeSet;

use turntable::{
    config::Dataset,
    layout::Location,
    partition::{self, Kind, Partition},
    schema::Column,
};

/// Returns text that shows the table's columns, location and parameters, followed by an empty line.
pub fn shown(dataset: &Dataset, columns: &[Column]) -> String {
    let (keys, columns) = split(dataset, columns);
    let partitions = partitions(dataset, &keys);
    let width = columns.iter().chain(&keys).map(|column| column.name.chars().count()).max().unwrap_or_default();
    let line = |column: &Column, more: &str| format!("  {:<width$}  {}{more}\n", column.name, column.glue_type);
    let mut text = format!("{} → {}\n", dataset.name, dataset.table);
    text += &columns.iter().map(|column| line(column, "")).collect::<String>();
    text += &partitions.iter().map(|one| line(&one.column, "  (partition)")).collect::<String>();
    let place = format!("{}COLOUR-ULID/", dataset.paths.location());
    text += &format!("  location: {place}\n  parameters: EXTERNAL = TRUE, classification = parquet\n");
    if !partitions.is_empty() {
        let names = partitions.iter().map(|one| one.column.name.as_str());
        let folders: String = names.map(|name| format!("{name}=${{{name}}}/")).collect();
        text += "    projection.enabled = true\n";
        text += &format!("    storage.location.template = {place}{folders}\n");
        for (key, value) in partitions.iter().flat_map(Partition::parameters) {
            text += &format!("    {key} = {value}\n");
        }
        text += "    (ranges and values come from the data)\n";
    }
    text + "\n"
}

/// Returns the partition columns and the others.
fn split<'a>(dataset: &Dataset, columns: &'a [Column]) -> (Vec<&'a Column>, Vec<&'a Column>) {
    columns.iter().partition(|column| dataset.partition_by.contains(&column.name))
}

/// Returns the partition columns in the order of `partition_by`, with the projected ranges for a table without rows.
/// Leaves out columns whose type can't be projected, because `check` reports them.
fn partitions(dataset: &Dataset, keys: &[&Column]) -> Vec<Partition> {
    let key = |name: &String| {
        let column = keys.iter().find(|column| column.name == *name)?;
        Partition::of((*column).clone(), Kind::of(&column.glue_type).ok()?, &BTreeSet::new()).ok()
    };
    dataset.partition_by.iter().filter_map(key).collect()
}

/// Returns a Terraform block that uses the module infra/terraform/modules/table, followed by an empty line.
pub fn terraform(dataset: &Dataset, columns: &[Column]) -> String {
    let (keys, columns) = split(dataset, columns);
    let partitions = partitions(dataset, &keys);
    let column = |column: &Column| format!("{{ name = {:?}, type = {:?} }}", column.name, column.glue_type);
    let mut text = format!(
        "module {name:?} {{\n  source = \"./infra/terraform/modules/table\"\n\n  database = {:?}\n  name     = {:?}\n  \
         location = {:?}\n\n  columns = [\n",
        dataset.table.database,
        dataset.table.table,
        above(dataset.paths.location()),
        name = dataset.name,
    );
    text += &columns.iter().map(|one| format!("    {},\n", column(one))).collect::<String>();
    text += "  ]\n";
    if !partitions.is_empty() {
        text += "\n  partitions = [\n";
        for one in &partitions {
            let prefix = partition::parameters_of(&one.column.name);
            let parameters = one.parameters();
            let pairs = parameters.iter().map(|(key, value)| {
                let key = key.strip_prefix(&prefix).unwrap_or(key);
                format!("{key:?} = {value:?}")
            });
            let pairs = pairs.collect::<Vec<_>>().join(", ");
            text += &format!(
                "    {{ name = {:?}, type = {:?}, projection = {{ {pairs} }} }},\n",
                one.column.name, one.column.glue_type
            );
        }
        text += "  ]\n";
    }
    text + "}\n\n"
}

/// Returns the parent of a table's folder, without a trailing slash.
fn above(paths: &Location) -> String {
    let text = paths.to_string();
    let text = text.trim_end_matches('/');
    text.rsplit_once('/').map_or(text, |(above, _)| above).to_owned()
}

#[cfg(test)]
mod tests {
    use turntable::config::Config;

    use super::*;

    #[test]
    fn table_is_shown_and_has_a_terraform_block() {
        let config = Config::parse(
            "f",
            "[datasets.orders]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\npartition_by = [\"day\"]\n\
             source.files.location = \"s3://lake/in/\"\n",
        )
        .unwrap();
        let column = |name: &str, glue_type: &str| Column { name: name.into(), glue_type: glue_type.into() };
        let columns = [column("id", "bigint"), column("day", "date"), column("total", "decimal(12,2)")];
        let expected = "\
orders → dmp.orders
  id     bigint
  total  decimal(12,2)
  day    date  (partition)
  location: s3://lake/schemas/orders/COLOUR-ULID/
  parameters: EXTERNAL = TRUE, classification = parquet
    projection.enabled = true
    storage.location.template = s3://lake/schemas/orders/COLOUR-ULID/day=${day}/
    projection.day.format = yyyy-MM-dd
    projection.day.interval = 1
    projection.day.interval.unit = DAYS
    projection.day.range = 1970-01-01,1970-01-01
    projection.day.type = date
    (ranges and values come from the data)

";
        let dataset = config.dataset("orders").unwrap();
        assert_eq!(shown(dataset, &columns), expected);
        let expected = "\
module \"orders\" {
  source = \"./infra/terraform/modules/table\"

  database = \"dmp\"
  name     = \"orders\"
  location = \"s3://lake/schemas\"

  columns = [
    { name = \"id\", type = \"bigint\" },
    { name = \"total\", type = \"decimal(12,2)\" },
  ]

  partitions = [
    { name = \"day\", type = \"date\", projection = { \"format\" = \"yyyy-MM-dd\", \"interval\" = \"1\", \"interval.unit\" = \"DAYS\", \"range\" = \"1970-01-01,1970-01-01\", \"type\" = \"date\" } },
  ]
}

";
        assert_eq!(terraform(dataset, &columns), expected);
    }
}
