//! Decathlon scores on the command line: the printed ones, and a user's own.

use serde_json::Value;
use std::fs;
use std::process::Command;

fn account(arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_trunkline")).arg("account").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn printed_scores_are_recomputed() {
    let (code, json, told) = account(&["--paper", "decathlon-score", "--format", "json"]);
    assert_eq!(code, Some(0), "{told}");
    let cells: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(cells.len(), 23);
    let cell = cells.iter().find(|c| c["row"] == "Rebuffi 2018: Finetuning").unwrap();
    assert_eq!((&cell["printed"], &cell["computed"]), (&Value::from("3096"), &Value::from(3096.06)));
    assert_eq!(cells.iter().filter(|c| c["match"] == "differs").count(), 1);
}

#[test]
fn a_reference_of_ones_own_is_scored_against() {
    let at = tempfile::tempdir().unwrap();
    let file = at.path().join("own.toml");
    let path = file.to_str().unwrap();
    let text = "[reference]\nsigns = 80\nshapes = 50\n[accuracies.parallel]\nsigns = 90\nshapes = 50\n";
    fs::write(&file, text).unwrap();
    let own = ["--paper", "decathlon-score", "--reference", path];
    let (code, json, told) = account(&[&own[..], &["--format", "json"]].concat());
    assert_eq!(code, Some(0), "{told}");
    let cells: Vec<Value> = serde_json::from_str(&json).unwrap();
    let computed = |column: &str| cells.iter().find(|c| c["column"] == column).unwrap()["computed"].as_f64();
    assert_eq!((computed("S"), computed("signs"), computed("shapes")), (Some(812.5), Some(562.5), Some(250.0)));

    fs::write(&file, text.replace("shapes = 50\n[", "[")).unwrap();
    let (code, _, told) = account(&own);
    assert!(code == Some(1) && told.contains("line 5") && told.contains("no 'shapes'"), "{told}");
    let (code, _, told) = account(&["--paper", "aswani-table3", "--reference", path]);
    assert!(code == Some(2) && told.contains("decathlon-score"), "{told}");
}
