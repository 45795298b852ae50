//! Decides from the server's plan whether a query may be read in parts.
//!
//! Each part runs the whole query, on the same snapshot, and keeps the rows of its range. Together the parts are the
//! query's rows only if each run finds the same rows. LIMIT without a total order, TABLESAMPLE, window functions
//! without an order, volatile functions and other servers' tables may return different rows each time, also inside
//! views and policies.

use serde_json::{Map, Value};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    describe::{Described, QueryColumn},
    expression::{self, Call},
    failure,
    server::Server,
};
use turntable_core::error::{Error, Result};

/// Makes the planner scan every table sequentially. With an index scan, the plan would show the index's name instead of
/// the order that a window function needs, and would turn `max(id)` into a LIMIT.
const PLANNER: &str = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off";

/// Stands in for the bounds of a part: the plan shows where the server would apply them.
const MARKER: &str = "turntable split_by";

/// The window functions whose result doesn't depend on the order of rows, or is the same for all rows that are equal in
/// that order.
const WITHOUT_ORDER: [&str; 14] = [
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "count",
    "cume_dist",
    "dense_rank",
    "every",
    "max",
    "min",
    "percent_rank",
    "rank",
    "sum",
];

/// The names of the plan-node properties whose values are not expressions.
const NAMES: [&str; 17] = [
    "Node Type",
    "Parent Relationship",
    "Join Type",
    "Scan Direction",
    "Relation Name",
    "Schema",
    "Alias",
    "Index Name",
    "CTE Name",
    "Subplan Name",
    "Tuplestore Name",
    "Strategy",
    "Partial Mode",
    "Function Name",
    "Table Function Name",
    "Custom Plan Provider",
    "Operation",
];

/// Checks that the user may run the query. To describe a query, PostgreSQL needs no right on its tables.
pub async fn allowed(client: &Client, server: &Server, query: &str) -> Result<()> {
    let sql = format!("EXPLAIN {query}");
    let explained = client.batch_execute(&sql).await;
    explained.map_err(|error| failure::in_statement(server, &sql, query, error))
}

/// Checks that the query's rows are the same in each run, and that `split_by`, if given, is a column of a table.
/// Returns whether the rows may depend on the order in which the server reads a table.
pub async fn check(
    client: &Client,
    server: &Server,
    described: &Described,
    query: &str,
    split_by: Option<&QueryColumn>,
) -> Result<bool> {
    let marker =
        split_by.map(|column| format!("({})::pg_catalog.text IS DISTINCT FROM '{MARKER}'", column.reference()));
    let plan = explain(client, server, query, &described.select(query, marker.as_deref())).await?;
    let mut found = Found::default();
    visit(&plan, &mut found);
    let is_column = match split_by {
        Some(_) if found.is_on_tables == Some(true) => true,
        Some(column) => is_of_table(client, column).await.map_err(|error| failure::error_of(server, error))?,
        None => true,
    };
    let volatile = volatile(client, &found.calls).await.map_err(|error| failure::error_of(server, error))?;
    let mut why = found.why;
    if !volatile.is_empty() {
        why.push(format!(
            "it calls {}, which {} volatile (declare a function of your own STABLE or IMMUTABLE, if its result depends on \
             nothing but its arguments and the data)",
            volatile.join(", "),
            if volatile.len() == 1 { "is" } else { "are" }
        ));
    }
    // Another fault inside a view also keeps the server from applying the bounds to the view's tables. So `split_by` is
    // only blamed if there is no other fault, or if it comes from no table or view.
    if let Some(column) = split_by.filter(|column| !is_column && (why.is_empty() || column.origin.is_none())) {
        why.push(format!(
            "split_by {:?} is not a column of a table (select the column itself, and name that)",
            column.name
        ));
    }
    if why.is_empty() {
        return Ok(found.is_ordered);
    }
    Err(Error::input(format!(
        "the query can't be read in parallel: each part runs it again, and rows could be lost or repeated, because {}; \
         set parallel = 1, or change the query (and the views that it reads)",
        why.join("; and ")
    )))
}

/// Returns the plan of a statement that contains the query. Leaves the transaction as it was.
async fn explain(client: &Client, server: &Server, query: &str, select: &str) -> Result<Value> {
    let sql = format!(
        "SAVEPOINT plan; {PLANNER}; EXPLAIN (VERBOSE, COSTS off, FORMAT JSON) {select}; ROLLBACK TO SAVEPOINT plan; \
         RELEASE SAVEPOINT plan"
    );
    let answer = client.simple_query(&sql).await.map_err(|error| failure::in_statement(server, &sql, query, error))?;
    let lines = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let text: String = lines.collect::<Vec<_>>().join("\n");
    serde_json::from_str(&text).map_err(|error| {
        Error::corrupt(format!(
            "PostgreSQL at {} returned a query plan that is not JSON, so the query can't be split: set parallel = 1",
            server.name()
        ))
        .caused_by(error)
    })
}

/// The facts about the query that its plan shows.
#[derive(Default)]
struct Found {
    /// Why its rows may differ from run to run.
    why: Vec<String>,
    calls: Vec<Call>,
    /// Whether the part's bounds apply to columns of tables, wherever the server applies them. `None` if the plan
    /// doesn't show any bounds.
    is_on_tables: Option<bool>,
    /// Whether any node's rows may depend on the order of its input.
    is_ordered: bool,
}

impl Found {
    fn because(&mut self, why: &str) {
        if !self.why.iter().any(|known| known == why) {
            self.why.push(why.to_owned());
        }
    }
}

/// Adds to `found` what a plan shows, including the plans in it.
fn visit(value: &Value, found: &mut Found) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| visit(value, found)),
        Value::Object(node) => {
            if node.contains_key("Node Type") {
                judge(node, found);
            }
            node.values().for_each(|value| visit(value, found));
        }
        _ => {}
    }
}

/// Adds to `found` what a single node shows, without the plans in it.
fn judge(node: &Map<String, Value>, found: &mut Found) {
    match text(node, "Node Type") {
        "Limit" => found.because("it has a LIMIT, OFFSET or FETCH"),
        "Sample Scan" => found.because("it has a TABLESAMPLE"),
        "Foreign Scan" => found.because("it reads foreign tables, whose server doesn't share the snapshot"),
        "Custom Scan" if text(node, "Custom Plan Provider").starts_with("Citus") => {
            found.because("it reads distributed tables, whose servers don't share the snapshot");
        }
        "WindowAgg" => {
            found.is_ordered = true;
            if needs_order(node) && !has_order(node) && !has_bounds(node) {
                found.because("it has a window function without ORDER BY");
            }
        }
        // DISTINCT ON keeps the first of several rows.
        "Unique" => found.is_ordered = true,
        _ => {}
    }
    for (key, text) in expressions(node) {
        found.calls.extend(expression::calls(text));
        if key != "Output" && text.contains(MARKER) {
            let is_table = node.contains_key("Relation Name") || node.contains_key("Join Type");
            let is_column = is_table && expression::compares_column(text, MARKER);
            // The server may apply the bounds at several places, such as the partitions of a table.
            found.is_on_tables = Some(is_column && found.is_on_tables != Some(false));
        }
    }
}

fn text<'a>(node: &'a Map<String, Value>, key: &str) -> &'a str {
    node.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the expressions in a node, each with the name of its property. Leaves out the expressions in the plans below
/// the node.
fn expressions(node: &Map<String, Value>) -> Vec<(&str, &str)> {
    fn collect<'a>(key: &'a str, value: &'a Value, to: &mut Vec<(&'a str, &'a str)>) {
        match value {
            Value::String(text) => to.push((key, text)),
            Value::Array(values) => values.iter().for_each(|value| collect(key, value, to)),
            Value::Object(object) => object.values().for_each(|value| collect(key, value, to)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (key, value) in node.iter().filter(|(key, _)| *key != "Plans" && !NAMES.contains(&key.as_str())) {
        collect(key, value, &mut found);
    }
    found
}

/// Returns whether the result of a window function in this node depends on the order of the rows.
fn needs_order(node: &Map<String, Value>) -> bool {
    // Since PostgreSQL 18, a node names its window, and its output also has the results of the windows below it.
    let name = text(node, "Window").split(" AS ").next().filter(|name| !name.is_empty());
    let outputs = expressions(node).into_iter().filter(|(key, _)| *key == "Output");
    let calls = outputs.flat_map(|(_, text)| expression::calls(text));
    let mut of_window =
        calls.filter(|call| call.window.as_deref().is_some_and(|of| name.is_none_or(|name| name == of)));
    of_window.any(|call| !WITHOUT_ORDER.contains(&call.name.as_str()))
}

/// Returns whether the rows of this node's window have an order.
fn has_order(node: &Map<String, Value>) -> bool {
    match text(node, "Window") {
        "" => {
            any_below(node, &|below| matches!(text(below, "Node Type"), "Sort" | "Incremental Sort" | "Merge Append"))
        }
        window => window.contains("ORDER BY "),
    }
}

/// Returns whether the part's bounds apply below a node. If they do, all rows of the node that have the same key are in
/// one part.
fn has_bounds(node: &Map<String, Value>) -> bool {
    any_below(node, &|below| expressions(below).iter().any(|(key, text)| *key != "Output" && text.contains(MARKER)))
}

fn any_below(node: &Map<String, Value>, test: &impl Fn(&Map<String, Value>) -> bool) -> bool {
    let plans = node.get("Plans").and_then(Value::as_array).into_iter().flatten();
    plans.filter_map(Value::as_object).any(|below| test(below) || any_below(below, test))
}

/// Returns whether a column of the query is a column of a table and not of a view.
async fn is_of_table(client: &Client, column: &QueryColumn) -> Result<bool, tokio_postgres::Error> {
    let Some((table, _)) = column.origin else { return Ok(false) };
    let sql = "SELECT FROM pg_catalog.pg_class WHERE oid = $1 AND relkind IN ('r', 'p', 'm')";
    Ok(client.query_opt(sql, &[&table]).await?.is_some())
}

/// Returns the names of the functions that are volatile.
async fn volatile(client: &Client, calls: &[Call]) -> Result<Vec<String>, tokio_postgres::Error> {
    let (schemas, names): (Vec<Option<&str>>, Vec<&str>) =
        calls.iter().map(|call| (call.schema.as_deref(), call.name.as_str())).unzip();
    let rows = client
        .query(
            "SELECT DISTINCT pg_catalog.concat_ws('.', c.schema, c.name) AS called \
             FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS c(schema, name) \
             JOIN pg_catalog.pg_proc p ON p.proname = c.name JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             WHERE p.provolatile = 'v' \
               AND CASE WHEN c.schema IS NULL THEN pg_catalog.pg_function_is_visible(p.oid) ELSE n.nspname = c.schema END \
             ORDER BY called",
            &[&schemas, &names],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(plan: &Value) -> Found {
        let mut found = Found::default();
        visit(plan, &mut found);
        found
    }

    #[test]
    fn bounds_apply_to_columns_of_tables_at_every_place_or_not_at_all() {
        let filter = |of: &str| format!("((t.a > 5) AND (({of})::text IS DISTINCT FROM '{MARKER}'::text))");
        let scan = |of: &str| json!({ "Node Type": "Seq Scan", "Relation Name": "t", "Filter": filter(of) });
        assert_eq!(found(&json!([])).is_on_tables, None);
        assert_eq!(found(&json!([{ "Plan": scan("t.id") }])).is_on_tables, Some(true));
        for (one, other, all) in [("t.id", "t.id", true), ("t.id", "1", false), ("(t.id + 1)", "t.id", false)] {
            let append = json!({ "Node Type": "Append", "Plans": [scan(one), scan(other)] });
            assert_eq!(found(&append).is_on_tables, Some(all), "{one} {other}");
        }
        let subquery = json!({ "Node Type": "Subquery Scan", "Alias": "q", "Filter": filter("q.id") });
        assert_eq!(found(&subquery).is_on_tables, Some(false));
    }

    #[test]
    fn a_window_needs_an_order_or_the_bounds_below_it() {
        let window = |output: &str, more: Value, below: Value| {
            let mut node = json!({ "Node Type": "WindowAgg", "Output": [output], "Plans": [below] });
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            found(&node).why
        };
        let refused = ["it has a window function without ORDER BY"];
        let scan = json!({ "Node Type": "Seq Scan" });
        let sort = json!({ "Node Type": "Subquery Scan", "Plans": [{ "Node Type": "Sort" }] });
        let bounds =
            json!({ "Node Type": "Seq Scan", "Filter": format!("(t.name IS DISTINCT FROM '{MARKER}'::text)") });
        assert_eq!(window("row_number() OVER (?)", json!({}), scan.clone()), refused);
        assert!(window("row_number() OVER (?)", json!({}), sort.clone()).is_empty());
        assert!(window("row_number() OVER (?)", json!({}), bounds).is_empty());
        assert!(window("round((x / sum(x) OVER (?)), 2)", json!({}), scan.clone()).is_empty());
        let named = |window: &str| json!({ "Window": window });
        assert_eq!(window("row_number() OVER w1", named("w1 AS (PARTITION BY t.a)"), sort), refused);
        assert!(window("row_number() OVER w1", named("w1 AS (ORDER BY t.a)"), scan.clone()).is_empty());
        assert!(window("(row_number() OVER w1)", named("w2 AS ()"), scan).is_empty());
    }
}
