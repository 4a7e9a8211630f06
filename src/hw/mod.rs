//! Hardware model files, read and checked; timing of the trunk and of the adapter device.
