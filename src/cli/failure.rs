//! Why a command ended without doing its job, and with which exit code.

use crate::data::DataError;
use crate::device::DeviceError;
use crate::experiment::account::AccountError;
use crate::experiment::calibrate::CalibrateDeviceError;
use crate::experiment::compress::CompressError;
use crate::experiment::eval::EvalError;
use crate::experiment::merge::MergeError;
use crate::experiment::pretrain::PretrainError;
use crate::experiment::quant_sweep::SweepError;
use crate::experiment::run::ExperimentError;
use crate::experiment::sweep;
use crate::experiment::train::TrainError;
use crate::experiment::train::session::SessionError;
use crate::experiment::trunk::TrunkError;
use crate::experiment::trunk_file::CalibrateError;
use crate::hw::HwError;
use crate::model::zoo::ZooError;
use crate::scheme::SchemeError;
use std::error::Error;
use std::process::ExitCode;

#[derive(Debug)]
pub enum Failure {
    /// What was asked for makes no sense: exit 2.
    Usage(String),
    /// It makes sense but could not be done: exit 1.
    Failed(String),
    /// It was done and found a difference: exit 3.
    Mismatch,
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let text = told_with_causes(&error);
        if blames_flags(&error) { Failure::Usage(text) } else { Failure::Failed(text) }
    }
}

impl Failure {
    /// Tells standard error, and gives the exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Usage(why) => {
                eprintln!("error: {why}\n\nFor more information, try '--help'.");
                ExitCode::from(2)
            }
            Failure::Failed(why) => {
                eprintln!("error: {why}");
                ExitCode::from(1)
            }
            Failure::Mismatch => ExitCode::from(3),
        }
    }
}

/// An error's message; a cause that it does not already tell is told after it.
fn told_with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Whether an error says that a flag's value names or asks for something that there is not, rather
/// than that a file or a machine is at fault.
fn blames_flags(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<ExperimentError>() {
        return match error {
            ExperimentError::Trunk(e) => blames_flags(e),
            ExperimentError::Scheme(e) => blames_flags(e),
            ExperimentError::Account(e) => blames_flags(e),
            ExperimentError::Device(e) => blames_flags(e),
            ExperimentError::Data(e) => blames_flags(e),
            _ => false,
        };
    }
    if let Some(error) = error.downcast_ref::<TrainError>() {
        return match error {
            TrainError::Experiment(e) | TrainError::Session(SessionError::Learner(e)) => blames_flags(e),
            TrainError::Flag { .. } => true,
            _ => false,
        };
    }
    if let Some(error) = error.downcast_ref::<PretrainError>() {
        return match error {
            PretrainError::Train(e) => blames_flags(e),
            PretrainError::Experiment(e) => blames_flags(e),
            PretrainError::Trunk(e) => blames_flags(e),
            PretrainError::Coded { .. } | PretrainError::Batch { .. } => true,
            PretrainError::File(_) | PretrainError::NoCheckpoint { .. } => false,
        };
    }
    if let Some(error) = error.downcast_ref::<EvalError>() {
        return match error {
            EvalError::Experiment(e) => blames_flags(e),
            EvalError::Calibrate(e) => blames_flags(e),
            _ => false,
        };
    }
    if let Some(error) = error.downcast_ref::<CompressError>() {
        return matches!(error, CompressError::Rank { .. } | CompressError::Alone);
    }
    if let Some(error) = error.downcast_ref::<MergeError>() {
        return match error {
            MergeError::Eval(e) => blames_flags(e),
            MergeError::Calibrate(e) => blames_flags(e),
            _ => false,
        };
    }
    if let Some(error) = error.downcast_ref::<AccountError>() {
        return matches!(error, AccountError::Scheme(e) if blames_flags(e));
    }
    if let Some(error) = error.downcast_ref::<TrunkError>() {
        return match error {
            TrunkError::Zoo(e) => blames_flags(e),
            TrunkError::Unknown { .. } | TrunkError::FixedInput { .. } | TrunkError::ShapeOnly { .. } => true,
            _ => false,
        };
    }
    if let Some(error) = error.downcast_ref::<SweepError>() {
        return matches!(error, SweepError::Trunk(e) if blames_flags(e));
    }
    if let Some(error) = error.downcast_ref::<sweep::SweepError>() {
        // A sweep file is what a command line would be, were it not so long.
        return matches!(error, sweep::SweepError::Wrong { .. } | sweep::SweepError::Twice { .. });
    }
    if let Some(error) = error.downcast_ref::<CalibrateError>() {
        return match error {
            CalibrateError::Data(e) => blames_flags(e),
            CalibrateError::Trunk(e) => blames_flags(e),
            CalibrateError::Input(_) => false,
        };
    }
    if let Some(error) = error.downcast_ref::<CalibrateDeviceError>() {
        return matches!(error, CalibrateDeviceError::Device(e) if blames_flags(e));
    }
    if let Some(error) = error.downcast_ref::<SchemeError>() {
        return !matches!(error, SchemeError::Graph { .. });
    }
    if let Some(error) = error.downcast_ref::<HwError>() {
        return matches!(error, HwError::NoSuchModel { .. });
    }
    if let Some(error) = error.downcast_ref::<DeviceError>() {
        return matches!(error, DeviceError::Unknown { .. });
    }
    error.is::<ZooError>() || matches!(error.downcast_ref(), Some(DataError::Spec { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;
    use crate::experiment::trunk::{Trunk, Wanted};

    #[test]
    fn flags_and_files_are_told_apart() {
        let open = |spec: &str| Failure::from(Trunk::open(spec, Wanted::default()).unwrap_err());
        assert!(matches!(open("resnet9"), Failure::Usage(_)));
        assert!(matches!(open("resnet26:width=0"), Failure::Usage(_)));
        assert!(matches!(open("/nowhere.tflite"), Failure::Failed(_)));
        let device = ExperimentError::from(device::open("no-such-device").err().unwrap());
        assert!(matches!(Failure::from(device), Failure::Usage(_)));
    }

    #[test]
    fn a_cause_is_told_once() {
        let Failure::Failed(text) = Failure::from(crate::data::DataError::Io {
            path: "a.png".into(),
            source: std::io::Error::other("it is gone"),
        }) else {
            panic!("a missing file is no usage error")
        };
        assert_eq!(text, "a.png: it is gone");
    }
}
