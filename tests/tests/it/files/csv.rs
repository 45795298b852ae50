//! CSV: types, headers, encodings, and the errors for rows that don't fit.

use tests::memory;
use turntable::{error::Kind, manifest::TypedBy};

use super::{COLUMNS, PLACE, fault, read, read_one, read_with_nulls};

#[tokio::test]
async fn declared_columns_are_found_by_name() {
    let table =
        read_one("a.csv", "\u{feff}Name,AGE,id\r\n山田,7,1\r\n\"a\r\nb\",,2\r\n\"\",\"\",3", COLUMNS).await.unwrap();
    assert_eq!(table.typed_by, TypedBy::Declared);
    assert_eq!(table.columns, "id bigint, name string, age tinyint");
    assert_eq!(table.rows, ["1|山田|7", "2|a\r\nb|-", "3||-"]);
}

#[tokio::test]
async fn types_are_inferred_without_losing_information() {
    let csv = "id,phone,score,ok,born,seen,at,note\n\
               1,007,1.5,true,2024-01-31,2024-01-31T00:00:00,2024-01-31T09:00:00+09:00,\n\
               2,08,2,FALSE,,2024-01-31 01:00:00.000001,,\n";
    let table = read_one("a.csv", csv, "").await.unwrap();
    assert_eq!(table.typed_by, TypedBy::Inferred);
    assert_eq!(
        table.columns,
        "id bigint, phone string, score double, ok boolean, born date, seen timestamp, at timestamp, note string"
    );
    assert_eq!(
        table.rows,
        [
            "1|007|1.5|true|2024-01-31|2024-01-31T00:00:00|2024-01-31T00:00:00|-",
            "2|08|2.0|false|-|2024-01-31T01:00:00.000001|-|-"
        ]
    );
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_named_and_never_shown() {
    let csv = |row: &str| format!("id,name,age\n1,\"a\n\nb\",2\n{row}\n");
    for (row, expected) in [
        ("1,a", "a.csv: line 5: field count is 2, expected 3 as in the header"),
        ("1,a,2,3", "a.csv: line 5: field count is 4, expected 3 as in the header"),
        ("x,a,2", "a.csv: line 5: column \"id\" (bigint): not a whole number"),
        ("1,a,300", "a.csv: line 5: column \"age\" (tinyint): out of range"),
        ("1,\"a,2", "a.csv: line 5: unclosed quote"),
        ("1,\"a\"b,2", "a.csv: line 5: text after a closing quote, expected a delimiter or line end"),
    ] {
        assert_eq!(fault("a.csv", csv(row), COLUMNS).await, expected);
    }
    assert_eq!(
        fault("a.csv", b"id,name,age\n1,\xe9,2\n", COLUMNS).await,
        "a.csv: line 2: column \"name\" (string): not UTF-8: set source.files.csv.encoding to the file's encoding, maybe \"windows-1252\""
    );
}

#[tokio::test]
async fn a_later_row_that_breaks_an_inferred_type_says_what_to_do() {
    let csv = |last: &str| format!("id\n{}{last}\n", "1\n".repeat(10_000));
    for last in ["x", "007", "+1", "2.0"] {
        assert_eq!(
            fault("a.csv", csv(last), "").await,
            "a.csv: line 10002: column \"id\" (bigint, inferred from the first records): not a whole number; declare the \
             types in source.files.columns"
        );
    }
    assert_eq!(read_one("a.csv", csv("2"), "").await.unwrap().rows.len(), 10_001);
}

/// A file as Excel on Windows saves it, made with Python's cp932: ①, ～, 髙, ㈱, half-width kana, and characters that
/// contain the byte of a backslash.
const CP932: &[u8] = b"\x89\xef\x88\xf5\x94\xd4\x8d\x86,\x8e\x81\x96\xbc,\x94\xf5\x8dl\x0d\x0a\
    1,\xee\xe0\x8b\xb4 \x87@,\x81`\xb6\xc5\x81`\x0d\x0a\
    2,\x8eR\xed\x95 \x83\x5c\x94\x5c\x95\x5c,\x22\x87\x8a\xb1\xca\xde\xdd\xc1\x81A\x5c\xce\xdf\x22\x22\x0d\x0a\
    \x22\x22\x87V\x22\x0d\x0a";

#[tokio::test]
async fn shift_jis_is_read_as_windows_writes_it() {
    let options = ", csv = { encoding = \"shift_jis\" }";
    let table = read_one("a.csv", CP932, options).await.unwrap();
    assert_eq!(table.columns, "会員番号 bigint, 氏名 string, 備考 string");
    assert_eq!(table.rows, ["1|髙橋 ①|～ｶﾅ～", "2|山﨑 ソ能表|㈱ｱﾊﾞﾝﾁ、\\ﾎﾟ\"\r\n\"Ⅲ"]);
    let escaped = ", csv = { encoding = \"shift_jis\", escape = \"\\\\\" }, columns = { id = \"int\", s = \"string\" }";
    let table = read_one("a.csv", b"id,s\n1,\"\x83\x5c\x5c\"\x95\x5c\"\n", escaped).await.unwrap();
    assert_eq!(table.rows, ["1|ソ\"表"]);
    assert_eq!(
        fault("a.csv", CP932, "").await,
        "a.csv: line 1: the header is not UTF-8: set source.files.csv.encoding to the file's encoding, maybe \"shift_jis\""
    );
}

#[tokio::test]
async fn bytes_outside_the_encoding_are_named_and_never_replaced() {
    let options = ", csv = { encoding = \"shift_jis\" }, columns = { id = \"bigint\", name = \"string\" }";
    let rows: Vec<u8> = (0..100_000).flat_map(|id| [format!("{id},").as_bytes(), b"\x83\x5c\n"].concat()).collect();
    for (tail, expected) in [
        (
            &b"1,a\xa0b\n2,c\n"[..],
            "a.csv: line 100002: column \"name\" is not valid shift_jis: set source.files.csv.encoding to the file's encoding",
        ),
        (
            b"\xff,a\n",
            "a.csv: line 100002: column \"id\" is not valid shift_jis: set source.files.csv.encoding to the file's encoding",
        ),
        (
            b"1,\"a\n\n\xfd\"\n",
            "a.csv: line 100002: column \"name\" is not valid shift_jis: set source.files.csv.encoding to the file's encoding",
        ),
        (
            b"1,\x83",
            "a.csv: line 100002: column \"name\" is not valid shift_jis: set source.files.csv.encoding to the file's encoding",
        ),
    ] {
        let text = [b"id,name\n", &rows[..], tail].concat();
        assert_eq!(fault("a.csv", text, options).await, expected);
    }
    assert_eq!(
        fault("a.csv", b"id,\xff\n", options).await,
        "a.csv: line 1: field 2 is not valid shift_jis: set source.files.csv.encoding to the file's encoding"
    );
    assert_eq!(read_one("a.csv", [b"id,name\n", &rows[..]].concat(), options).await.unwrap().rows.len(), 100_000);
}

#[tokio::test]
async fn other_encodings_are_read_with_and_without_a_mark() {
    let utf16 = |mark: &str| format!("{mark}id\tname\r\n1\t山𠮷é\r\n").encode_utf16().collect::<Vec<u16>>();
    let little = |mark| utf16(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let big = |mark| utf16(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    for (encoding, text, name) in [
        ("utf-16le", little("\u{feff}"), "山𠮷é"),
        ("utf-16le", little(""), "山𠮷é"),
        ("utf-16be", big("\u{feff}"), "山𠮷é"),
        ("utf-8", "\u{feff}id\tname\n1\té".into(), "é"),
        ("windows-1252", b"id\tname\n1\t\x93\xe9\x94 \x80".to_vec(), "“é” €"),
        ("euc-jp", b"id\tname\n1\t\xbb\xb3\xc5\xc4\x8e\xb6".to_vec(), "山田ｶ"),
    ] {
        let options = format!(", csv = {{ delimiter = \"\\t\", encoding = \"{encoding}\" }}");
        let table = read_one("a.csv", text, &options).await.unwrap();
        assert_eq!(
            (table.columns.as_str(), table.rows),
            ("id bigint, name string", vec![format!("1|{name}")]),
            "{encoding}"
        );
    }
    let lone = [&little("")[..], &[0x31, 0, 9, 0, 0x00, 0xd8, 0x41, 0]].concat();
    let options = ", csv = { delimiter = \"\\t\", encoding = \"utf-16le\" }";
    assert_eq!(
        fault("a.csv", lone, options).await,
        "a.csv: line 3: column \"name\" is not valid utf-16le: set source.files.csv.encoding to the file's encoding"
    );
}

#[tokio::test]
async fn other_delimiters_quotes_and_nulls_are_read() {
    let columns = ", columns = { id = \"int\", name = \"string\", born = \"date\" }";
    let none = format!("{columns}, csv = {{ delimiter = \"|\", quote = \"\", null = \"\\\\N\", header = false }}");
    let table = read_one("a.csv", "1|\"x|2024-01-31\n\\N|\\N|\\N\n2||\n", &none).await.unwrap();
    assert_eq!(table.rows, ["1|\"x|2024-01-31", "-|-|-", "2||-"]);
    assert_eq!(
        fault("a.csv", "1|x|2024-01-31\n1|x\n", &none).await,
        "a.csv: line 2: field count is 2, expected 3 as declared in source.files.columns"
    );
    let words = format!("{columns}, csv = {{ null = [\"\", \"NULL\", \"n/a\"] }}");
    let table = read_one("a.csv", "born,id,name\nn/a,1,NULL\n,2,\"NULL\"\nNULL,3,\"\"\n", &words).await.unwrap();
    assert_eq!(table.rows, ["1|-|-", "2|NULL|-", "3||-"]);
    let table = read_one("a.csv", "a,b\n-,x\n1,-\n", ", csv = { null = \"-\" }").await.unwrap();
    assert_eq!((table.columns.as_str(), table.rows), ("a bigint, b string", vec!["-|x".into(), "1|-".into()]));

    let objects = memory::Objects::default();
    objects.put("s3://lake/in/users/a.ndjson", "{}");
    let error = read(&objects, &format!("{PLACE}, csv = {{}}")).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(
        error.message(),
        "s3://lake/in/users/a.ndjson is not a CSV file, but source.files.csv is set: remove source.files.csv"
    );
}

#[tokio::test]
async fn an_unrepresentable_value_is_null_where_the_dataset_says_so() {
    let columns = ", columns = { n = \"tinyint\", d = \"decimal(4,2)\", t = \"timestamp\", l = \"array<tinyint>\" }";
    let good = "n,d,t,l\n1,1.5,2024-01-31 00:00:00,[1]\n";
    let bad = "300,1.555,2024-01-31 00:00:00.0000001,\n7,123,2024-01-31,\n";
    let json = "{\"n\":300,\"d\":1.555,\"t\":\"2024-01-31 00:00:00.0000001\"}\n{\"n\":7,\"d\":123}\n";
    for (name, text) in [("a.csv", format!("{good}{bad}")), ("a.json", json.into())] {
        assert!(fault(name, text.clone(), columns).await.contains("column \"n\" (tinyint): out of range"));
        let (rows, nulled) = read_with_nulls(name, text, columns).await.unwrap();
        assert_eq!(rows[rows.len() - 2], "-|-|-|-", "{name}");
        assert_eq!(nulled, "{\"d\": 2, \"n\": 1, \"t\": 1}", "{name}");
    }
    for still in ["n,d,t,l\nx,1,2024-01-31,\n", "n,d,t,l\n1,1,2024-01-31,\"[1,300]\"\n"] {
        assert!(read_with_nulls("a.csv", still.to_owned(), columns).await.is_err(), "{still}");
    }
}

#[tokio::test]
async fn headers_are_checked() {
    for (header, expected) in [
        ("id,name", "a.csv: line 1: the header doesn't match the declared columns: missing \"age\""),
        ("id,name,age,x,y", "a.csv: line 1: the header doesn't match the declared columns: unexpected \"x\", \"y\""),
        (
            "id,nam,age",
            "a.csv: line 1: the header doesn't match the declared columns: missing \"name\"; unexpected \"nam\"",
        ),
        (
            "id,name,ID",
            "a.csv: line 1: the header has two columns called \"id\" (Glue's names are lower case): rename it, or declare source.files.columns in the order of the fields and set source.files.csv.match = \"position\"",
        ),
        (
            "id,,age",
            "a.csv: line 1: the header has no name for column 2: rename it, or declare source.files.columns in the order of the fields and set source.files.csv.match = \"position\"",
        ),
        (
            "id\r1,name,age",
            "a.csv: line 1: the header's name for column 1 contains a line end or another control character: rename it, or declare source.files.columns in the order of the fields and set source.files.csv.match = \"position\"",
        ),
    ] {
        assert_eq!(fault("a.csv", format!("{header}\n"), COLUMNS).await, expected);
    }
    let objects = memory::Objects::default();
    objects.put("s3://lake/in/users/a.csv", "id,name\n1,a\n");
    objects.put("s3://lake/in/users/b.csv", "name,id\nb,2\n");
    assert_eq!(read(&objects, PLACE).await.unwrap().rows, ["1|a", "2|b"]);
    objects.put("s3://lake/in/users/c.csv", "id,nom\n1,a\n");
    assert_eq!(
        read(&objects, PLACE).await.err().unwrap().message(),
        "s3://lake/in/users/c.csv: line 1: the header doesn't match the first object's header: missing \"name\"; unexpected \"nom\""
    );
}

#[tokio::test]
async fn lines_before_the_header_are_skipped_and_excel_names_its_delimiter() {
    for (text, options) in [
        ("sep=;\r\nid;name\r\n1;a,b\r\n", ""),
        ("\u{feff}sep=\t\nid\tname\n1\ta,b\n", ""),
        ("Report of \"today\n\nid;name\n1;a,b\n\n  \n", ", csv = { skip = 2, delimiter = \";\" }"),
        ("x\nsep=;\nid;name\n1;a,b\n", ", csv = { skip = 1 }"),
    ] {
        let table = read_one("a.csv", text, options).await.unwrap();
        assert_eq!((table.columns.as_str(), table.rows), ("id bigint, name string", vec!["1|a,b".into()]), "{text:?}");
    }
    let skipped = ", csv = { skip = 2 }, columns = { id = \"int\" }";
    assert_eq!(
        fault("a.csv", "a\nb\nid\nx\n", skipped).await,
        "a.csv: line 4: column \"id\" (int): not a whole number"
    );
    assert_eq!(
        fault("a.csv", "a\nb\nno\nx\n", skipped).await,
        "a.csv: line 3: the header doesn't match the declared columns: missing \"id\"; unexpected \"no\""
    );
    assert_eq!(read_one("a.csv", "a\n", skipped).await.unwrap().rows, [""; 0]);
}

#[tokio::test]
async fn fields_are_matched_by_position_whatever_the_header_says() {
    let columns = ", columns = { id = \"int\", a = \"string\", b = \"string\" }, csv = { match = \"position\" }";
    for header in ["id,name,name", ",,", "id,\"two\nlines\",\u{1}", "番号,氏名,備考"] {
        let table = read_one("a.csv", format!("{header}\n1,x,y\n"), columns).await.unwrap();
        assert_eq!(
            (table.columns.as_str(), table.rows),
            ("id int, a string, b string", vec!["1|x|y".into()]),
            "{header}"
        );
    }
    assert_eq!(
        fault("a.csv", "id,name\n1,x\n", columns).await,
        "a.csv: line 1: the header has 2 fields, expected 3 as declared in source.files.columns"
    );
}

#[tokio::test]
async fn numbers_are_read_with_the_separators_of_their_column() {
    let text = "id;price;n;note\n1;1.234,50;1'000;1.234,50\n2;-,5;7;x\n3;;;\n";
    let numbers = "csv = { delimiter = \";\", numbers = { Price = { decimal = \",\", thousands = \".\" }, n = { thousands = \"'\" } } }";
    let rows = ["1|1234.50|1000|1.234,50", "2|-0.50|7|x", "3|-|-|-"];
    let table = read_one("a.csv", text, &format!(", {numbers}")).await.unwrap();
    assert_eq!(table.columns, "id bigint, price decimal(18,2), n bigint, note string");
    assert_eq!(table.rows, rows);
    let columns = "columns = { id = \"int\", price = \"decimal(9,2)\", n = \"bigint\", note = \"string\" }";
    let declared = read_one("a.csv", text, &format!(", {columns}, {numbers}")).await.unwrap();
    assert_eq!(declared.rows, rows);
    // `1.5` is a malformed group of digits, not fifteen. It isn't a number at all, so it is an error even where
    // unrepresentable values become NULL.
    let wrong = "id;price;n;note\n1;1.5;1;\n";
    let why = "line 2: column \"price\" (decimal(9,2)): not a number with the separators in source.files.csv.numbers";
    let options = format!(", {columns}, {numbers}");
    assert_eq!(fault("a.csv", wrong, &options).await, format!("a.csv: {why}"));
    assert!(read_with_nulls("a.csv", wrong, &options).await.is_err());
    for (name, why) in [("note", "the column is not a number"), ("x", "there is no such column")] {
        let options = format!(", csv = {{ delimiter = \";\", numbers = {{ {name} = {{ decimal = \",\" }} }} }}");
        let found = fault("a.csv", "id;note\n1;a\n", &options).await;
        assert!(found.starts_with(&format!("a.csv: source.files.csv.numbers.{name}: {why}")), "{found}");
    }
}

#[tokio::test]
async fn text_that_is_no_value_is_never_null() {
    let columns = ", columns = { id = \"int\", n = \"bigint\", d = \"decimal(4,2)\", t = \"timestamp\" }";
    for row in [
        "99999999999999999999x,,,",
        "1,9223372036854775808-,,",
        "1,,1.555x,",
        "1,,12345678x,",
        "1,,1.2.3,",
        "1,,,2024-01-31 00:00:00.1234567 JST",
        "1,,,2024-01-31 00:00:00.1234567.8",
    ] {
        let text = format!("id,n,d,t\n{row}\n");
        assert!(read_with_nulls("a.csv", text, columns).await.is_err(), "{row}");
    }
}

#[tokio::test]
async fn inferred_numbers_keep_every_digit() {
    let text = "a,b,c,d,e\n1234567890123456.78,1e-400,1.10,1.5,0.30000000000000004\n1,1,2.5,2.0,1e-07\n";
    let table = read_one("a.csv", text, "").await.unwrap();
    assert_eq!(table.columns, "a decimal(18,2), b string, c decimal(18,2), d double, e double");
    assert_eq!(table.rows, ["1234567890123456.78|1e-400|1.10|1.5|0.30000000000000004", "1.00|1|2.50|2.0|1e-7"]);
    let csv = |first: &str, last: &str| format!("n\n{}{last}\n", format!("{first}\n").repeat(10_000));
    for (first, last, why) in [
        (
            "1.5",
            "1.10",
            "(double, inferred from the first records): not a number that a double prints with the same digits",
        ),
        ("1.5", "1234567890123456.78", "(double, inferred from the first records): not a number that a double prints"),
        ("1.10", "1.125", "(decimal(18,2), inferred from the first records): more decimal places than the type holds"),
        ("1.10", "007.5", "(decimal(18,2), inferred from the first records): not a number that a decimal prints"),
        ("1.10", "1e5", "(decimal(18,2), inferred from the first records): not a number that a decimal prints"),
    ] {
        let found = fault("a.csv", csv(first, last), "").await;
        assert!(found.starts_with(&format!("a.csv: line 10002: column \"n\" {why}")), "{found}");
    }
    let json = "{\"a\":1234567890123456.78,\"b\":1.10,\"c\":1e5,\"d\":12}\n{\"d\":1.5}\n";
    let table = read_one("a.json", json, "").await.unwrap();
    assert_eq!(table.columns, "a decimal(18,2), b decimal(18,2), c double, d double");
    assert_eq!(table.rows, ["1234567890123456.78|1.10|100000.0|12.0", "-|-|-|1.5"]);
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_the_right_one() {
    let cp932 = b"id,name\n1,\x8eR\x93c\n".to_vec();
    let utf16: Vec<u8> = "id,name\n1,山田\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, body, columns, expected) in [
        (
            "a.csv",
            cp932.clone(),
            "",
            "a.csv: line 2: column \"name\" (string, inferred from the first records): not UTF-8: set \
             source.files.csv.encoding to the file's encoding, maybe \"shift_jis\"",
        ),
        (
            "a.csv",
            cp932,
            ", columns = { id = \"int\", name = \"string\" }",
            "a.csv: line 2: column \"name\" (string): not UTF-8: set source.files.csv.encoding to the file's encoding, maybe \
             \"shift_jis\"",
        ),
        ("a.csv", utf16.clone(), "", "a.csv: line 1: the text is UTF-16: set source.files.csv.encoding = \"utf-16le\""),
        (
            "a.csv",
            [b"\xff\xfe", &utf16[..]].concat(),
            "",
            "a.csv: line 1: the text is UTF-16: set source.files.csv.encoding = \"utf-16le\"",
        ),
        (
            "a.json",
            "{\"id\":1}\n".repeat(20).encode_utf16().flat_map(u16::to_be_bytes).collect(),
            "",
            "a.json: line 1: the text is utf-16be, but JSON is UTF-8: convert it to UTF-8",
        ),
        ("a.csv", b"\x1f\x8b\x08\0...".to_vec(), "", "a.csv is compressed with gzip: give it a name that ends in .gz"),
        (
            "a.json",
            b"\x28\xb5\x2f\xfd...".to_vec(),
            "",
            "a.json is compressed with zstd: give it a name that ends in .zst",
        ),
        ("a.csv", b"BZh91AY&SY".to_vec(), COLUMNS, "a.csv is compressed with bzip2: give it a name that ends in .bz2"),
        (
            "a.csv",
            b"\xff\x06\0\0sNaPpY".to_vec(),
            COLUMNS,
            "a.csv is compressed with snappy: give it a name that ends in .snappy",
        ),
        (
            "a.csv",
            b"PK\x03\x04...".to_vec(),
            COLUMNS,
            "a.csv is compressed with zip, which is not supported: store it uncompressed, or compressed with gzip or zstd \
             and with a name that ends in .gz or .zst",
        ),
        (
            "a.csv",
            b"PAR1...".to_vec(),
            "",
            "a.csv is a Parquet file: give it a name that ends in .parquet, or set source.files.format",
        ),
        (
            "a.csv",
            b"id;name;age\n1;a;2\n".to_vec(),
            COLUMNS,
            "a.csv: line 1: the header doesn't match the declared columns: missing \"id\", \"name\", \"age\"; unexpected \
             \"id;name;age\": set source.files.csv.delimiter = \";\", which the header contains",
        ),
        (
            "a.csv",
            b"id;name\n1;a\n".to_vec(),
            "",
            "a.csv: line 1: the header is one name that contains \";\": set source.files.csv.delimiter = \";\", or declare \
             source.files.columns",
        ),
        (
            "a.csv",
            b"id\tname\n1\ta\n".to_vec(),
            "",
            "a.csv: line 1: the header's name for column 1 contains a line end or another control character: set \
             source.files.csv.delimiter = \"\\t\"",
        ),
    ] {
        assert_eq!(fault(name, body, columns).await, expected);
    }
    let table = read_one("a.csv", "a;b\nx\n", "").await.unwrap();
    assert_eq!(table.columns, "a;b string", "the records don't have the delimiter");
}
