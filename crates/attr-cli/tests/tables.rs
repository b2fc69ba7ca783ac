//! Tables: rows of CSV files, explained column by column.

mod bench;

use attr_core::{Graph, Op};
use bench::Bench;
use ndarray::{Array2, ArrayD};

/// Of each column in the model's order: its mean, its standard deviation, its weight.
const COLUMNS: [(&str, f64, f64, f64); 3] =
    [("age", 40.0, 10.0, 2.0), ("height", 170.0, 20.0, -1.0), ("pulse", 70.0, 5.0, 0.5)];

const ROWS: &str = "name,pulse,age,height\nA,75,50,170\nB,60,30,210\nC,70,55,180\n";

/// One output: the weighted sum of the standardized columns.
fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    let mut graph = Graph::default();
    let x = graph.input("features", &[3]).unwrap();
    let weight = graph.param(Array2::from_shape_fn((1, 3), |(_, i)| COLUMNS[i].3 as f32));
    let y = graph.add("sum", Op::Linear, &[x], &[weight]).unwrap();
    graph.set_outputs(&[y]).unwrap();
    attr_onnx::write(&graph, bench.path("table.onnx")).unwrap();
    attr_onnx::write(&graph, bench.path("plain.onnx")).unwrap();
    let (names, means, stds) = (COLUMNS.map(|c| c.0), COLUMNS.map(|c| c.1), COLUMNS.map(|c| c.2));
    bench.write("table.json", format!(r#"{{"columns": {names:?}, "mean": {means:?}, "std": {stds:?}}}"#));
    bench.write("rows.csv", ROWS);
    bench
}

/// By hand: weight times the way from the baseline, in standard deviations.
#[test]
fn columns_are_matched_by_name_and_standardized() {
    let bench = bench("tables");
    for (more, expected) in [
        // From the mean that the model was made with: zero.
        ("--row 1", [2.0 * 1.0, 0.0, 0.5]),
        ("--row 3", [2.0 * 1.5, -0.5, 0.0]),
        // The table's own means are 45, 186.67 and 68.33.
        (
            "--row 1 --baseline mean",
            [2.0 * 0.5, (186.0 + 2.0 / 3.0 - 170.0) / 20.0, 0.5 * (75.0 - 205.0 / 3.0) / 5.0],
        ),
        ("--row 1 --method occlusion --baseline mean", [1.0, 50.0 / 60.0, 0.5 * (20.0 / 3.0) / 5.0]),
        ("--row 1 --method deeplift --baseline mean", [1.0, 50.0 / 60.0, 0.5 * (20.0 / 3.0) / 5.0]),
    ] {
        let out = bench
            .done(&format!("explain --model table.onnx --input rows.csv --target 0 {more} --out e.json"));
        let json = bench.json("e.json");
        let columns = json["columns"][0].as_array().unwrap();
        for ((column, (name, ..)), expected) in columns.iter().zip(COLUMNS).zip(expected) {
            assert_eq!(column["column"], name);
            let found = column["attribution"].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-5, "{more}, {name}: {found} beside {expected}");
        }
        // The largest first, with the number as it stands in the file.
        let first = out.lines().position(|line| line.starts_with("age = ")).unwrap();
        let last = out.lines().position(|line| line.starts_with("pulse = ")).unwrap();
        assert!(first < last && !out.contains('\x1b'), "{out}");
    }
    let json = bench.json("e.json");
    assert_eq!((&json["inputs"][0], &json["columns"][0][0]["value"]), (&"rows row 1".into(), &50.0.into()));
    assert_eq!(json["notes"][0], "baseline: the mean of all rows of the table");
}

#[test]
fn without_a_row_all_of_them_are_a_batch() {
    let bench = bench("table-rows");
    let out = bench.done("explain --model table.onnx --input rows.csv --target 0 --out v.npy --out e.json");
    assert_eq!(ndarray_npy::read_npy::<_, ArrayD<f32>>(bench.path("v.npy")).unwrap().shape(), [3, 3]);
    assert_eq!(bench.json("e.json")["columns"].as_array().unwrap().len(), 3);
    assert!(out.contains("rows row 2:"), "{out}");
    let chosen = "predict --model table.onnx --input rows.csv --row 3 --row 1";
    assert!(bench.done(chosen).starts_with("rows row 3\n"));
    bench.done("explain --model table.onnx --input rows.csv --row 2 --target 0 --out bars.png");
    assert!(image::open(bench.path("bars.png")).unwrap().width() > 400);
}

/// Files, a part of the command line, the exit code, a part of the message.
const CASES: &[(&str, &str, i32, &str)] = &[
    ("", "", 1, "expected columns \"age\", \"height\", \"pulse\", found none of these names among"),
    (
        "name,pulse,age\nA,1,2\n",
        "",
        1,
        "expected columns \"height\", found none of these names among \"name\"",
    ),
    ("age,pulse,height,age\n1,2,3,4\n", "", 1, "expected one column \"age\", found several"),
    ("age,pulse,height\n", "", 1, "expected rows below the names of columns, found none"),
    (
        "age,pulse,height\n1,2,3\n4,five,6\n",
        "",
        1,
        "line 3, column \"pulse\": expected a number, found \"five\"",
    ),
    ("age,pulse,height\n1,,3\n", "", 1, "line 2, column \"pulse\": expected a number, found \"\""),
    ("age,pulse,height\n1,nan,3\n", "", 1, "column \"pulse\": expected a number, found \"nan\""),
    ("age,pulse,height\n1,2\n", "", 1, "line: 2"),
    ("age,pulse,height\n1,2,3\n", "--row 2", 2, "row: expected 1 to 1, the rows of bad.csv, found 2"),
    ("age,pulse,height\n1,2,3\n", "--row 0", 2, "row: expected 1 to 1"),
    ("age,pulse,height\n1,2,3\n", "--out x.html", 2, "expected a text for .html"),
    ("age,pulse,height\n1,2,3\n1,2,3\n", "--out x.png", 2, "--row N takes one"),
    ("age,pulse,height\n1,2,3\n", "--baseline pad", 2, "expected a text for pad, found another input"),
    ("age,pulse,height\n1,2,3\n", "--baseline nothing", 2, "expected zeros, a number"),
    ("age,pulse,height\n1,2,3\n", "--method gradient --baseline mean", 2, "expected a method that has one"),
    ("age,pulse,height\n1,2,3\n", "--mean 1,2", 2, "mean: expected one number, or one for each of 3 columns"),
];

#[test]
fn what_is_wrong_with_a_table_is_one_clear_line() {
    let bench = bench("bad-tables");
    for (table, words, code, message) in CASES {
        bench.write("bad.csv", table);
        let said = bench.attr(&format!("explain --model table.onnx --input bad.csv --target 0 {words}"));
        assert_eq!((said.code, said.err.lines().count()), (*code, 1), "{table:?} {words}: {said:?}");
        assert!(said.err.contains(message), "{table:?} {words}: {}", said.err);
    }
    for (words, code, message) in [
        (
            "--model plain.onnx --input rows.csv",
            1,
            "expected 3 columns, as many as the model has features, found 4",
        ),
        ("--model model.onnx --input rows.csv", 1, "expected an input of shape [B, features] for a table"),
        ("--model model.onnx --input x.npy --row 1", 2, "row: expected a table"),
        (
            "--model model.onnx --input x.npy --baseline mean",
            2,
            "expected a table for mean, found another input",
        ),
        ("--model table.onnx --input none.csv", 1, "none.csv"),
    ] {
        let said = bench.attr(&format!("explain --target 0 {words}"));
        assert_eq!((said.code, said.err.lines().count()), (code, 1), "{words}: {said:?}");
        assert!(said.err.contains(message), "{words}: {}", said.err);
    }
}
