//! Several tasks trained on one trunk: what each took by hardware domain, and what a switch between them costs.

use super::render::{Section, grouped};
use super::training;
use crate::experiment::train::tasks::{Switch, SwitchLoad, TasksReport};

/// A training of several tasks, section by section.
pub fn sections(report: &TasksReport) -> Vec<Section> {
    let mut sections = vec![domains(report), switches(report)];
    for task in &report.tasks {
        let mut steps = training::step(&task.step);
        steps.iter_mut().for_each(|section| section.title = format!("{}: {}", task.name, section.title));
        sections.extend(steps);
    }
    sections
}

/// MACs by visual domain and hardware domain.
fn domains(report: &TasksReport) -> Section {
    let columns = ["visual domain", "data", "classes", "steps", "MACs trunk", "MACs adapter", "MACs host", "best"];
    let mut section = Section::new("Tasks on one trunk", &columns);
    for t in &report.tasks {
        section.row([
            t.name.clone(),
            t.data.clone(),
            t.classes.to_string(),
            grouped(t.steps),
            grouped(t.macs.trunk),
            grouped(t.macs.adapter),
            grouped(t.macs.host),
            t.best_accuracy.map_or("-".into(), |a| format!("{:.2} %", 100.0 * a)),
        ]);
    }
    section.note("MACs of all epochs, forward and backward; measuring on validation images is not among them");
    section
}

/// What it costs to go from one task to another.
fn switches(report: &TasksReport) -> Section {
    let columns = [
        "from",
        "to",
        "B into the trunk",
        "B into the adapter device",
        "µs",
        "µJ",
        "to train: B into the adapter device",
        "µs",
        "µJ",
        "times",
    ];
    let mut section = Section::new("Switches between tasks (modelled time and energy)", &columns);
    for Switch { from, to, to_use, to_train, times } in &report.switches {
        let costs = |load: &SwitchLoad| {
            let bound = |text: String| if load.cost.lower_bound { format!("≥ {text}") } else { text };
            let (us, uj) = (load.cost.time_ps as f64 / 1e6, load.cost.energy_pj / 1e6);
            [grouped(load.adapter_b), bound(format!("{us:.3}")), bound(format!("{uj:.3}"))]
        };
        let cells = [from.clone(), to.clone(), grouped(to_use.trunk_b)].into_iter();
        section.row(cells.chain(costs(to_use)).chain(costs(to_train)).chain([grouped(*times)]));
    }
    section.note(
        "into the trunk: batch-norm registers over the bus, where the mode loads them; from a task to itself nothing",
    );
    section.note("into the adapter device: parameters and statistics; to train also what the optimiser remembers");
    section.note("times: of a whole training; every switch was asserted to move this: predicted == observed");
    section
}
