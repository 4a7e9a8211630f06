//! Reports: what records say is what tables and page say, nothing out of a file becomes markup, the same input
//! gives the same bytes, and what is damaged or foreign is told with its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;
use trunkline::experiment::findings::{self, Findings};
use trunkline::experiment::sweep::record::{Learned, Record};
use trunkline::experiment::sweep::{self, Plan, Source, SweepSettings, records};
use trunkline::report::page::{self, Page};
use trunkline::report::render::{grouped, markdown};

const SWEEP: &str = r#"
mode = "analytic"
[grid]
trunks = ["resnet8:width=0.25,input=12"]
schemes = ["head-only", "fine-tune", "parallel", "spatial-attention"]
sites = ["every"]
systems = ["asic-h200-pcie", "nvdla-m1-usb"]
data = ["synth:signs:count=20", "synth:hues:count=20"]
"#;

/// A finished sweep.
fn swept() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::of(Source { label: "sweep.toml".into(), text: SWEEP.into() }).unwrap();
    sweep::sweep(&plan, folder.path(), &SweepSettings::default(), &AtomicBool::new(false), &mut |_| {}).unwrap();
    folder
}

fn all(folder: &Path) -> Vec<Record> {
    records(&folder.join("points.jsonl")).unwrap().collect::<Result<_, _>>().unwrap()
}

fn write(records: &[Record]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<u8> = records.iter().flat_map(Record::line).collect();
    fs::write(folder.path().join("points.jsonl"), lines).unwrap();
    folder
}

fn read(folder: &Path) -> Findings {
    findings::read(&[folder.into()]).unwrap()
}

/// Every element is closed in its order; empty ones of HTML close themselves.
fn assert_well_formed(markup: &str) {
    const VOID: [&str; 3] = ["meta", "link", "input"];
    let mut open: Vec<String> = Vec::new();
    // What stands in scripts and styles is no markup.
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag ends");
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let name: String = tag.trim_start_matches('/').chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        if tag.starts_with(['!', '?']) || tag.ends_with('/') || VOID.contains(&name.as_str()) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "before {}", &rest[..rest.len().min(80)]);
        } else if name == "script" || name == "style" {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).expect("a script ends") + close.len()..];
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
}

#[test]
fn the_page_and_the_tables_have_what_the_records_have() {
    let folder = swept();
    let findings = read(folder.path());
    let (html, text) = (Page::new(&findings, &[]).html(), markdown(&page::sections(&findings)));
    assert_well_formed(&html);
    let records = all(folder.path());
    assert_eq!((findings.all.len(), html.matches("<tr id=\"row").count()), (records.len(), records.len()));
    for record in &records {
        let counted = record.counted.as_ref().unwrap();
        let connections = grouped(counted.connections.total);
        assert!(html.contains(&format!(">{connections}</td>")), "{connections}");
        assert!(text.contains(&format!("| {connections} |")) || text.contains(&format!(" {connections} |")));
    }
    // Not one address, and nothing that is read from elsewhere, but the name of the format.
    let addresses = html.replace("http://www.w3.org/2000/svg", "");
    for stranger in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!addresses.contains(stranger), "the page has {stranger}");
    }
    assert!(html.matches("<svg xmlns").count() > 8 && html.contains("prefers-color-scheme:dark"));
    assert!(html.contains("energy-by-domain") && html.contains("id=\"fig-network-1\"") && html.contains("timeline-1"));
    assert!(!html.contains("Not drawn"), "a sweep of this program can be drawn by it");
    assert!(text.contains("MACs per hardware domain and visual domain") && !text.contains("accuracy, %"));
}

#[test]
fn every_figure_is_a_file_of_its_own() {
    let folder = swept();
    let findings = read(folder.path());
    let page = Page::new(&findings, &[2]);
    let mut names: Vec<&str> = page.figures().map(|f| f.name.as_str()).collect();
    assert!(names.contains(&"network-2") && names.contains(&"energy-bytes"), "{names:?}");
    for figure in page.figures() {
        assert_well_formed(&figure.file());
        assert!(!figure.svg.contains("NaN") && !figure.svg.contains("inf"), "{}", figure.name);
    }
    let drawn = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), drawn);
}

#[test]
fn the_same_points_give_the_same_bytes() {
    let folder = swept();
    let page = || Page::new(&read(folder.path()), &[]).html();
    let first = page();
    assert_eq!(first, page());
    // The file of the folder is the folder, and twice the same points are once the same points.
    let points = folder.path().join("points.jsonl");
    let twice = findings::read(&[points.clone(), points]).unwrap();
    assert_eq!(twice.all, read(folder.path()).all);
}

#[test]
fn seeds_are_averaged_and_names_are_no_markup() {
    let folder = swept();
    let of_seed = |seed: u64, accuracy: f64| {
        let mut record = all(folder.path()).swap_remove(0);
        record.point.system = "</td><script>alert('x')</script>&\"".into();
        record.point.data = Some("<img src=x onerror=alert(1)>".into());
        record.point.training = Some(training(seed));
        record.learned = Some(Learned {
            train_images: 20,
            val_images: 10,
            steps: 4,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss: 1.0,
            accuracy,
            best_accuracy: accuracy,
            best_epoch: 1,
        });
        record.id = record.point.id();
        record
    };
    let trained = write(&[of_seed(1, 0.5), of_seed(2, 0.7)]);
    let findings = read(trained.path());
    let text = markdown(&page::sections(&findings));
    assert!(findings.all.len() == 1 && text.contains("60.00") && text.contains("14.14"), "{text}");
    let page = Page::new(&findings, &[]);
    let html = page.html();
    assert_well_formed(&html);
    assert!(!html.contains("<script>alert") && !html.contains("<img"), "a name became markup");
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(html.contains("Not drawn"), "no such system can be opened");
    assert!(html.contains("id=\"fig-accuracy-connections\""));
    page.figures().for_each(|f| assert_well_formed(&f.file()));
}

fn training(seed: u64) -> trunkline::experiment::sweep::point::Training {
    let fields = serde_json::json!({
        "val": "synth:signs:split=val", "subset": 1.0, "noise": 0.0, "seed": seed, "epochs": 2, "batch": 8,
        "optimizer": "adam", "lr": 0.01, "schedule": "cosine", "weight_decay": "0", "label_smoothing": 0.0,
        "grad_rounding": "nearest-even", "grad_exponent": "dynamic", "device": "cpu",
    });
    serde_json::from_value(fields).unwrap()
}

fn refusal(path: PathBuf) -> String {
    findings::read(&[path]).unwrap_err().to_string()
}

#[test]
fn what_is_damaged_or_foreign_is_told_with_its_place() {
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    assert!(refusal(at.path().into()).contains("neither the folder of a sweep"));
    assert!(refusal(path("nowhere")).contains("nowhere"));
    fs::write(path("points.jsonl"), "{\"schema\":\"other/1\"}\n").unwrap();
    let told = refusal(at.path().into());
    assert!(told.contains("points.jsonl: line 1: its schema is") && told.contains("other/1"), "{told}");
    fs::write(path("points.jsonl"), "").unwrap();
    assert!(refusal(at.path().into()).contains("nothing to report"));

    let folder = swept();
    let mut lines: Vec<String> = all(folder.path()).iter().map(|r| String::from_utf8(r.line()).unwrap()).collect();
    lines[2] = lines[2].replace("asic-h200-pcie", "asic-h201-pcie").replace("nvdla-m1-usb", "nvdla-m2-usb");
    fs::write(path("points.jsonl"), lines.concat()).unwrap();
    let told = refusal(at.path().into());
    assert!(told.contains("line 3: its id is not that of its point"), "{told}");
}

#[test]
fn a_damaged_run_is_told_with_its_place() {
    let at = tempfile::tempdir().unwrap();
    let (args, metrics) = (at.path().join("args.json"), at.path().join("metrics.jsonl"));
    fs::write(&args, "{\"schema\": 1}").unwrap();
    let told = refusal(at.path().into());
    assert!(told.contains("args.json: arguments: is no list of flags"), "{told}");
    let flags = r#"{"schema":"trunkline/train-args/1","arguments":{"trunk":"resnet8","scheme":"head-only","data":"x","system":"asic-h200-pcie","epochs":"1","batch":"1","optimizer":"sgd","lr":"1","schedule":"constant","tap-bits":BITS}}"#;
    fs::write(&metrics, "{\"step\":1,\"val/acc\":0.25}\n{\"step\":2,\"val/acc\":1.5}\n").unwrap();
    for (bits, place) in
        [("16", "arguments.tap-bits"), ("\"7\"", "arguments.tap-bits"), ("\"16\"", "metrics.jsonl: line 2")]
    {
        fs::write(&args, flags.replace("BITS", bits)).unwrap();
        let told = refusal(at.path().into());
        assert!(told.contains(place), "{told}");
    }
    // A line that was cut off is not there; a run without checkpoint has its accuracy and says what it lacks.
    fs::write(&metrics, "{\"step\":1,\"val/acc\":0.25}\n{\"step\":2,\"val/a").unwrap();
    let run = read(at.path());
    assert_eq!(run.all[0].accuracies, [0.25]);
    let text = markdown(&page::sections(&run));
    assert!(text.contains("25.00") && text.contains("it has no checkpoint"), "{text}");
    assert_well_formed(&Page::new(&run, &[]).html());
}

#[test]
fn trainings_are_counted_anew_and_their_seeds_averaged() {
    let at = tempfile::tempdir().unwrap();
    let runs = [0, 1].map(|seed| {
        let run = at.path().join(format!("run-{seed}"));
        let flags = [
            "train --trunk resnet8:width=0.25,input=12 --scheme parallel:init=zero --sites early --epochs 1 --batch 8",
            "--device cpu --data synth:signs:count=16 --val synth:signs:count=50,split=val --quiet",
        ];
        let status = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(flags.join(" ").split(' '))
            .args(["--seed", &seed.to_string(), "--out"])
            .arg(&run)
            .env("NODEVICE_SELECT", "1")
            .status();
        assert!(status.unwrap().success());
        run
    });
    let found = findings::read(&runs).unwrap();
    let [finding] = &found.all[..] else { panic!("{:?}", found.all) };
    assert_eq!((finding.accuracies.len(), &finding.error), (2, &None));
    for (run, accuracy) in runs.iter().zip(&finding.accuracies) {
        let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        assert!(metrics.contains(&format!("\"val/acc\":{accuracy:?}")), "{accuracy}");
    }
    let counted = finding.counted.as_ref().unwrap();
    let step: serde_json::Value = serde_json::from_slice(&fs::read(runs[0].join("report.json")).unwrap()).unwrap();
    assert_eq!(counted.forward.tap_in_bytes, step["forward"]["tap_in_bytes"].as_u64().unwrap());
    assert_eq!(counted.macs.adapter, step["macs_forward"]["adapter"].as_u64().unwrap());
    assert!(counted.connections.total > 0 && Page::new(&found, &[]).html().contains("id=\"fig-network-1\""));
}
