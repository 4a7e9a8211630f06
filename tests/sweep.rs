//! Sweeps: the same records whatever stops them and however they are cut; what cannot be done is
//! recorded; tables say what records say.

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use trunkline::experiment::account::account;
use trunkline::experiment::sweep::record::Record;
use trunkline::experiment::sweep::{self, Plan, Shard, Source, SweepError, SweepSettings, Swept, records};
use trunkline::experiment::training_account::training_account;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::hw::library::load_system;
use trunkline::plan::macs::MacRule;
use trunkline::report;
use trunkline::scheme::{Request, SchemeSpec};
use trunkline::seed::named;

const ANALYTIC: &str = r#"
mode = "analytic"
[grid]
trunks = ["resnet8", "resnet8:width=0.5"]
schemes = ["head-only", "fine-tune", "parallel", "adaptive-attention", "final-conv"]
sites = ["default", "early", "half", "before-each-stage"]
batch-norm = ["default", "frozen"]
tap-bits = [8, 16]
grad = ["f32", "int8"]
systems = ["asic-h200-pcie", "nvdla-m1-usb", { trunk = "eyeriss-v1-65nm", adapter = "rtx-4090", link = "usb3-gen1" }]
"#;

const TRAINED: &str = r#"
mode = "trained"
[grid]
trunks = ["resnet8:width=0.25,input=12"]
schemes = ["head-only", { scheme = "parallel:init=zero", sites = ["early", "late"], lr = 0.003 }]
systems = ["asic-h200-pcie", "nvdla-m1-usb"]
data = ["synth:hues:count=24"]
noise = [0.0, 0.25]
seeds = [1, 2]
[train]
epochs = 2
batch = 8
optimizer = "adam"
lr = 0.01
val-images = 16
"#;

fn plan(text: &str) -> Plan {
    Plan::of(source(text)).unwrap()
}

fn source(text: &str) -> Source {
    Source { label: "sweep.toml".into(), text: text.into() }
}

fn run(text: &str, folder: &Path, settings: SweepSettings) -> Result<Swept, SweepError> {
    sweep::sweep(&plan(text), folder, &settings, &AtomicBool::new(false), &mut |_| {})
}

fn threads(threads: usize) -> SweepSettings {
    SweepSettings { threads, ..SweepSettings::default() }
}

fn lines(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("points.jsonl")).unwrap_or_default();
    text.lines().map(String::from).collect()
}

fn all(folder: &Path) -> Vec<Record> {
    records(&folder.join("points.jsonl")).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Everything that a finished folder holds of its results.
fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    report::sweep::write(folder).unwrap();
    ["points.jsonl", "points.csv", "points.parquet", "summary.csv", "sweep.toml"]
        .map(|name| fs::read(folder.join(name)).unwrap())
        .into()
}

#[test]
fn threads_shards_and_sittings_do_not_show() {
    for text in [ANALYTIC, TRAINED] {
        let at = tempfile::tempdir().unwrap();
        let dir = |name: &str| at.path().join(name);
        let one = run(text, &dir("one"), threads(1)).unwrap();
        assert!(!one.stopped && one.progress.done == plan(text).len());
        run(text, &dir("three"), threads(3)).unwrap();
        let whole = bytes(&dir("one"));
        assert!(whole == bytes(&dir("three")), "threads show");

        let mut parts = Vec::new();
        for part in 1..=3 {
            let shard = Some(Shard { part, of: 3 });
            run(text, &dir(&part.to_string()), SweepSettings { shard, ..threads(2) }).unwrap();
            parts.push(dir(&part.to_string()));
        }
        let counts: Vec<usize> = parts.iter().map(|part| lines(part).len()).collect();
        assert!(counts.iter().all(|&n| n > 0) && counts.iter().sum::<usize>() as u64 == one.progress.points);
        parts.rotate_left(1);
        let merged = sweep::merge(&parts, &dir("merged")).unwrap();
        assert_eq!((merged.points, merged.missing, merged.failed), (one.progress.points, 0, one.progress.failed));
        assert!(whole == bytes(&dir("merged")), "shards show");

        // Shard after shard in one folder is one run too; and a finished sweep has nothing to do.
        for part in [2, 1, 3, 1] {
            run(text, &dir("again"), SweepSettings { shard: Some(Shard { part, of: 3 }), ..threads(2) }).unwrap();
        }
        let again = run(text, &dir("again"), threads(2)).unwrap();
        assert_eq!(again.progress.before, one.progress.points);
        assert!(whole == bytes(&dir("again")), "sittings show");
    }
}

/// The real program, killed ten times at random moments.
#[test]
fn killed_at_ten_random_moments_it_loses_no_point_and_repeats_none() {
    let at = tempfile::tempdir().unwrap();
    let (file, whole, out) = (at.path().join("s.toml"), at.path().join("whole"), at.path().join("out"));
    fs::write(&file, TRAINED).unwrap();
    let start = |out: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.arg("sweep").arg(&file).arg("--out").arg(out).args(["--threads", "2"]).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let began = std::time::Instant::now();
    assert!(start(&whole).wait().unwrap().success());
    let took = began.elapsed();
    let mut before: BTreeSet<String> = BTreeSet::new();
    let mut torn = 0;
    for kill in 0..10 {
        let part = named(7, "kills").uniform(kill) / 3.0;
        let mut child = start(&out);
        std::thread::sleep(Duration::from_secs_f64(took.as_secs_f64() * part));
        let _ = child.kill();
        child.wait().unwrap();
        let text = fs::read_to_string(out.join("points.jsonl")).unwrap_or_default();
        let (finished, tail) = text.rsplit_once('\n').unwrap_or(("", &text));
        torn += usize::from(!tail.is_empty());
        let now: Vec<String> = finished.lines().map(String::from).collect();
        let set: BTreeSet<String> = now.iter().cloned().collect();
        assert_eq!(set.len(), now.len(), "a point is there twice after kill {kill}");
        assert!(before.is_subset(&set), "a finished point was lost by kill {kill}");
        before = set;
    }
    println!("{} of {} points after ten kills, {torn} torn lines", before.len(), plan(TRAINED).len());
    assert!(!before.is_empty(), "nothing was finished between kills: the test shows nothing");
    assert!(start(&out).wait().unwrap().success());
    assert!(before.is_subset(&lines(&out).into_iter().collect()));
    assert_eq!(bytes(&out), bytes(&whole));
    assert!(fs::read_dir(out.join("runs")).unwrap().next().is_none(), "folders of trainings are left");
}

/// Wherever the last write was cut.
#[test]
fn a_torn_line_is_dropped_and_its_point_done_again() {
    let at = tempfile::tempdir().unwrap();
    let (whole, cut) = (at.path().join("whole"), at.path().join("cut"));
    run(ANALYTIC, &whole, threads(2)).unwrap();
    let expected = bytes(&whole);
    let points = &expected[0];
    for part in [0.0, 0.31, 0.5, 0.99] {
        let mut keep = (points.len() as f64 * part) as usize;
        // Also right behind a line's text, before its end.
        if part == 0.5 {
            keep += points[keep..].iter().position(|b| *b == b'\n').unwrap();
        }
        fs::create_dir_all(&cut).unwrap();
        fs::write(cut.join("points.jsonl"), &points[..keep]).unwrap();
        let swept = run(ANALYTIC, &cut, threads(2)).unwrap();
        assert_eq!(swept.progress.before, points[..keep].iter().filter(|b| **b == b'\n').count() as u64);
        assert!(bytes(&cut) == expected, "cut after {keep} bytes");
        fs::remove_dir_all(&cut).unwrap();
    }
}

#[test]
fn a_record_that_was_changed_or_is_of_another_sweep_is_refused() {
    let at = tempfile::tempdir().unwrap();
    let out = at.path().join("out");
    run(ANALYTIC, &out, threads(2)).unwrap();
    let file = out.join("points.jsonl");
    let good = fs::read_to_string(&file).unwrap();
    let refusal = |text: &str, sweep: &str| {
        fs::write(&file, text).unwrap();
        run(sweep, &out, threads(1)).unwrap_err().to_string()
    };
    let has = |error: String, parts: &[&str]| assert!(parts.iter().all(|p| error.contains(p)), "{error}");
    has(refusal(&good.replacen("\"tap_bits\":8", "\"tap_bits\":16", 1), ANALYTIC), &["line 1", "changed"]);
    has(refusal(&good.replacen("sweep-point/1", "sweep-point/9", 1), ANALYTIC), &["line 1", "sweep-point/9"]);
    has(refusal(&good.replacen("\"counted\"", "\"caunted\"", 1), ANALYTIC), &["line 1", "caunted"]);
    has(refusal(&format!("{good}\n"), ANALYTIC), &["line"]);
    let first = good.lines().next().unwrap();
    has(refusal(&format!("{good}{first}\n"), ANALYTIC), &["once more"]);
    has(refusal(&good, &ANALYTIC.replace("[8, 16]", "[8]")), &["points that this sweep has not", "resnet8"]);
    let held = fs::File::open(out.join("sweep.lock")).unwrap();
    held.lock().unwrap();
    has(refusal(&good, ANALYTIC), &["another program"]);
}

#[test]
fn two_values_that_mean_one_thing_are_refused() {
    let at = tempfile::tempdir().unwrap();
    let twice = TRAINED.replace("\"head-only\",", "\"head-only\", { scheme = \"head-only\", lr = 0.01 },");
    let refusal = run(&twice, at.path(), threads(1)).unwrap_err().to_string();
    assert!(refusal.contains("points 0 and 8 are the same: head-only of resnet8"), "{refusal}");
}

/// A longer file goes on with what a shorter one has done.
#[test]
fn a_sweep_that_grows_keeps_its_points() {
    let at = tempfile::tempdir().unwrap();
    let [grown, fresh] = ["grown", "fresh"].map(|name| at.path().join(name));
    let short = ANALYTIC.replace("\"head-only\", \"fine-tune\", ", "").replace("\"nvdla-m1-usb\", ", "");
    let was = run(&short, &grown, threads(2)).unwrap().progress.points;
    let swept = run(ANALYTIC, &grown, threads(2)).unwrap();
    assert!(swept.progress.before == was && was < swept.progress.points);
    run(ANALYTIC, &fresh, threads(2)).unwrap();
    assert!(bytes(&grown) == bytes(&fresh));
}

#[test]
fn what_a_scheme_cannot_do_is_the_record_of_that_point() {
    let at = tempfile::tempdir().unwrap();
    let swept = run(ANALYTIC, at.path(), threads(2)).unwrap();
    let all = all(at.path());
    let failed: Vec<&Record> = all.iter().filter(|r| r.error.is_some()).collect();
    assert_eq!(failed.len() as u64, swept.progress.failed);
    // Attention sits at stage boundaries, parallel adapters beside convolutions; nobody else has sites.
    for record in &all {
        let sites = record.point.sites.as_deref();
        let impossible = match record.point.scheme.as_str() {
            "adaptive-attention" => sites == Some("half"),
            "parallel" => sites == Some("before-each-stage"),
            _ => false,
        };
        assert_eq!(record.error.is_some(), impossible, "{:?}", record.point);
        assert_eq!(record.error.is_some(), record.counted.is_none() && record.modelled.is_none());
    }
    assert!(failed.iter().all(|r| r.error.as_ref().unwrap().contains("the scheme sits at ")));
    let again = run(ANALYTIC, at.path(), threads(2)).unwrap();
    assert_eq!((again.progress.before, again.progress.failed), (swept.progress.points, swept.progress.failed));
}

/// A point says what `account` says of the same choices.
#[test]
fn an_analytic_point_is_an_account() {
    let at = tempfile::tempdir().unwrap();
    let settings = SweepSettings { taps: true, ..threads(2) };
    run(ANALYTIC, at.path(), settings).unwrap();
    let all = all(at.path());
    let named = all.iter().filter(|r| r.error.is_none() && !r.point.system.contains('+'));
    let mut compared = 0;
    for record in named.step_by(5) {
        let point = &record.point;
        let trunk = Trunk::open(&point.trunk, Wanted::default()).unwrap();
        let system = load_system(&point.system).unwrap();
        let request = Request {
            scheme: SchemeSpec(point.scheme.clone()),
            sites: point.sites.as_ref().map(|s| s.parse().unwrap()),
            batch_norm: Some(point.batch_norm),
            seed: 0,
        };
        let (row, placed) = account(&trunk, &request, &system, point.tap_bits, MacRule::Conv).unwrap();
        let step = training_account(&placed, &row.taps, point.grad).unwrap();
        let (counted, modelled) = (record.counted.as_ref().unwrap(), record.modelled.as_ref().unwrap());
        assert_eq!((counted.params, counted.macs, counted.connections), (row.params, row.macs, row.connections));
        let training = counted.training.as_ref().unwrap();
        assert_eq!((training.backward, training.macs_backward), (step.backward, step.macs_backward));
        assert_eq!((training.kept_adapter_b, training.kept_trunk_b), (step.kept_adapter_b, step.kept_trunk_b));
        assert_eq!(modelled.latency_ps, row.time.latency_ps);
        assert_eq!(modelled.throughput_per_s, row.time.throughput_per_s);
        assert_eq!(modelled.link_wire_bytes, row.link.wire_bytes);
        let energy = (modelled.energy_pj, modelled.energy_low_pj, modelled.energy_high_pj);
        assert_eq!(energy, (row.energy_pj.total, row.energy_pj.low, row.energy_pj.high));
        assert_eq!(
            (&modelled.energy_confidence, modelled.energy_lower_bound),
            (&row.confidence, row.energy_pj.lower_bound)
        );
        assert_eq!(counted.forward.tap_out_bytes + counted.forward.tap_in_bytes, row.link.payload_bytes);
        let forward = record.taps.as_ref().unwrap().iter().zip(&row.taps);
        assert!(forward.clone().count() == row.taps.len() && forward.into_iter().all(|(a, b)| a.name == b.name));
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn trained_points_learn_and_share_a_training_over_systems() {
    let at = tempfile::tempdir().unwrap();
    run(TRAINED, at.path(), SweepSettings { measured: true, ..threads(2) }).unwrap();
    let all = all(at.path());
    assert!(all.len() == 24 && all.iter().all(|r| r.error.is_none()));
    for pair in all.chunks(2) {
        let [a, b] = [&pair[0], &pair[1]];
        assert!(a.learned == b.learned && a.modelled != b.modelled && a.point.system != b.point.system);
        assert!(a.measured.as_ref().unwrap().train_wall_s > 0.0);
        let learned = a.learned.as_ref().unwrap();
        assert_eq!((learned.train_images, learned.val_images, learned.steps), (24, 16, 6));
        assert!((0.0..=1.0).contains(&learned.accuracy) && learned.best_accuracy >= learned.accuracy);
    }
    let rates: BTreeSet<String> = all.iter().map(|r| r.point.training.as_ref().unwrap().lr.to_string()).collect();
    assert_eq!(rates, BTreeSet::from(["0.01".into(), "0.003".into()]));

    report::sweep::write(at.path()).unwrap();
    let mut summary = csv::Reader::from_path(at.path().join("summary.csv")).unwrap();
    let names = summary.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = summary.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 12);
    let cell = |row: usize, name: &str| rows[row][names.iter().position(|n| n == name).unwrap()].to_string();
    // The first group: head-only without noise, both seeds, on the first system.
    let of_group = |r: &&Record| {
        let t = r.point.training.as_ref().unwrap();
        r.point.scheme == "head-only" && t.noise == 0.0 && r.point.system == all[0].point.system
    };
    let accuracies: Vec<f64> = all.iter().filter(of_group).map(|r| r.learned.as_ref().unwrap().accuracy).collect();
    assert_eq!((accuracies.len(), cell(0, "seeds")), (2, "2".into()));
    let mean = (accuracies[0] + accuracies[1]) / 2.0;
    assert_eq!(cell(0, "accuracy_mean").parse::<f64>().unwrap(), mean);
    let deviation = (accuracies[0] - accuracies[1]).abs() / 2f64.sqrt();
    assert!((cell(0, "accuracy_deviation").parse::<f64>().unwrap() - deviation).abs() < 1e-12);
}

/// Both tables hold the same values, and a number is that of the record to the bit.
#[test]
fn csv_and_parquet_say_what_the_records_say() {
    let at = tempfile::tempdir().unwrap();
    run(ANALYTIC, at.path(), threads(2)).unwrap();
    report::sweep::write(at.path()).unwrap();
    let all = all(at.path());
    let mut csv = csv::Reader::from_path(at.path().join("points.csv")).unwrap();
    let names: Vec<String> = csv.headers().unwrap().iter().map(String::from).collect();
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    let file = fs::File::open(at.path().join("points.parquet")).unwrap();
    let parquet: Vec<_> =
        SerializedFileReader::new(file).unwrap().get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert!(rows.len() == all.len() && parquet.len() == all.len());
    for ((record, row), typed) in all.iter().zip(&rows).zip(&parquet) {
        let cell = |name: &str| &row[names.iter().position(|n| n == name).unwrap()];
        assert_eq!((cell("id"), cell("index")), (record.id.as_str(), record.index.to_string().as_str()));
        let energy = record.modelled.as_ref().map(|m| m.energy_pj.to_string()).unwrap_or_default();
        assert_eq!(cell("modelled_energy_pj"), energy);
        assert_eq!(cell("error"), record.error.as_deref().unwrap_or_default());
        for ((name, text), (column, field)) in names.iter().zip(row).zip(typed.get_column_iter()) {
            assert_eq!(name, column);
            let typed = match field {
                Field::Null => String::new(),
                Field::Str(s) => s.clone(),
                Field::ULong(n) => n.to_string(),
                Field::Double(x) => x.to_string(),
                Field::Bool(b) => b.to_string(),
                other => panic!("{name} is {other:?}"),
            };
            assert_eq!(text, typed, "{name}");
        }
    }
}

#[test]
fn merging_what_does_not_belong_together_is_refused() {
    let at = tempfile::tempdir().unwrap();
    let dir = |name: &str| at.path().join(name);
    let shard = |part| SweepSettings { shard: Some(Shard { part, of: 2 }), ..threads(1) };
    run(ANALYTIC, &dir("a"), shard(1)).unwrap();
    run(ANALYTIC, &dir("b"), shard(2)).unwrap();
    run(&ANALYTIC.replace("[8, 16]", "[16]"), &dir("other"), shard(1)).unwrap();
    let refusal = |from: &[PathBuf], out: &str| sweep::merge(from, &dir(out)).unwrap_err().to_string();
    let has = |error: String, parts: &[&str]| assert!(parts.iter().all(|p| error.contains(p)), "{error}");
    has(refusal(&[dir("a"), dir("other")], "m"), &["other", "sweep.toml is not that of"]);
    has(refusal(&[dir("a"), dir("a")], "m"), &["twice"]);
    has(refusal(&[dir("a"), dir("nowhere")], "m"), &["nowhere"]);
    has(refusal(&[dir("b")], "a"), &["has a points.jsonl already"]);
    assert!(!dir("m").join("points.jsonl").exists());
    let text = fs::read_to_string(dir("b").join("points.jsonl")).unwrap();
    fs::write(dir("b").join("points.jsonl"), &text[..text.len() - 9]).unwrap();
    has(refusal(&[dir("a"), dir("b")], "m"), &["was cut"]);
    // One shard alone is told to be a part.
    let merged = sweep::merge(&[dir("a")], &dir("half")).unwrap();
    assert!(merged.missing > 0 && merged.points + merged.missing <= plan(ANALYTIC).len());
}

#[test]
fn the_command_lists_and_refuses_and_merges() {
    let at = tempfile::tempdir().unwrap();
    let file = at.path().join("s.toml");
    fs::write(&file, ANALYTIC).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        let done = command.arg("sweep").args(arguments).current_dir(at.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let (code, listed, told) = run(&["s.toml", "--dry-run"]);
    assert_eq!((code, listed.lines().count() as u64), (Some(0), plan(ANALYTIC).len()));
    assert!(told.contains("points") && !at.path().join("sweeps").exists(), "{told}");
    for part in ["1/2", "2/2"] {
        assert_eq!(run(&["s.toml", "--shard", part, "--quiet"]).0, Some(0));
    }
    let (code, _, told) = run(&["merge", "sweeps/s-1-of-2", "sweeps/s-2-of-2", "--out", "sweeps/s"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(lines(&at.path().join("sweeps/s")).len() as u64, plan(ANALYTIC).len());
    fs::write(&file, ANALYTIC.replace("tap-bits", "tap-bytes")).unwrap();
    let (code, _, told) = run(&["s.toml"]);
    assert!(code == Some(2) && told.contains("s.toml:8:1") && told.contains("tap-bytes"), "{told}");
    assert_eq!((run(&["nowhere.toml"]).0, run(&["s.toml", "--shard", "3/2"]).0), (Some(1), Some(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A file with a mistake is told where, or is another sweep; it is never a panic.
    #[test]
    fn a_mutated_file_is_a_plan_or_one_error_with_its_place(
        trained in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..5usize, any::<u8>()), 1..4),
    ) {
        // A digit more in a width would be a network that fits no machine.
        let mut text = if trained { TRAINED } else { ANALYTIC }.replace(":width=0.25,input=12", "");
        text = text.replace(", \"resnet8:width=0.5\"", "");
        for (at, kind, byte) in edits {
            let at = at.index(text.len());
            match kind {
                0 => drop(text.remove(at)),
                1 => text.insert(at, char::from(byte % 128)),
                2 => text.truncate(at.max(1)),
                3 => {
                    let words = ["[]", "-1", "nan", "\"\"", "18446744073709551616", "{}", "1e400", "true", "\n"];
                    text.insert_str(at, words[usize::from(byte) % words.len()]);
                }
                _ => {
                    // A line that is there twice, or elsewhere.
                    let all: Vec<&str> = text.lines().collect();
                    let line = all[usize::from(byte) % all.len()].to_string();
                    text.insert_str(text[..at].rfind('\n').map_or(0, |n| n + 1), &format!("{line}\n"));
                }
            }
        }
        match Plan::of(source(&text)) {
            Ok(plan) => {
                prop_assert!(!plan.is_empty());
                prop_assert_eq!(plan.point(&plan.choice(plan.len() - 1)).id().len(), 64);
            }
            Err(error) => {
                let told = error.to_string();
                let place: Vec<&str> = told.splitn(4, ':').collect();
                prop_assert_eq!(place[0], "sweep.toml", "{}", &told);
                let line: usize = place[1].parse().unwrap();
                prop_assert!((1..=text.lines().count() + 1).contains(&line), "{}", told);
            }
        }
    }
}
