//! The program as its users meet it: every command and form of report, the keys of its JSON, exit
//! codes, and one clear line for whatever is wrong.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trunkline::scheme::SCHEMES;

mod common;
mod tiny;

const FORMATS: [&str; 4] = ["table", "md", "csv", "json"];
const RESNET8: &str = "models/mlperf_tiny/pretrainedResnet_quant.tflite";

/// Names of the schemes, of those that run or of all.
fn schemes(all: bool) -> Vec<&'static str> {
    let chosen = SCHEMES.iter().filter(|scheme| all || scheme.counted_only.is_none());
    chosen.map(|scheme| scheme.name).collect()
}

/// What a run of the program left behind.
struct Ran {
    args: String,
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(args).env("NODEVICE_SELECT", "1");
    command
}

fn trunkline(args: &[&str]) -> Ran {
    let output = command(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("ended by itself, not by a signal");
    Ran { args: args.join(" "), code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ran {
    /// Done, and nothing said on the side.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "trunkline {}", self.args);
        assert!(!self.stdout.is_empty(), "trunkline {}", self.args);
        self.stdout
    }

    #[track_caller]
    fn json(self) -> Value {
        let args = self.args.clone();
        serde_json::from_str(&self.done()).unwrap_or_else(|e| panic!("trunkline {args}: {e}"))
    }

    /// Refused with `code` and one line that holds every one of `words`; nothing printed, no panic.
    #[track_caller]
    fn refused(self, code: i32, words: &[&str]) {
        let Ran { args, code: got, stdout, stderr } = self;
        assert_eq!(got, code, "trunkline {args}: {stderr}");
        assert_eq!(stdout, "", "trunkline {args}");
        assert!(!stderr.contains("panicked"), "trunkline {args}: {stderr}");
        let said: Vec<&str> = stderr.lines().take_while(|l| !l.is_empty()).collect();
        assert!(said.first().is_some_and(|l| l.starts_with("error: ")), "trunkline {args}: {stderr}");
        let said = said.join("\n");
        for word in words {
            assert!(said.contains(word), "trunkline {args}: should say '{word}', says: {said}");
        }
        // What follows may only point to the help.
        let rest = stderr.replacen(&said, "", 1).replace("For more information, try '--help'.", "");
        assert!(rest.lines().all(|l| l.is_empty() || l.starts_with("Usage: ")), "trunkline {args}: {stderr}");
    }
}

/// A folder for this test, and the paths in it.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.0.path().join(name), bytes).unwrap();
        self.path(name)
    }
    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().path()).collect()
    }
}

/// The arguments of a quick run.
fn quick<'a>(extra: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--trunk", "resnet8", "--batch", "2", "--device", "cpu"], extra].concat()
}

// ---- commands and formats ------------------------------------------------------------------------

#[test]
fn the_default_run_works_and_is_quick() {
    let started = Instant::now();
    let json = trunkline(&["run", "--format", "json"]).json();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(json["trunk"], "resnet26");
    assert_eq!(json["scheme"], "adaptive-attention");
    assert_eq!(json["visual_domains"][0]["data"], "shapes");
    assert_eq!(json["predicted_equals_observed"], true);
}

/// The form of a report, from its first line.
#[track_caller]
fn assert_form(text: &str, format: &str, args: &[&str]) {
    let what = format!("trunkline {} --format {format}", args.join(" "));
    assert!(text.ends_with('\n'), "{what} ends its last line");
    match format {
        "json" => assert!(serde_json::from_str::<Value>(text).is_ok(), "{what}"),
        "md" => assert!(text.starts_with("## "), "{what}: {text}"),
        "table" => assert!(!text.starts_with('#') && text.contains('\n'), "{what}: {text}"),
        "csv" => {
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let columns = reader.headers().unwrap().len();
            let rows: Vec<_> = reader.records().map(|r| r.unwrap_or_else(|e| panic!("{what}: {e}"))).collect();
            assert!(columns > 0 && !rows.is_empty() && rows.iter().all(|r| r.len() == columns), "{what}: {text}");
        }
        _ => unreachable!(),
    }
}

#[test]
fn every_command_speaks_every_form() {
    let scratch = Scratch::new();
    let system = scratch.file("system.toml", system("trunk"));
    let trunk = scratch.path("trunk.safetensors");
    let mut commands = vec![
        quick(&[]),
        quick(&["--measured", "--compare", "cpu", "--data", "synth:shapes", "--data", "synth:gratings"]),
        vec!["account"],
        vec!["account", "--trunk", "resnet8", "--scheme", "parallel"],
        vec!["account", "--paper", "aswani-table3"],
        vec!["account", "--paper", "rebuffi-table1"],
        vec!["hw", "list"],
        vec!["hw", "show", "h200-sxm"],
        vec!["hw", "show", "asic-h200-pcie"],
        vec!["hw", "check", &system],
        vec!["devices"],
        vec!["inspect", "resnet26"],
        [&SWEEP[..], &["--limit", "2"]].concat(),
        [&SWEEP[..], &["--limit", "2", "--layers"]].concat(),
        [&IMPORT[..], &["--out", &trunk, "--force"]].concat(),
        vec!["inspect", &trunk],
    ];
    let model = common::shared(RESNET8).map(|p| p.display().to_string());
    let golden = model.as_ref().map(|m| m.replace(".tflite", ".golden.npz"));
    if let (Some(model), Some(golden)) = (&model, &golden) {
        commands.push(vec!["inspect", model]);
        commands.push(vec!["account", "--trunk", model]);
        commands.push(vec!["verify", model, "--golden", golden]);
    }
    for args in commands {
        for format in FORMATS {
            assert_form(&trunkline(&[&args[..], &["--format", format]].concat()).done(), format, &args);
        }
        assert_eq!(
            trunkline(&args).done().lines().next(),
            trunkline(&[&args[..], &["--format", "table"]].concat()).done().lines().next()
        );
    }
}

#[test]
fn help_is_there_for_every_command_and_names_what_there_is() {
    let commands: [&[&str]; 11] = [
        &["run"],
        &["account"],
        &["verify"],
        &["hw"],
        &["hw", "list"],
        &["hw", "show"],
        &["hw", "check"],
        &["devices"],
        &["inspect"],
        &["import"],
        &["quant-sweep"],
    ];
    for command in commands {
        let long = trunkline(&[command, &["--help"]].concat()).done();
        assert!(long.contains("Usage: trunkline") && long.contains(command[0]), "{long}");
        assert_eq!(long, trunkline(&[&["help"], command].concat()).done());
        trunkline(&[command, &["-h"]].concat()).done();
    }
    let all = trunkline(&["--help"]).done();
    assert!(
        [
            "run",
            "account",
            "verify",
            "hw",
            "devices",
            "inspect",
            "import",
            "quant-sweep",
            "calibrate",
            "validate",
            "Exit codes"
        ]
        .iter()
        .all(|c| all.contains(c))
    );
    let run = trunkline(&["run", "--help"]).done();
    assert!(schemes(true).iter().all(|s| run.contains(s)), "{run}");
    for word in ["resnet26", "resnet8", "cifar10:DIR", "cifar10-jpeg:", "synth:NAME", "before-each-stage", "half"] {
        assert!(run.contains(word), "{word}: {run}");
    }
    assert!(trunkline(&["--version"]).done().starts_with("trunkline "));
    // Asked for nothing, it says what could be asked for.
    let nothing = trunkline(&[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (2, ""));
    assert!(nothing.stderr.contains("Usage: trunkline <COMMAND>"));
}

// ---- JSON ---------------------------------------------------------------------------------------

/// Every key that other tools read, and what it holds.
const REPORT_KEYS: &[(&str, &str)] = &[
    ("schema", "text"),
    ("trunk", "text"),
    ("scheme", "text"),
    ("sites", "text"),
    (
        "params",
        "total:count trainable:count total_without_head:count trainable_without_head:count trainable_percent:number",
    ),
    ("macs", "trunk:count adapter:count host:count total:count"),
    ("connections", "tap_out:count tap_in:count total:count unfiltered:count"),
    ("link", "payload_bytes:count wire_bytes:count transactions:count busy_ps:count"),
    ("time", "latency_ps:count throughput_per_s:number bottleneck:text lower_bound:flag"),
    (
        "energy_pj",
        "trunk:number adapter:number host:number link:number memory:number idle:number total:number low:number high:number lower_bound:flag",
    ),
    ("confidence", "text"),
    ("unknown", "texts"),
];
const TAP_KEYS: &str = "name:text direction:text phase:text shape:shape elements:count bits:count bytes:count";

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "text" => value.as_str().is_some_and(|s| !s.is_empty()),
        "count" => value.is_u64(),
        "number" => value.as_f64().is_some_and(f64::is_finite),
        "flag" => value.is_boolean(),
        "texts" => value.as_array().is_some_and(|l| l.iter().all(Value::is_string)),
        "shape" => ["h", "w", "c"].iter().all(|k| value[k].is_u64()),
        "sha256" => value.as_str().is_some_and(|s| s.len() == 64 && s.chars().all(|c| c.is_ascii_hexdigit())),
        _ => panic!("{kind} is no kind"),
    }
}

#[track_caller]
fn assert_keys(value: &Value, keys: &str, what: &str) {
    for (key, kind) in keys.split(' ').map(|k| k.split_once(':').unwrap()) {
        let found = value.get(key).unwrap_or_else(|| panic!("{what} has no key '{key}'"));
        assert!(is(found, kind), "{what}.{key} should be a {kind}, is {found}");
    }
}

#[track_caller]
fn assert_report(json: &Value, what: &str) {
    for (key, holds) in REPORT_KEYS {
        let value = json.get(key).unwrap_or_else(|| panic!("{what} has no key '{key}'"));
        if holds.contains(':') {
            assert_keys(value, holds, &format!("{what}: {key}"));
        } else {
            assert!(is(value, holds), "{what}: {key} should be {holds}, is {value}");
        }
    }
    let taps = json["taps"].as_array().unwrap_or_else(|| panic!("{what} has no list of taps"));
    assert!(!taps.is_empty(), "{what}");
    for tap in taps {
        assert_keys(tap, TAP_KEYS, &format!("{what}: tap"));
        assert!(["tap-out", "tap-in"].contains(&tap["direction"].as_str().unwrap()), "{tap}");
        assert!(["forward", "backward", "update", "switch"].contains(&tap["phase"].as_str().unwrap()), "{tap}");
    }
}

#[test]
fn the_json_of_a_run_has_the_agreed_keys() {
    for scheme in schemes(false) {
        let json = trunkline(&quick(&["--scheme", scheme, "--format", "json"])).json();
        assert_report(&json, scheme);
        assert_eq!(json["scheme"], scheme);
        assert!(is(&json["outputs_sha256"], "sha256"), "{}", json["outputs_sha256"]);
        assert!(json["accuracy"].as_f64().is_some_and(|a| (0.0..=1.0).contains(&a)), "{}", json["accuracy"]);
        assert_eq!(json["predicted_equals_observed"], true);
        assert!(json.get("measured").is_none(), "only with --measured");
    }
}

/// A narrow accumulator overflows in some layers, and the report says in which.
#[test]
fn events_are_told_by_layer() {
    let narrow = ["--profile", "custom:accumulator=16,overflow=saturate,when=each-add"];
    let json = trunkline(&quick(&[&narrow[..], &["--format", "json"]].concat())).json();
    let layers = json["layer_events"].as_array().unwrap();
    assert!(layers.len() > 8, "{layers:?}");
    let sum = |key: &str| layers.iter().map(|l| l[key].as_u64().unwrap()).sum::<u64>();
    for layer in layers {
        assert_keys(layer, "layer:text op:text outputs:count saturations:count overflows:count", "layer");
        assert!(layer["overflows"].as_u64() <= layer["outputs"].as_u64(), "{layer}");
    }
    assert_eq!(json["data_events"]["overflows"], sum("overflows"));
    assert!(sum("overflows") > 0, "16 bits should not be enough");
    let wide = trunkline(&quick(&["--format", "json"])).json();
    assert_eq!(wide["data_events"]["overflows"], 0);
    let table = trunkline(&quick(&narrow)).done();
    assert!(table.contains("data-dependent events by trunk layer"), "{table}");
}

#[test]
fn measured_time_is_there_only_when_asked_for() {
    let json = trunkline(&quick(&["--measured", "--format", "json"])).json();
    assert_keys(&json["measured"], "wall_s:number images_per_s:number threads:count micro_batch:count", "measured");
    let table = trunkline(&quick(&["--measured"])).done();
    assert!(table.contains("measured on this machine"), "{table}");
}

#[test]
fn accuracy_is_null_where_nothing_is_computed() {
    let json = trunkline(&["run", "--trunk", "resnet8", "--batch", "2", "--device", "null", "--format", "json"]).json();
    assert!(json.as_object().unwrap().contains_key("accuracy") && json["accuracy"].is_null(), "{}", json["accuracy"]);
}

#[test]
fn the_json_of_accounts_is_a_list_of_rows_with_the_agreed_keys() {
    let json = trunkline(&["account", "--format", "json"]).json();
    let names: Vec<&str> = json.as_array().unwrap().iter().map(|r| r["scheme"].as_str().unwrap()).collect();
    assert_eq!(names, schemes(true));
    for row in json.as_array().unwrap() {
        assert_report(row, row["scheme"].as_str().unwrap());
        assert!(row.get("outputs_sha256").is_none(), "nothing was run");
    }
    let args = ["account", "--trunk", "resnet8", "--scheme", "head-only,adaptive-attention:m=3,gate=2sigmoid,parallel"];
    let some = trunkline(&[&args[..], &["--classes", "5", "--input", "24", "--format", "json"]].concat()).json();
    let names: Vec<&Value> = some.as_array().unwrap().iter().map(|r| &r["scheme"]).collect();
    assert_eq!(names, ["head-only", "adaptive-attention:m=3,gate=2sigmoid", "parallel"]);
    assert_eq!((&some[0]["classes"], &some[0]["input"]["h"]), (&5.into(), &24.into()));
    // One row is a list too.
    assert_eq!(trunkline(&["account", "--scheme", "parallel", "--format", "json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn the_paper_is_a_list_of_forty_cells() {
    let json = trunkline(&["account", "--paper", "aswani-table3", "--format", "json"]).json();
    let cells = json.as_array().unwrap();
    assert_eq!(cells.len(), 40);
    for cell in cells {
        let keys: Vec<&str> = cell.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = vec!["row", "column", "printed", "computed", "match"];
        // Beside a filtered count of connections stands the unfiltered one.
        if cell["column"] == "Conn.s" {
            expected.push("unfiltered");
            assert!(cell["unfiltered"].as_u64() >= cell["computed"].as_u64(), "{cell}");
        }
        assert_eq!(keys, expected);
        assert_keys(cell, "row:text column:text printed:text computed:number match:text", "cell");
    }
    let count = |how: &str| cells.iter().filter(|c| c["match"] == how).count();
    assert_eq!((count("rounds"), count("truncates"), count("differs")), (36, 3, 1));
    let table = trunkline(&["account", "--paper", "aswani-table3"]).done();
    assert!(table.contains("36 of 40 cells by rounding, 39 by rounding or truncation"), "{table}");
}

#[test]
fn printed_cells_that_no_counter_gives_are_marked() {
    for (paper, cells, compared, rounds, not_printed) in
        [("rebuffi-table1", 130, 10, 8, 0), ("nettailor-table3", 75, 11, 6, 2)]
    {
        let json = trunkline(&["account", "--paper", paper, "--format", "json"]).json();
        let all = json.as_array().unwrap();
        let count = |how: &str| all.iter().filter(|c| c["match"] == how).count();
        assert_eq!((all.len(), count("rounds"), count("not-printed")), (cells, rounds, not_printed), "{paper}");
        assert_eq!(count("not-counted"), cells - compared - not_printed, "{paper}");
        let marked = |c: &Value| (c["match"] == "not-counted") == c["computed"].is_null();
        assert!(all.iter().all(marked), "{paper}");
        let table = trunkline(&["account", "--paper", paper]).done();
        assert!(table.contains(&format!("{rounds} of {compared} cells by rounding")), "{table}");
    }
}

#[test]
fn how_a_float_trunk_is_calibrated_is_part_of_what_it_is() {
    let run = |args: &[&str]| trunkline(&quick(&[args, &["--format", "json"]].concat())).json();
    let whole = run(&[]);
    assert_eq!((&whole["calibration"]["method"], &whole["calibration"]["images"]), (&"min-max".into(), &8.into()));
    assert_eq!(whole, run(&["--calibration", "min-max"]));
    for method in ["percentile:99", "mse"] {
        let other = run(&["--calibration", method]);
        assert_eq!(other["calibration"]["method"], method);
        assert_ne!(other["trunk_sha256"], whole["trunk_sha256"], "{method}");
    }
    let Some(model) = common::shared(RESNET8) else { return };
    let model = model.display().to_string();
    let own = trunkline(&["run", "--trunk", &model, "--batch", "1", "--device", "cpu", "--format", "json"]).json();
    assert!(own["calibration"].is_null());
    let args = ["run", "--trunk", &model, "--batch", "1", "--device", "cpu", "--calibration", "mse"];
    trunkline(&args).refused(2, &["--calibration mse", "own scales"]);
}

#[test]
fn mac_rules_differ_and_nothing_else_does() {
    let rule = |rule| {
        let args = ["account", "--scheme", "parallel", "--mac-rule", rule, "--format", "json"];
        trunkline(&args).json()[0].clone()
    };
    let [conv, ptflops, nettailor] = ["conv", "ptflops", "nettailor"].map(rule);
    let total = |row: &Value| row["macs"]["total"].as_u64().unwrap();
    assert!(total(&ptflops) > total(&nettailor) && total(&nettailor) > total(&conv));
    assert_eq!((&conv["taps"], &conv["time"]), (&ptflops["taps"], &ptflops["time"]));
}

#[test]
fn verify_and_the_lists_have_json_of_their_own() {
    let list = trunkline(&["hw", "list", "--format", "json"]).json();
    let of = |kind: &str| list["models"].as_array().unwrap().iter().filter(|m| m["kind"] == kind).count();
    assert!(of("trunk") >= 2 && of("adapter") >= 2 && of("link") >= 2 && of("system") >= 2, "{list}");
    for model in list["models"].as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        let shown = trunkline(&["hw", "show", name, "--format", "json"]).json();
        assert_eq!((&shown["sheet"]["name"], &shown["sheet"]["kind"]), (&model["name"], &model["kind"]));
        for figure in shown["figures"].as_array().unwrap() {
            assert!(figure["value"].is_null() || is(&figure["source"], "text"), "{name}: {figure} has no source");
        }
    }
    let devices = trunkline(&["devices", "--format", "json"]).json();
    let names: Vec<&Value> = devices["devices"].as_array().unwrap().iter().map(|d| &d["name"]).collect();
    assert!(names.iter().any(|n| **n == "cpu") && names.iter().any(|n| **n == "null"), "{devices}");
    let inspected = trunkline(&["inspect", "resnet26", "--format", "json"]).json();
    assert_eq!(inspected["stages"].as_array().unwrap().len(), 3);
    assert_eq!(inspected["layers"].as_array().unwrap().iter().filter(|l| l["op"] == "conv2d").count(), 25);
}

#[test]
fn a_timeline_is_written_for_one_scheme_in_two_forms() {
    let scratch = Scratch::new();
    let (json, vcd) = (scratch.path("t.json"), scratch.path("t.vcd"));
    let account = |path: &str| ["account", "--trunk", "resnet8", "--scheme", "parallel", "--trace", path].join(" ");
    for path in [&json, &vcd] {
        trunkline(&account(path).split(' ').collect::<Vec<_>>()).done();
    }
    let trace: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().iter().any(|e| e["ph"] == "X"));
    assert!(fs::read_to_string(&vcd).unwrap().contains("$enddefinitions"));
    let all = ["account", "--scheme", "all", "--trace", &json];
    trunkline(&all).refused(2, &["one scheme"]);
    let other = scratch.path("t.txt");
    trunkline(&account(&other).split(' ').collect::<Vec<_>>()).refused(2, &[".json", ".vcd"]);
}

#[test]
fn a_device_is_measured_into_a_model_that_checks_and_a_model_is_held_to_what_was_published() {
    let scratch = Scratch::new();
    let out = scratch.path("here.toml");
    assert!(trunkline(&["calibrate", "--device", "cpu", "--out", &out]).done().contains("figures"));
    trunkline(&["hw", "check", &out]).done();
    trunkline(&["calibrate", "--device", "null", "--out", &out]).refused(1, &["nothing to measure"]);
    trunkline(&["calibrate", "--device", "no-such", "--out", &out]).refused(2, &["no-such"]);
    let found = trunkline(&["validate", "--carried", "--format", "csv"]);
    assert!(found.code == 0 || found.code == 3, "{}", found.stderr);
    assert!(found.stdout.contains("link/pcie-gen3-x8"), "{}", found.stdout);
}

// ---- wrong flags: exit 2 --------------------------------------------------------------------------

#[test]
fn wrong_flags_are_refused_with_what_would_be_right() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "--bogus"], &["--bogus"]),
        (&["xyzzy"], &["xyzzy"]),
        (&["run", "extra"], &["extra"]),
        (&["run", "--format", "yaml"], &["yaml", "table", "md", "csv", "json"]),
        (&["run", "--batch", "0"], &["--batch", "at least 1"]),
        (&["run", "--batch", "-1"], &["--batch", "whole number"]),
        (&["run", "--batch", "many"], &["--batch", "many", "whole number"]),
        (&["run", "--batch", "99999999999999999999999"], &["--batch", "whole number"]),
        (&["run", "--micro-batch", "0"], &["--micro-batch", "at least 1"]),
        (&["run", "--tap-bits", "12"], &["--tap-bits", "8 or 16"]),
        (&["run", "--threads", "-2"], &["--threads", "whole number"]),
        (&["run", "--threads", "5000"], &["--threads", "1024"]),
        (&["run", "--seed", "-1"], &["--seed", "whole number"]),
        (&["run", "--input", "0"], &["--input", "at least 1"]),
        (&["run", "--input", "5000"], &["5000", "2048"]),
        (&["run", "--batch-norm", "host"], &["host", "frozen", "registers"]),
        (&["run", "--sites", ","], &["before-each-stage", "half"]),
        (&["run", "--sites", "nowhere"], &["nowhere", "before:1"]),
        (&["run", "--sites", "before:9"], &["before:9", "before:1..3"]),
        (&["run", "--sites", "half"], &["half", "stage boundaries"]),
        (&["run", "--scheme", "parallel", "--sites", "no-conv"], &["no-conv", "stem", "s3b4c2"]),
        (&["run", "--scheme", "parallel", "--sites", "stem,stem"], &["stem", "twice"]),
        (&["run", "--scheme", "parallel", "--sites", "before-each-stage"], &["before-each-stage", "convolutions"]),
        (&["run", "--scheme", "head-only", "--sites", "all"], &["head-only", "no sites"]),
        (&["run", "--scheme", "prompt-tuning"], &["prompt-tuning", "adaptive-attention"]),
        (&["run", "--scheme", ""], &["adaptive-attention"]),
        (&["run", "--scheme", "head-only,parallel"], &["head-only,parallel"]),
        (&["run", "--scheme", "adaptive-attention:m=0"], &["m=0", "c/N"]),
        (&["run", "--scheme", "adaptive-attention:m=-1"], &["m=-1", "c/N"]),
        (&["run", "--scheme", "adaptive-attention:gate=relu"], &["gate=relu", "2sigmoid"]),
        (&["run", "--scheme", "adaptive-attention:return=all"], &["return=all", "mask", "map"]),
        (&["run", "--scheme", "adaptive-attention:k=3"], &["'k'", "gate=sigmoid|2sigmoid"]),
        (&["run", "--scheme", "adaptive-attention:gate"], &["'gate'", "key=value"]),
        (&["run", "--scheme", "adaptive-attention:m=2,m=3"], &["'m'", "twice"]),
        (&["run", "--scheme", "parallel:init=one"], &["init=one", "he, zero"]),
        (&["run", "--scheme", "head-only:m=2"], &["head-only", "'m'"]),
        (&["run", "--system", "mainframe"], &["mainframe", "asic-h200-pcie", ".toml"]),
        (&["run", "--system", "h200-sxm"], &["h200-sxm", "asic-h200-pcie"]),
        (&["run", "--device", "abacus"], &["abacus", "cpu", "null"]),
        (&["run", "--device", ""], &["cpu", "null"]),
        (&["run", "--device", "cpu", "--compare", "abacus"], &["abacus", "cpu", "null"]),
        (&["run", "--trunk", "resnet999"], &["resnet999", "resnet26", "resnet8"]),
        (&["run", "--trunk", ""], &["resnet26", "resnet8"]),
        (&["run", "--trunk", "resnet26:depth=3"], &["depth", "width, classes, input"]),
        (&["run", "--trunk", "resnet26:width=0"], &["width 0"]),
        (&["run", "--trunk", "resnet26:width=nan"], &["NaN"]),
        (&["run", "--trunk", "resnet26:width"], &["'width'", "key=value"]),
        (&["run", "--input", "0"], &["--input", "1"]),
        (&["run", "--calibration", "median"], &["median", "min-max, percentile[:P], mse"]),
        (&["run", "--calibration", "percentile:3"], &["percentile:3", "50 to 100"]),
        (&["run", "--data", "imagenet:/x"], &["imagenet", "cifar10:DIR", "synth:NAME"]),
        (&["run", "--data", ""], &["cifar10:DIR"]),
        (&["run", "--data", "cifar10"], &["cifar10:DIR"]),
        (&["run", "--data", "synth:clouds"], &["clouds", "gratings, shapes"]),
        (&["run", "--data", "synth:shapes:hue=3"], &["hue", "count, size, seed"]),
        (&["run", "--data", "synth:shapes:count=0"], &["count=0"]),
        (&["account", "--scheme", "head-only,nope"], &["nope", "adaptive-attention"]),
        (&["account", "--scheme", "head-only,"], &["adaptive-attention"]),
        (&["account", "--sites", "nowhere"], &["nowhere"]),
        (&["account", "--classes", "0"], &["--classes", "at least 1"]),
        (&["account", "--classes", "1000000"], &["1000000", "100000"]),
        (&["account", "--mac-rule", "flops"], &["flops", "conv, ptflops, nettailor"]),
        (&["account", "--paper", "resnet"], &["resnet", "aswani-table3"]),
        (&["account", "--paper", "aswani-table3", "--scheme", "parallel"], &["--paper", "--scheme"]),
        (&["account", "--paper", "aswani-table3", "--classes", "3"], &["--paper", "--classes"]),
        (&["verify"], &["--golden", "MODEL"]),
        (&["verify", "x.tflite"], &["--golden"]),
        (&["verify", "x.tflite", "--golden", "x.npz", "--profile", "cmsis"], &["cmsis", "tflite-ref, tflm"]),
        (&["run", "--profile", "int4"], &["int4", "tflite-xnnpack", "nvdla", "custom:"]),
        (&["run", "--profile", "custom:weights=1"], &["custom:weights=1", "2 to 8"]),
        (&["account", "--profile", "custom:rounding=up"], &["rounding=up", "half-even"]),
        (&["hw", "show", "abacus"], &["abacus", "h200-sxm", ".toml"]),
        (&["hw", "check", "h200-sxm"], &["h200-sxm", "hw show"]),
        (&["hw", "show"], &["NAME|FILE"]),
        (&["import", "resnet8"], &["--out"]),
        (&["import", "resnet8", "--out", "trunk.bin"], &["trunk.bin", ".safetensors"]),
        (&["pretrain"], &["--out"]),
        (&["pretrain", "--out", "trunk.bin"], &["trunk.bin", ".safetensors"]),
        (&["pretrain", "--out", "t.safetensors", "--data", "synth:hues:split=val"], &["split="]),
        (&["pretrain", "--out", "t.safetensors", "--trunk", "resnet999"], &["resnet999", "resnet26"]),
        (&["import", "resnet999", "--out", "t.safetensors"], &["resnet999", "resnet26"]),
        (&["import", "resnet8", "--out", "t.safetensors", "--calibrate", "clouds"], &["clouds", "cifar10:DIR"]),
        (&["import", "resnet8", "--out", "t.safetensors", "--calibration-images", "0"], &["at least 1"]),
        (&["quant-sweep", "--weight-bits", "9"], &["--weight-bits", "2 to 8"]),
        (&["quant-sweep", "--weight-bits", "4,,8"], &["--weight-bits", "2 to 8"]),
        (&["quant-sweep", "--accumulator-bits", "8"], &["--accumulator-bits", "16 to 64"]),
        (&["quant-sweep", "--overflow", "trap"], &["trap", "wrap", "saturate"]),
        (&["quant-sweep", "--rounding", "up"], &["up", "half-even"]),
        (&["quant-sweep", "--granularity", "per-row"], &["per-row", "per-channel"]),
        (&["quant-sweep", "--limit", "0"], &["--limit", "at least 1"]),
        (&["quant-sweep", "--trunk", "resnet999"], &["resnet999", "resnet26"]),
        (&["quant-sweep", "--data", "imagenet:/x"], &["imagenet", "cifar10:DIR"]),
        (&["inspect"], &["FILE|ZOO"]),
        (&["inspect", "resnet999"], &["resnet999", "resnet26"]),
        (&["devices", "extra"], &["extra"]),
    ];
    for (args, words) in cases {
        trunkline(args).refused(2, words);
    }
}

// ---- training -----------------------------------------------------------------------------------

#[test]
fn a_training_leaves_an_adapter_that_evaluates_as_it_was_measured() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let trunk = "resnet8:width=0.25,input=16";
    let train = |more: &[&str]| {
        let common = ["train", "--trunk", trunk, "--data", "synth:shapes:count=20", "--device", "cpu", "--quiet"];
        trunkline(&[&common[..], more].concat())
    };
    let settings = ["--val", "synth:shapes:count=20,seed=5", "--epochs", "2", "--batch", "8", "--lr", "0.01"];
    let scheme = ["--scheme", "parallel:init=zero", "--batch-norm", "registers", "--out", &run];
    let quiet = |ran: Ran| assert_eq!((ran.code, ran.stdout, ran.stderr), (0, String::new(), String::new()));
    quiet(train(&[&settings[..], &scheme[..]].concat()));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(format!("{run}/report.json")).unwrap()).unwrap();
    assert_eq!((report["images_per_step"].as_u64(), report["steps_per_epoch"].as_u64()), (Some(8), Some(3)));
    assert!(report["backward"]["tap_in_bytes"].as_u64().unwrap() > 0, "errors go through the trunk");
    let rows = std::fs::read_to_string(format!("{run}/metrics.jsonl")).unwrap();
    let best = rows.lines().filter_map(|row| serde_json::from_str::<Value>(row).unwrap()["val/acc"].as_f64());
    let best = best.fold(0.0, f64::max);
    let evaluated = ["eval", "--trunk", trunk, "--adapter", &run, "--data", "synth:shapes:count=20,seed=5"];
    let evaluated = trunkline(&[&evaluated[..], &["--device", "cpu", "--format", "json"]].concat()).json();
    assert_eq!((evaluated["accuracy"].as_f64(), evaluated["images"].as_u64()), (Some(best), Some(20)));
    // The folder is never written over; another trunk is refused.
    quiet(train(&[&settings[..], &scheme[..]].concat()));
    assert!(std::path::Path::new(&format!("{run}-2/report.md")).exists());
    let metrics = |run: &str| std::fs::read_to_string(format!("{run}/metrics.csv")).unwrap();
    assert_eq!(metrics(&run), metrics(&format!("{run}-2")), "the same training, the same numbers");
    let other = ["eval", "--trunk", "resnet8:width=0.5,input=16", "--adapter", &run];
    trunkline(&other).refused(1, &["SHA-256", "--force"]);
    train(&["--device", "null", "--out", &scratch.path("null")]).refused(2, &["--device"]);
    assert!(!std::path::Path::new(&scratch.path("null")).exists(), "nothing is begun that cannot be done");
    trunkline(&["train", "--resume", &scratch.path("nothing")]).refused(1, &["nothing", "args.json"]);
}

/// Trains an adapter on a small trunk, into the folder `out`.
fn trained(trunk: &str, scheme: &str, data: &str, out: &str) {
    let common = ["train", "--trunk", trunk, "--scheme", scheme, "--data", data, "--batch-norm", "registers"];
    let more = ["--epochs", "2", "--batch", "8", "--lr", "0.05", "--device", "cpu", "--quiet", "--out", out];
    let ran = trunkline(&[&common[..], &more[..]].concat());
    assert_eq!((ran.code, ran.stderr), (0, String::new()), "{}", ran.args);
}

const SMALL: &str = "resnet8:width=0.25,input=16";

#[test]
fn an_adapter_is_merged_into_a_new_trunk() {
    let scratch = Scratch::new();
    let (run, out) = (scratch.path("run"), scratch.path("merged.safetensors"));
    trained(SMALL, "parallel:dropout=0.2", "synth:shapes:count=20", &run);
    let data = "synth:shapes:count=20,seed=5";
    let merge = ["merge", &run, "--trunk", SMALL, "--out", &out, "--data", data, "--device", "cpu"];
    let report = trunkline(&[&merge[..], &["--format", "json"]].concat()).json();
    let eval = ["eval", "--trunk", SMALL, "--adapter", &run, "--data", data, "--device", "cpu", "--format", "json"];
    let evaluated = trunkline(&eval).json();
    let difference = &report["difference"];
    assert_eq!(report["frozen_sha256"], evaluated["trunk_sha256"], "the frozen trunk is as it was");
    assert_eq!(difference["adapter_top1"], evaluated["accuracy"]);
    let of = |key: &str| difference[key].as_f64().unwrap();
    assert!(of("logit_mean_abs") > 0.0, "new codes round otherwise: {report}");
    assert!(of("logit_mean_abs") < 0.1 * of("logit_largest"), "and not far off: {report}");
    let codes = |key: &str| report[key].as_u64().unwrap();
    assert!(codes("changed_codes") > 0 && codes("changed_codes") <= codes("codes"), "{report}");
    // The file is a trunk like any other, with the classifier of the task.
    let inspected = trunkline(&["inspect", &out, "--format", "json"]).json();
    assert_eq!(inspected["trunk_sha256"], report["merged_sha256"]);
    trunkline(&merge).refused(1, &["is there already", "--force"]);
    let table = trunkline(&[&merge[..], &["--force"]].concat()).done();
    assert!(table.contains("weight codes") && table.contains("before and after"), "{table}");
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let scratch = Scratch::new();
    let (run, out) = (scratch.path("run"), scratch.path("merged.safetensors"));
    trained(SMALL, "adaptive-attention", "synth:shapes:count=8", &run);
    let merge = |adapter: &str, trunk: &str, out: &str| {
        trunkline(&["merge", adapter, "--trunk", trunk, "--out", out, "--data", "synth:shapes:count=4"])
    };
    merge(&run, SMALL, &out).refused(1, &["adaptive-attention", "cannot be folded", "node '"]);
    merge(&run, "resnet8:width=0.5,input=16", &out).refused(1, &["SHA-256"]);
    merge(&run, "resnet999", &out).refused(2, &["resnet999"]);
    merge(&run, SMALL, &scratch.path("merged.bin")).refused(2, &["merged.bin", ".safetensors"]);
    merge(&scratch.path("nothing"), SMALL, &out).refused(1, &["nothing", "adapter_config.json"]);
    assert!(!Path::new(&out).exists(), "nothing is written that is not whole");
}

#[test]
fn adapters_are_compressed_alone_and_together() {
    let scratch = Scratch::new();
    let [a, b, alone, joint, on] = ["a", "b", "alone", "joint", "on"].map(|name| scratch.path(name));
    // Of a float network each data set would fix other scales: adapters share a trunk that has them.
    let trunk = scratch.path("trunk.safetensors");
    trunkline(&["import", "resnet8:width=0.25", "--input", "16", "--out", &trunk]).done();
    let data = ["synth:shapes:count=16", "synth:hues:count=16"];
    trained(&trunk, "parallel", data[0], &a);
    trained(&trunk, "parallel", data[1], &b);
    let both = data.join(";");
    let compress = |args: &[&str]| {
        let fixed = ["compress", "--trunk", &trunk, "--device", "cpu", "--format", "json"];
        trunkline(&[&fixed[..], args].concat())
    };
    let accuracy = |adapter: &str, data: &str| {
        let eval = ["eval", "--trunk", &trunk, "--adapter", adapter, "--data", data, "--device", "cpu"];
        trunkline(&[&eval[..], &["--format", "json"]].concat()).json()["accuracy"].clone()
    };
    let report = compress(&[&a, "--rank", "c/2", "--data", data[0], "--out", &alone]).json();
    let task = &report["tasks"][0];
    assert_eq!(task["before"]["accuracy"], accuracy(&a, data[0]));
    assert_eq!(task["after"]["accuracy"], accuracy(&alone, data[0]), "an adapter like any other");
    let crossing = |when: &str| task[when]["connections_unfiltered"].clone();
    assert_eq!(crossing("before"), crossing("after"), "both factors are on one side");
    let error = task["size"]["relative_error"].as_f64().unwrap();
    assert!(error > 0.01 && error < 0.9, "{report}");
    let report = compress(&[&a, &b, "--rank", "c/2", "--joint", "--data", &both, "--out", &joint]).json();
    let total = |key: &str| report["total"][key].as_u64().unwrap();
    assert!(total("parameters_after") < total("parameters_before"), "{report}");
    assert_eq!(total("bytes_after"), 4 * total("parameters_after"));
    // γ trains on, β stays what the two share.
    let path = format!("{joint}/a");
    let common = ["train", "--trunk", &trunk, "--adapter", &path, "--data", data[0], "--epochs", "1", "--batch", "8"];
    let more = ["--lr", "0.05", "--device", "cpu", "--quiet", "--out", &on];
    let ran = trunkline(&[&common[..], &more[..]].concat());
    assert_eq!((ran.code, ran.stderr), (0, String::new()));
    let arrays = |folder: &str| {
        let bytes = fs::read(format!("{folder}/adapter_model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let own = file.iter().map(|(name, view)| (name.to_string(), view.data().to_vec()));
        own.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (one, other, after) = (arrays(&path), arrays(&format!("{joint}/b")), arrays(&format!("{on}/checkpoints/last")));
    let factors: Vec<&String> = one.keys().filter(|name| name.starts_with("low-rank.")).collect();
    assert!(!factors.is_empty());
    for name in factors {
        let is_beta = name.ends_with(".beta.weight");
        assert_eq!(one[name] == other[name], is_beta, "{name}: β is shared, γ is not");
        assert_eq!(one[name] == after[name], is_beta, "{name}: β is frozen, γ trains");
    }
    accuracy(&on, data[0]);
    let resumed = trunkline(&["train", "--resume", &on, "--quiet"]);
    assert_eq!((resumed.code, resumed.stderr), (0, String::new()));
    // What makes no sense is said in a line.
    let out = scratch.path("refused");
    compress(&[&a, "--rank", "0", "--out", &out]).refused(2, &["--rank", "c/N"]);
    compress(&[&a, "--rank", "4000", "--out", &out]).refused(2, &["--rank 4000", "channels"]);
    compress(&[&a, "--rank", "c/2", "--joint", "--out", &out]).refused(2, &["--joint", "two"]);
    compress(&[&a, "--rank", "c/2", "--out", &alone]).refused(1, &["alone", "is there already"]);
    compress(&[&out, "--rank", "c/2", "--out", &out]).refused(1, &["adapter_config.json"]);
    compress(&[&a, "--rank", "c/2", "--data", &both, "--out", &out]).refused(2, &["--data", "2 data sets"]);
    let mut other = fs::read_to_string(format!("{alone}/adapter_config.json")).unwrap();
    let sha =
        serde_json::from_str::<Value>(&other).unwrap()["base_model"]["trunk_sha256"].as_str().unwrap().to_string();
    other = other.replace(&sha, &"0".repeat(64));
    fs::write(format!("{alone}/adapter_config.json"), other).unwrap();
    compress(&[&a, &alone, "--rank", "c/2", "--out", &out]).refused(1, &["different trunks", &sha]);
    trunkline(&["train", "--adapter", &a, "--scheme", "parallel"]).refused(2, &["--adapter"]);
    trunkline(&["train", "--trunk", &trunk, "--adapter", &a, "--data", "synth:shapes", "--seed", "3"])
        .refused(2, &["--seed 3", "--seed 0"]);
    assert!(!Path::new(&out).exists(), "nothing is written that is refused");
}

#[test]
fn several_tasks_share_a_trunk() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let trunk = "resnet8:width=0.25,input=16";
    let tasks = "synth:shapes:count=8,seed=3;synth:hues:count=8;synth:hues:count=8";
    let common = ["train", "--trunk", trunk, "--tasks", tasks, "--val", "synth:shapes:count=9;;", "--epochs", "1"];
    let more = ["--batch", "4", "--batch-norm", "registers+stats", "--device", "cpu", "--quiet", "--out", &run];
    let ran = trunkline(&[&common[..], &more[..]].concat());
    assert_eq!((ran.code, ran.stderr), (0, String::new()));
    let read = |name: &str| fs::read_to_string(format!("{run}/{name}")).unwrap();
    let report: Value = serde_json::from_str(&read("report.json")).unwrap();
    let names: Vec<&str> = report["tasks"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["synth-shapes-count=8-seed=3", "synth-hues-count=8", "synth-hues-count=8-2"]);
    assert_eq!(report["switches"].as_array().unwrap().len(), 6);
    assert!(read("report.md").contains("Switches between tasks"));
    let adapter = format!("{run}/tasks/{}", names[0]);
    let eval = ["eval", "--trunk", trunk, "--adapter", &adapter, "--data", "synth:shapes:count=9", "--device", "cpu"];
    let evaluated = trunkline(&[&eval[..], &["--format", "json"]].concat()).json();
    assert_eq!(evaluated["accuracy"], report["tasks"][0]["best_accuracy"]);
    // A finished run goes on to nothing; one set or list of flags excludes another.
    let resumed = trunkline(&["train", "--resume", &run, "--quiet"]);
    assert_eq!((resumed.code, resumed.stderr), (0, String::new()));
    trunkline(&["train", "--resume", &run, "--epochs", "3"]).refused(2, &["--resume"]);
    trunkline(&["train", "--data", "synth:hues", "--tasks", "synth:hues"]).refused(2, &["--tasks"]);
    trunkline(&["train", "--tasks", "synth:hues;synth:shapes", "--val", "synth:hues"]).refused(2, &["--val"]);
}

/// SPEC 2.4 and 3.2, out of the counters.
#[test]
fn a_training_step_is_counted_without_running_it() {
    let args =
        ["account", "--train", "--trunk", "resnet26", "--input", "64", "--batch-norm", "frozen", "--grad", "f32"];
    let step = |scheme: &str, sites: &[&str]| {
        let args = [&args[..], &["--scheme", scheme, "--format", "json"], sites].concat();
        trunkline(&args).json()[0]["training"].clone()
    };
    let attention = step("adaptive-attention:m=2", &[]);
    assert_eq!(attention["kept_published_b"], 1_099_776);
    assert_eq!(attention["backward"]["tap_out_elements"], 5_376);
    let parallel = step("parallel", &["--sites", "all-but-stem"]);
    assert_eq!(parallel["backward"]["tap_out_elements"], 917_504);
    assert_eq!(parallel["backward"]["tap_in_elements"], 827_392 + 256);
    let words = trunkline(&["account", "--train", "--scheme", "parallel", "--batch-norm", "registers"]).done();
    assert!(words.contains("A training step") && words.contains("Kept from forward to backward"), "{words}");
}

// ---- trunk files and what-if ---------------------------------------------------------------------

const IMPORT: [&str; 2] = ["import", "resnet8:width=0.25,input=16"];
const SWEEP: [&str; 5] = ["quant-sweep", "--trunk", "resnet8:width=0.5,input=16", "--weight-bits", "8,4"];

#[test]
fn an_imported_trunk_runs_like_its_source() {
    let scratch = Scratch::new();
    let out = scratch.path("trunk.safetensors");
    let imported = trunkline(&["import", "resnet8", "--seed", "3", "--out", &out, "--format", "json"]).json();
    assert_keys(&imported, "trunk:text trunk_sha256:sha256 bytes:count layers:count weight_codes:count", "import");
    let inspected = trunkline(&["inspect", &out, "--format", "json"]).json();
    assert_eq!(inspected["trunk_sha256"], imported["trunk_sha256"]);
    assert_eq!(inspected["provenance"]["calibration"]["data"], "synth:shapes");
    let shown = trunkline(&["inspect", &out]).done();
    for word in ["silicon and registers", imported["trunk_sha256"].as_str().unwrap(), "tflite-ref", "seed 3"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let run = |trunk: &str| {
        let args = ["run", "--trunk", trunk, "--batch", "2", "--device", "cpu", "--seed", "3", "--format", "json"];
        let mut report = trunkline(&args).json();
        // The same things are said, though calibration comes before the fresh head or after it.
        report["notes"].as_array_mut().unwrap().sort_by_key(Value::to_string);
        // A file keeps the spec of its images, a run has the name of its data set.
        assert!(["synth:shapes", "shapes"].contains(&report["calibration"]["data"].as_str().unwrap()));
        report["calibration"]["data"] = Value::Null;
        report
    };
    assert_eq!(run(&out), run("resnet8"));
}

#[test]
fn import_never_replaces_a_file_unasked() {
    let scratch = Scratch::new();
    let out = scratch.file("trunk.safetensors", "mine");
    trunkline(&[&IMPORT[..], &["--out", &out]].concat()).refused(1, &["trunk.safetensors", "--force"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    trunkline(&[&IMPORT[..], &["--out", &out, "--force"]].concat()).done();
    trunkline(&["inspect", &out]).done();
    assert_eq!(scratch.files().len(), 1, "{:?}", scratch.files());
    // A trunk file is a model like any other, with scales of its own.
    let again = scratch.path("again.safetensors");
    trunkline(&["import", &out, "--out", &again]).done();
    assert!(fs::read(&out).unwrap() == fs::read(&again).unwrap());
    trunkline(&["import", &out, "--out", &again, "--force", "--calibrate", "random"]).refused(2, &["scales already"]);
    trunkline(&["import", &out, "--out", &scratch.path("no/where.safetensors")]).refused(1, &["no folder"]);
}

#[test]
fn a_float_file_must_be_told_its_calibration() {
    let Some(model) = common::shared("models/cifar10_resnets/resnet20_cifar10.onnx") else { return };
    let (scratch, model) = (Scratch::new(), model.display().to_string());
    let out = scratch.path("trunk.safetensors");
    trunkline(&["import", &model, "--out", &out]).refused(2, &["resnet20_cifar10.onnx", "--calibrate"]);
    assert!(scratch.files().is_empty());
    trunkline(&["import", &model, "--out", &out, "--calibrate", "random", "--calibration-images", "1"]).done();
    assert!(trunkline(&["inspect", &out]).done().contains("1 images of random"));
}

#[test]
fn a_damaged_trunk_file_is_refused_with_both_hashes() {
    let scratch = Scratch::new();
    let out = scratch.path("trunk.safetensors");
    trunkline(&[&IMPORT[..], &["--out", &out]].concat()).done();
    let mut bytes = fs::read(&out).unwrap();
    let last = bytes.len() - 1;
    bytes[last - 200] ^= 0x10;
    let changed = scratch.file("changed.safetensors", bytes);
    for args in [["inspect", &changed].as_slice(), &["run", "--trunk", &changed], &["account", "--trunk", &changed]] {
        trunkline(args).refused(1, &["changed.safetensors", "contents", "have SHA-256", "when they were written"]);
    }
}

#[test]
fn a_sweep_has_a_row_for_every_arithmetic() {
    let args = [&SWEEP[..], &["--limit", "2", "--accumulator-bits", "16,32", "--format", "json"]].concat();
    let json = trunkline(&args).json();
    assert_eq!((&json["points"], json["rows"].as_array().unwrap().len()), (&4.into(), 4));
    for row in json["rows"].as_array().unwrap() {
        assert_keys(
            row,
            "weight_bits:count rounding:text float_agreement:number overflows:count saturations:count",
            "row",
        );
        assert!(row.get("layers").is_none(), "only with --layers");
    }
    let layers = trunkline(&[&args[..], &["--layers"]].concat()).json();
    assert_keys(&layers["rows"][0]["layers"][0], "layer:text op:text sqnr_db:number overflows:count", "layer");
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_reports_what_is_finished() {
    // Hundreds of arithmetics: none of this machine's is fast enough to finish.
    let bits: Vec<String> = (16..=64).map(|n| n.to_string()).collect();
    let bits = bits.join(",");
    let args = ["quant-sweep", "--limit", "8", "--weight-bits", "2,3,4,5,6,7,8", "--accumulator-bits", &bits];
    let all = [&args[..], &["--rounding", "half-away,half-even,floor", "--format", "json"]].concat();
    let child = command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: interrupted: ") && stderr.contains(" of 1029 "), "{stderr}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["rows"].as_array().unwrap().len() < 1029);
}

// ---- wrong files: exit 1 --------------------------------------------------------------------------

#[test]
fn wrong_model_files_are_refused_by_name() {
    let scratch = Scratch::new();
    let garbage = scratch.file("garbage.tflite", "this is no model, whatever its name says");
    let magic = scratch.file("magic.tflite", [&[0xff; 4], &b"TFL3"[..], &[0xff; 64]].concat());
    let toml = scratch.file("model.toml", "schema = 1");
    let cases = [
        (scratch.path("absent.tflite"), "No such file"),
        (scratch.path(""), "is a folder, not a file"),
        (scratch.file("empty.tflite", ""), "not a TFLite model"),
        (garbage, "TFL3"),
        (magic, ""),
        (toml, "TFL3"),
    ];
    for (path, why) in &cases {
        for args in [&["run", "--trunk", path][..], &["account", "--trunk", path], &["inspect", path]] {
            trunkline(args).refused(1, &[path.as_str(), why]);
        }
        trunkline(&["verify", path, "--golden", "x.npz"]).refused(1, &[path.as_str(), why]);
    }
    assert!(scratch.files().len() == 4, "nothing was written: {:?}", scratch.files());
}

#[test]
fn a_model_that_is_cut_short_is_refused_wherever_it_is_cut() {
    let scratch = Scratch::new();
    let mut models = vec![tiny::sample().build()];
    models.extend(common::shared(RESNET8).map(|path| fs::read(path).unwrap()));
    for bytes in models {
        for keep in [1, 4, 7, 8, 9, 20, 100, bytes.len() / 4, bytes.len() / 2, bytes.len() * 9 / 10] {
            let path = scratch.file("cut.tflite", &bytes[..keep.min(bytes.len() - 1)]);
            trunkline(&["inspect", &path]).refused(1, &["cut.tflite"]);
            trunkline(&["run", "--trunk", &path, "--batch", "1"]).refused(1, &["cut.tflite"]);
        }
    }
}

/// Replaces the first place where `find` stands.
fn replaced(bytes: &[u8], find: &[u8], with: &[u8]) -> Vec<u8> {
    let at = bytes.windows(find.len()).position(|w| w == find).expect("the bytes to be replaced are there");
    [&bytes[..at], with, &bytes[at + find.len()..]].concat()
}

fn words(words: [i32; 4]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[test]
fn a_model_that_claims_huge_shapes_is_refused_without_making_room_for_them() {
    let Some(path) = common::shared(RESNET8) else { return };
    let bytes = fs::read(path).unwrap();
    let scratch = Scratch::new();
    for shape in [
        [1, i32::MAX, i32::MAX, 3],
        [1, 1 << 20, 1 << 20, 3],
        [i32::MAX, 32, 32, 3],
        [1, 32, 32, i32::MAX],
        [1, -32, 32, 3],
        [1, 0, 32, 3],
        [1, 60_000, 60_000, 3],
    ] {
        let huge = scratch.file("huge.tflite", replaced(&bytes, &words([1, 32, 32, 3]), &words(shape)));
        let started = Instant::now();
        limited(&["inspect", &huge]).refused(1, &["huge.tflite"]);
        limited(&["account", "--trunk", &huge, "--scheme", "head-only"]).refused(1, &["huge.tflite"]);
        assert!(started.elapsed() < Duration::from_secs(10), "{shape:?} took {:?}", started.elapsed());
    }
}

/// Runs the program in 2 GiB of address space, where that can be asked for.
fn limited(args: &[&str]) -> Ran {
    if cfg!(not(target_os = "linux")) {
        return trunkline(args);
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 2097152; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_trunkline")]);
    let output = command.args(args).env("NODEVICE_SELECT", "1").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("ended by itself, not by a signal");
    Ran { args: args.join(" "), code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_model_of_fixed_size_is_not_built_anew() {
    let Some(path) = common::shared(RESNET8) else { return };
    let path = path.display().to_string();
    trunkline(&["run", "--trunk", &path, "--input", "64"]).refused(2, &["--input 64", "32x32x3", "zoo"]);
}

#[test]
fn a_float_model_is_refused_with_the_way_out() {
    let Some(path) = common::shared("models/mlperf_tiny/pretrainedResnet.tflite") else { return };
    let path = path.display().to_string();
    trunkline(&["run", "--trunk", &path]).refused(1, &[&path, "input_1", "full-integer quantisation"]);
}

#[test]
fn images_that_a_trunk_cannot_take_are_refused() {
    let Some(path) = common::shared("models/mlperf_tiny/ad01_int8.tflite") else { return };
    let path = path.display().to_string();
    trunkline(&["run", "--trunk", &path]).refused(2, &["before-each-stage", "ad01_int8", "no such stage"]);
    trunkline(&["run", "--trunk", &path, "--scheme", "head-only"]).refused(1, &["3 channels", "640"]);
}

fn data_set(name: &str) -> String {
    format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/data_sets/{}"), name)
}

#[test]
fn a_data_set_is_told_and_shown() {
    let scratch = Scratch::new();
    let sheet = scratch.path("sheet.png");
    let told = trunkline(&["data", &data_set("folder"), "--sheet", &sheet, "--format", "json"]).json();
    let split =
        |at: usize| [&told["splits"][at]["split"], &told["splits"][at]["images"], &told["splits"][at]["per_class"]];
    assert_eq!((&told["name"], &told["classes"]), (&"images".into(), &serde_json::json!(["apple", "pear"])));
    assert_eq!(split(0), [&serde_json::json!("train"), &6.into(), &serde_json::json!([3, 3])]);
    assert_eq!(split(1), [&serde_json::json!("test"), &2.into(), &serde_json::json!([1, 1])]);
    // Two classes of three images, in tiles of 32 pixels with gaps of 2.
    let png = std::fs::read(&sheet).unwrap();
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((&png[..4], side(16), side(20)), (&b"\x89PNG"[..], 3 * 34 + 2, 2 * 34 + 2));
    let words = trunkline(&["data", &data_set("parquet/struct-snappy.parquet")]).done();
    assert!(words.contains("parquet: 3 classes") && words.contains("classes: ant, bee, cow"), "{words}");
    assert!(trunkline(&["data"]).done().contains("synth:gratings"));
    trunkline(&["data", "nothere.npz"]).refused(1, &["nothere.npz", "No such file"]);
    trunkline(&["data", "nothere.npz:split=test"]).refused(1, &["nothere.npz:", "No such file"]);
    trunkline(&["data", &data_set("folder"), "--split", "vol"]).refused(2, &["vol"]);
}

/// A folder of images of which some are none.
fn damaged_folder(scratch: &Scratch) -> String {
    let folder = scratch.path("damaged");
    for (class, turns) in [("a", 0..6), ("b", 6..12)] {
        std::fs::create_dir_all(format!("{folder}/{class}")).unwrap();
        for i in turns {
            let path = format!("{folder}/{class}/{i:02}.png");
            match i {
                3 | 8 => std::fs::write(path, "no image").unwrap(),
                _ => image::RgbImage::from_pixel(16, 16, image::Rgb([20 * i as u8; 3])).save(path).unwrap(),
            }
        }
    }
    folder
}

#[test]
fn broken_images_stop_a_command_or_are_counted_and_named() {
    let scratch = Scratch::new();
    let (folder, run) = (damaged_folder(&scratch), scratch.path("run"));
    let trunk = ["--trunk", "resnet8:width=0.25,input=16", "--device", "cpu", "--data", &folder];
    trunkline(&[&["run"][..], &trunk].concat()).refused(1, &[".png", "neither PNG"]);
    let ran = trunkline(&[&["run"][..], &trunk, &["--skip-bad", "--format", "json"]].concat()).json();
    assert_eq!((&ran["visual_domains"][0]["broken"]["count"], &ran["images"]), (&2.into(), &10.into()));
    let train =
        [&["train"][..], &trunk, &["--epochs", "2", "--batch", "5", "--val", &folder, "--augment", "auto"]].concat();
    let stopped = scratch.path("stopped");
    trunkline(&[&train[..], &["--out", &stopped, "--quiet"]].concat()).refused(1, &[".png", "neither PNG"]);
    let trained = trunkline(&[&train[..], &["--skip-bad", "--measured", "--out", &run]].concat());
    assert_eq!(trained.code, 0, "{}", trained.stderr);
    assert!(
        trained.stderr.contains("data: 2 images do not decode") && trained.stderr.contains("03.png"),
        "{}",
        trained.stderr
    );
    assert!(trained.stderr.contains("the trunk waited"), "{}", trained.stderr);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(format!("{run}/report.json")).unwrap()).unwrap();
    assert_eq!((&report["broken"]["data"]["count"], &report["broken"]["val"]["count"]), (&2.into(), &2.into()));
    assert!(report["measured_loading"]["elapsed_s"].as_f64().unwrap() > 0.0);
    // The adapter keeps how images came, so that it is measured like that again.
    let rows = std::fs::read_to_string(format!("{run}/metrics.jsonl")).unwrap();
    let best = rows.lines().filter_map(|row| serde_json::from_str::<Value>(row).unwrap()["val/acc"].as_f64());
    let best = best.fold(0.0, f64::max);
    let submission = scratch.path("results.json");
    let eval =
        [&["eval", "--adapter", &run, "--skip-bad", "--submission", &submission, "--format", "json"][..], &trunk]
            .concat();
    let found = trunkline(&eval).json();
    assert_eq!(
        (found["accuracy"].as_f64(), &found["images"], &found["broken"]["count"]),
        (Some(best), &10.into(), &2.into())
    );
    let lines: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&submission).unwrap()).unwrap();
    assert_eq!(lines.len(), 10, "every image that decodes");
    assert!(
        lines.iter().all(|l| l["image_id"].as_u64() < Some(12) && l["category_id"].as_u64() < Some(2)),
        "{lines:?}"
    );
}

#[test]
fn a_submission_has_the_decathlons_own_numbers() {
    let scratch = Scratch::new();
    let (run, submission) = (scratch.path("run"), scratch.path("results.json"));
    let folder = data_set("decathlon");
    let trunk = ["--trunk", "resnet8:width=0.25,input=16", "--device", "cpu"];
    let train = ["train", "--data", &folder, "--epochs", "1", "--quiet", "--out", &run];
    assert_eq!(trunkline(&[&train[..], &trunk].concat()).code, 0);
    let val = format!("{folder}:split=val");
    let eval = ["eval", "--adapter", &run, "--data", &val, "--submission", &submission];
    assert!(trunkline(&[&eval[..], &trunk].concat()).done().contains("2 predictions"));
    let lines: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&submission).unwrap()).unwrap();
    assert_eq!(lines.iter().map(|l| l["image_id"].as_u64().unwrap()).collect::<Vec<_>>(), [80_000_004, 80_000_005]);
    assert!(lines.iter().all(|l| (80_000_001..=80_000_010).contains(&l["category_id"].as_u64().unwrap())), "{lines:?}");
}

#[test]
fn wrong_data_is_refused_by_name() {
    let scratch = Scratch::new();
    let folder = scratch.path("");
    let zip = scratch.file("x.zip", "no zip");
    trunkline(&["run", "--data", "cifar10:/nowhere/at/all"]).refused(1, &["/nowhere/at/all", "No such file"]);
    trunkline(&["run", "--data", &format!("cifar10:{folder}")]).refused(1, &[&folder, "labels.txt"]);
    trunkline(&["run", "--data", &format!("cifar10-jpeg:{zip}")]).refused(1, &["x.zip"]);
    trunkline(&["run", "--data", &format!("cifar10-jpeg:{folder}")]).refused(1, &[&folder, "zip"]);
}

/// A system file of built-in parts.
fn system(rounds: &str) -> String {
    format!(
        "schema = \"hw_models/system/1\"\nname = \"mine\"\ntrunk = \"fixed-weight-16nm\"\nadapter = \"h200-sxm\"\n\
         link = \"pcie-gen3-x8\"\nlaunch_api = \"vulkan\"\ntap_in_rounds = \"{rounds}\"\n"
    )
}

#[test]
fn wrong_hardware_files_are_refused_with_file_and_line() {
    let scratch = Scratch::new();
    let good = system("adapter");
    let cases: Vec<(String, &str)> = vec![
        ("[[[".into(), ":1"),
        (String::new(), "hw_models/system/1"),
        ("schema = \"hw_models/system/2\"".into(), "hw_models/system/1"),
        (good.replace("mine", "mine\"\nname = \"twice"), ":3: name: duplicate key"),
        (good.replace("launch_api", "launch"), "launch"),
        (good.replace("link = \"pcie-gen3-x8\"\n", ""), "link"),
        (good.replace("= \"adapter\"", "= \"nobody\""), "nobody"),
        (good.replace("vulkan", "morse"), "morse"),
        (good.replace("pcie-gen3-x8", "carrier-pigeon"), "carrier-pigeon"),
        (good.replace("\"mine\"", "3"), "name"),
        ("\u{0}\u{1}\u{2}".into(), ":1"),
    ];
    for (text, word) in cases {
        let path = scratch.file("wrong.toml", &text);
        let words: &[&str] = if word == "carrier-pigeon" { &[word, "pcie-gen3-x8"] } else { &["wrong.toml", word] };
        trunkline(&["hw", "check", &path]).refused(1, words);
        trunkline(&["account", "--system", &path]).refused(1, words);
        trunkline(&["run", "--batch", "1", "--system", &path]).refused(1, words);
    }
    let binary = scratch.file("binary.toml", [0xff, 0xfe, 0x00, 0x80]);
    trunkline(&["hw", "check", &binary]).refused(1, &["binary.toml", "UTF-8"]);
    let folder = scratch.path("");
    trunkline(&["hw", "check", &folder]).refused(1, &[&folder, "not a file", ".toml"]);
    trunkline(&["hw", "show", &folder]).refused(2, &[&folder, ".toml"]);
    trunkline(&["hw", "check", &scratch.path("absent.toml")]).refused(1, &["absent.toml", "No such file"]);
    trunkline(&["run", "--system", &scratch.path("absent.toml")]).refused(1, &["absent.toml", "No such file"]);
}

#[test]
fn figures_need_a_number_and_a_source() {
    let scratch = Scratch::new();
    let memory = |figure: &str| {
        format!(
            "schema = \"hw_models/memory/1\"\nname = \"mine\"\nkind = \"dram\"\ncapacity_b = {figure}\n\
             [sources]\nme = \"read off the board\"\n"
        )
    };
    let good = scratch.file("mine.toml", memory("{ v = 1024, src = \"me\", conf = \"measured\" }"));
    assert!(trunkline(&["hw", "check", &good]).done().contains("memory mine: sound"));
    assert!(trunkline(&["hw", "show", &good]).done().contains("[1] read off the board"));
    for figure in [
        "{ v = nan, src = \"me\", conf = \"measured\" }",
        "{ v = inf, src = \"me\", conf = \"measured\" }",
        "{ v = -1024, src = \"me\", conf = \"measured\" }",
        "{ v = 1024, src = \"you\", conf = \"measured\" }",
        "{ v = 1024, conf = \"measured\" }",
        "{ v = 1024, src = \"me\", conf = \"certain\" }",
        "{ v = 1024, v = 2048, src = \"me\", conf = \"measured\" }",
        "1024",
    ] {
        let path = scratch.file("mine.toml", memory(figure));
        trunkline(&["hw", "check", &path]).refused(1, &["mine.toml:4", "capacity_b"]);
    }
}

#[test]
fn wrong_goldens_are_refused_by_name() {
    let Some(model) = common::shared(RESNET8) else { return };
    let scratch = Scratch::new();
    let other = model.with_file_name("kws_ref_model.golden.npz").display().to_string();
    let layers = model.with_file_name("pretrainedResnet_quant.golden_layers.npz").display().to_string();
    let model = model.display().to_string();
    let cases: [(String, &[&str]); 6] = [
        (scratch.path("absent.npz"), &["absent.npz", "No such file"]),
        (scratch.file("empty.npz", ""), &["empty.npz"]),
        (scratch.file("garbage.npz", "PK\u{3}\u{4}garbage"), &["garbage.npz"]),
        (scratch.path("."), &["is a folder, not a file"]),
        (other, &["kws_ref_model.golden.npz", "inputs", "32x32x3"]),
        (layers, &["golden_layers.npz", "litert_ref, tflm"]),
    ];
    for (golden, words) in &cases {
        trunkline(&["verify", &model, "--golden", golden]).refused(1, words);
    }
}

// ---- verify: exit 0 and 3 -------------------------------------------------------------------------

#[test]
fn verify_passes_on_a_sound_model_under_each_runtime() {
    let Some(model) = common::shared(RESNET8) else { return };
    let golden = model.with_extension("golden.npz").display().to_string();
    let model = model.display().to_string();
    let json = trunkline(&["verify", &model, "--golden", &golden, "--format", "json"]).json();
    let verdicts = json["verdicts"].as_array().unwrap();
    let of = |key: &str| verdicts.iter().map(|v| v[key].as_str().unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(
        (of("reference"), of("profile")),
        (vec!["litert_ref".into(), "tflm".into()], vec!["tflite-ref".into(), "tflm".into()])
    );
    assert!(verdicts[0]["layers"].as_u64() > Some(0));
    for verdict in verdicts {
        assert!(verdict["differing"] == 0 && verdict["first"].is_null() && verdict["codes"].as_u64() > Some(0));
    }
    let one = trunkline(&["verify", &model, "--golden", &golden, "--profile", "tflm", "--format", "json"]).json();
    assert_eq!(one["verdicts"].as_array().unwrap().len(), 1);
}

/// A copy of the trained ResNet-8 with one weight changed.
fn with_a_flipped_weight(scratch: &Scratch, model: &Path) -> String {
    let mut bytes = fs::read(model).unwrap();
    // Inside the weights of a convolution in the middle of the network, far from any table of the file.
    bytes[60_000] ^= 0x55;
    scratch.file("flipped.tflite", bytes)
}

#[test]
fn verify_ends_with_3_and_names_layer_index_and_both_codes() {
    let Some(model) = common::shared(RESNET8) else { return };
    let scratch = Scratch::new();
    let flipped = with_a_flipped_weight(&scratch, &model);
    let golden = model.with_extension("golden.npz").display().to_string();
    for format in FORMATS {
        let ran = trunkline(&["verify", &flipped, "--golden", &golden, "--format", format]);
        assert_eq!((ran.code, ran.stderr.as_str()), (3, ""), "{format}");
        assert!(ran.stdout.contains("conv2d_"), "{format}: {}", ran.stdout);
    }
    let table = trunkline(&["verify", &flipped, "--golden", &golden]).stdout;
    let line = table.lines().find(|l| l.contains("first difference")).unwrap_or_else(|| panic!("{table}"));
    for word in ["layer 'conv2d_", "input 0", "index ", "recorded ", "computed "] {
        assert!(line.contains(word), "{line}");
    }
    let out = scratch.path("verdict.json");
    let ran = trunkline(&["verify", &flipped, "--golden", &golden, "--format", "json", "--out", &out]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    let json: Value = serde_json::from_str(&fs::read_to_string(out).unwrap()).unwrap();
    let first = &json["verdicts"][0]["first"];
    assert_keys(first, "array:text layer:text input:count index:count", "first");
    assert!(first["recorded"].is_i64() && first["recorded"] != first["computed"], "{first}");
}

// ---- where reports go -----------------------------------------------------------------------------

#[test]
fn out_writes_the_whole_report_and_nothing_else() {
    let scratch = Scratch::new();
    for format in FORMATS {
        let out = scratch.path("report");
        let printed = trunkline(&quick(&["--format", format])).done();
        let ran = trunkline(&quick(&["--format", format, "--out", &out]));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
        assert_eq!(fs::read_to_string(&out).unwrap(), printed, "{format}: the second replaces the first");
    }
    assert_eq!(scratch.files().len(), 1, "{:?}", scratch.files());
    // Without a folder in front it goes where the program runs.
    let here = command(&["devices", "--out", "here.txt"]).current_dir(scratch.0.path()).status().unwrap();
    assert!(here.success() && scratch.files().len() == 2);
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_work() {
    let scratch = Scratch::new();
    let (missing, folder) = (scratch.path("missing/report.txt"), scratch.path("."));
    let below_a_file = format!("{}/report.txt", scratch.file("file", "x"));
    // So much work that the test would notice.
    let long = ["run", "--trunk", "resnet26", "--input", "224", "--batch", "100000"];
    let started = Instant::now();
    for (out, why) in [(&missing, "no folder"), (&folder, "is a folder"), (&below_a_file, "")] {
        trunkline(&[&long[..], &["--out", out]].concat()).refused(1, &["cannot write", out, why]);
        trunkline(&["account", "--out", out]).refused(1, &["cannot write", out, why]);
        trunkline(&["devices", "--out", out]).refused(1, &["cannot write", out, why]);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(fs::read_to_string(scratch.path("file")).unwrap(), "x");
    assert_eq!(scratch.files().len(), 1, "{:?}", scratch.files());
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let locked = scratch.path("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(format!("{locked}/probe"), "").is_ok() {
        println!("SKIPPED: this user may write anywhere");
        return;
    }
    let out = format!("{locked}/report.txt");
    trunkline(&["account", "--out", &out]).refused(1, &["cannot write", &out, "ermission denied"]);
}

#[test]
fn a_failed_run_leaves_an_older_report_as_it_was() {
    let scratch = Scratch::new();
    let out = scratch.file("report.txt", "the older report");
    trunkline(&["run", "--data", "cifar10:/nowhere", "--out", &out]).refused(1, &["/nowhere"]);
    trunkline(&["run", "--scheme", "nope", "--out", &out]).refused(2, &["nope"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "the older report");
    assert_eq!(scratch.files().len(), 1, "{:?}", scratch.files());
}

#[cfg(unix)]
#[test]
fn links_and_devices_stay_what_they_are() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let scratch = Scratch::new();
    let target = scratch.file("target.txt", "old");
    let link = scratch.path("link.txt");
    symlink(&target, &link).unwrap();
    assert_eq!(trunkline(&["devices", "--out", &link]).code, 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("adapter devices"));
    assert_eq!(trunkline(&["devices", "--out", "/dev/null"]).code, 0);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    // As `--out >(less)` of a shell is.
    assert!(trunkline(&["devices", "--out", "/dev/stdout"]).done().contains("adapter devices"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for args in [quick(&[]), vec!["account"], vec!["inspect", "resnet26", "--format", "json"], vec!["run", "--help"]] {
        let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = fs::File::create("/dev/full").unwrap();
    let output = command(&["account"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: cannot write to standard output: ") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn schemes_that_have_no_place_are_told_and_left_out() {
    let Some(model) = common::shared("models/mlperf_tiny/ad01_int8.tflite") else { return };
    let model = model.display().to_string();
    let table = trunkline(&["account", "--trunk", &model]).done();
    assert!(table.contains("left out: ") && table.contains("adaptive-attention"), "{table}");
    let json = trunkline(&["account", "--trunk", &model, "--format", "json"]);
    assert_eq!(json.code, 0);
    let left_out = json.stderr.lines().count();
    assert!(json.stderr.lines().all(|l| l.starts_with("note: left out: ")) && left_out > 3, "{}", json.stderr);
    let rows: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len() + left_out, SCHEMES.len());
    trunkline(&["account", "--trunk", &model, "--scheme", "parallel"]).refused(2, &["parallel", "ad01_int8"]);
}

/// A SCALE-Sim topology on an array: all forms, flags before the configuration, refusals.
#[test]
fn scalesim_reports_layers_under_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let topology = file("net.csv", "Layer name,H,W,R,S,C,K,stride,\nsquare,8,4,1,1,32,32,1,\none,1,1,1,1,1,1,1,\n");
    let config = "[architecture_presets]\nArrayHeight: 8\nArrayWidth: 32\nDataflow: ws\n";
    let config = file("array.cfg", config);
    let base = ["hw", "scalesim", "--topology", &topology];
    let with = |more: &[&str]| trunkline(&[&base[..], more].concat());
    let array = ["--rows", "8", "--cols", "32", "--dataflow", "os"];
    let json = with(&[&array[..], &["--format", "json"]].concat()).json();
    assert_eq!(json["layers"][0]["Total Cycles"], 279);
    assert_eq!(json["layers"].as_array().unwrap().len(), 2);
    assert_eq!(json["total_cycles_reported"], 279 + 38);
    let csv = with(&["--config", &config, "--format", "csv"]).done();
    assert!(csv.starts_with("LayerID,Layer name,Total Cycles,Stall Cycles,Overall Util %"), "{csv}");
    assert!(csv.contains("0,square,311,0,"), "{csv}");
    let drained = with(&["--config", &config, "--dataflow", "os", "--mode", "drain", "--format", "json"]).json();
    assert_eq!(drained["layers"][0]["Total Cycles"], 4 * (32 + 2 * 8 + 32 - 2));
    assert!(with(&array).done().contains("total cycles reported: 317"));
    assert_eq!(with(&[]).code, 2);
    assert_eq!(with(&["--rows", "0", "--cols", "1", "--dataflow", "os"]).code, 2);
    assert_eq!(with(&["--rows", "1", "--cols", "1", "--dataflow", "rs"]).code, 2);
    let wrong = file("wrong.csv", "h\na,1,1,3,3,1,1,1,\n");
    let wrong = ["hw", "scalesim", "--topology", &wrong, "--rows", "1", "--cols", "1", "--dataflow", "os"];
    trunkline(&wrong).refused(1, &["wrong.csv:2", "filter of 3x3"]);
}

/// What is exported is read back as the same work.
#[test]
fn a_trunk_is_exported_for_scalesim() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet8.csv");
    let path = path.to_str().unwrap();
    let ran = trunkline(&["export", "scalesim", "--trunk", "resnet8", "--out", path]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let array = ["--rows", "16", "--cols", "16", "--dataflow", "ws", "--format", "json"];
    let json = trunkline(&[&["hw", "scalesim", "--topology", path][..], &array].concat()).json();
    let macs: u64 = json["layers"].as_array().unwrap().iter().map(|l| l["MACs"].as_u64().unwrap()).sum();
    assert_eq!(macs, 12_501_632);
    trunkline(&["export", "scalesim", "--trunk", "resnet9"]).refused(2, &["resnet9"]);
}

#[test]
fn schemes_lists_every_scheme_and_what_crosses() {
    let listed = trunkline(&["schemes", "--format", "json"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let json: Value = serde_json::from_str(&listed.stdout).unwrap();
    let rows = json["schemes"].as_array().unwrap();
    assert_eq!(rows.len(), SCHEMES.len());
    assert!(rows.iter().all(|r| ["name", "paper", "crosses", "about"].iter().all(|k| r[k].as_str().is_some())));
    let da3 = rows.iter().find(|r| r["name"] == "da3").unwrap();
    assert!(da3["paper"].as_str().unwrap().contains("reconstructed"));
    trunkline(&["account", "--scheme", "no-such"]).refused(2, &["no-such", "parallel", "da3"]);
    trunkline(&["account", "--scheme", "da3:forms=res"]).refused(2, &["forms", "form=attn|res"]);
    trunkline(&["account", "--scheme", "da3", "--sites", "block:99"]).refused(2, &["block:99", "block:1..12"]);
    trunkline(&["run", "--trunk", "resnet8", "--scheme", "piggyback"]).refused(2, &["piggyback", "cannot run"]);
}
