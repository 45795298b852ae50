//! The names of PostgreSQL's error codes, and the codes whose messages never hold a row's value.

use tokio_postgres::error::{DbError, ErrorPosition};

/// The condition names in the classes whose messages may hold a row's value (PostgreSQL's manual, appendix A).
const NAMES: &str = "\
    20000 case_not_found 21000 cardinality_violation 22000 data_exception 22001 string_data_right_truncation \
    22002 null_value_no_indicator_parameter 22003 numeric_value_out_of_range 22004 null_value_not_allowed \
    22005 error_in_assignment 22007 invalid_datetime_format 22008 datetime_field_overflow \
    22009 invalid_time_zone_displacement_value 2200B escape_character_conflict 2200C invalid_use_of_escape_character \
    2200D invalid_escape_octet 2200F zero_length_character_string 2200G most_specific_type_mismatch \
    2200H sequence_generator_limit_exceeded 2200L not_an_xml_document 2200M invalid_xml_document \
    2200N invalid_xml_content 2200S invalid_xml_comment 2200T invalid_xml_processing_instruction \
    22010 invalid_indicator_parameter_value 22011 substring_error 22012 division_by_zero \
    22013 invalid_preceding_or_following_size 22014 invalid_argument_for_ntile_function \
    22015 interval_field_overflow 22016 invalid_argument_for_nth_value_function \
    22018 invalid_character_value_for_cast 22019 invalid_escape_character 2201B invalid_regular_expression \
    2201E invalid_argument_for_logarithm 2201F invalid_argument_for_power_function \
    2201G invalid_argument_for_width_bucket_function 2201W invalid_row_count_in_limit_clause \
    2201X invalid_row_count_in_result_offset_clause 22021 character_not_in_repertoire 22022 indicator_overflow \
    22023 invalid_parameter_value 22024 unterminated_c_string 22025 invalid_escape_sequence \
    22026 string_data_length_mismatch 22027 trim_error 2202E array_subscript_error 2202G invalid_tablesample_repeat \
    2202H invalid_tablesample_argument 22030 duplicate_json_object_key_value \
    22031 invalid_argument_for_sql_json_datetime_function 22032 invalid_json_text 22033 invalid_sql_json_subscript \
    22034 more_than_one_sql_json_item 22035 no_sql_json_item 22036 non_numeric_sql_json_item \
    22037 non_unique_keys_in_a_json_object 22038 singleton_sql_json_item_required 22039 sql_json_array_not_found \
    2203A sql_json_member_not_found 2203B sql_json_number_not_found 2203C sql_json_object_not_found \
    2203D too_many_json_array_elements 2203E too_many_json_object_members 2203F sql_json_scalar_required \
    2203G sql_json_item_cannot_be_cast_to_target_type 22P01 floating_point_exception \
    22P02 invalid_text_representation 22P03 invalid_binary_representation 22P04 bad_copy_file_format \
    22P05 untranslatable_character 22P06 nonstandard_use_of_escape_character 23000 integrity_constraint_violation \
    23001 restrict_violation 23502 not_null_violation 23503 foreign_key_violation 23505 unique_violation \
    23514 check_violation 23P01 exclusion_violation 2F000 sql_routine_exception \
    2F002 modifying_sql_data_not_permitted 2F003 prohibited_sql_statement_attempted \
    2F004 reading_sql_data_not_permitted 2F005 function_executed_no_return_statement 34000 invalid_cursor_name \
    38000 external_routine_exception 38001 containing_sql_not_permitted 38002 modifying_sql_data_not_permitted \
    38003 prohibited_sql_statement_attempted 38004 reading_sql_data_not_permitted \
    39000 external_routine_invocation_exception 39001 invalid_sqlstate_returned 39004 null_value_not_allowed \
    39P01 trigger_protocol_violated 39P02 srf_protocol_violated 39P03 event_trigger_protocol_violated \
    3F000 invalid_schema_name 42000 syntax_error_or_access_rule_violation 42501 insufficient_privilege \
    42601 syntax_error 42602 invalid_name 42611 invalid_column_definition 42622 name_too_long 42701 duplicate_column \
    42702 ambiguous_column 42703 undefined_column 42704 undefined_object 42710 duplicate_object \
    42712 duplicate_alias 42723 duplicate_function 42725 ambiguous_function 42803 grouping_error \
    42804 datatype_mismatch 42809 wrong_object_type 42830 invalid_foreign_key 42846 cannot_coerce \
    42883 undefined_function 428C9 generated_always 42939 reserved_name 42P01 undefined_table \
    42P02 undefined_parameter 42P03 duplicate_cursor 42P04 duplicate_database 42P05 duplicate_prepared_statement \
    42P06 duplicate_schema 42P07 duplicate_table 42P08 ambiguous_parameter 42P09 ambiguous_alias \
    42P10 invalid_column_reference 42P11 invalid_cursor_definition 42P12 invalid_database_definition \
    42P13 invalid_function_definition 42P14 invalid_prepared_statement_definition 42P15 invalid_schema_definition \
    42P16 invalid_table_definition 42P17 invalid_object_definition 42P18 indeterminate_datatype \
    42P19 invalid_recursion 42P20 windowing_error 42P21 collation_mismatch 42P22 indeterminate_collation \
    72000 snapshot_too_old P0000 plpgsql_error P0001 raise_exception P0002 no_data_found P0003 too_many_rows \
    P0004 assert_failure XX000 internal_error XX001 data_corrupted XX002 index_corrupted";

/// The classes of codes whose messages are only about the server, the connection and the transaction.
const CLASSES_WITHOUT_VALUES: [&str; 12] = ["08", "0A", "25", "26", "28", "3D", "40", "53", "54", "55", "57", "58"];

/// Further codes whose messages are fixed, or hold only names of types, columns and other objects in the catalog.
const CODES_WITHOUT_VALUES: [&str; 39] = [
    "21000", "22001", "22004", "22011", "22012", "22013", "22014", "22016", "22019", "2201B", "2201E", "2201F",
    "2201G", "2201W", "2201X", "22025", "22026", "2202E", "2202G", "2202H", "2200M", "2200N", "23502", "23514",
    "2F005", "42501", "42725", "42803", "42804", "42809", "42846", "42P18", "42P21", "42P22", "72000", "P0002",
    "P0003", "XX001", "XX002",
];

/// Returns the condition name of a code, such as `division_by_zero`.
fn name(code: &str) -> Option<&'static str> {
    let mut words = NAMES.split_ascii_whitespace();
    words.find(|word| *word == code)?;
    words.next()
}

/// Returns whether the message of an error in a running statement can't hold a row's value.
fn is_free_of_values(answer: &DbError) -> bool {
    let code = answer.code().code();
    // RAISE in PL/pgSQL can give any message any code.
    let is_raised = answer.routine() == Some("exec_stmt_raise");
    // A position in the statement means that the server rejected the statement's text. Without one, a message with the
    // same code may hold a value, such as a string that was cast to regclass, or a part of the SQL that a function
    // built from it.
    let is_of_text = code.starts_with("42") && matches!(answer.position(), Some(ErrorPosition::Original(_)));
    let is_listed =
        CODES_WITHOUT_VALUES.contains(&code) || CLASSES_WITHOUT_VALUES.iter().any(|of| code.starts_with(of));
    !is_raised && (is_listed || is_of_text)
}

/// Returns the message of an error in a running statement if it can't hold a row's value, and otherwise the condition's
/// name and code. An example of a hidden message is `invalid input syntax for type integer: "…"`.
pub fn message(answer: &DbError) -> String {
    if is_free_of_values(answer) {
        return answer.message().to_owned();
    }
    let code = answer.code().code();
    let name = name(code).map(|name| format!("{name}, ")).unwrap_or_default();
    let place = answer.where_().and_then(function).map(|function| format!(", in {function}")).unwrap_or_default();
    format!("{name}SQLSTATE {code}{place} (the message may contain a row's value: see the server's log)")
}

/// Returns the line of an error's context that names the innermost function. Unlike the others, it holds no value.
fn function(context: &str) -> Option<&str> {
    let names_function = |line: &&str| ["PL/pgSQL function ", "SQL function "].iter().any(|of| line.starts_with(of));
    context.lines().find(names_function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_a_function_is_taken_from_a_context() {
        let context = "SQL statement \"SELECT 'hunter2'\"\nPL/pgSQL function f(integer) line 3 at EXECUTE\nSQL function \"g\" statement 1";
        assert_eq!(function(context), Some("PL/pgSQL function f(integer) line 3 at EXECUTE"));
        assert_eq!(function("JSON data, line 1: hunter2"), None);
    }

    #[test]
    fn every_listed_code_has_a_name() {
        for code in CODES_WITHOUT_VALUES {
            assert!(name(code).is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase())), "{code}");
        }
        assert_eq!(name("22P02"), Some("invalid_text_representation"));
        assert_eq!(name("22P0"), None);
        assert_eq!(NAMES.split_ascii_whitespace().count() % 2, 0);
    }
}
